"""What a client gets for good, odd, broken and missing answers of the upstream."""

import pytest

from tests.parity.config import UPSTREAM_TRAILERS, bootstrap, cluster, listener, virtual_host
from tests.parity.harness import Case, Pair
from tests.support.raw_client import http_request
from tests.support.upstreams import (
    OK_ANSWER,
    answering,
    answering_then_close,
    answering_then_reset,
    answering_then_wait,
)

ROUTES = """
- match: {prefix: /dead}
  route: {cluster: dead}
- match: {prefix: /nobody}
  route: {cluster: nobody}
- match: {prefix: /missing}
  route: {cluster_header: x-cluster}
- match: {prefix: /only}
  route: {cluster: up}
- match: {prefix: /timeout}
  route: {cluster: up, timeout: 0.15s}
"""


def configuration(up: int, dead: int) -> str:
    hosts = virtual_host(ROUTES)
    trailers = "http_protocol_options: {enable_trailers: true}"
    return bootstrap(
        [
            listener("main", hosts),
            listener("proxied100", hosts, options="proxy_100_continue: true"),
            listener("old", hosts, options="http_protocol_options: {accept_http_10: true}"),
            listener(
                "trailers", hosts.replace("cluster: up", "cluster: trailing"), options=trailers
            ),
        ],
        [
            cluster("up", [up]),
            cluster("dead", [dead]),
            cluster("nobody", []),
            cluster("trailing", [up], options=UPSTREAM_TRAILERS),
        ],
    )


LOCAL = [
    Case("no route", http_request("/nothing")),
    Case("no route, HEAD", http_request("/nothing", method="HEAD")),
    Case("no route, with a body to come",
         http_request("/nothing", "content-length: 3", method="POST")),
    Case("refused", http_request("/dead")),
    Case("refused, HEAD", http_request("/dead", method="HEAD")),
    Case("refused, with a body",
         http_request("/dead", "content-length: 3", method="POST", body=b"abc")),
    Case("refused, gRPC", http_request("/dead", "content-type: application/grpc")),
    Case("nobody there", http_request("/nobody")),
    Case("no cluster", http_request("/missing")),
    Case("unknown cluster", http_request("/missing", "x-cluster: unknown")),
    Case("no route, gRPC", http_request("/nothing", "content-type: application/grpc")),
    Case("closed", http_request("/only"), answering_then_close()),
    Case("reset", http_request("/only"), answering_then_reset()),
    Case("closed, with a body",
         http_request("/only", "content-length: 3", method="POST", body=b"abc"),
         answering_then_close()),
    Case("closed within the head", http_request("/only"),
         answering_then_close(b"HTTP/1.1 200 OK\r\nco")),
    Case("reset within the head", http_request("/only"),
         answering_then_reset(b"HTTP/1.1 200 OK\r\nco")),
    Case("timeout", http_request("/timeout"), answering_then_wait()),
    Case("timeout, HEAD", http_request("/timeout", method="HEAD"), answering_then_wait()),
    Case("timeout, gRPC", http_request("/timeout", "content-type: application/grpc"),
    answering_then_wait()),
]  # fmt: skip

