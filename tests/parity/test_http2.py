"""HTTP/2 on both sides: the same status, headers, trailers, flags and counters as Envoy's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parity.http2_harness import Http2Pair, http2_pair, request
from tests.support.http2_peers import Http2Client, Link, Message, Pairs, echo, ok
from tests.support.upstreams import Request


@pytest.fixture(scope="module")
def both() -> Iterator[Http2Pair]:
    with http2_pair() as pair:
        yield pair


def one(headers: Pairs, body: bytes = b"", trailers: Pairs | None = None):
    return lambda client: [client.request(headers, body, trailers)]


PASSED = {
    "direct response": (request(path="/direct"), b""),
    "to http/1": (request(path="/one/x"), b""),
    "to http/2": (request(), b""),
    "in the client's protocol": (request(path="/same/x"), b""),
    "no route": (request(path="/none"), b""),
    "body to http/1": (request(method="POST", path="/one"), b"abc"),
    "body to http/2": (request(method="POST"), b"abc"),
    "content-length to http/1":
        (request(("content-length", "3"), method="POST", path="/one"), b"abc"),
    "content-length to http/2": (request(("content-length", "3"), method="POST"), b"abc"),
    "HEAD to http/1": (request(method="HEAD", path="/one"), b""),
    "cookie crumbs to http/1":
        (request(("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), path="/one"), b""),
    "cookie crumbs to http/2": (request(("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")), b""),
    "te trailers to http/1": (request(("te", "trailers"), path="/one"), b""),
    "te trailers to http/2": (request(("te", "trailers")), b""),
    "host instead of authority": (request(("host", "other"), authority="-"), b""),
    "host besides authority": (request(("host", "other")), b""),
    "scheme https": (request(scheme="https"), b""),
    "query": (request(path="/two?a=b&c"), b""),
    "asterisk": (request(method="OPTIONS", path="*"), b""),
    "repeated fields": (request(("x-a", "1"), ("x-a", "2")), b""),
    "obs-text": (request(("x-a", "\xe9")), b""),
    "expect": (request(("expect", "100-continue"), method="POST"), b"abc"),
    "grpc without route":
        (request(("content-type", "application/grpc"), method="POST", path="/none"), b""),
}  # fmt: skip


@pytest.mark.parametrize(("headers", "body"), PASSED.values(), ids=PASSED)
def test_the_same_is_passed_on(both: Http2Pair, headers: Pairs, body: bytes):
    both.check(one(headers, body), play=ok)


@pytest.mark.parametrize("path", ["/one/x", "/two/x"])
def test_trailers_of_a_request(both: Http2Pair, path: str):
    both.check(one(request(method="POST", path=path), b"abc", [("x-t", "1")]), play=echo)


REFUSED = {
    "space in :method": request(method="G T"),
    "space in :path": request(path="/a b"),
    "control in :path": request(path="/a\x01"),
    "fragment in :path": request(path="/two#x"),
    "no slash": request(path="two"),
    "empty :path": request(path=""),
    "no :path": request(path="-"),
    "no :method": request(method="-"),
    "no :scheme": request(scheme="-"),
    "junk :scheme": request(scheme="h t"),
    "unknown :scheme": request(scheme="ftp"),
    "slash in :authority": request(authority="a/b"),
    "userinfo in :authority": request(authority="u@h"),
    "empty :authority": request(authority=""),
    "no authority at all": request(authority="-"),
    "two hosts": request(("host", "a"), ("host", "b"), authority="-"),
    "connection": request(("connection", "close")),
    "keep-alive": request(("keep-alive", "1")),
    "transfer-encoding": request(("transfer-encoding", "chunked")),
    "upgrade": request(("upgrade", "websocket")),
    "te gzip": request(("te", "gzip")),
    "upper case": request(("X-A", "1")),
    "space in a name": request(("a b", "1")),
    "newline in a value": request(("a", "b\nc")),
    "NUL in a value": request(("a", "b\0c")),
    "control in a value": request(("a", "b\x01c")),
    "content-length without a body": request(("content-length", "3")),
    "content-length twice": request(("content-length", "0"), ("content-length", "0")),
    "content-length negative": request(("content-length", "-1")),
    "unknown pseudo header": request(other="1"),
    "CONNECT": [(":method", "CONNECT"), (":authority", "h:1")],
    "CONNECT with :path": request(method="CONNECT"),
    ":protocol": request(method="CONNECT", protocol="websocket"),
    "101 headers": request(*((f"x-{n}", "1") for n in range(101))),
    "60 KiB of headers": request(*((f"x-{n}", "v" * 7000) for n in range(10))),
    "PRI": request(method="PRI"),
}


@pytest.mark.parametrize("listener", ["main", "lenient"])
@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED)
def test_the_same_is_refused(both: Http2Pair, headers: Pairs, listener: str):
    both.check(one(headers), play=ok, listener=listener)


def trailers_only(link: Link, stream: int, _: Message) -> None:
    link.h2.send_headers(
        stream,
        [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "5")],
        end_stream=True,
    )


def informational(link: Link, stream: int, message: Message) -> None:
    link.h2.send_headers(stream, [(":status", "103"), ("link", "x")])
    ok(link, stream, message)


def reset(code: int):
    return lambda link, stream, _: link.h2.reset_stream(stream, code)


def reset_in_the_body(link: Link, stream: int, _: Message) -> None:
    link.h2.send_headers(stream, [(":status", "200")])
    link.h2.send_data(stream, b"abc")
    link.h2.reset_stream(stream, 8)


def hang_up(link: Link, stream: int, _: Message) -> None:
    link.flush()
    link.sock.shutdown(2)


def bad_length(link: Link, stream: int, _: Message) -> None:
    link.h2.send_headers(stream, [(":status", "200"), ("content-length", "9")])
    link.h2.send_data(stream, b"abc", end_stream=True)


def no_status(link: Link, stream: int, _: Message) -> None:
    link.h2.send_headers(stream, [("x", "y")], end_stream=True)


ANSWERS = {
    "trailers": echo, "trailers only": trailers_only, "informational": informational,
    "reset": reset(8), "refused": reset(7), "internal error": reset(2), "no error": reset(0),
    "reset in the body": reset_in_the_body, "hang up": hang_up, "bad content-length": bad_length,
    "no status": no_status,
}  # fmt: skip


@pytest.mark.parametrize("play", ANSWERS.values(), ids=ANSWERS)
def test_the_same_becomes_of_an_answer(both: Http2Pair, play):
    both.check(one(request(method="POST"), b"abc", [("x-t", "1")]), play=play)


def test_a_request_that_times_out(both: Http2Pair):
    both.check(one(request(path="/slow")), play=lambda link, stream, message: None, resets=True)


def test_a_client_that_gives_up(both: Http2Pair):
    def drive(client: Http2Client) -> list[Message]:
        stream = client.start(request(method="POST"), end=False)
        client.h2.send_data(stream, b"abc")
        client.flush()
        client.h2.reset_stream(stream, 8)
        client.flush()
        return [client.request(request(path="/direct"))]

    both.check(drive, play=ok, lines=2)


def test_a_client_that_goes_away(both: Http2Pair):
    def drive(client: Http2Client) -> list[Message]:
        client.start(request(method="POST"), end=False)
        client.flush()
        return []

    both.check(drive, play=ok, lines=1)


def test_an_answer_before_the_request_has_ended(both: Http2Pair):
    def drive(client: Http2Client) -> list[Message]:
        message = client.finish(client.start(request(method="POST"), end=False))
        while message.reset is None and client.receive():  # it may come a packet later
            pass
        return [message]

    assert both.check(drive, play=ok, on_headers=True, resets=True).answers[0][-1] == 0


def test_trailers_of_an_http_1_answer_are_dropped(both: Http2Pair):
    def play(peer, request: Request) -> None:
        peer.send(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-a: 1\r\n\r\n"
            b"3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n"
        )

    both.check(one(request(path="/one/x")), play_one=play)


# How many connections are made, and who waits for one, is a race between two sockets.
_TIMING = (
    "cluster.one.upstream_cx",
    "cluster.one.upstream_rq_pending",
    "cluster.two.upstream_rq_pending",
    "cluster.one.upstream_rq_active",
)


def test_many_streams_on_one_connection(both: Http2Pair):
    def drive(client: Http2Client) -> list[Message]:
        streams = [client.start(request(path=path)) for path in ("/two", "/one", "/direct") * 5]
        return [client.finish(stream) for stream in streams]

    both.check(drive, play=ok, lines=15, ignore=_TIMING)
