"""Every flood of HTTP/2 against the process: it ends its connection, costs no memory, and others
are served meanwhile.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.support.http2_frames import (
    CONTINUATION,
    GET,
    HEADERS,
    PING,
    PRIORITY,
    START,
    block,
    data,
    frame,
    headers,
    number,
    post,
    rst,
    settings,
    window_update,
)
from tests.support.http2_peers import Http2Client
from tests.support.processes import ProxyProcess

MAX_GROWTH = 20 << 20
ROUTES = """
- match: {prefix: /hold}
  route: {cluster: hold}
- match: {prefix: /}
  direct_response: {status: 200, body: {inline_string: "%s"}}
""" % ("x" * 2000)
REQUEST = [*GET]
_FIELD = b"\x40\x01x" + b"\x7f\xa1\x1e" + b"y" * 4000  # one entry of 4000 bytes
_HOLD = ((":method", "GET"), (":scheme", "http"), (":path", "/hold"), (":authority", "h"))
_POST = post(1, ((":method", "POST"), *_HOLD[1:]))

# What is sent first, and what again and again with the number of its turn.
FLOODS = {
    "rapid reset": (b"", lambda n: headers(2 * n + 1, _HOLD) + rst(2 * n + 1)),
    "MadeYouReset": (b"", lambda n: post(2 * n + 1, _HOLD) + window_update(2 * n + 1, 0)),
    "CONTINUATION": (
        frame(HEADERS, 0, 1, block()), lambda n: frame(CONTINUATION, 0, 1, block((("x", "y"),)))
    ),
    "SETTINGS": (b"", lambda n: settings((3, 1))),
    "PING": (b"", lambda n: frame(PING, 0, 0, b"12345678")),
    "empty DATA": (_POST, lambda n: data(1, b"", 0)),
    "PRIORITY": (b"", lambda n: frame(PRIORITY, 0, 1, number(0) + b"\x0f")),
    "WINDOW_UPDATE": (b"", lambda n: window_update(0, 1)),
    "HPACK bomb": (
        frame(HEADERS, 5, 1, b"\x82\x86\x84" + _FIELD),
        lambda n: frame(HEADERS, 5, 2 * n + 3, b"\xbe" * 16000),
    ),
    "more headers than allowed": (
        b"", lambda n: headers(2 * n + 1, (*GET, *((f"x{k}", "") for k in range(200)))),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def proxy() -> Iterator[ProxyProcess]:
    main = listener("main", virtual_host(ROUTES), options="stream_idle_timeout: 1s")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yaml = bootstrap([main], [cluster("hold", [silent.getsockname()[1]])])
        with ProxyProcess("meshproxy", yaml) as running:
            yield running


class Flood(threading.Thread):
    """Sends until the proxy closes; `sent` frames at the end, None if it never did."""

    def __init__(self, port: int, first: bytes, more) -> None:
        super().__init__(daemon=True)
        self.sent: int | None = None
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._first, self._more = first, more

    def run(self) -> None:
        turn = 0
        with self._sock as sock:
            try:
                sock.sendall(START + self._first)
                for turn in range(400):
                    sock.sendall(b"".join(self._more(turn * 100 + n) for n in range(100)))
                while sock.recv(65536):
                    pass
            except (ConnectionResetError, BrokenPipeError):
                pass
            except TimeoutError:
                return
        self.sent = turn * 100


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_ended_and_nobody_else_notices(proxy, name):
    port = proxy.ports["main"]
    before = proxy.rss_bytes()
    flood = Flood(port, *FLOODS[name])
    with Http2Client(port) as client:
        flood.start()
        while flood.is_alive():
            assert client.request(REQUEST).status == "200"
        assert client.request(REQUEST).status == "200"
    assert flood.sent is not None
    assert proxy.rss_bytes() - before < MAX_GROWTH


def test_streams_whose_windows_stay_closed_end_after_the_idle_time(proxy):
    octets = START + settings((4, 0)) + b"".join(headers(2 * n + 1) for n in range(100))
    resets = 0
    with socket.create_connection(("127.0.0.1", proxy.ports["main"]), timeout=20) as sock:
        sock.sendall(octets)
        got = b""
        while resets < 100:
            got += sock.recv(65536)
            resets = got.count(b"\0\0\4\3\0")
    assert proxy.counters()["http2.tx_flush_timeout"] == 100


def test_nothing_went_wrong_inside(proxy):
    assert "unhandled error" not in proxy.log
    counters = proxy.counters()
    assert counters["http2.streams_active"] == 0
    assert counters["http.main.downstream_cx_http2_active"] == 0
    assert counters["http.main.downstream_rq_too_many_premature_resets"] == 3
