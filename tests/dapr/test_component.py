"""Metadata: names without case, values with types, and what a wrong one says."""

import pytest

from meshproxy.dapr.component import ComponentError, Metadata

GIVEN = Metadata(
    {"redisHost": "here", "count": "7", "on": "Yes", "off": "0", "wait": "1m", "s": "5"}
)


def test_names_are_matched_without_case_and_listed_as_written():
    assert GIVEN["REDISHOST"] == "here"
    assert "redishost" in GIVEN
    assert next(iter(GIVEN)) == "redisHost"
    assert GIVEN.first("host", "redisHost") == "here"
    assert GIVEN.first("none") == ""


def test_values_have_types():
    assert GIVEN.integer("count", 1) == 7
    assert GIVEN.integer("none", 1) == 1
    assert (GIVEN.boolean("on"), GIVEN.boolean("off"), GIVEN.boolean("none")) == (
        True,
        False,
        False,
    )
    assert (GIVEN.seconds("wait", 1), GIVEN.seconds("s", 1), GIVEN.seconds("none", 1)) == (60, 5, 1)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda m: m.integer("redisHost", 1), "redisHost is 'here'; expected a whole number"),
        (lambda m: m.integer("count", 1, minimum=8), "count is 7; expected at least 8"),
        (lambda m: m.boolean("redisHost"), "redisHost is 'here'; expected true or false"),
        (lambda m: m.seconds("redisHost", 1), "redisHost: 'here' is not a duration"),
        (lambda m: m.required("none"), "missing none"),
    ],
)
def test_a_wrong_value_says_what_was_expected(read, message):
    with pytest.raises(ComponentError, match=message):
        read(GIVEN)
