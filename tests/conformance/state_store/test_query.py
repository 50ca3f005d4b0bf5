"""What every state store with QUERY_API does: the cases of Dapr's own documents, and more."""

import orjson
import pytest

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.components import COMPONENTS
from meshproxy.dapr.state.query import parse_query
from meshproxy.dapr.state.store import QUERY_API, SetRequest

PEOPLE = {
    "1": {"person": {"org": "Dev Ops", "id": 1036}, "city": "Seattle", "state": "WA"},
    "2": {"person": {"org": "Hardware", "id": 1028}, "city": "Portland", "state": "OR"},
    "3": {"person": {"org": "Finance", "id": 1071}, "city": "Sacramento", "state": "CA"},
    "4": {"person": {"org": "Dev Ops", "id": 1042}, "city": "Spokane", "state": "WA"},
    "5": {"person": {"org": "Hardware", "id": 98}, "city": "Los Angeles", "state": "CA"},
    "6": {"person": {"org": "Finance", "id": 1071.5}, "city": "it's; --", "ok": True},
}


def queriable() -> list[str]:
    stores = [(name, *name.split("/")) for name in COMPONENTS.of("state")]
    return [name for name, *kind in stores if QUERY_API in COMPONENTS.constructor(*kind).features]


@pytest.fixture(params=queriable())
def type_name(request) -> str:
    return request.param


@pytest.fixture
def people(store):
    for key, value in PEOPLE.items():
        store.set(SetRequest(f"app||{key}", orjson.dumps(value)))
    store.set(SetRequest("app||bytes", b"\x00", binary=True))
    store.set(SetRequest("other||7", orjson.dumps(PEOPLE["1"])))
    return store


def ask(store, document, prefix="app||"):
    return store.query(parse_query(orjson.dumps(document)), prefix)


def keys(store, condition, **more):
    found = ask(store, {"filter": condition, **more}).items
    return [item.key.removeprefix("app||") for item in found]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"EQ": {"state": "CA"}}, "35"),
        ({"EQ": {"person.id": 1036}}, "1"),
        ({"EQ": {"person.id": 1036.0}}, "1"),
        ({"EQ": {"person.id": "1036"}}, "1"),
        ({"EQ": {"person": {"id": 1036, "org": "Dev Ops"}}}, "1"),
        ({"EQ": {"ok": True}}, "6"),
        ({"EQ": {"city": "it's; --"}}, "6"),
        ({"EQ": {"' OR '1'='1": "x"}}, ""),
        ({"NEQ": {"state": "WA"}}, "235"),
        ({"GT": {"person.id": 1042}}, "36"),
        ({"GTE": {"person.id": 1042}}, "346"),
        ({"LT": {"person.id": 1036}}, "25"),
        ({"LTE": {"person.id": 1036}}, "125"),
        ({"GT": {"city": 1}}, ""),
        ({"IN": {"state": ["CA", "OR"]}}, "235"),
        ({"AND": [{"EQ": {"state": "CA"}}, {"EQ": {"person.org": "Hardware"}}]}, "5"),
        ({"OR": [{"EQ": {"state": "OR"}}, {"EQ": {"person.org": "Finance"}}]}, "236"),
        (
            {
                "AND": [
                    {"OR": [{"EQ": {"state": s}} for s in ("CA", "WA")]},
                    {"LT": {"person.id": 99}},
                ]
            },
            "5",
        ),
    ],
)
def test_a_filter_finds_what_fits(people, condition, expected):
    assert keys(people, condition) == list(expected)


def test_an_order_is_that_of_numbers_and_texts(people):
    numbers = [{"key": "person.id", "order": "DESC"}]
    assert keys(people, {"IN": {"state": ["CA", "OR"]}}, sort=numbers) == ["3", "2", "5"]
    texts = [{"key": "person.org"}, {"key": "person.id", "order": "DESC"}]
    known = {"LT": {"person.id": 9999}}
    assert keys(people, known, sort=texts) == ["4", "1", "6", "3", "2", "5"]


def test_pages_follow_each_other_by_their_tokens(people):
    found, token = [], ""
    for _ in range(4):
        page = {"limit": 2, "token": token}
        answer = ask(people, {"sort": [{"key": "person.id"}], "page": page})
        found += [item.key for item in answer.items]
        token = answer.token
    assert found == [f"app||{key}" for key in ["5", "2", "1", "4", "3", "6", "bytes"]]


def test_an_answer_without_pages_has_no_token_and_everything(people):
    answer = ask(people, {})
    assert answer.token == ""
    items = {item.key: item for item in answer.items}
    assert orjson.loads(items["app||1"].value) == PEOPLE["1"]
    assert items["app||bytes"].value == b"\x00"
    assert all(item.etag for item in answer.items)


def test_items_of_others_are_not_found(people):
    assert "other||7" not in [item.key for item in ask(people, {}).items]
    assert len(ask(people, {}, "").items) == len(PEOPLE) + 2


def test_what_has_expired_is_not_found(people, clock):
    people.set(SetRequest("app||short", orjson.dumps({"state": "XX"}), ttl=2))
    assert keys(people, {"EQ": {"state": "XX"}}) == ["short"]
    clock.advance(3)
    assert keys(people, {"EQ": {"state": "XX"}}) == []


def test_a_token_of_something_else_is_refused(people):
    with pytest.raises(ComponentError, match="the token 'x' is not one of this state store's"):
        ask(people, {"page": {"limit": 1, "token": "x"}})
