"""Bodies stream both ways at once, a slow end slows the other, and memory stays bounded."""

import hashlib
import os
import threading
from collections.abc import Iterator

import pytest

from tests.integration.conftest import PlainYaml
from tests.support.eventually import eventually
from tests.support.processes import ProxyProcess
from tests.support.raw_client import RawClient, http_request
from tests.support.upstreams import Peer, ScriptedUpstream

MIB = 1 << 20
BLOCK = os.urandom(MIB)
SIZE = 64 * MIB
# The buffers of four sockets (up to 6 MiB each by Linux' defaults) and two proxy buffers of 1 MiB.
BOUND = 32 * MIB
GROWTH = 16 * MIB


class Upstream:
    """Sends or swallows a large body; `moved` says how far it has come."""

    def __init__(self) -> None:
        self.moved = 0
        self.digest = hashlib.sha256()
        self.may_read = threading.Event()
        self.server = ScriptedUpstream(self._serve, receive_buffer=256 * 1024)

    def _serve(self, peer: Peer) -> None:
        while head := peer.read_head():
            if head.startswith(b"GET /download"):
                self._send_body(peer)
            elif head.startswith(b"POST /upload"):
                self._swallow_body(peer)
            else:
                self._echo(peer)

    def _send_body(self, peer: Peer) -> None:
        peer.send(f"HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n".encode())
        for _ in range(SIZE // MIB):
            peer.send(BLOCK)
            self.moved += MIB

    def _swallow_body(self, peer: Peer) -> None:
        self.may_read.wait(20)
        while self.moved < SIZE:
            data = peer.read_some()
            self.moved += len(data)
            self.digest.update(data)
            peer.received.clear()
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    def _echo(self, peer: Peer) -> None:
        """Send every chunk back as soon as it is there; the client's last one ends both bodies."""
        peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while data := peer.read_some():
            peer.send(data)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    one = Upstream()
    yield one
    one.may_read.set()
    one.server.stop()


@pytest.fixture
def proxy(upstream: Upstream, plain_yaml: PlainYaml) -> Iterator[ProxyProcess]:
    with ProxyProcess("meshproxy", plain_yaml(upstream.server.port)) as one:
        yield one


def digest_of(blocks: int) -> str:
    whole = hashlib.sha256()
    for _ in range(blocks):
        whole.update(BLOCK)
    return whole.hexdigest()


def settle(moved: "list[int]", upstream: Upstream) -> bool:
    """True when nothing has moved since the last look, three times in a row."""
    moved.append(upstream.moved)
    return len(moved) > 30 and len(set(moved[-30:])) == 1 and upstream.moved > 0


def test_a_slow_client_slows_the_upstream(upstream: Upstream, proxy: ProxyProcess):
    before = proxy.rss_bytes()
    with RawClient(proxy.ports["main"], receive_buffer=64 * 1024) as client:
        client.send(http_request("/download"))
        seen: list[int] = []
        eventually(lambda: settle(seen, upstream))
        assert upstream.moved < BOUND
        assert proxy.rss_bytes() - before < GROWTH
        body = client.read_final().body
    assert hashlib.sha256(body).hexdigest() == digest_of(SIZE // MIB)
    assert proxy.rss_bytes() - before < GROWTH


def test_a_slow_upstream_slows_the_client(upstream: Upstream, proxy: ProxyProcess):
    before = proxy.rss_bytes()
    with RawClient(proxy.ports["main"], timeout_s=20) as client:
        client.send(http_request("/upload", f"content-length: {SIZE}", method="POST"))
        sent = 0
        client.socket.settimeout(0.5)
        try:
            while sent < SIZE:
                sent += client.socket.send(BLOCK[sent % MIB :])
        except TimeoutError:
            pass
        assert 0 < sent < BOUND
        assert proxy.rss_bytes() - before < GROWTH
        upstream.may_read.set()
        client.socket.settimeout(20)
        while sent < SIZE:
            sent += client.socket.send(BLOCK[sent % MIB :])
        assert client.read_final().status == 200
    assert upstream.moved == SIZE
    assert upstream.digest.hexdigest() == digest_of(SIZE // MIB)
    assert proxy.rss_bytes() - before < GROWTH


def test_both_directions_stream_at_once(upstream: Upstream, proxy: ProxyProcess):
    with RawClient(proxy.ports["main"]) as client:
        client.send(http_request("/echo", "transfer-encoding: chunked", method="POST"))
        head = client.read_head()
        assert (head.status, head.get("transfer-encoding")) == (200, "chunked")
        for number in range(20):
            text = f"message {number}".encode()
            client.send(b"%x\r\n%b\r\n" % (len(text), text))
            assert client.read_chunk() == text
        client.send(b"0\r\n\r\n")
        assert client.read_chunk() == b""


def test_an_answer_may_come_before_the_request_is_complete(upstream: Upstream, proxy: ProxyProcess):
    with RawClient(proxy.ports["main"]) as client:
        client.send(http_request("/echo", "content-length: 1000", method="POST"))
        assert client.read_head().status == 200
