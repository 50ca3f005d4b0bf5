"""How requests are passed on: framing, hop-by-hop headers, limits, refusals."""

from collections.abc import Callable

import pytest

from tests.parity.config import UPSTREAM_TRAILERS, bootstrap, cluster, listener, virtual_host
from tests.parity.harness import Case, Pair
from tests.support.eventually import eventually
from tests.support.raw_client import RawClient, http_request
from tests.support.upstreams import answering_then_wait

ROUTES = "- match: {prefix: /}\n  route: {cluster: up}"
OPTIONS = {
    "main": "",
    "trailers": "http_protocol_options: {enable_trailers: true}",
    "small": "max_request_headers_kb: 1",
    "few": "common_http_protocol_options: {max_headers_count: 5}",
}


def configuration(up: int, dead: int) -> str:
    hosts = virtual_host(ROUTES)
    return bootstrap(
        [
            listener(
                name,
                hosts.replace("cluster: up", "cluster: trailing") if name == "trailers" else hosts,
                options=options,
            )
            for name, options in OPTIONS.items()
        ],
        [cluster("up", [up]), cluster("trailing", [up], options=UPSTREAM_TRAILERS)],
    )


def after_continue(body: bytes) -> Callable[[RawClient], None]:
    """Send the body when `100 Continue` has arrived, as a client that expects it does."""

    def step(client: RawClient) -> None:
        assert client.read_answer().status == 100
        client.send(body)

    return step


def post(*fields: str, body: bytes = b"") -> bytes:
    return http_request("/p", *fields, method="POST", body=body)


