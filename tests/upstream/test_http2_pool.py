"""Http2Pool: which connection carries which request, when another one is made, and how it ends."""

from __future__ import annotations

import gc
import weakref

import pytest

from meshproxy.http.http2.frames import MAX_STREAM_ID
from meshproxy.http.http2.settings import Http2Settings, Keepalive
from meshproxy.http.stream_info import HTTP2, HTTP11
from meshproxy.network.address import Address
from meshproxy.stats.store import Store
from meshproxy.upstream.cluster import (
    CircuitBreakers,
    Cluster,
    ClusterConfig,
    UpstreamProtocol,
    leave,
)
from meshproxy.upstream.conn_pool import CONNECT, FULL, READY, WAIT, ConnPool, PoolClient
from meshproxy.upstream.host import EndpointConfig, Host
from meshproxy.upstream.http2_pool import Http2Client, Http2Pool
from meshproxy.upstream.pools import make_pool
from tests.support.http2_frames import (
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PREFACE,
    RST_STREAM,
    Frame,
    frame,
    headers,
    number,
    read_frames,
    rst,
    settings,
)
from tests.upstream.test_conn_pool import Connector, Request

OK = ((":status", "200"),)


class World:
    def __init__(self, **options) -> None:
        limits = options.pop("limits", {})
        http2 = Http2Settings(
            max_concurrent_streams=options.pop("streams", 1024),
            keepalive=options.pop("keepalive", None),
        )
        config = ClusterConfig(
            name="c", upstream_protocol=UpstreamProtocol.HTTP2, http2=http2,
            circuit_breakers=CircuitBreakers(**limits), **options,
        )  # fmt: skip
        self.cluster = Cluster(config, Store())
        self.host = Host(Address.parse("127.0.0.1", 80), EndpointConfig("127.0.0.1", 80))
        self.connector = Connector()
        self.pool = Http2Pool(self.cluster, self.host, self.connector)

    def begin(self) -> Request:
        request = Request()
        self.pool.new_stream(request)
        return request

    def connect(self, *octets: bytes):
        client, wire = self.connector.succeed()
        client.codec.dispatch(settings() + b"".join(octets))
        return client, wire


def sent(wire) -> list[Frame]:
    return [
        each
        for each in read_frames(wire.take().removeprefix(PREFACE))
        if each.kind in (HEADERS, RST_STREAM, GOAWAY)
    ]


def test_all_that_wait_get_the_one_connection():
    world = World()
    requests = [world.begin() for _ in range(3)]
    assert len(world.connector.waiting) == 1
    assert world.pool.next_step() == WAIT
    client, wire = world.connect()
    assert [each.stream for each in sent(wire)] == [1, 3, 5]
    assert world.pool.next_step() == READY
    stats = world.cluster.stats
    assert (stats.upstream_cx_http2_total.value, stats.upstream_rq_active.value) == (1, 3)
    assert stats.upstream_rq_pending_active.value == 0
    for stream in (3, 1, 5):
        client.codec.dispatch(headers(stream, OK))
    assert all(request.ended for request in requests)
    assert (stats.upstream_rq_active.value, world.host.active_requests) == (0, 0)
    assert world.pool.idle == [client]


def later(world):
    """Let what is to happen in the next turn of the loop wait; a list of it."""
    waiting = []
    world.connector.dispatcher.call_soon = waiting.append
    return waiting


def test_a_connection_that_is_just_up_is_waited_for():
    world = World()
    waiting = later(world)
    first = world.begin()
    world.connector.succeed()
    second = world.begin()
    assert world.connector.waiting == []
    waiting.pop()()
    assert first.client is not None
    assert second.client is not None


def test_a_connection_that_ends_before_it_is_ready_is_made_again():
    world = World()
    waiting = later(world)
    request = world.begin()
    client, wire = world.connector.succeed()
    wire.closing = True
    client.on_closed(False)
    waiting.pop()()
    assert len(world.connector.waiting) == 1
    assert request.client is None


def test_another_connection_is_made_where_one_has_no_room():
    world = World(streams=2)
    requests = [world.begin() for _ in range(3)]
    assert len(world.connector.waiting) == 2
    client, wire = world.connect()
    assert len(sent(wire)) == 2
    world.connect()
    assert all(request.client is not None for request in requests)
    assert world.pool.next_step() == READY
    client.codec.dispatch(headers(1, OK))
    assert client in world.pool.ready


def test_a_server_that_takes_fewer_streams_is_believed():
    world = World()
    world.begin()
    world.connect(settings((3, 1)))
    second = world.begin()
    assert second.client is None
    assert len(world.connector.waiting) == 1


