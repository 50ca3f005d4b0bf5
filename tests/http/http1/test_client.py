"""ClientCodec: transcripts without sockets, replayed with the answer cut at every byte."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.http1 import ClientCodec
from meshproxy.http.http1.settings import Http1Settings
from tests.support.fake_wire import FakeWire, RecordedResponse, cuts

REQUEST = [(b":authority", b"h"), (b":path", b"/p"), (b":method", b"GET"), (b":scheme", b"http")]


def ask(method=b"GET", fields=(), end_stream=True, settings=None):
    wire, response = FakeWire(), RecordedResponse()
    codec = ClientCodec(wire, settings or Http1Settings())
    pairs = [(n, method if n == b":method" else v) for n, v in REQUEST]
    codec.encode_headers(response, HeaderMap([*pairs, *fields]), end_stream)
    return wire, response, codec


def feed(codec, wire, pieces):
    for piece in pieces:
        if wire.closed is None:
            codec.dispatch(piece)


LENGTH = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
)


@pytest.mark.parametrize("answer", [LENGTH, CHUNKED], ids=["length", "chunked"])
def test_an_answer_is_the_same_however_it_is_cut(answer):
    for pieces in cuts(answer):
        wire, response, codec = ask()
        feed(codec, wire, pieces)
        assert response.headers[0] == (b":status", b"200")
        assert (b"x-a", b"1") in response.headers
        assert response.body == b"hello"
        assert response.ended
        assert len(response.informational) == (answer is CHUNKED)
        assert codec.idle
        assert codec.reusable
        assert wire.closed is None


def test_an_answer_without_a_length_lasts_until_the_peer_closes():
    for pieces in cuts(b"HTTP/1.1 200 OK\r\n\r\nhello"):
        wire, response, codec = ask()
        feed(codec, wire, pieces)
        assert not response.ended
        assert codec.ends_with_eof
        codec.on_eof()
        assert (response.body, response.ended) == (b"hello", True)
        assert not codec.reusable


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
        (b"GET", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ],
)
def test_an_answer_without_a_body_ends_with_its_head(method, answer):
    for pieces in cuts(answer):
        wire, response, codec = ask(method)
        feed(codec, wire, pieces)
        assert response.ended
        assert response.body == b""
        assert codec.idle


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\nx: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: 1\r\n" * 101 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_an_answer_that_two_peers_could_read_differently_ends_the_connection(answer):
    wire, response, codec = ask()
    feed(codec, wire, [answer])
    assert response.reset == "protocol error"
    assert wire.closed == "abort"
    assert not codec.reusable


def test_bytes_after_an_answer_answer_nobody():
    wire, response, codec = ask()
    feed(codec, wire, [LENGTH + LENGTH])
    assert response.body == b"hello"
    assert not codec.reusable
    assert wire.closed == "abort"


def test_a_peer_that_closes_within_an_answer_is_seen():
    for at in range(len(LENGTH)):
        wire, response, codec = ask()
        feed(codec, wire, [LENGTH[:at]] if at else [])
        codec.on_eof()
        assert not response.ended
        assert response.reset == ("protocol error" if at else "connection termination")


@pytest.mark.parametrize(
    ("method", "framing"),
    [
        (b"GET", b""), (b"HEAD", b""), (b"DELETE", b""), (b"TRACE", b""),
        (b"POST", b"content-length: 0\r\n"), (b"OPTIONS", b"content-length: 0\r\n"),
        (b"PROPFIND", b"content-length: 0\r\n"),
    ],
)  # fmt: skip
def test_a_request_without_a_body_says_so_where_its_method_could_have_one(method, framing):
    wire, _, _ = ask(method)
    assert wire.sent == b"%b /p HTTP/1.1\r\nhost: h\r\n%b\r\n" % (method, framing)


def test_hop_by_hop_fields_of_a_filter_do_not_leave():
    wire, _, _ = ask(fields=[(b"connection", b"close"), (b"transfer-encoding", b"x"), (b"a", b"1")])
    assert wire.sent == b"GET /p HTTP/1.1\r\nhost: h\r\na: 1\r\n\r\n"


@given(
    st.lists(st.binary(max_size=40), max_size=5),
    st.booleans(),
    st.lists(st.binary(max_size=40), max_size=5),
    st.booleans(),
    st.integers(1, 50),
)
def test_h11_reads_the_request_and_the_codec_reads_h11s_answer(
    sent, framed, answered, chunked, size
):
    length = [(b"content-length", b"%d" % len(b"".join(sent)))] if framed else []
    wire, response, codec = ask(b"POST", length, end_stream=False)
    for piece in sent:
        codec.encode_data(piece, False)
    codec.encode_data(b"", True)
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(wire.take())
    request = peer.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (b"POST", b"/p")
    body = b""
    while isinstance(event := peer.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert body == b"".join(sent)

    framing = (
        ("transfer-encoding", "chunked")
        if chunked
        else ("content-length", str(len(b"".join(answered))))
    )
    answer = peer.send(h11.Response(status_code=201, headers=[("x-a", "b"), framing])) or b""
    for piece in answered:
        answer += peer.send(h11.Data(data=piece)) or b""
    answer += peer.send(h11.EndOfMessage()) or b""
    feed(codec, wire, [answer[at : at + size] for at in range(0, len(answer), size)])
    assert response.headers[0] == (b":status", b"201")
    assert (b"x-a", b"b") in response.headers
    assert response.body == b"".join(answered)
    assert response.ended
    assert codec.reusable
