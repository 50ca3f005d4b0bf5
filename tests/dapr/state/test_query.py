"""The reading of a query, and what is refused."""

import orjson
import pytest

from meshproxy.dapr.state.query import Compare, Group, In, Query, QueryError, Sort, parse_query


def parse(document) -> Query:
    return parse_query(orjson.dumps(document))


def test_a_query_is_read_whole():
    found = parse(
        {
            "filter": {
                "OR": [
                    {"EQ": {"person.org": "Dev Ops"}},
                    {"AND": [{"GTE": {"age": 3}}, {"IN": {"state": ["CA", "WA"]}}]},
                    {"NEQ": {"b": None}},
                ]
            },
            "sort": [{"key": "state", "order": "DESC"}, {"key": "person.id"}],
            "page": {"limit": 3, "token": "6"},
        }
    )
    assert found == Query(
        Group(
            "OR",
            (
                Compare("EQ", ("person", "org"), "Dev Ops"),
                Group("AND", (Compare("GTE", ("age",), 3), In(("state",), ("CA", "WA")))),
                Compare("NEQ", ("b",), None),
            ),
        ),
        (Sort(("state",), descending=True), Sort(("person", "id"))),
        3,
        "6",
    )


@pytest.mark.parametrize("document", [{}, {"filter": {}}, {"sort": [], "page": {}}])
def test_a_query_may_ask_for_everything(document):
    assert parse(document) == Query()


def nested(depth):
    found = {"EQ": {"a": 1}}
    for _ in range(depth):
        found = {"AND": [found, {"EQ": {"b": 1}}]}
    return {"filter": found}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([], "the query must be a map"),
        ({"filter": []}, None),
        ({"filter": [1]}, "filter unit must be a map"),
        ({"filter": {"EQ": {}, "IN": {}}}, "filter unit must have a single element"),
        ({"filter": {"LIKE": {"a": 1}}}, 'unsupported filter "LIKE"'),
        ({"filter": {"EQ": 1}}, "EQ filter must be a map"),
        ({"filter": {"EQ": {"a": 1, "b": 2}}}, "EQ filter must contain a single key/value pair"),
        ({"filter": {"GT": {"a": "9"}}}, "the value of a GT filter must be a number"),
        ({"filter": {"LTE": {"a": True}}}, "the value of a LTE filter must be a number"),
        ({"filter": {"IN": {"a": 1}}}, "IN filter value must be an array"),
        ({"filter": {"IN": {"a": []}}}, 'empty IN operator for key "a"'),
        ({"filter": {"AND": {}}}, "AND filter must be an array"),
        ({"filter": {"OR": [{"EQ": {"a": 1}}]}}, "OR filter must contain at least two entries"),
        ({"filter": {"EQ": {"a..b": 1}}}, '"a..b" is no path of names'),
        ({"sort": {}}, None),
        ({"sort": {"key": "a"}}, '"sort" must be an array'),
        ({"sort": [{}]}, 'an entry of "sort" must be a map with a key'),
        ({"sort": [{"key": "a", "order": "; DROP"}]}, 'the order "; DROP" is not known'),
        ({"page": 3}, '"page" must be a map'),
        ({"page": {"limit": "3"}}, '"limit" must be a whole number'),
        ({"page": {"limit": -1}}, '"limit" must be a whole number'),
        ({"page": {"token": 3}}, '"token" must be a text'),
        (nested(100), "filters are nested deeper than 64"),
    ],
)
def test_what_is_no_query_is_refused(document, expected):
    if expected is None:
        parse(document)  # an empty part says nothing, whatever its form
        return
    with pytest.raises(QueryError, match=expected):
        parse(document)


def test_what_is_no_json_is_refused():
    with pytest.raises(QueryError):
        parse_query(b"{")
