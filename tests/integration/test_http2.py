"""Real HTTP/2 clients against the process: curl and nghttp, and frames by hand on a socket."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.support.http2_frames import (
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    START,
    frame,
    headers,
    read_frames,
    settings,
)
from tests.support.processes import ProxyProcess
from tests.support.upstreams import RecordingUpstream

DIRECT = ((":method", "GET"), (":scheme", "http"), (":path", "/direct"), (":authority", "h"))
ROUTES = """
- match: {path: /direct}
  direct_response: {status: 200, body: {inline_string: hello}}
- match: {prefix: /}
  route: {cluster: up}
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[RecordingUpstream]:
    with RecordingUpstream() as running:
        yield running


@pytest.fixture(scope="module")
def proxy(upstream: RecordingUpstream) -> Iterator[ProxyProcess]:
    yaml = bootstrap(
        [
            listener("main", virtual_host(ROUTES)),
            listener("only2", virtual_host(ROUTES), options="codec_type: HTTP2"),
            listener("only1", virtual_host(ROUTES), options="codec_type: HTTP1"),
        ],
        [cluster("up", [upstream.port])],
    )
    with ProxyProcess("meshproxy", yaml) as running:
        yield running


def tool(*command: str) -> str:
    if shutil.which(command[0]) is None and "CI" not in os.environ:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def talk(port: int, octets: bytes) -> bytes:
    """Send octets; everything that comes back until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(octets)
        got = b""
        while piece := sock.recv(65536):
            got += piece
        return got


@pytest.mark.parametrize("name", ["main", "only2"])
def test_curl_with_prior_knowledge_is_served(proxy, upstream, name):
    url = f"http://127.0.0.1:{proxy.ports[name]}/x"
    out = tool("curl", "-s", "--http2-prior-knowledge", "-w", " %{http_version}", "-d", "abc", url)
    assert out == "ok 2"
    [request] = upstream.take_all()
    assert (request.method, request.target, request.body) == ("POST", "/x", b"abc")


def test_curl_with_http_1_is_served_on_the_same_port(proxy):
    url = f"http://127.0.0.1:{proxy.ports['main']}/direct"
    assert tool("curl", "-s", "-w", " %{http_version}", url) == "hello 1.1"


def test_a_client_may_go_on_in_http_2(proxy):
    url = f"http://127.0.0.1:{proxy.ports['main']}/direct"
    assert tool("curl", "-s", "--http2", "-w", " %{http_version}", url) == "hello 2"
    assert tool("nghttp", "-u", url) == "hello"
    url = f"http://127.0.0.1:{proxy.ports['only1']}/direct"
    assert tool("curl", "-s", "--http2", "-w", " %{http_version}", url) == "hello 1.1"


@pytest.mark.parametrize(
    "fields",
    [
        "connection: upgrade\r\nupgrade: h2c\r\n",
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\n",
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: !\r\n",
        "connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n",
    ],
)
def test_one_that_does_not_ask_properly_stays_with_http_1(proxy, fields):
    ask = f"GET /direct HTTP/1.1\r\nhost: h\r\n{fields}\r\n"
    with socket.create_connection(("127.0.0.1", proxy.ports["main"]), timeout=10) as sock:
        sock.sendall(ask.encode())
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")


def test_frames_behind_the_request_that_asks_are_not_lost(proxy):
    ask = (
        b"GET /direct HTTP/1.1\r\nhost: h\r\nconnection: upgrade, http2-settings\r\n"
        b"upgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n"
    )
    more = START + headers(3, DIRECT) + frame(PING, 0, 0, b"12345678")
    with socket.create_connection(("127.0.0.1", proxy.ports["main"]), timeout=10) as sock:
        sock.sendall(ask + more)
        got = b""
        while b"12345678" not in got:
            got += sock.recv(65536)
    head, _, octets = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    answers = [each.stream for each in read_frames(octets) if each.kind == HEADERS]
    assert answers == [1, 3]


def test_nghttp_gets_many_answers_on_one_connection(proxy):
    url = f"http://127.0.0.1:{proxy.ports['main']}/direct"
    assert tool("nghttp", "-m", "20", url) == "hello" * 20


def test_a_body_larger_than_every_window_comes_through(proxy, upstream):
    body = "x" * 3_000_000
    url = f"http://127.0.0.1:{proxy.ports['main']}/big"
    done = subprocess.run(
        ["curl", "-s", "--http2-prior-knowledge", "--data-binary", "@-", url],
        input=body, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.stdout == "ok"
    [request] = upstream.take_all()
    assert len(request.body) == 3_000_000


def test_the_codec_type_decides_where_it_is_told(proxy):
    octets = START + headers(1)
    assert talk(proxy.ports["only1"], octets).startswith(b"HTTP/1.1 4")
    answer = read_frames(talk(proxy.ports["only2"], b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"))
    assert answer[-1].kind == GOAWAY


def test_a_preface_that_comes_in_pieces_is_recognised(proxy):
    with socket.create_connection(("127.0.0.1", proxy.ports["main"]), timeout=10) as sock:
        for at in range(len(PREFACE)):
            sock.sendall(PREFACE[at : at + 1])
        sock.sendall(settings() + headers(1, DIRECT) + frame(PING, 0, 0, b"12345678"))
        got = b""
        while b"12345678" not in got:
            got += sock.recv(65536)
    assert HEADERS in [each.kind for each in read_frames(got)]


def test_a_flood_ends_its_connection_and_nobody_elses(proxy):
    port = proxy.ports["main"]
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        talk(port, START + frame(PING, 0, 0, b"12345678") * 100_000)
    assert proxy.counters()["http2.outbound_control_flood"] == 1
    assert tool("curl", "-s", "--http2-prior-knowledge", f"http://127.0.0.1:{port}/direct")
