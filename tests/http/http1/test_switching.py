"""Switching protocols in both codecs: what is asked for, granted, refused, and what follows."""

import pytest

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.http1 import ClientCodec, ServerCodec
from meshproxy.http.http1.settings import Http1Settings
from tests.support.fake_wire import FakeWire, RecordedResponse, RecordingManager, cuts

WISH = (
    b"GET /x HTTP/1.1\r\nhost: h\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\r\n"
)
GRANTED = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
REQUEST = [
    (b":authority", b"h"), (b":path", b"/x"), (b":method", b"GET"),
    (b"connection", b"keep-alive, Upgrade"), (b"upgrade", b"websocket"),
]  # fmt: skip


def client(pairs=REQUEST):
    wire, response = FakeWire(), RecordedResponse()
    codec = ClientCodec(wire, Http1Settings())
    codec.encode_headers(response, HeaderMap(list(pairs)), False)
    return codec, wire, response


def test_the_wish_goes_upstream_without_a_body_of_its_own():
    _, wire, _ = client()
    assert wire.take() == WISH


def test_without_a_wish_connection_fields_of_filters_do_not_leave():
    _, wire, _ = client([*REQUEST[:3], (b"connection", b"x"), (b"a", b"b")])
    assert wire.take() == (
        b"GET /x HTTP/1.1\r\nhost: h\r\na: b\r\ntransfer-encoding: chunked\r\n\r\n"
    )


@pytest.mark.parametrize("pieces", cuts(GRANTED + b"first"))
def test_after_a_grant_bytes_are_the_other_protocols_and_the_connection_is_spent(pieces):
    codec, wire, response = client()
    wire.take()
    for piece in pieces:
        codec.dispatch(piece)
    assert response.headers == [
        (b":status", b"101"), (b"connection", b"Upgrade"), (b"upgrade", b"websocket"),
    ]  # fmt: skip
    assert response.body == b"first"
    assert not response.ended
    codec.encode_data(b"raw", False)
    assert wire.take() == b"raw"
    assert not codec.reusable
    assert not codec.ends_with_eof


def test_the_end_of_a_switched_connection_is_a_termination_not_an_end():
    codec, _, response = client()
    codec.dispatch(GRANTED)
    codec.on_eof()
    assert response.reset == "connection termination"
    assert not response.ended


def test_a_switch_that_nobody_asked_for_breaks_the_connection():
    codec, wire, response = client(REQUEST[:3])
    codec.dispatch(GRANTED)
    assert response.reset == "protocol error"
    assert wire.closed == "abort"


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nbytes", b"bytes"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nbytes", b"bytes"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nbytes", b"bytes"),
    ],
)
def test_a_granted_tunnel_has_no_framing(answer, body):
    pairs = [(b":authority", b"h:80"), (b":method", b"CONNECT")]
    codec, wire, response = client(pairs)
    assert wire.take() == b"CONNECT h:80 HTTP/1.1\r\nhost: h:80\r\n\r\n"
    codec.dispatch(answer)
    assert response.headers == [(b":status", b"200")]
    assert response.body == body
    assert not response.ended


def test_bytes_after_a_stream_was_given_up_are_nobodys_fault():
    codec, wire, _ = client()
    codec.reset_stream()
    codec.dispatch(b"late")
    assert not codec.broken
    assert wire.closed == "abort"


def server(data):
    wire, manager = FakeWire(), RecordingManager()
    codec = ServerCodec(wire, manager, Http1Settings())
    codec.dispatch(data)
    return codec, wire, manager.requests[0]


@pytest.mark.parametrize("status", [b"101"])
def test_what_follows_a_wish_is_its_body_until_the_end(status):
    codec, wire, request = server(WISH + b"early")
    assert request.body == b"early"
    assert not request.ended
    codec.encode_headers(
        HeaderMap([(b":status", status), (b"connection", b"Upgrade"), (b"upgrade", b"websocket")]),
        False,
    )
    codec.encode_data(b"raw", False)
    assert wire.take() == GRANTED + b"raw"
    codec.dispatch(b"GET / HTTP/1.1\r\n\r\n")
    assert request.body == b"earlyGET / HTTP/1.1\r\n\r\n"


def test_a_wish_that_is_not_granted_ends_the_connection_with_its_answer():
    codec, wire, _ = server(WISH)
    codec.encode_headers(HeaderMap([(b":status", b"403")]), True)
    assert b"connection: close\r\n" in wire.take()
    assert wire.closed is not None


def test_after_a_tunnel_nothing_is_read_as_a_request():
    codec, wire, request = server(b"CONNECT h:80 HTTP/1.1\r\nhost: h:80\r\n\r\n")
    codec.encode_headers(HeaderMap([(b":status", b"200")]), False)
    codec.encode_data(b"bytes", False)
    assert wire.take() == b"HTTP/1.1 200 OK\r\n\r\nbytes"
    codec.encode_data(b"", True)
    assert wire.closed == "flush"
    codec.dispatch(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
    assert request.body == b""
