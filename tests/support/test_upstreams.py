import pytest

from tests.support.raw_client import ConnectionEndedError, RawClient
from tests.support.upstreams import (
    MalformedRequestError,
    Peer,
    RecordingUpstream,
    RefusingPort,
    ScriptedUpstream,
    answering,
    parse_head,
)

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


def test_a_request_is_recorded_with_its_exact_bytes_and_answered():
    with RecordingUpstream() as upstream, RawClient(upstream.port) as client:
        answer = client.request(GET)
        request = upstream.take()
    assert (answer.status, answer.body) == (200, b"ok")
    assert (request.method, request.target, request.raw) == ("GET", "/a", GET)
    assert request.headers == [("Host", "h")]


def test_a_chunked_request_is_decoded_with_its_trailers():
    head = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
    raw = head + b"3\r\nabc\r\n0\r\nx: 1\r\n\r\n"
    with RecordingUpstream() as upstream, RawClient(upstream.port) as client:
        client.request(raw)
        request = upstream.take()
    assert (request.body, request.trailers, request.raw) == (b"abc", [("x", "1")], raw)


def test_chunks_1xx_and_trailers_of_an_answer_are_parsed():
    play = answering(
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"2\r\nab\r\n1\r\nc\r\n0\r\nt: 1\r\n\r\n",
    )
    with RecordingUpstream(play) as upstream, RawClient(upstream.port) as client:
        client.send(GET)
        assert client.read_answer().status == 103
        answer = client.read_answer()
    assert (answer.body, answer.trailers, answer.chunked) == (b"abc", [("t", "1")], True)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        b"GET / x HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 01\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx: a\x00b\r\n\r\n",
    ],
)
def test_a_head_that_two_servers_could_read_differently_is_malformed(head):
    with pytest.raises(MalformedRequestError):
        parse_head(head)


def test_stop_raises_what_went_wrong_in_a_script():
    def script(peer: Peer) -> None:
        peer.read_some()
        raise MalformedRequestError("seen")

    upstream = ScriptedUpstream(script)
    with RawClient(upstream.port) as client:
        client.send(b"x")
        assert client.read_rest() == b""
    with pytest.raises(MalformedRequestError, match="seen"):
        upstream.stop()


def test_a_reset_is_an_end_of_the_connection():
    with (
        ScriptedUpstream(lambda peer: (peer.read_head(), peer.reset())) as upstream,
        RawClient(upstream.port) as client,
        pytest.raises(ConnectionEndedError),
    ):
        client.request(GET)


def test_a_refusing_port_refuses():
    with RefusingPort() as refusing, pytest.raises(ConnectionRefusedError):
        RawClient(refusing.port)
