"""Every flood of HTTP/2 against the process: it ends its connection, costs no memory, and others
are served meanwhile.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.http2_floods import FLOODS, REQUEST, flood_configuration
from tests.support.http2_frames import START, headers, settings
from tests.support.http2_peers import Http2Client
from tests.support.processes import ProxyProcess

MAX_GROWTH = 20 << 20


@pytest.fixture(scope="module")
def proxy() -> Iterator[ProxyProcess]:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yaml = flood_configuration(silent.getsockname()[1])
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
