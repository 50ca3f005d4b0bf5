"""Matchers on headers and query parameters; every row was read off a real Envoy 1.40."""

import pytest

from meshproxy.http.header_map import HeaderMap
from meshproxy.router.matcher import (
    compile_regex,
    header_matcher,
    parse_query,
    query_parameter_matcher,
    range_matcher,
    string_matcher,
)

VALUES = {
    "none": [],
    "empty": [b""],
    "a": [b"a"],
    "abc": [b"abc"],
    "ABC": [b"ABC"],
    "a+b": [b"a", b"b"],
    "a+empty": [b"a", b""],
    "3": [b"3"],
    "-10": [b"-10"],
    "5": [b"5"],
    "+3": [b"+3"],
    "3x": [b"3x"],
    "1_0": [b"1_0"],
    "0x3": [b"0x3"],
    "int64 max - 1": [b"9223372036854775806"],
    "int64 max + 1": [b"9223372036854775808"],
    "e acute": ["é".encode()],
    "E acute": ["É".encode()],
    "ff": [b"\xff"],
}
ALL = frozenset(VALUES)
THERE = ALL - {"none"}


def _string(kind, value, **options):
    return string_matcher(kind, compile_regex(value) if kind == "safe_regex" else value, **options)


A = _string("exact", "a")
RANGE = range_matcher(-10, 5)
MATCHED_A = {"a", "a+b", "a+empty"}
IN_RANGE = {"3", "-10", "+3"}
MISSING = {"treat_missing_header_as_empty": True}


@pytest.mark.parametrize(
    ("match", "options", "expected"),
    [
        (A, {}, MATCHED_A),
        (A, {"invert_match": True}, THERE - MATCHED_A),
        (A, {"invert_match": True, **MISSING}, ALL - MATCHED_A),
        (_string("exact", ""), MISSING, {"none", "empty", "a+empty"}),
        (None, {}, THERE),
        (None, {"invert_match": True}, {"none"}),
        (None, {"present_match": False}, {"none"}),
        (None, {"present_match": False, "invert_match": True}, THERE),
        (None, MISSING, ALL),
        (None, {"present_match": False, **MISSING}, set()),
        (RANGE, {}, IN_RANGE),
        (RANGE, {"invert_match": True}, THERE - IN_RANGE),
        (RANGE, {"invert_match": True, **MISSING}, ALL - IN_RANGE),
        (range_matcher(0, 2**63 - 1), {}, {"3", "5", "+3", "int64 max - 1"}),
        (_string("exact", "AbC", ignore_case=True), {}, {"abc", "ABC"}),
        (_string("contains", "BC", ignore_case=True), {}, {"abc", "ABC"}),
        (_string("suffix", "BC", ignore_case=True), {}, {"abc", "ABC"}),
        (_string("prefix", "AB", ignore_case=True), {}, {"abc", "ABC"}),
        (_string("safe_regex", "a.c"), {}, {"abc"}),
        (_string("safe_regex", "a.*"), {}, {"a", "abc", "a+b", "a+empty"}),
        (_string("safe_regex", "(?i)ABC"), {}, {"abc", "ABC"}),
        (_string("safe_regex", "é"), {}, {"e acute"}),
        # Latin-1: one byte is one character, whatever it is.
        (_string("safe_regex", "."), {}, {"a", "a+b", "a+empty", "3", "5", "ff"}),
        (_string("prefix", "ab"), {}, {"abc"}),
        (_string("suffix", "bc"), {}, {"abc"}),
        (_string("contains", "b"), {}, {"abc", "a+b"}),
        (_string("exact", "é"), {}, {"e acute"}),
        (_string("exact", "É", ignore_case=True), {}, {"E acute"}),
    ],
)
def test_header_matcher_over_all_values(match, options, expected):
    matches = header_matcher("X-H", match, **options)
    found = {
        name
        for name, values in VALUES.items()
        if matches(HeaderMap([(b"other", b"a"), *((b"x-h", value) for value in values)]))
    }
    assert found == expected


def test_the_values_of_a_header_that_exists_once_are_joined():
    headers = HeaderMap([(b"user-agent", b"a"), (b"user-agent", b"b")])
    assert header_matcher("user-agent", _string("exact", "a,b"))(headers)
    assert not header_matcher("user-agent", A)(headers)


def test_the_values_of_any_other_header_are_not_joined():
    headers = HeaderMap([(b"x-h", b"a"), (b"x-h", b"b")])
    assert not header_matcher("x-h", _string("exact", "a,b"))(headers)
    assert header_matcher("x-h", _string("exact", "b"))(headers)


def test_host_is_the_authority():
    assert header_matcher("Host", _string("exact", "h"))(HeaderMap([(b":authority", b"h")]))


def test_unknown_kinds_of_string_matchers_are_refused():
    for fold in (False, True):
        with pytest.raises(ValueError, match="not a kind"):
            string_matcher("like", "x", ignore_case=fold)
    with pytest.raises(ValueError, match="takes a string"):
        string_matcher("exact", compile_regex("x"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/q?a=1", True),
        (b"/q?a=2&a=1", False),
        (b"/q?a=1&a=2", True),
        (b"/q?%61=1", False),
        (b"/q?a=%31", False),
        (b"/q?b=1", False),
        (b"/q", False),
    ],
)
def test_the_first_value_of_a_query_parameter_counts_and_is_not_decoded(path, expected):
    assert query_parameter_matcher("a", _string("exact", "1"))(parse_query(path)) is expected


@pytest.mark.parametrize("path", [b"/q?p", b"/q?p=", b"/q?x&p=3"])
def test_a_query_parameter_is_present_with_and_without_a_value(path):
    assert query_parameter_matcher("p")(parse_query(path))
    assert not query_parameter_matcher("p", present_match=False)(parse_query(path))
    assert not query_parameter_matcher("p")(parse_query(b"/q?pp"))
