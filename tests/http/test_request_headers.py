"""What a client may say about itself, and to whom the proxy believes it."""

from __future__ import annotations

import ipaddress
import uuid
from types import SimpleNamespace
from typing import Any

import pytest

from meshproxy.http import request_headers
from meshproxy.http.conn_manager import HttpConnectionManagerConfig
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.stream_info import StreamInfo
from meshproxy.network.address import Address

PSEUDO = [(b":authority", b"h"), (b":path", b"/"), (b":method", b"GET"), (b":scheme", b"http")]
LOOPBACK = (ipaddress.ip_network("10.0.0.0/8"),)


def sanitize(*fields: tuple[bytes, bytes], pseudo: Any = PSEUDO, **options: Any):
    headers, info = HeaderMap([*pseudo, *fields]), StreamInfo()
    info.connection = SimpleNamespace(remote_address=Address.parse("10.0.0.9", 1234), tls=None)
    config = HttpConnectionManagerConfig(stat_prefix="x", route_config=None, **options)
    refusal = request_headers.sanitize(headers, info, config, "192.0.2.1")
    return headers, info, refusal


def test_a_request_without_a_host_is_refused():
    _, _, refusal = sanitize(pseudo=PSEUDO[1:])
    assert refusal is request_headers.MISSING_HOST


@pytest.mark.parametrize("fields", [(), ((b"content-type", b""),)])
def test_a_query_must_say_in_which_language_it_asks(fields):
    query = [*PSEUDO[:2], (b":method", b"QUERY")]
    _, _, refusal = sanitize(*fields, pseudo=query)
    assert refusal is request_headers.QUERY_WITHOUT_CONTENT_TYPE
    assert sanitize((b"content-type", b"a/b"), pseudo=query)[2] is None


def test_the_wish_for_another_protocol_is_noted_in_lower_case_for_the_manager_to_judge():
    headers, info, refusal = sanitize((b"upgrade", b"WebSocket"))
    assert refusal is None
    assert info.upgrade == b"websocket"
    assert b"x-request-id" in headers


def test_an_empty_scheme_is_noted_and_stays_where_others_may_say_what_it_was():
    headers, info, refusal = sanitize((b"x-forwarded-proto", b""))
    assert (info.forwarded_proto_empty, headers.get(b"x-forwarded-proto"), refusal) == (
        True,
        b"",
        None,
    )
    # At the edge the proxy itself says which scheme it was.
    headers = sanitize((b"x-forwarded-proto", b""), use_remote_address=True)[0]
    assert headers.get(b"x-forwarded-proto") == b"http"


def test_via_is_added_to_what_others_have_said():
    assert sanitize(via=b"mesh")[0].get(b"via") == b"mesh"
    assert sanitize((b"via", b"a,b"), via=b"mesh")[0].get_all(b"via") == [b"a,b,mesh"]


INTERNAL = (
    (b"x-envoy-upstream-rq-timeout-ms", b"70"),
    (b"x-envoy-upstream-rq-per-try-timeout-ms", b"50"),
    (b"x-envoy-upstream-rq-timeout-alt-response", b"1"),
    (b"x-envoy-upstream-alt-stat-name", b"name"),
    (b"x-envoy-force-trace", b"1"),
)


def test_an_internal_client_may_choose_times_answer_and_names():
    forwarded = (b"x-forwarded-for", b"10.0.0.5")
    headers, info, _ = sanitize(forwarded, *INTERNAL, internal_networks=LOOPBACK)
    assert info.internal
    assert (info.upstream_timeout_ms, info.per_try_timeout_ms) == (70, 50)
    assert info.alt_response
    assert info.alt_stat_name == b"name"
    assert info.force_trace
    left = [name for name, _ in INTERNAL if name in headers]
    assert left == [b"x-envoy-force-trace"]


@pytest.mark.parametrize("edge", [False, True])
def test_a_stranger_may_not(edge):
    headers, info, _ = sanitize(*INTERNAL, use_remote_address=edge)
    assert not info.internal
    assert info.upstream_timeout_ms is info.per_try_timeout_ms is info.alt_stat_name is None
    assert not info.alt_response
    assert not info.force_trace
    assert not [name for name, _ in INTERNAL if name in headers]


@pytest.mark.parametrize("text", [b"-5", b"", b"5s", b"9" * 20, b"9" * 5000])
def test_times_that_are_no_numbers_are_nobodys(text):
    fields = [(name, text) for name, _ in INTERNAL[:2]]
    forwarded = (b"x-forwarded-for", b"10.0.0.5")
    _, info, _ = sanitize(forwarded, *fields, internal_networks=LOOPBACK)
    assert info.internal
    assert info.upstream_timeout_ms is info.per_try_timeout_ms is None


def test_a_request_id_is_a_random_uuid():
    found = [request_headers.make_request_id().decode() for _ in range(100)]
    ids = [uuid.UUID(text) for text in found]
    assert [str(each) for each in ids] == found
    assert {each.version for each in ids} == {4}
    assert {each.variant for each in ids} == {uuid.RFC_4122}
    assert len(set(ids)) == 100