def test_with_no_further_connection_allowed_a_request_waits_for_room():
    world = World(streams=1, limits={"max_connections": 1})
    world.begin()
    second = world.begin()
    client, wire = world.connect()
    assert world.pool.next_step() == WAIT
    client.codec.dispatch(headers(1, OK))
    assert [each.stream for each in sent(wire)] == [1, 3]
    assert second.client is not None


def test_circuit_breakers_refuse():
    world = World(limits={"max_pending_requests": 1})
    world.begin()
    assert world.begin().failure == "overflow"
    assert world.pool.next_step() == FULL
    world = World(limits={"max_requests": 1})
    world.begin()
    world.connect()
    assert world.begin().failure == "overflow"
    assert world.cluster.stats.upstream_rq_active_overflow.value == 1


def test_goaway_sends_the_next_request_elsewhere_and_the_connection_ends_with_its_last():
    world = World()
    first = world.begin()
    client, wire = world.connect()
    client.codec.dispatch(frame(GOAWAY, 0, 0, number(2**31 - 1) + number(0)))
    assert world.pool.next_step() == CONNECT
    assert wire.closed is None
    client.codec.dispatch(headers(1, OK))
    assert first.ended
    assert wire.closed == "flush"
    assert world.cluster.stats.upstream_cx_close_notify.value == 1


def test_after_its_number_of_requests_a_connection_ends():
    world = World(max_requests_per_connection=2)
    world.begin()
    client, wire = world.connect()
    world.begin()
    assert world.cluster.stats.upstream_cx_max_requests.value == 1
    assert world.pool.next_step() == CONNECT
    client.codec.dispatch(headers(1, OK))
    assert wire.closed is None
    client.codec.dispatch(headers(3, OK))
    assert wire.closed == "flush"


def test_a_connection_that_has_used_all_stream_ids_ends_and_another_is_made():
    world = World()
    first = world.begin()
    client, wire = world.connect()
    client.codec.dispatch(headers(1, OK))
    client.codec._next_id = MAX_STREAM_ID  # a billion requests later
    last = world.begin()
    assert world.pool.next_step() == CONNECT
    assert wire.closed is None
    client.codec.dispatch(headers(MAX_STREAM_ID, OK))
    assert first.ended
    assert last.ended
    assert wire.closed == "flush"


def test_a_reset_ends_one_request_and_is_counted():
    world = World()
    first, second = world.begin(), world.begin()
    client, wire = world.connect()
    sent(wire)
    client.codec.dispatch(rst(1, 8))
    assert first.reset == "remote reset"
    second.client.reset()
    assert [each.code for each in sent(wire)] == ["INTERNAL_ERROR"]
    stats = world.cluster.stats
    assert (stats.upstream_rq_rx_reset.value, stats.upstream_rq_tx_reset.value) == (1, 1)
    assert stats.upstream_rq_active.value == 0
    assert wire.closed is None


def test_the_end_of_a_connection_ends_its_requests():
    world = World()
    requests = [world.begin(), world.begin()]
    client, _ = world.connect()
    client.on_eof()
    client.on_closed(False)
    assert {request.reset for request in requests} == {"connection termination"}
    stats = world.cluster.stats
    assert stats.upstream_cx_destroy_remote_with_active_rq.value == 1
    assert stats.upstream_cx_active.value == 0
    assert stats.upstream_rq_active.value == 0
    assert world.pool.next_step() == CONNECT


def test_a_server_that_breaks_the_rules_is_counted():
    world = World()
    request = world.begin()
    client, wire = world.connect(frame(7, 0, 1, b""))
    assert request.reset == "protocol error"
    assert wire.closed == "linger"
    client.on_closed(True)
    assert world.cluster.stats.upstream_cx_protocol_error.value == 1


def test_a_failed_connection_is_heard_by_all_who_wait():
    world = World()
    requests = [world.begin(), world.begin()]
    world.connector.waiting.pop().on_connect_failure("remote connection failure", "refused")
    assert {request.failure for request in requests} == {"remote connection failure"}
    assert world.connector.waiting == []


def test_one_that_waits_no_more_is_forgotten():
    world = World()
    request = world.begin()
    world.pool.cancel(request)
    world.connect()
    assert request.client is None
    assert world.cluster.stats.upstream_rq_cancelled.value == 1


def test_an_idle_connection_ends_after_its_time():
    world = World(idle_timeout=10.0)
    world.begin()
    client, wire = world.connect()
    client.codec.dispatch(headers(1, OK))
    world.connector.dispatcher.advance(9.9)
    assert wire.closed is None
    world.connector.dispatcher.advance(0.2)
    assert wire.closed == "flush"


