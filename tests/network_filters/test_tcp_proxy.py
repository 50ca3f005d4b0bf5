"""What the TCP proxy decides, without sockets: clusters, attempts, clocks, backpressure."""

from types import SimpleNamespace

import pytest

from meshproxy.http.stream_info import ResponseFlag
from meshproxy.network.address import Address
from meshproxy.network_filters import NetworkFactoryContext
from meshproxy.network_filters.filter_manager import FilterManager
from meshproxy.network_filters.tcp_proxy import TcpProxyConfig, TcpProxyFactory
from meshproxy.stats.store import Store
from meshproxy.upstream.cluster import CircuitBreakers, Cluster, ClusterConfig
from meshproxy.upstream.host import EndpointConfig, Host
from tests.network_filters.test_filter_manager import Wire
from tests.support.fake_stream import FakeDispatcher


class Upstream(Wire):
    local_address = Address.parse("127.0.0.1", 5)
    finished = False

    def finish(self):
        self.finished = True


class Downstream(Upstream):
    pass


class Connector:
    """Remembers who wants to connect; the test says how it goes."""

    def __init__(self, dispatcher):
        self.dispatcher = dispatcher
        self.owners = []
        self.cancelled = 0

    def connect(self, owner, *rest):
        self.owners.append(owner)
        return self

    def cancel(self):
        self.cancelled += 1


class World:
    def __init__(self, hosts=1, breakers=None, names=(("app", 1),), **options):
        self.dispatcher = FakeDispatcher()
        self.store = Store()
        self.connector = Connector(self.dispatcher)
        config = ClusterConfig(name="app", circuit_breakers=breakers or CircuitBreakers())
        self.cluster = Cluster(config, self.store)
        self.cluster.set_hosts(
            Host(Address.parse("127.0.0.1", port), EndpointConfig("127.0.0.1", port))
            for port in range(1, hosts + 1)
        )
        self.logged = []
        context = NetworkFactoryContext(
            name="t",
            store=self.store,
            cluster_manager={"app": self.cluster},
            dispatcher=self.dispatcher,
            connector=self.connector,
            http_manager=None,
            access_logs=lambda specs: (SimpleNamespace(log=self.logged.append),),
        )
        self.factory = TcpProxyFactory(
            TcpProxyConfig(stat_prefix="t", clusters=names, **options), context
        )
        self.stats = self.factory.stats
        self.wire = Downstream()
        self.manager = FilterManager([self.factory], 1000, self.dispatcher)
        self.dispatch = self.manager.on_connected(self.wire)

    def connect(self):
        upstream = Upstream()
        self.answer = self.connector.owners[-1].on_connected(upstream)
        self.dispatcher.advance(0)
        return upstream

    @property
    def flags(self):
        return ResponseFlag(self.manager.info.response_flags)


def test_nothing_is_read_until_the_host_is_connected_and_nothing_is_lost():
    world = World()
    assert world.wire.disabled == 1
    world.dispatch(b"early")  # what had been read already
    upstream = world.connect()
    assert world.wire.disabled == 0
    assert upstream.sent == b"early"
    world.dispatch(b" more")
    world.answer(b"back")
    assert (upstream.sent, world.wire.sent) == (b"early more", b"back")


def test_more_than_the_limit_that_came_early_does_not_stop_reading_for_ever():
    world = World()
    world.dispatch(b"x" * 2000)  # the limit is 1000
    assert world.wire.disabled == 2
    upstream = world.connect()
    assert upstream.sent == b"x" * 2000
    assert world.wire.disabled == 0


def test_both_sides_end_apart_and_the_connection_with_the_second():
    world = World()
    upstream = world.connect()
    assert world.manager.on_eof()
    assert upstream.ended
    assert not upstream.finished
    world.answer(b"late answer")
    assert world.wire.sent == b"late answer"
    assert world.connector.owners[0].on_eof()
    assert world.wire.ended
    assert upstream.finished
    assert world.wire.finished