CUT = [
    (
        "body cut",
        "/only",
        answering_then_close(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", b"abc"),
    ),
    (
        "chunk cut",
        "/only",
        answering_then_close(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab"),
    ),
    (
        "last chunk missing",
        "/only",
        answering_then_close(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n"),
    ),
    (
        "timeout in the body",
        "/timeout",
        answering_then_wait(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"),
    ),
]

HEAD = b"HTTP/1.1 200 OK\r\n"
EMPTY = b"content-length: 0\r\n\r\n"
ODD = (
    b"HTTP/1.1 200 Fine\r\nServer: nginx\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n" + EMPTY,
    HEAD + b"Connection: keep-alive, x-foo\r\nx-foo: 1\r\nKeep-Alive: timeout=5\r\n" + EMPTY,
    HEAD
    + b"proxy-connection: keep-alive\r\nx-request-id: z\r\nvia: q\r\nx-powered-by: p\r\n"
    + EMPTY,
    HEAD + b"x-envoy-upstream-service-time: 77\r\nx-envoy-attempt-count: 4\r\n" + EMPTY,
    HEAD + b"set-cookie: a\r\nset-cookie: b\r\nX-Mixed:   a b  \r\nx-empty:\r\n" + EMPTY,
    HEAD + b"x: caf\xe9\r\n" + EMPTY,
    HEAD + b"x-envoy-upstream-canary: true\r\n" + EMPTY,
    HEAD + b"x-envoy-upstream-canary: 1\r\n" + EMPTY,
    HEAD + b"upgrade: h2c\r\nconnection: upgrade\r\n" + EMPTY,
    HEAD + b"te: trailers\r\ntrailer: x\r\n" + EMPTY,
    HEAD + b"content-length: 3\r\n\r\nabc",
    HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
    HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-trailer: 1\r\nx-b: 2\r\n\r\n",
    b"HTTP/1.1 200\r\n" + EMPTY,
    b"HTTP/1.1 200 \r\n" + EMPTY,
    b"HTTP/1.0 200 OK\r\n" + EMPTY,
    b"HTTP/1.1 201 Created\r\nlocation: /x\r\n" + EMPTY,
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n" + EMPTY,
    b"HTTP/1.1 205 Reset\r\ncontent-length: 2\r\n\r\nok",
    b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\netag: x\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\n\r\n",
    b"HTTP/1.1 404 Nope\r\ncontent-length: 1\r\n\r\nn",
    b"HTTP/1.1 500 Oops\r\n" + EMPTY,
    b"HTTP/1.1 503 Busy\r\nretry-after: 1\r\n" + EMPTY,
    b"HTTP/1.1 599 Odd\r\n" + EMPTY,
    b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + EMPTY,
    b"HTTP/1.1 102 Processing\r\n\r\n" + HEAD + EMPTY,
    b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + HEAD + EMPTY,
)
MALFORMED = (
    b"HTTX/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 abc OK\r\n" + EMPTY,
    b"garbage\r\n\r\n",
    HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"content-length: 2\r\ncontent-length: 2\r\n\r\nok",
    HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok",
    HEAD + b"content-length: 2, 2\r\n\r\nok",
    HEAD + b"content-length: -1\r\n\r\n",
    HEAD + b"content-length: 0x2\r\n\r\nok",
    HEAD + b"content-length: 99999999999999999999999\r\n\r\n",
    HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"transfer-encoding: identity\r\n\r\n",
    HEAD + b"X Y: 1\r\n" + EMPTY,
    HEAD + b": 1\r\n" + EMPTY,
    HEAD + b"nocolon\r\n" + EMPTY,
    HEAD + b"x : 1\r\n" + EMPTY,
    HEAD + b"x: a\x01b\r\n" + EMPTY,
    HEAD + b"x: a\x00b\r\n" + EMPTY,
    HEAD + b"x: 1\r\n" * 101 + EMPTY,
    b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok",
    b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
)
CLOSING = (
    HEAD + b"connection: close\r\n" + EMPTY,
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    HEAD + b"\r\nuntil the end",
    HEAD + b"\r\n",
)
EXTRA = OK_ANSWER + b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad"
HEADED = (
    HEAD + b"content-length: 10\r\n\r\n",
    HEAD + b"transfer-encoding: chunked\r\n\r\n",
    HEAD + b"\r\n",
)
CASES = [
    *LOCAL,
    *(
        Case(name, http_request(path), play, truncated=True, log_lines=1)
        for name, path, play in CUT
    ),
    *(Case(repr(answer), http_request("/only"), answering(answer)) for answer in ODD + MALFORMED),
    *(
        Case(f"closing {answer!r}", http_request("/only"), answering_then_close(answer))
        for answer in CLOSING
    ),
    *(
        Case(f"HEAD {answer!r}", http_request("/only", method="HEAD"), answering(answer))
        for answer in HEADED
    ),
    Case("extra bytes after the answer", http_request("/only"), answering(EXTRA)),
    Case("not reused after extra bytes", http_request("/only")),
    Case(
        "100 passed on",
        http_request("/only", "expect: 100-continue", "content-length: 2", body=b"ab"),
        answering(b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + EMPTY),
        listener="proxied100",
        answers=2,
        log_lines=2,  # its own, and that of the request which follows
    ),
    Case(
        "trailers passed on",
        http_request("/only"),
        answering(HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Trailer: 1\r\n\r\n"),
        listener="trailers",
    ),
    Case("1.0 to 1.0", http_request("/only", version="1.0"), listener="old"),
    Case(
        "1.0 with keep-alive",
        http_request("/only", "connection: keep-alive", version="1.0"),
        listener="old",
    ),
    Case(
        "chunked to 1.0",
        http_request("/only", version="1.0"),
        answering(HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        listener="old",
        closes=True,
    ),
    Case(
        "1.0 without host",
        b"GET /only HTTP/1.0\r\n\r\n",
        listener="old",
        differs="closes at once",
    ),
    Case(
        "no route for 1.0",
        http_request("/nothing", version="1.0"),
        listener="old",
        differs="closes at once",
    ),
    Case(
        "no route, connection: close",
        http_request("/nothing", "connection: close"),
        differs="closes at once",
    ),
    Case("refused, connection: close", http_request("/dead", "connection: close")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_client_gets_the_same(pair: Pair, case: Case):
    pair.check(case)
