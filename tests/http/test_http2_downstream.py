"""One downstream HTTP/2 connection on a fake clock: draining, times, and clients that give up."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from meshproxy.http.codec_choice import NewConnection
from meshproxy.http.conn_manager import HttpConnectionManager, HttpConnectionManagerConfig
from meshproxy.http.filter_chain import FilterChain
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.http2.settings import Http2Settings, Keepalive
from meshproxy.http.http2_downstream import PREMATURE_STREAMS
from meshproxy.stats.metrics import HttpStats, ListenerHttpStats
from meshproxy.stats.store import Store
from tests.support.fake_stream import FakeDispatcher
from tests.support.fake_wire import FakeWire
from tests.support.http2_frames import (
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    START,
    Frame,
    block,
    frame,
    headers,
    read_frames,
    rst,
    settings,
)


class Terminal:
    """Answers when a test says so."""

    def __init__(self, stream) -> None:
        self.stream = stream

    def decode_headers(self, headers, end_stream):
        pass

    def on_downstream_watermark(self, high):
        pass

    def on_destroy(self):
        pass


class Wire(FakeWire):
    def __init__(self) -> None:
        super().__init__()
        self.remote_address = self.direct_remote_address = SimpleNamespace(without_port="1.2.3.4")
        self.tls = self.requested_server_name = self.owner = self.filter_chain_name = None
        self.delayed_close_timeout = 0.0
        self.delayed_closes = None

    def dispatch_to(self, dispatch):
        self.dispatch = dispatch


class World:
    def __init__(self, octets: bytes = START, **options) -> None:
        self.dispatcher = FakeDispatcher()
        table = SimpleNamespace(route=lambda headers, random_value: None)
        config = HttpConnectionManagerConfig(stat_prefix="t", route_config=table, **options)
        self.store = Store()
        self.stats = self.store.scope("http.t.").block(HttpStats)
        chain = FilterChain((), Terminal, 1 << 20)
        listener = self.store.scope("l.").block(ListenerHttpStats)
        self.manager = HttpConnectionManager(config, chain, self.stats, listener, self.dispatcher)
        self.manager.codec_scope = self.store.scope("http2.")
        self.wire = Wire()
        self.wire.dispatch = NewConnection(self.manager).on_connected(self.wire)
        self.send(octets)

    def send(self, *octets: bytes) -> list[Frame]:
        for each in octets:
            self.wire.dispatch(each)
        return self.sent()

    def sent(self) -> list[Frame]:
        return read_frames(self.wire.take())

    def wait(self, seconds: float) -> list[Frame]:
        """Let time pass, in the steps of the manager's sweep."""
        for _ in range(round(seconds / 0.1)):
            self.dispatcher.advance(0.1)
        return [each for each in self.sent() if each.kind in (GOAWAY, RST_STREAM, PING)]

    @property
    def streams(self):
        return sorted(self.manager.active, key=lambda stream: stream.info.start)

    def answer(self, stream) -> None:
        stream.encode_headers(HeaderMap([(b":status", b"200")]), True)


def last_stream(away: Frame) -> int:
    return int.from_bytes(away.payload[:4], "big")


def test_streams_are_counted():
    world = World()
    world.send(headers(1), headers(3))
    assert world.stats.downstream_cx_http2_active.value == 1
    assert world.stats.downstream_rq_http2_total.value == 2
    for stream in world.streams:
        world.answer(stream)
    assert world.stats.downstream_rq_active.value == 0
    world.wire.owner.on_closed(False)
    assert world.stats.downstream_cx_active.value == 0
    assert world.stats.downstream_cx_http2_active.value == 0


def test_draining_takes_its_time_and_ends_with_the_last_stream():
    world = World(drain_timeout=2.0)
    world.send(headers(1))
    world.manager.drain()
    [notice] = world.sent()
    assert (notice.kind, last_stream(notice)) == (GOAWAY, 2**31 - 1)
    world.send(headers(3))
    [final] = world.wait(2.5)
    assert last_stream(final) == 3
    assert world.wire.closed is None
    for stream in world.streams:
        world.answer(stream)
    assert world.wire.closed == "flush"
    assert world.stats.downstream_cx_drain_close.value == 1


def test_a_server_that_is_to_fail_health_checks_drains_with_its_next_answer():
    world = World(drain_timeout=2.0)
    world.manager.local.health_failed = True
    world.send(headers(1) + headers(3))
    for stream in world.streams:
        world.answer(stream)
    assert [each.kind for each in world.sent()].count(GOAWAY) == 1
    assert world.stats.downstream_cx_drain_close.value == 1


