"""Pipelining downstream, and the pool upstream: reuse, stale connections, limits."""

import threading
from collections.abc import Iterator

import pytest

from tests.integration.conftest import PlainYaml
from tests.support.eventually import eventually
from tests.support.processes import ProxyProcess
from tests.support.raw_client import RawClient, http_request
from tests.support.upstreams import (
    OK_ANSWER,
    Peer,
    RecordingUpstream,
    Request,
    answering_then_close,
)


@pytest.fixture
def upstream() -> Iterator[RecordingUpstream]:
    with RecordingUpstream() as one:
        yield one


@pytest.fixture
def proxy(upstream: RecordingUpstream, plain_yaml: PlainYaml) -> Iterator[ProxyProcess]:
    with ProxyProcess("meshproxy", plain_yaml(upstream.port)) as one:
        yield one


def test_pipelined_requests_are_answered_in_order(upstream: RecordingUpstream, proxy: ProxyProcess):
    def play(peer: Peer, request: Request) -> None:
        body = request.target.encode()
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    upstream.play = play
    with RawClient(proxy.ports["main"]) as client:
        client.send(b"".join(http_request(f"/{number}") for number in range(100)))
        bodies = [client.read_final().body for _ in range(100)]
    assert bodies == [f"/{number}".encode() for number in range(100)]
    assert [request.target for request in upstream.take_all()] == [f"/{n}" for n in range(100)]


def test_the_next_pipelined_request_waits_for_its_turn(
    upstream: RecordingUpstream, proxy: ProxyProcess
):
    release = threading.Event()

    def play(peer: Peer, _request: Request) -> None:
        release.wait(10)
        peer.send(OK_ANSWER)

    upstream.play = play
    with RawClient(proxy.ports["main"]) as client:
        client.send(http_request("/1") + http_request("/2"))
        upstream.take()
        # The proxy is in its loop and answers the admin; the second request is still with it.
        proxy.admin("/ready")
        assert upstream.take_all() == []
        release.set()
        assert client.read_final().status == 200
        assert client.read_final().status == 200
    assert upstream.take().target == "/2"


def test_a_flood_of_pipelined_requests_is_not_read_into_memory(
    upstream: RecordingUpstream, proxy: ProxyProcess
):
    release = threading.Event()

    def play(peer: Peer, _request: Request) -> None:
        release.wait(20)
        peer.close()

    upstream.play = play
    before = proxy.rss_bytes()
    flood = http_request("/flood", f"x: {'a' * 1000}") * 1000
    with RawClient(proxy.ports["main"]) as client:
        client.send(http_request("/first"))
        upstream.take()
        client.socket.settimeout(0.3)
        sent = 0
        try:
            while sent < 64 << 20:
                sent += client.socket.send(flood)
        except TimeoutError:
            pass
        assert sent < 32 << 20
        assert proxy.rss_bytes() - before < 16 << 20
        release.set()


def test_a_connection_is_reused(upstream: RecordingUpstream, proxy: ProxyProcess):
    with RawClient(proxy.ports["main"]) as client:
        for _ in range(20):
            assert client.request(http_request("/x")).status == 200
    assert len(upstream.peers) == 1


def test_the_connection_used_last_is_used_first(upstream: RecordingUpstream, proxy: ProxyProcess):
    gate = threading.Barrier(3)

    def play(peer: Peer, request: Request) -> None:
        if request.target == "/together":
            gate.wait(10)
        peer.send(OK_ANSWER)

    upstream.play = play
    port = proxy.ports["main"]
    with RawClient(port) as one, RawClient(port) as two:
        one.send(http_request("/together"))
        two.send(http_request("/together"))
        gate.wait(10)
        assert one.read_final().status == two.read_final().status == 200
        before = [len(peer.received) for peer in upstream.peers]
        for _ in range(10):
            assert one.request(http_request("/x")).status == 200
    grown = [len(peer.received) > size for peer, size in zip(upstream.peers, before, strict=True)]
    assert sorted(grown) == [False, True]


def test_closed_connections_of_the_pool_cost_no_request(
    upstream: RecordingUpstream, proxy: ProxyProcess
):
    upstream.play = answering_then_close(OK_ANSWER)
    with RawClient(proxy.ports["main"]) as client:
        statuses = [client.request(http_request("/x")).status for _ in range(200)]
    assert statuses == [200] * 200


def test_a_request_is_sent_once_when_the_upstream_closes_on_it(
    upstream: RecordingUpstream, proxy: ProxyProcess
):
    def play(peer: Peer, request: Request) -> None:
        if request.target == "/fatal":
            peer.close()
        else:
            peer.send(OK_ANSWER)

    upstream.play = play
    with RawClient(proxy.ports["main"]) as client:
        assert client.request(http_request("/x")).status == 200
        assert (
            client.request(http_request("/fatal", "content-length: 0", method="POST")).status == 503
        )
    assert [request.target for request in upstream.take_all()] == ["/x", "/fatal"]


def test_a_client_that_goes_away_ends_its_request_upstream(
    upstream: RecordingUpstream, proxy: ProxyProcess
):
    gone = threading.Event()

    def play(peer: Peer, _request: Request) -> None:
        if not peer.read_some():
            gone.set()

    upstream.play = play
    with RawClient(proxy.ports["main"]) as client:
        client.send(http_request("/x"))
        upstream.take()
    assert gone.wait(10)
    eventually(lambda: proxy.counters()["http.main.downstream_rq_active"] == 0)
    assert proxy.counters()["cluster.up.upstream_cx_active"] == 0


def test_an_upstream_that_comes_back_is_used_again(plain_yaml: PlainYaml):
    first = RecordingUpstream()
    with (
        ProxyProcess("meshproxy", plain_yaml(first.port)) as proxy,
        RawClient(proxy.ports["main"]) as client,
    ):
        assert client.request(http_request("/x")).status == 200
        first.stop()
        eventually(lambda: proxy.counters()["cluster.up.upstream_cx_active"] == 0)
        assert client.request(http_request("/x")).status == 503
        with RecordingUpstream(port=first.port):
            assert client.request(http_request("/x")).status == 200
