"""How requests are passed on: framing, hop-by-hop headers, limits, refusals."""

from collections.abc import Callable

import pytest

from tests.parity.config import UPSTREAM_TRAILERS, bootstrap, cluster, listener, virtual_host
from tests.parity.differences import REFUSED_CASES
from tests.parity.harness import Case, Pair
from tests.support.eventually import eventually
from tests.support.raw_client import RawClient, http_request
from tests.support.upstreams import answering, answering_then_wait

ROUTES = "- match: {prefix: /}\n  route: {cluster: up}"
OPTIONS = {
    "main": "",
    "trailers": "http_protocol_options: {enable_trailers: true}",
    "small": "max_request_headers_kb: 1",
    "old": "http_protocol_options: {accept_http_10: true, default_host_for_http_10: default.host}",
    "older": "http_protocol_options: {accept_http_10: true}",
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
    ("upgrade: h2c", "connection: upgrade, http2-settings", "http2-settings: AAM"),
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
ONCE = (
    "accept", "accept-language", "authorization", "cache-control", "content-encoding",
    "content-type", "cookie", "date", "expect", "origin", "range", "referer", "server", "te",
    "user-agent", "via", "x-envoy-attempt-count", "x-envoy-foo", "x-envoy-original-host",
    "x-forwarded-client-cert", "x-forwarded-for", "x-forwarded-host", "x-request-id",
)  # fmt: skip
LAST = len(http_request("/x", "x: "))
DETAILS = [
    *(Case(f"{name} twice", http_request("/x", f"{name}: 1", f"{name}: 2")) for name in ONCE),
    Case("first of two empty", http_request("/x", "via:", "via: 2", "accept: 1", "accept:")),
    *(
        Case(f"{len(options)} options", http_request("/x", f"connection: {','.join(options)}"))
        for options in ("abcdefghi", "abcdefghij")
    ),
    Case("many options in two lines",
         http_request("/x", "connection: a,b,c,d,e", "connection: f,g,h,i,j")),
    *(
        Case(f"connection: {option}",
             http_request("/x", f"connection: {option}", "x-forwarded-host: a", "te: a"))
        for option in (
            "x-forwarded-host", "x-forwarded-port", "CLOSE", "connection", ":", "TE", ","
        )
    ),
    *(
        Case(f"te of {size}", http_request("/x", "connection: te", f"te: {'a' * size}"))
        for size in (255, 256)
    ),
    Case("length nominated",
         post("connection: content-length", "content-length: 3", body=b"abc")),
    *(
        Case(f"{size} bytes of head", http_request("/x", f"x: {'a' * (size - LAST)}"))
        for size in (61440, 61441)
    ),
    Case("QUERY in a language", http_request("/x", "content-type: a/b", method="QUERY")),
    Case("CONNECT with a path", http_request("/x", method="CONNECT")),
    Case("another scheme", http_request("ftp://h/x")),
    Case("absolute form without host", b"GET http://abs.example/x HTTP/1.1\r\n\r\n"),
    Case("expect in upper case",
         (post("Expect: 100-Continue", "content-length: 3"), after_continue(b"abc"))),
    Case("two spaces", b"GET  /x  HTTP/1.1\r\nhost: h.example\r\n\r\n"),
    *(
        Case(f"{name}: HTTP/1.0 {fields}", http_request("/x", *fields, version="1.0"),
             listener=name)
        for name in ("old", "older")
        for fields in ((), ("connection: keep-alive",), ("connection: close",))
    ),
    *(
        Case(f"{name}: HTTP/1.0 without host, {fields}",
             b"GET /x HTTP/1.0\r\n" + b"".join(fields) + b"\r\n", listener=name)
        for name in ("old", "older")
        for fields in ((), (b"connection: keep-alive\r\n",))
    ),
    Case("HTTP/1.0 with a body", http_request("/x", "content-length: 3", method="POST",
         version="1.0", body=b"abc"), listener="old"),
    Case("HTTP/1.0 answered in chunks", http_request("/x", version="1.0"),
         answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
         listener="old", closes=True),
    Case("HTTP/1.0 kept alive, answered in chunks",
         http_request("/x", "connection: keep-alive", version="1.0"),
         answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
         listener="old", closes=True),
]  # fmt: skip
CASES = ACCEPTED + REFUSED + DETAILS
STRICTER = {
    "HTTP/1.0 in chunks": http_request("/x", CHUNKED, method="POST", version="1.0",
                                       body=b"0\r\n\r\n"),
    "HTTP/0.9 where HTTP/1.0 is taken": b"GET /x\r\n\r\n",
    "two hosts the same": http_request("/x", "host: h.example"),
}  # fmt: skip


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


def test_every_refusal_that_is_our_own_has_its_reason():
    assert set(STRICTER) == set(REFUSED_CASES)


@pytest.mark.parametrize("name", STRICTER)
def test_what_we_refuse_on_purpose_is_passed_on_by_envoy_alone(pair: Pair, name: str):
    seen = pair.run(Case(name, STRICTER[name], listener="old"))
    assert seen["envoy"].answers[0][1] == 200
    assert len(seen["envoy"].upstream) == 1
    assert [answer[1] for answer in seen["meshproxy"].answers] in ([400], [426])
    assert seen["meshproxy"].upstream == []
    assert seen["meshproxy"].closed