@pytest.mark.parametrize(
    ("options", "counter"),
    [
        ({"idle_timeout": 3.0}, "downstream_cx_idle_timeout"),
        ({"max_connection_duration": 3.0}, "downstream_cx_max_duration_reached"),
    ],
)
def test_a_connection_that_is_idle_or_old_drains(options, counter):
    world = World(drain_timeout=1.0, **options)
    assert world.wait(2.5) == []
    frames = world.wait(2.5)
    assert [last_stream(each) for each in frames] == [2**31 - 1, 0]
    assert world.wire.closed == "flush"
    assert getattr(world.stats, counter).value == 1


def test_a_busy_connection_is_not_idle():
    world = World(idle_timeout=3.0)
    world.send(headers(1))
    assert world.wait(5) == []


def test_after_its_number_of_requests_a_connection_drains():
    world = World(max_requests_per_connection=2)
    assert GOAWAY not in [each.kind for each in world.send(headers(1))]
    assert GOAWAY in [each.kind for each in world.send(headers(3))]
    assert world.stats.downstream_cx_max_requests_reached.value == 1


def test_a_client_that_gives_up_at_once_again_and_again_is_shown_the_door():
    world = World()
    for number in range(PREMATURE_STREAMS):
        stream = 2 * number + 1
        frames = world.send(headers(stream) + rst(stream))
        if frames:
            break
    assert number == PREMATURE_STREAMS // 2 - 1
    assert [each.code for each in frames] == ["ENHANCE_YOUR_CALM"]
    assert world.stats.downstream_rq_too_many_premature_resets.value == 1
    assert world.wire.closed == "linger"


def test_one_that_gives_up_late_or_now_and_then_stays():
    world = World()
    for number in range(600):
        first = 6 * number + 1
        world.send(headers(first), headers(first + 2))
        for stream in world.streams:
            world.answer(stream)
        world.send(headers(first + 4) + rst(first + 4))
    assert world.wire.closed is None
    world = World()
    for number in range(400):
        world.send(headers(2 * number + 1))
    world.dispatcher.advance(1.5)
    for number in range(400):
        world.send(rst(2 * number + 1))
    assert world.wire.closed is None


def test_resets_that_a_client_provokes_count_as_its_own():
    world = World()
    closed = 0
    for number in range(PREMATURE_STREAMS):
        stream = 2 * number + 1
        world.send(headers(stream), frame(8, 0, stream, bytes(4)))  # an increment of 0
        if world.wire.closed:
            closed = number
            break
    assert closed == PREMATURE_STREAMS // 2 - 1


def test_a_block_that_does_not_end_takes_too_long():
    world = World(request_headers_timeout=1.0)
    world.send(frame(HEADERS, 1, 1, block()))
    [away] = world.wait(2.5)
    assert away.kind == GOAWAY
    assert world.stats.downstream_rq_header_timeout.value == 1


def test_a_request_that_does_not_end_is_answered_408():
    world = World(request_timeout=1.0)
    world.send(headers(1, flags=4), headers(3))
    frames = world.wait(2)
    assert [(each.kind, each.stream) for each in frames] == [(RST_STREAM, 1)]
    assert world.stats.downstream_rq_timeout.value == 1
    assert len(world.streams) == 1


def test_a_dead_client_is_noticed():
    keepalive = Keepalive(interval=2.0, timeout=1.0, jitter=0.0)
    world = World(http2=Http2Settings(keepalive=keepalive))
    world.send(headers(1))
    assert [each.kind for each in world.wait(2.8)] == [PING]
    world.wait(1.2)
    assert world.wire.closed == "abort"
    assert world.streams == []
    assert world.store.metrics["http2.keepalive_timeout"].value == 1


def test_half_a_preface_waits_for_the_other_half_but_not_for_ever():
    world = World(PREFACE[:10], idle_timeout=2.0)
    assert world.send(PREFACE[10:] + settings()) != []
    world = World(PREFACE[:10], idle_timeout=2.0)
    world.wait(3)
    assert world.wire.closed == "flush"


def test_what_begins_like_a_preface_may_be_http_1():
    world = World(b"PR")
    world.wire.dispatch(b"OPFIND / HTTP/1.1\r\nhost: h\r\n\r\n")
    assert world.stats.downstream_cx_http1_active.value == 1
    assert world.stats.downstream_rq_http1_total.value == 1