def test_a_host_that_fails_is_tried_again_as_often_as_allowed():
    world = World(max_connect_attempts=2)
    for _ in range(2):
        world.connector.owners[-1].on_connect_failure("remote connection failure", "refused")
    assert len(world.connector.owners) == 2
    assert world.wire.closed == "flush"
    assert (
        world.flags
        == ResponseFlag.UpstreamConnectionFailure | ResponseFlag.UpstreamRetryLimitExceeded
    )
    assert world.cluster.stats.upstream_cx_connect_attempts_exceeded.value == 1
    assert world.cluster.stats.upstream_cx_active.value == 0


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"hosts": 0}, ResponseFlag.NoHealthyUpstream),
        ({"names": (("missing", 1),)}, ResponseFlag.NoClusterFound),
        ({"breakers": CircuitBreakers(max_connections=0)}, ResponseFlag.UpstreamOverflow),
    ],
)
def test_a_connection_that_can_go_nowhere_is_closed_and_says_why(options, flag):
    world = World(**options)
    assert world.wire.closed == "flush"
    assert world.flags == flag
    world.manager.on_closed(True)
    assert len(world.logged) == 1


def test_weights_divide_connections():
    world = World(names=(("a", 1), ("b", 3)))
    values = iter(range(8))
    world.factory.random = lambda: next(values)
    chosen = [world.factory.choose_cluster() for _ in range(8)]
    assert chosen == ["a", "b", "b", "b", "a", "b", "b", "b"]


def test_silence_on_both_sides_ends_the_connection():
    world = World(idle_timeout=10.0)
    upstream = world.connect()
    world.dispatcher.advance(9)
    world.answer(b"x")
    world.dispatcher.advance(9)
    assert world.wire.closed is None
    world.dispatcher.advance(1)
    assert (world.wire.closed, upstream.closed) == ("abort", "abort")
    assert world.stats.idle_timeout.value == 1


def test_a_connection_ends_when_its_time_is_over():
    world = World(max_downstream_connection_duration=5.0)
    world.connect()
    world.dispatcher.advance(5)
    assert world.wire.closed == "abort"
    assert world.flags == ResponseFlag.DurationTimeout


def test_a_full_side_pauses_the_reading_of_the_other():
    world = World()
    upstream = world.connect()
    world.manager.on_watermark(True)
    assert upstream.disabled == 1
    world.manager.on_watermark(False)
    assert upstream.disabled == 0
    world.connector.owners[0].on_watermark(True)
    assert world.wire.disabled == 1
    world.connector.owners[0].on_watermark(False)
    assert world.wire.disabled == 0
    assert world.stats.downstream_flow_control_paused_reading_total.value == 1


def test_a_client_that_leaves_while_connecting_cancels_it():
    world = World()
    world.manager.on_closed(False)
    assert world.connector.cancelled == 1
    stats = world.cluster.stats
    assert (stats.upstream_cx_active.value, stats.upstream_rq_pending_active.value) == (0, 0)
    assert world.cluster.connections_active == 0


def test_a_host_that_breaks_off_takes_the_client_with_it_and_is_logged_once():
    world = World()
    world.connect()
    world.answer(b"12345")
    world.connector.owners[0].on_closed(False)
    assert world.wire.closed == "flush"
    world.manager.on_closed(True)
    (info,) = world.logged
    assert (info.bytes_sent, info.bytes_received) == (5, 0)
    assert world.factory.requests_active == 0


def test_no_timer_outlives_its_connection():
    world = World(idle_timeout=10.0, max_downstream_connection_duration=5.0)
    world.connect()
    world.manager.on_closed(False)
    assert world.dispatcher.timers == []


def test_what_the_host_has_not_taken_when_the_client_leaves_is_still_sent():
    world = World()
    upstream = world.connect()
    upstream.unsent = 5
    world.manager.on_closed(False)
    assert upstream.closed == "flush"
    assert world.stats.upstream_flush_active.value == 1
    world.connector.owners[0].on_closed(True)
    assert (world.stats.upstream_flush_active.value, world.stats.upstream_flush_total.value) == (
        0,
        1,
    )