CHUNKED = "transfer-encoding: chunked"
# Less than the buffers of either proxy: how often a fuller one fills is up to the kernel.
BIG = bytes(range(256)) * 2048
HOP_BY_HOP = (
    ("connection: keep-alive",), ("connection: x-foo", "x-foo: 1", "x-bar: 2"), ("connection: te",),
    ("connection: keep-alive, x-foo, te", "x-foo: 1", "te: trailers"), ("keep-alive: timeout=5",),
    ("proxy-connection: keep-alive",), ("te: trailers",), ("te: trailers, deflate",), ("te: gzip",),
    ("TE: Trailers",), ("te: trailers;q=0.5",), ("trailer: x",), ("proxy-authorization: q",),
    ("connection: host",), ("connection: content-length", "content-length: 0"),
    ("connection: :path",), ("connection: cookie", "cookie: a=b"), ("connection: x-forwarded-for",),
    ("upgrade: h2c", "connection: upgrade, http2-settings", "http2-settings: AAMAAABk"),
    ("upgrade: h2c",), ("connection: x-forwarded-proto", "x-forwarded-proto: https"),
    ("connection: ,, x-foo ,", "x-foo: 1"), ("expect: foo",), ("cookie: a=b", "cookie: c=d"),
    ("x-a: 1", "X-A: 2", "x-a: 1"), ("user-agent: u", "accept: */*", "x-empty:"), ("x: caf\xe9",),
    ("content-length: 0",), ("x-tab:\tv\t",), ("x_y: 1",), ("accept-encoding: gzip",),
)  # fmt: skip
METHODS = (
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "MKCOL",
    "REPORT",
    "PURGE", "QUERY", "get", "FOO", "GET1", "M-SEARCH",
)  # fmt: skip
ACCEPTED = [
    *(Case(f"{fields}", http_request("/x", *fields)) for fields in HOP_BY_HOP),
    *(Case(f"method {method}", http_request("/x", method=method)) for method in METHODS),
    Case("content-length", post("content-length: 3", body=b"abc")),
    Case("body in pieces", (post("content-length: 6", body=b"ab"), b"cd", b"ef")),
    Case("GET with a body", http_request("/x", "content-length: 3", body=b"abc")),
    Case("chunked", post(CHUNKED, body=b"3\r\nabc\r\n2;q=r\r\nde\r\n0\r\n\r\n")),
    Case("chunked upper case", post("Transfer-Encoding: CHUNKED",
    body=b"A\r\n0123456789\r\n0\r\n\r\n")),
    Case("trailers dropped", post(CHUNKED, body=b"1\r\na\r\n0\r\nx-t: 1\r\n\r\n")),
    Case("trailers kept", post(CHUNKED, body=b"1\r\na\r\n0\r\nX-T: 1\r\nx-u: 2\r\n\r\n"),
         listener="trailers"),
    Case("large body", post(f"content-length: {len(BIG)}", body=BIG)),
    # The chunks that go out are as large as the reads that come in, so the bytes sent differ.
    Case("large chunk", post(CHUNKED, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(BIG), BIG)),
         stats=False),
    Case("expect", (post("expect: 100-continue", "content-length: 3"), after_continue(b"abc"))),
    Case("connection: close", http_request("/x", "connection: close")),
    Case("Connection: Close", http_request("/x", "Connection: Close")),
    Case("absolute form", http_request("http://abs.example:81/ok?x=y", host="other")),
    Case("absolute form without path", http_request("http://abs.example", host="other")),
    Case("absolute form https", http_request("https://abs.example/ok", host="other")),
    Case("two in one write", http_request("/1") + http_request("/2"), answers=2),
    Case("empty lines before", b"\r\n\r\n" + http_request("/x")),
    Case("bit by bit", tuple(bytes([byte]) for byte in http_request("/x", "x-a: b"))),
]  # fmt: skip
MANY = tuple(f"x{number}: a" for number in range(99))
REFUSED = [
    Case("HTTP/1.0", http_request("/x", version="1.0")),
    Case("HTTP/1.2", http_request("/x", version="1.2")),
    Case("HTTP/0.9", b"GET /x\r\n\r\n"),
    Case("no host", b"GET /x HTTP/1.1\r\n\r\n"),
    Case("CONNECT", http_request("h:80", method="CONNECT", host="h:80")),
    Case("asterisk", http_request("*", method="OPTIONS")),
    Case("websocket", http_request("/x", "connection: upgrade", "upgrade: websocket")),
    Case("unknown upgrade", http_request("/x", "connection: upgrade", "upgrade: foo")),
    Case("websocket with a body",
         http_request("/x", "connection: upgrade", "upgrade: websocket", "content-length: 2",
         body=b"ab")),
    Case("60 KiB of headers", http_request("/x", f"x: {'a' * 61400}")),
    Case("a kilobyte of headers", http_request("/x", f"x: {'a' * 1000}"), listener="small"),
    Case("a long target", http_request("/" + "a" * 1100), listener="small"),
    Case("99 headers and host", http_request("/x", *MANY)),
    Case("101 headers", http_request("/x", *MANY, "one: more")),
    Case("six of five headers", http_request("/x", *MANY[:5]), listener="few"),
    Case("TE and CL", post(CHUNKED, "content-length: 3", body=b"0\r\n\r\n")),
    Case("TE gzip", post("transfer-encoding: gzip, chunked", body=b"0\r\n\r\n")),
    Case("TE identity", post("transfer-encoding: identity")),
    Case("TE twice", post(CHUNKED, CHUNKED, body=b"0\r\n\r\n")),
    Case("CL twice", post("content-length: 1", "content-length: 1", body=b"a")),
    Case("CL negative", post("content-length: -1")),
    Case("garbage", b"garbage\r\n\r\n"),
    Case("space in the target", http_request("/a b")),
    Case("no colon", http_request("/x", "nocolon")),
    Case("space before the colon", http_request("/x", "x : 1")),
    Case("control character", http_request("/x", "x: a\x01")),
    Case("NUL", http_request("/x", "x: a\x00")),
    Case("bad chunk size", post(CHUNKED, body=b"zz\r\nabc\r\n0\r\n\r\n"), stats=False),
    Case("gone within the head", (b"GET /x HT", RawClient.half_close), answers=0, log_lines=1),
]  # fmt: skip
CASES = ACCEPTED + REFUSED


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name[:60])
def test_the_same_is_passed_on_or_refused(pair: Pair, case: Case):
    pair.check(case)


def test_a_client_that_goes_within_its_body_takes_its_request_with_it(pair: Pair):
    cut_off = 0

    def has_arrived(_client: RawClient) -> None:
        nonlocal cut_off
        cut_off += 1  # each proxy's own connection ends so, for good
        eventually(lambda: [raw[-3:] for raw in pair.upstream.received].count(b"abc") == cut_off)

    sent = (post("content-length: 10", body=b"abc"), has_arrived, RawClient.half_close)
    pair.check(Case("gone within the body", sent, answers=0, log_lines=1))


def test_a_client_that_goes_while_it_waits_takes_its_request_with_it(pair: Pair):
    def has_arrived(_client: RawClient) -> None:
        eventually(lambda: pair.upstream.requests.qsize() == 1)

    sent = (http_request("/x"), has_arrived, RawClient.half_close)
    pair.check(Case("gone", sent, answering_then_wait(), answers=0, log_lines=1))
