"""CheckRequest and CheckResponse, written and read by hand, against the generated classes."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.http_filters.ext_authz.decision import DENIED, ERROR, OK
from meshproxy.http_filters.ext_authz.messages import (
    MAX_DEPTH,
    Attributes,
    Peer,
    decode_check,
    encode_check,
    sanitized,
)
from meshproxy.network.address import Address
from meshproxy.proxy_wasm.wire_format import WireError

PSEUDO = {b":method": b"GET", b":path": b"/a?b", b":authority": b"h", b":scheme": b"https"}


def request(**more: Any) -> CheckRequest:
    source = Peer(Address("10.0.0.1", 80), "spiffe://a", b"svc", "pem")
    headers = [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]
    given = Attributes(
        source, Peer(Address.pipe("/s")), 12.25, 7, headers, PSEUDO, "HTTP/2", 5, **more
    )
    return CheckRequest.FromString(encode_check(given))


def response(text: str) -> bytes:
    return text_format.Parse(text, CheckResponse()).SerializeToString()


def test_every_attribute_arrives():
    attributes = request(
        context_extensions={"k": "v"}, metadata={"n": {"x": [1, None, "s"]}},
        route_metadata={"r": {"y": True}}, server_name="sni",
    ).attributes  # fmt: skip
    source, destination = attributes.source, attributes.destination
    assert (source.address.socket_address.address, source.address.socket_address.port_value) == (
        "10.0.0.1", 80,
    )  # fmt: skip
    assert (source.principal, source.service, source.certificate) == ("spiffe://a", "svc", "pem")
    assert destination.address.pipe.path == "/s"
    time, http = attributes.request.time, attributes.request.http
    assert (time.seconds, time.nanos) == (12, 250_000_000)
    assert (http.id, http.method, http.path, http.host) == ("7", "GET", "/a?b", "h")
    assert (http.scheme, http.protocol, http.size) == ("https", "HTTP/2", 5)
    assert dict(http.headers) == {"a": "1,3", "b": "2"}
    assert dict(attributes.context_extensions) == {"k": "v"}
    assert list(attributes.metadata_context.filter_metadata["n"]["x"]) == [1, None, "s"]
    assert attributes.route_metadata_context.filter_metadata["r"]["y"] is True
    assert attributes.tls_session.sni == "sni"


def test_a_body_is_text_or_bytes_and_headers_are_too():
    http = request(body=b"a\xffb").attributes.request.http
    assert (http.body, http.raw_body) == ("a!b", b"")
    http = request(body=b"a\xffb", raw_body=True, raw_headers=True).attributes.request.http
    assert (http.body, http.raw_body) == ("", b"a\xffb")
    assert [(each.key, each.raw_value) for each in http.header_map.headers] == [
        ("a", b"1"), ("b", b"2"), ("a", b"3"),
    ]  # fmt: skip
    assert not http.headers
    assert not request().attributes.HasField("tls_session")


@given(st.binary())
def test_what_is_sent_as_text_is_utf_8_of_the_same_length_or_the_same(data: bytes):
    clean = sanitized(data)
    clean.decode()
    assert clean == data or b"!" in clean


def test_an_empty_answer_allows():
    assert decode_check(b"").status == OK
    assert decode_check(response("ok_response {}")).status == OK


def test_a_denial_is_403_unless_it_says_more():
    found = decode_check(response("status {code: 7}"))
    assert (found.status, found.status_code, found.body) == (DENIED, 403, b"")
    found = decode_check(
        response('status {code: 1} denied_response {status {code: 302} body: "x"}')
    )
    assert (found.status, found.status_code, found.body) == (DENIED, 302, b"x")
    found = decode_check(response('status {code: 1} error_response {body: "x"}'))
    assert (found.status, found.status_code, found.body) == (ERROR, 0, b"x")


def test_metadata_become_plain_data():
    text = """dynamic_metadata {
      fields {key: "a" value {number_value: 1}} fields {key: "b" value {number_value: 1.5}}
      fields {key: "c" value {bool_value: true}} fields {key: "d" value {null_value: NULL_VALUE}}
      fields {key: "e" value {list_value {values {string_value: "x"}}}}
      fields {key: "f" value {struct_value {fields {key: "g" value {string_value: "y"}}}}}}"""
    assert decode_check(response(text)).dynamic_metadata == {
        "a": 1, "b": 1.5, "c": True, "d": None, "e": ["x"], "f": {"g": "y"},
    }  # fmt: skip


def test_metadata_that_nest_too_deep_are_no_answer():
    def nested(depth: int) -> bytes:
        message = CheckResponse()
        at = message.dynamic_metadata
        for _ in range(depth):
            at = at.fields["a"].struct_value
        return message.SerializeToString()

    decode_check(nested(MAX_DEPTH - 1))
    with pytest.raises(WireError):
        decode_check(nested(MAX_DEPTH + 1))


@given(st.binary(max_size=64))
def test_any_bytes_are_an_answer_or_refused(data: bytes):
    try:
        found = decode_check(data)
    except WireError:
        return
    assert found.status in (OK, DENIED, ERROR)
