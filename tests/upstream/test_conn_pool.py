"""ConnPool: decisions and bookkeeping, with a connector that connects when the test says so."""

import pytest

from meshproxy.http.header_map import HeaderMap
from meshproxy.network.address import Address
from meshproxy.stats.store import Store
from meshproxy.upstream.cluster import CircuitBreakers, Cluster, ClusterConfig, leave
from meshproxy.upstream.conn_pool import CONNECT, FULL, READY, WAIT, ConnPool
from meshproxy.upstream.host import EndpointConfig, Host
from tests.support.fake_stream import FakeDispatcher
from tests.support.fake_wire import FakeWire, RecordedResponse

REQUEST = HeaderMap([(b":authority", b"h"), (b":path", b"/"), (b":method", b"GET")])


class Request(RecordedResponse):
    def __init__(self):
        super().__init__()
        self.client = None
        self.failure = None

    def on_pool_ready(self, client):
        self.client = client
        client.codec.encode_headers(self, REQUEST, True)

    def on_pool_failure(self, reason, transport_reason, host):
        self.failure = reason
        self.failed_host = host

    def on_upstream_watermark(self, high):
        pass

    def on_headers(self, headers, end_stream):
        super().on_headers(headers, end_stream)
        if end_stream:
            self.client.end()

    def on_reset(self, reason, details):
        super().on_reset(reason, details)
        self.client.fail()

    def on_data(self, data, end_stream):
        if end_stream:
            self.client.end()
        super().on_data(data, end_stream)


class Dispatcher(FakeDispatcher):
    def call_soon(self, callback):
        callback()


class Connector:
    def __init__(self):
        self.waiting = []
        self.dispatcher = Dispatcher()

    def connect(self, client, *_):
        self.waiting.append(client)

    def succeed(self):
        client = self.waiting.pop(0)
        wire = FakeWire()
        wire.dispatch = client.on_connected(wire)
        return client, wire


@pytest.fixture
def world():
    def make(idle_timeout=3600.0, **limits):
        config = ClusterConfig(
            name="c", idle_timeout=idle_timeout, circuit_breakers=CircuitBreakers(**limits)
        )
        cluster = Cluster(config, Store())
        host = Host(Address.parse("127.0.0.1", 80), EndpointConfig("127.0.0.1", 80))
        connector = Connector()
        return cluster, ConnPool(cluster, host, connector), connector

    return make


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def test_a_request_waits_for_its_connection_which_is_then_kept_and_reused(world):
    cluster, pool, connector = world()
    first = Request()
    assert pool.next_step() == CONNECT
    pool.new_stream(first)
    assert cluster.stats.upstream_rq_pending_active.value == 1
    client, wire = connector.succeed()
    assert wire.take().startswith(b"GET / HTTP/1.1\r\nhost: h\r\n")
    wire.dispatch(OK)
    assert (first.body, first.ended) == (b"ok", True)
    assert pool.next_step() == READY
    second = Request()
    pool.new_stream(second)
    assert second.client is client
    assert cluster.stats.upstream_cx_total.value == 1
    assert cluster.stats.upstream_rq_total.value == 2
    assert cluster.stats.upstream_rq_pending_active.value == 0


def test_the_connection_used_last_is_used_first(world):
    _, pool, connector = world()
    requests = [Request(), Request()]
    for request in requests:
        pool.new_stream(request)
    wires = [connector.succeed()[1] for _ in requests]
    wires[1].dispatch(OK)
    wires[0].dispatch(OK)
    third = Request()
    pool.new_stream(third)
    assert third.client is requests[0].client


def test_at_the_limit_of_connections_requests_wait_and_then_overflow(world):
    cluster, pool, connector = world(max_connections=1, max_pending_requests=1)
    first, second, third = Request(), Request(), Request()
    pool.new_stream(first)
    _, wire = connector.succeed()
    assert pool.next_step() == WAIT
    pool.new_stream(second)
    assert pool.next_step() == FULL
    pool.new_stream(third)
    assert third.failure == "overflow"
    assert cluster.stats.upstream_rq_pending_overflow.value == 1
    wire.dispatch(OK)
    assert second.client is first.client


def test_beyond_the_limit_of_requests_each_is_refused_and_the_connection_stays(world):
    cluster, pool, connector = world(max_requests=1)
    requests = [Request() for _ in range(3)]
    for request in requests:
        pool.new_stream(request)
    _, wire = connector.succeed()
    connector.succeed()
    assert [request.failure for request in requests] == [None, "overflow", "overflow"]
    assert requests[1].failed_host is pool.host
    connector.succeed()
    assert cluster.stats.upstream_rq_active_overflow.value == 2
    assert cluster.stats.upstream_rq_pending_overflow.value == 0
    assert len(pool.idle) == 2
    fourth = Request()
    pool.new_stream(fourth)
    assert (fourth.failure, len(pool.idle)) == ("overflow", 2)
    wire.dispatch(OK)
    fifth = Request()
    pool.new_stream(fifth)
    assert fifth.failure is None


def test_a_refused_connection_fails_everybody_who_waits(world):
    cluster, pool, connector = world()
    requests = [Request(), Request()]
    for request in requests:
        pool.new_stream(request)
    connector.waiting[0].on_connect_failure("remote connection failure", "refused")
    assert [request.failure for request in requests] == ["remote connection failure"] * 2
    assert cluster.stats.upstream_cx_total.value == 2  # and nobody connects again
    assert cluster.stats.upstream_cx_connect_fail.value == 1
    assert cluster.stats.upstream_rq_pending_failure_eject.value == 2
    assert cluster.pending_active == 0


