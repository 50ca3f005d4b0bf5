"""What a stream knows of its route, with a table that answers as the test says."""

from types import SimpleNamespace

import pytest

from meshproxy.http.conn_manager import HttpConnectionManager, HttpConnectionManagerConfig
from meshproxy.http.downstream import HttpConnection
from meshproxy.http.filter_chain import FilterChain
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.stream import Stream
from meshproxy.http.stream_info import HTTP11
from meshproxy.stats.metrics import HttpStats, ListenerHttpStats
from meshproxy.stats.store import Store
from tests.support.fake_stream import FakeDispatcher

CLUSTER = SimpleNamespace(name="up")
ENTRY = SimpleNamespace(cluster=CLUSTER)


def route(entry=ENTRY, idle_timeout=None):
    return SimpleNamespace(choose=lambda headers, random_value: entry, idle_timeout=idle_timeout)


@pytest.fixture
def stream():
    table = SimpleNamespace(
        route=lambda headers, random_value: None, deciding_headers={b":path", b"x-version"}
    )
    config = HttpConnectionManagerConfig(stat_prefix="test", route_config=table)
    store = Store()
    manager = HttpConnectionManager(
        config,
        FilterChain((), SimpleNamespace, 1 << 20),
        store.scope("http.test.").block(HttpStats),
        store.scope("listener.test.").block(ListenerHttpStats),
        FakeDispatcher(),
    )
    one = Stream(HttpConnection(manager), SimpleNamespace(protocol=HTTP11))
    one.info.request_headers = HeaderMap([(b":path", b"/")])
    return one


def matching(stream, found):
    stream.manager.route_config.route = lambda headers, random_value: found


def test_a_route_brings_its_cluster_and_its_idle_timeout(stream):
    matching(stream, route(idle_timeout=5.0))
    assert stream.route is stream.info.route
    assert (stream.cluster_entry, stream.info.cluster) == (ENTRY, CLUSTER)
    assert stream.idle_timeout == 5.0


def test_a_route_without_an_idle_timeout_leaves_the_managers(stream):
    matching(stream, route())
    assert stream.route is not None
    assert stream.idle_timeout == 300.0


def test_a_route_is_matched_once_until_its_cache_is_cleared(stream):
    first, second = route(), route()
    matching(stream, first)
    assert stream.route is first
    matching(stream, second)
    assert stream.route is first
    stream.clear_route_cache()
    assert stream.route is second


def test_a_change_of_headers_clears_the_route_only_where_one_of_them_decides_it(stream):
    first, second = route(), route()
    matching(stream, first)
    assert stream.route is first
    matching(stream, second)
    stream.request_headers_changed([b"x-tag", b"user-agent"])
    assert stream.route is first
    stream.request_headers_changed([b"x-tag", b"x-version"])
    assert stream.route is second


@pytest.mark.parametrize("next_route", [None, route(entry=None)], ids=["none", "no cluster"])
def test_nothing_is_left_of_a_route_that_is_cleared(stream, next_route):
    matching(stream, route())
    assert stream.route is not None
    stream.clear_route_cache()
    matching(stream, next_route)
    assert stream.route is next_route
    assert stream.info.route is next_route
    assert (stream.cluster_entry, stream.info.cluster) == (None, None)
