"""What a decision changes, and which decisions cannot be carried out."""

from __future__ import annotations

import pytest

from meshproxy.http.header_map import HeaderMap
from meshproxy.http_filters.ext_authz.decision import DENIED, OK, Decision

PAIR = (b"a", b"1")


def changed(path: bytes, **fields: object) -> bytes | None:
    headers = HeaderMap([(b":path", path)])
    Decision(OK, **fields).change_request(headers)  # type: ignore[arg-type]
    return headers.get(b":path")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/x", b"/x?q=1"), (b"/x?", b"/x?q=1"), (b"/x?z=1&q=2&q=3", b"/x?q=1&z=1"),
        (b"/x?b&a=c=d", b"/x?a=c=d&b=&q=1"),
    ],
)  # fmt: skip
def test_a_parameter_is_set_and_all_of_them_are_in_order(path: bytes, expected: bytes):
    assert changed(path, query_parameters_to_set=[(b"q", b"1")]) == expected


def test_a_query_without_parameters_goes():
    assert changed(b"/x?b=1&b", query_parameters_to_remove=[b"b"]) == b"/x"
    assert changed(b"/x?b=1", headers_to_remove=[b":path", b"b"]) == b"/x?b=1"


@pytest.mark.parametrize(
    "fields",
    [
        {"headers_to_set": [(b"a b", b"1")]}, {"headers_to_set": [(b"", b"1")]},
        {"headers_to_set": [(b"a", b"1\r\nb: 2")]}, {"headers_to_add": [(b"a", b"\0")]},
        {"headers_to_append": [(b"a\n", b"1")]}, {"headers_to_set": [(b":path", b"/a b")]},
        {"headers_to_remove": [b"a\r"]}, {"response_headers": [(0, (b"a", b"\n"))]},
        {"query_parameters_to_set": [(b"q", b"1 HTTP/1.1")]},
        {"query_parameters_to_set": [(b"q#", b"1")]},
    ],
)  # fmt: skip
def test_what_would_break_a_message_is_not_valid(fields: dict[str, object]):
    assert not Decision(OK, **fields).is_valid  # type: ignore[arg-type]


def test_the_answer_of_a_denial_is_looked_at_too():
    assert Decision(DENIED, reply_headers=[PAIR]).is_valid
    assert not Decision(DENIED, reply_headers=[(b"a", b"\r")]).is_valid
