"""AutoPool: what becomes of connections and of who waits, by what ALPN has chosen."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from meshproxy.network.address import Address
from meshproxy.stats.store import Store
from meshproxy.upstream.auto_pool import AutoPool
from meshproxy.upstream.cluster import Cluster, ClusterConfig, UpstreamProtocol
from meshproxy.upstream.host import EndpointConfig, Host
from meshproxy.upstream.pools import make_pool
from tests.support.fake_wire import FakeWire
from tests.support.http2_frames import PREFACE
from tests.upstream.test_conn_pool import Connector, Request


class World:
    def __init__(self) -> None:
        config = ClusterConfig(name="c", upstream_protocol=UpstreamProtocol.AUTO)
        self.cluster = Cluster(config, Store())
        host = Host(Address.parse("127.0.0.1", 80), EndpointConfig("127.0.0.1", 80))
        self.connector = Connector()
        self.pool = make_pool(self.cluster, host, self.connector)

    def begin(self) -> Request:
        request = Request()
        self.pool.new_stream(request)
        return request

    def connect(self, alpn: str | None) -> FakeWire:
        client = self.connector.waiting.pop(0)
        wire = FakeWire()
        wire.tls = SimpleNamespace(alpn=alpn) if alpn is not None else None
        wire.owner = client
        wire.dispatch = client.on_connected(wire)
        return wire


def test_the_configuration_makes_one():
    assert type(World().pool) is AutoPool


def test_a_host_that_chooses_http_2_gets_all_requests_on_one_connection():
    world = World()
    requests = [world.begin() for _ in range(3)]
    wire = world.connect("h2")
    assert wire.sent.startswith(PREFACE)
    assert all(request.client is not None for request in requests)
    stats = world.cluster.stats
    assert (stats.upstream_cx_http2_total.value, stats.upstream_cx_http1_total.value) == (1, 0)
    world.begin()
    assert world.connector.waiting == []


@pytest.mark.parametrize("alpn", ["http/1.1", "", None])
def test_a_host_that_does_not_gets_a_connection_for_each(alpn):
    world = World()
    requests = [world.begin() for _ in range(3)]
    assert len(world.connector.waiting) == 1
    wire = world.connect(alpn)
    assert wire.sent.startswith(b"GET / HTTP/1.1\r\n")
    assert [request.client is not None for request in requests] == [True, False, False]
    assert len(world.connector.waiting) == 2
    assert len(world.pool.pending) == 2
    stats = world.cluster.stats
    assert stats.upstream_cx_http2_total.value == 0
    assert stats.upstream_cx_http1_total.value == 1
    assert stats.upstream_cx_active.value == 3
    assert stats.upstream_rq_pending_active.value == 2


def test_a_host_that_has_learned_http_2_gets_it_from_the_next_connection_on():
    world = World()
    first = world.begin()
    world.connect("http/1.1")
    assert first.client is not None
    waiting = [world.begin(), world.begin()]
    assert [each.alpn for each in (world.pool.http1, world.pool.http2)] == [("h2", "http/1.1")] * 2
    wire = world.connect("h2")
    assert wire.sent.startswith(PREFACE)
    assert all(request.client is not None for request in waiting)
    stats = world.cluster.stats
    assert (stats.upstream_cx_http2_total.value, stats.upstream_cx_http1_total.value) == (1, 1)
    assert stats.upstream_rq_pending_active.value == 0
    # The other connection that was on its way is the pool's as well, and not needed.
    world.connect("h2")
    world.begin()
    assert world.connector.waiting == []
    assert stats.upstream_cx_active.value == 3


def test_a_host_that_has_forgotten_http_2_gets_what_it_speaks():
    world = World()
    world.begin()
    wire = world.connect("h2")
    wire.owner.last = True  # no request of the next ones is for it
    late = world.begin()
    world.connect("http/1.1")
    assert late.client is not None
    assert world.cluster.stats.upstream_cx_http1_total.value == 1


def test_a_connection_that_fails_is_heard_by_all_who_wait():
    world = World()
    requests = [world.begin(), world.begin()]
    world.connector.waiting.pop().on_connect_failure("remote connection failure", "refused")
    assert {request.failure for request in requests} == {"remote connection failure"}
    assert not world.pool.in_use


def test_one_that_waits_no_more_is_forgotten():
    world = World()
    request = world.begin()
    world.pool.cancel(request)
    assert world.pool.pending == []
    world.connect("http/1.1")
    assert request.client is None
    assert world.cluster.stats.upstream_rq_pending_active.value == 0