def test_a_connection_that_is_being_closed_gets_no_request():
    world = World(idle_timeout=10.0)
    world.begin()
    client, wire = world.connect()
    client.codec.dispatch(headers(1, OK))
    world.connector.dispatcher.advance(11)
    assert wire.closed == "flush"
    late = world.begin()
    assert late.client is None
    assert len(world.connector.waiting) == 1


def test_a_dead_server_is_given_up():
    world = World(keepalive=Keepalive(interval=1, timeout=1, jitter=0))
    request = world.begin()
    _, wire = world.connect()
    for _ in range(15):
        world.connector.dispatcher.advance(0.2)
    assert request.reset == "connection termination"
    assert wire.closed == "abort"


def test_draining_lets_requests_end():
    world = World()
    world.begin()
    client, wire = world.connect()
    world.pool.drain()
    assert wire.closed is None
    client.codec.dispatch(headers(1, OK))
    assert wire.closed == "flush"


def test_a_host_that_is_gone_keeps_no_connection():
    world = World()
    world.host.pool = world.pool
    world.begin()
    busy, busy_wire = world.connect()
    leave([world.host])
    assert busy_wire.closed is None
    late = world.begin()  # of somebody who had chosen the host before
    client, wire = world.connect()
    assert late.client is not None
    client.codec.dispatch(headers(1, OK))
    busy.codec.dispatch(headers(1, OK))
    assert (busy_wire.closed, wire.closed) == ("flush", "flush")


def test_a_connection_that_comes_up_when_its_host_is_gone_serves_who_waits_and_ends():
    world = World()
    world.host.pool = world.pool
    waiting = world.begin()
    leave([world.host])
    _, wire = world.connect()
    if waiting.client is None:  # on another connection
        assert wire.closed == "flush"
        _, wire = world.connect()
    assert waiting.client is not None


def test_an_idle_connection_to_a_host_that_is_gone_ends_at_once():
    world = World()
    world.host.pool = world.pool
    world.begin()
    client, wire = world.connect()
    client.codec.dispatch(headers(1, OK))
    assert wire.closed is None
    leave([world.host])
    assert wire.closed == "flush"


def test_the_configuration_chooses_the_pool():
    def pool(protocol):
        cluster = Cluster(ClusterConfig(name="c", upstream_protocol=protocol), Store())
        host = Host(Address.parse("127.0.0.1", 80), EndpointConfig("127.0.0.1", 80))
        return make_pool(cluster, host, Connector())

    assert type(pool(UpstreamProtocol.HTTP1)) is ConnPool
    assert type(pool(UpstreamProtocol.HTTP2)) is Http2Pool


@pytest.mark.parametrize(("protocol", "kind"), [(HTTP2, Http2Client), (HTTP11, PoolClient)])
def test_a_request_may_go_on_in_the_protocol_that_it_came_in(protocol, kind):
    config = ClusterConfig(name="c", upstream_protocol=UpstreamProtocol.DOWNSTREAM)
    host = Host(Address.parse("127.0.0.1", 80), EndpointConfig("127.0.0.1", 80))
    connector = Connector()
    pool = make_pool(Cluster(config, Store()), host, connector)
    request = Request()
    request.downstream_protocol = protocol
    pool.new_stream(request)
    assert [type(each) for each in connector.waiting] == [kind]
    assert pool.pending == [request]
    pool.cancel(request)
    assert pool.pending == []


@pytest.mark.parametrize("high", [True, False])
def test_a_full_connection_makes_every_request_wait(high):
    world = World()
    seen = []
    for request in (world.begin(), world.begin()):
        request.on_upstream_watermark = seen.append
    client, _ = world.connect()
    client.on_watermark(True)
    if not high:
        client.on_watermark(False)
    assert seen == ([True, True] if high else [True, True, False, False])


@pytest.mark.parametrize(
    "octets",
    [
        (headers(1, OK),),
        (rst(1),),
        (headers(1, OK, END_HEADERS), rst(1)),
        (headers(1, (("no-status", "1"),)),),
        (frame(GOAWAY, 0, 0, number(0) + number(0)),),
    ],
)
def test_a_request_whose_exchange_is_over_dies_without_the_cycle_collector(octets):
    world = World()
    request = world.begin()
    client, _ = world.connect()
    gc.disable()
    try:
        for each in octets:
            client.codec.dispatch(each)
        assert request.ended or request.reset is not None
        request = weakref.ref(request)
        assert request() is None
    finally:
        gc.enable()
