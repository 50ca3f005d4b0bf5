"""Expressions over plain data."""

from datetime import UTC, datetime, timedelta

import pytest

from meshproxy.config.cel import CelEngine

ENGINE = CelEngine(("x", "y"))
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "data", "value"),
    [
        ("x + y", {"x": 1, "y": 2}, 3),
        ("x.a['b'][0]", {"x": {"a": {"b": [b"c"]}}}, b"c"),
        ("x > timestamp('2026-01-02T11:59:59Z')", {"x": NOON}, True),
        ("x + duration('1s')", {"x": NOON}, NOON + timedelta(seconds=1)),
        ("x - duration('500ms')", {"x": timedelta(seconds=1)}, timedelta(seconds=0.5)),
        ("{'a': [x, b'y', null]}", {"x": 1.5}, {"a": [1.5, b"y", None]}),
        ("x", {"x": ("a", "b")}, ["a", "b"]),
    ],
)
def test_values_go_in_and_come_back(text, data, value):
    assert ENGINE.compile(text)(data) == value


@pytest.mark.parametrize("text", ["x.", "", "x ==", "(" * 500])
def test_what_is_no_expression_is_refused(text):
    with pytest.raises(ValueError, match=r"\S"):
        ENGINE.compile(text)


@pytest.mark.parametrize(
    ("text", "data"),
    [("x.a", {"x": {}}), ("x", {}), ("z", {}), ("1 / x", {"x": 0}), ("x", {"x": object()})],
)
def test_what_has_no_value_says_why(text, data):
    with pytest.raises(ValueError, match=r"\S"):
        ENGINE.compile(text)(data)