def test_bytes_after_an_answer_end_the_connection_instead_of_answering_a_stranger(world):
    _, pool, connector = world()
    first = Request()
    pool.new_stream(first)
    _, wire = connector.succeed()
    wire.dispatch(OK + b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother")
    assert first.body == b"ok"
    assert wire.closed is not None
    assert pool.idle == []


def test_a_connection_that_says_close_is_not_kept(world):
    cluster, pool, connector = world()
    first = Request()
    pool.new_stream(first)
    client, wire = connector.succeed()
    wire.dispatch(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
    assert first.ended
    assert pool.idle == []
    assert wire.closed == "flush"
    client.on_closed(True)
    assert cluster.stats.upstream_cx_close_notify.value == 1
    assert cluster.stats.upstream_cx_destroy_local.value == 1


@pytest.mark.parametrize("sees_eof", [True, False], ids=["closed", "reset"])
def test_a_peer_that_goes_before_answering_is_a_termination(world, sees_eof):
    cluster, pool, connector = world()
    first = Request()
    pool.new_stream(first)
    client, wire = connector.succeed()
    if sees_eof:
        client.on_eof()
    client.on_closed(False)
    assert first.reset == "connection termination"
    assert wire.closed is None
    stats = cluster.stats
    assert stats.upstream_cx_active.value == 0
    assert stats.upstream_rq_active.value == 0
    assert stats.upstream_cx_destroy_remote.value == 1
    assert stats.upstream_cx_destroy_remote_with_active_rq.value == 1
    assert stats.upstream_cx_protocol_error.value == 0
    assert stats.upstream_cx_close_notify.value == 0


def test_an_answer_that_is_not_http_is_a_protocol_error_and_ends_the_connection(world):
    cluster, pool, connector = world()
    first = Request()
    pool.new_stream(first)
    client, wire = connector.succeed()
    wire.dispatch(b"garbage\r\n\r\n")
    client.on_closed(True)
    assert first.reset == "protocol error"
    assert wire.closed == "abort"
    stats = cluster.stats
    assert stats.upstream_cx_protocol_error.value == 1
    assert stats.upstream_cx_destroy_local_with_active_rq.value == 1
    assert stats.upstream_rq_active.value == 0


def test_what_is_idle_for_too_long_is_closed_and_what_is_used_again_is_not(world):
    cluster, pool, connector = world(idle_timeout=10.0)
    clock = connector.dispatcher
    requests = [Request(), Request()]
    for request in requests:
        pool.new_stream(request)
    wires = [connector.succeed()[1] for _ in requests]
    wires[0].dispatch(OK)
    clock.advance(4.0)
    wires[1].dispatch(OK)
    clock.advance(4.0)
    again = Request()
    pool.new_stream(again)  # on the second one, which was used last
    wires[1].dispatch(OK)
    clock.advance(3.0)
    assert [wire.closed for wire in wires] == ["flush", None]
    assert pool.idle == [again.client]
    clock.advance(7.0)
    assert [wire.closed for wire in wires] == ["flush", "flush"]
    assert pool.idle == []
    assert cluster.stats.upstream_cx_idle_timeout.value == 2
    assert clock.timers == []


def test_without_an_idle_timeout_nothing_is_closed(world):
    _, pool, connector = world(idle_timeout=None)
    pool.new_stream(Request())
    _, wire = connector.succeed()
    wire.dispatch(OK)
    assert connector.dispatcher.timers == []
    assert wire.closed is None


def test_a_connection_that_the_peer_has_closed_is_not_picked(world):
    _, pool, connector = world()
    pool.new_stream(Request())
    client, wire = connector.succeed()
    wire.dispatch(OK)
    assert pool.idle == [client]
    client.on_eof()
    assert pool.next_step() == CONNECT
    client.on_closed(False)


def test_a_host_that_is_gone_keeps_no_connection(world):
    _, pool, connector = world()
    pool.host.pool = pool
    idle, busy = Request(), Request()
    pool.new_stream(idle)
    pool.new_stream(busy)
    (_, idle_wire), (_, busy_wire) = connector.succeed(), connector.succeed()
    idle_wire.dispatch(OK)
    leave([pool.host])
    assert (idle_wire.closed, busy_wire.closed) == ("flush", None)
    busy_wire.dispatch(OK)
    assert busy_wire.closed == "flush"
    late = Request()  # of somebody who had chosen the host before
    pool.new_stream(late)
    _, wire = connector.succeed()
    wire.dispatch(OK)
    assert late.ended
    assert wire.closed == "flush"


def test_a_connection_that_comes_up_when_its_host_is_gone_serves_who_waits_and_ends(world):
    _, pool, connector = world()
    pool.host.pool = pool
    waiting, given_up = Request(), Request()
    pool.new_stream(waiting)
    pool.new_stream(given_up)
    pool.cancel(given_up)
    leave([pool.host])
    (_, wire), (_, unused) = connector.succeed(), connector.succeed()
    assert unused.closed == "flush"
    wire.dispatch(OK)
    assert waiting.ended
    assert wire.closed == "flush"


def test_who_comes_after_one_that_gave_up_gets_the_connection_that_is_being_made(world):
    cluster, pool, connector = world()
    for _ in range(50):
        given_up = Request()
        pool.new_stream(given_up)
        pool.cancel(given_up)
    assert cluster.stats.upstream_cx_total.value == 1
    first, second = Request(), Request()
    pool.new_stream(first)
    pool.new_stream(second)
    assert cluster.stats.upstream_cx_total.value == 2
    connector.succeed()
    connector.succeed()
    assert first.client is not second.client
