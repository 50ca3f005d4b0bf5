from meshproxy.filter_tools.messages import Headers
from meshproxy.filter_tools.report import changes


def test_headers_that_differ_are_told_by_a_sign():
    before = Headers([("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")])
    after = Headers([("a", "1"), ("b", "9"), ("d", "4"), ("d", "5"), ("e", "6")])
    assert changes(before, after) == [
        ("~", "b", "2 → 9"), ("-", "c", "3"), ("+", "d", "5"), ("+", "e", "6")]  # fmt: skip


def test_of_several_values_only_the_difference_is_told():
    before = Headers([("a", "1"), ("a", "1"), ("a", "2")])
    after = Headers([("a", "2"), ("a", "3")])
    assert changes(before, after) == [("-", "a", "1"), ("-", "a", "1"), ("+", "a", "3")]


def test_equal_headers_have_no_changes():
    assert changes(Headers([("a", "1")]), Headers([("a", "1")])) == []
