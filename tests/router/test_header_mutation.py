"""Header mutations: Envoy's order within a level and between levels."""

import pytest

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.inline_headers import REQUEST_INLINE_HEADERS
from meshproxy.http.stream_info import StreamInfo
from meshproxy.router.header_mutation import (
    ADD_IF_ABSENT,
    APPEND_IF_EXISTS_OR_ADD,
    OVERWRITE_IF_EXISTS,
    OVERWRITE_IF_EXISTS_OR_ADD,
    HeaderMutation,
    HeaderToAdd,
    concatenate,
    invalid_header_value,
)


def _apply(pairs, *levels):
    headers = HeaderMap(pairs)
    info = StreamInfo()
    info.request_headers = headers
    mutations = concatenate(levels, REQUEST_INLINE_HEADERS)
    assert mutations is not None
    refused = mutations.apply(headers, info)
    return headers.pairs, refused


def _level(*adds, remove=()):
    return HeaderMutation([HeaderToAdd(*each) for each in adds], remove)


@pytest.mark.parametrize(
    ("action", "there", "absent"),
    [
        (APPEND_IF_EXISTS_OR_ADD, [b"old", b"new"], [b"new"]),
        (ADD_IF_ABSENT, [b"old"], [b"new"]),
        (OVERWRITE_IF_EXISTS_OR_ADD, [b"new"], [b"new"]),
        (OVERWRITE_IF_EXISTS, [b"new"], []),
    ],
)
def test_each_append_action_with_and_without_the_header(action, there, absent):
    level = _level(("X-A", "new", action))
    assert [value for _, value in _apply([(b"x-a", b"old")], level)[0]] == there
    assert [value for _, value in _apply([], level)[0]] == absent


def test_headers_are_removed_before_any_is_added():
    level = _level(("x-a", "new"), ("x-b", "b", ADD_IF_ABSENT), remove=["X-A", "x-b"])
    pairs, _ = _apply([(b"x-a", b"old"), (b"x-b", b"old")], level)
    assert pairs == [(b"x-a", b"new"), (b"x-b", b"b")]


def test_overwritten_headers_move_to_the_end_before_the_added_ones():
    level = _level(("x-new", "1"), ("x-over", "2", OVERWRITE_IF_EXISTS_OR_ADD))
    pairs, _ = _apply([(b"x-over", b"old"), (b"x-z", b"z")], level)
    assert pairs == [(b"x-z", b"z"), (b"x-over", b"2"), (b"x-new", b"1")]


def test_a_level_computes_all_values_before_it_changes_anything():
    level = _level(("x-a", "changed", OVERWRITE_IF_EXISTS_OR_ADD), ("x-saw", "%REQ(x-a)%"))
    pairs, _ = _apply([(b"x-a", b"old")], level)
    assert (b"x-saw", b"old") in pairs


def test_a_later_level_sees_what_an_earlier_one_did_and_wins():
    first = _level(("x-a", "1"))
    second = _level(("x-a", "2", OVERWRITE_IF_EXISTS_OR_ADD), ("x-saw", "%REQ(x-a)%"))
    pairs, _ = _apply([], first, second)
    assert pairs == [(b"x-a", b"2"), (b"x-saw", b"1")]


def test_headers_that_exist_once_are_joined_and_the_others_are_repeated():
    level = _level(("user-agent", "b"), ("x-a", "b"), ("cookie", "b"))
    pairs, _ = _apply([(b"user-agent", b"a"), (b"x-a", b"a"), (b"cookie", b"a")], level)
    assert pairs == [
        (b"user-agent", b"a,b"),
        (b"x-a", b"a"),
        (b"cookie", b"a"),
        (b"x-a", b"b"),
        (b"cookie", b"b"),
    ]


def test_empty_values_are_added_only_where_they_shall_be_kept():
    level = _level(
        ("x-a", ""), ("x-b", "", 0, True), ("x-c", "%REQ(no)%"), ("x-d", "%REQ(no)%", 0, True)
    )
    assert _apply([], level)[0] == [(b"x-b", b""), (b"x-d", b"")]


def test_an_unset_operator_within_text_leaves_the_text():
    assert _apply([], _level(("x-a", "a%REQ(no)%b%%")))[0] == [(b"x-a", b"ab%")]


@pytest.mark.parametrize("control", ["%0a", "%0d", "%00", "%7f", "%1b"])
def test_a_value_with_a_control_character_is_not_set_and_its_header_named(control):
    path = (b":path", f"/?q=a{control}b".encode())
    pairs, refused = _apply([path], _level(("x-q", "<%QUERY_PARAM(q)%>"), ("x-ok", "1")))
    assert pairs == [path, (b"x-ok", b"1")]
    assert refused == b"x-q"


def test_a_tab_and_bytes_above_ascii_pass():
    pairs, refused = _apply([(b":path", b"/?q=%09%ff")], _level(("x-q", "%QUERY_PARAM(q)%")))
    assert pairs[1] == (b"x-q", b"\t\xff")
    assert refused is None


def test_the_answer_to_a_refused_value_is_envoys():
    reply = invalid_header_value(b"x-q")
    assert (reply.status, reply.body) == (503, b"invalid header value for: x-q")
    assert reply.details == (
        "filter_removed_required_request_headers{invalid_header_value_for:_x-q}"
    )


@pytest.mark.parametrize("name", ["", ":path", "Host", "a b", "a:b", "a\n"])
def test_names_that_may_not_be_set_are_refused(name):
    with pytest.raises(ValueError, match=r"may not be modified|is not the name"):
        HeaderToAdd(name, "x")


@pytest.mark.parametrize("name", ["", ":path", "HOST"])
def test_names_that_may_not_be_removed_are_refused(name):
    with pytest.raises(ValueError, match="may not be removed"):
        HeaderMutation((), [name])


def test_levels_without_anything_to_do_are_none():
    assert concatenate([None, HeaderMutation(), HeaderMutation([HeaderToAdd("x-a", "")])]) is None
