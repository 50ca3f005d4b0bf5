"""`health_check`: the cache's clock, and bodies of checks that are answered here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import CONTINUE, STOP_ITERATION, STOP_ITERATION_NO_BUFFER
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_info import LocalInfo
from meshproxy.http.stream_info import ResponseFlag
from meshproxy.http_filters import FactoryContext
from meshproxy.http_filters.health_check import HealthCheckFilterConfig, health_check
from meshproxy.stats.store import Store
from tests.support.fake_stream import FakeCallbacks, FakeDispatcher


def is_check(headers: HeaderMap) -> bool:
    return headers.get(b"hc") == b"1"


class World:
    def __init__(self, **config: Any) -> None:
        store = Store()
        self.dispatcher = FakeDispatcher()
        self.local = LocalInfo(b"me")
        context = FactoryContext(
            name="", scope=store.scope("http.x."), store=store,
            cluster_manager=SimpleNamespace(get=lambda name: None), dispatcher=self.dispatcher,
            local=self.local,
        )  # fmt: skip
        self.factory: Any = health_check(
            HealthCheckFilterConfig(headers=(is_check,), **config),
            context,
        )

    def begin(self, end_stream: bool = True, *, check: bool = True):
        """A stream that has got its headers: filter, callbacks, status."""
        one = self.factory()
        callbacks = FakeCallbacks()
        one.set_callbacks(callbacks)
        headers = HeaderMap([(b"hc", b"1")] if check else [])
        return one, callbacks, one.decode_headers(headers, end_stream)

    def answered(self, status: int, *headers: tuple[bytes, bytes]) -> None:
        """A check that the app answers."""
        one, _, found = self.begin()
        assert found == CONTINUE
        one.encode_headers(HeaderMap([(b":status", b"%d" % status), *headers]), True)


def test_what_is_no_check_passes_without_a_trace():
    one, callbacks, status = World(pass_through=False).begin(check=False)
    assert status == CONTINUE
    assert not callbacks.info.health_check
    headers = HeaderMap([(b":status", b"200")])
    one.encode_headers(headers, True)
    assert headers.pairs == [(b":status", b"200")]


def test_a_check_is_answered_when_it_has_ended():
    one, callbacks, status = World(pass_through=False).begin(end_stream=False)
    assert (status, callbacks.reply) == (STOP_ITERATION, None)
    assert one.decode_data(Buffer(b"a"), False) == STOP_ITERATION_NO_BUFFER
    assert callbacks.reply is None
    assert one.decode_trailers(HeaderMap()) == STOP_ITERATION
    assert callbacks.reply is not None
    assert (callbacks.reply.status, callbacks.reply.details) == (200, "health_check_ok")
    assert callbacks.info.health_check


def test_the_apps_answer_counts_until_the_next_tick_of_the_caches_clock():
    world = World(pass_through=True, cache_time=10.0)
    world.dispatcher.advance(4.0)
    world.answered(503, (b"x-envoy-degraded", b""))
    world.dispatcher.advance(5.9)
    _, callbacks, status = world.begin()
    assert status == STOP_ITERATION
    assert callbacks.reply is not None
    assert (callbacks.reply.status, callbacks.reply.details) == (503, "health_check_cached")
    assert callbacks.reply.flag == ResponseFlag.FailedLocalHealthCheck
    assert callbacks.reply.headers == ((b"x-envoy-degraded", b""),)
    world.dispatcher.advance(0.2)
    assert world.begin()[2] == CONTINUE


def test_every_answer_says_so_where_the_process_is_to_fail():
    world = World(pass_through=True)
    world.local.health_failed = True
    one, callbacks, _ = world.begin(check=False)
    headers = HeaderMap([(b":status", b"200")])
    one.encode_headers(headers, True)
    assert headers.get(b"x-envoy-immediate-health-check-fail") == b"true"
    _, callbacks, status = world.begin()
    assert status == STOP_ITERATION
    assert callbacks.reply is not None
    assert (callbacks.reply.status, callbacks.reply.details) == (503, "health_check_failed")


def test_the_answer_to_a_check_names_our_cluster():
    one, _, _ = World(pass_through=True).begin()
    headers = HeaderMap([(b":status", b"200"), (b"x-envoy-upstream-healthchecked-cluster", b"a")])
    one.encode_headers(headers, True)
    assert headers.get(b"x-envoy-upstream-healthchecked-cluster") == b"me"
