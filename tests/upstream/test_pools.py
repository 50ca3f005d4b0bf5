"""`auto_sni`: a pool for each name, of which a client cannot make us keep any number."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from meshproxy.network.address import Address
from meshproxy.router.upstream_request import host_of
from meshproxy.stats.store import Store
from meshproxy.upstream.cluster import Cluster, ClusterConfig
from meshproxy.upstream.conn_pool import ConnPool
from meshproxy.upstream.host import EndpointConfig, Host
from meshproxy.upstream.pools import MAX_IDLE_NAMES, SniPools, make_pool


class Connector:
    def __init__(self):
        self.dispatcher = SimpleNamespace(now=lambda: 0.0, call_soon=None)
        self.options = []

    def connect(self, client, address, options):
        self.options.append(options)


class Request:
    def __init__(self, name):
        self.name = name
        self.failed = None

    def server_name(self, header):
        assert header == ":authority"
        return self.name

    def on_pool_failure(self, reason, transport_reason, host):
        self.failed = reason


@pytest.fixture
def world():
    cluster = Cluster(ClusterConfig(name="c", auto_sni=":authority"), Store())
    cluster.tls = SimpleNamespace(config=SimpleNamespace(auto_host_sni=False))
    host = Host(Address.parse("127.0.0.1", 1), EndpointConfig("127.0.0.1", 1))
    connector = Connector()
    return SimpleNamespace(
        pool=make_pool(cluster, host, connector), connector=connector, cluster=cluster, host=host
    )


def test_each_name_has_connections_of_its_own(world):
    requests = [Request("a"), Request("b"), Request("a")]
    for request in requests:
        world.pool.new_stream(request)
    assert [each.server_name for each in world.connector.options] == ["a", "b", "a"]
    assert world.pool.pending == [requests[0], requests[2], requests[1]]


def test_a_request_that_gives_up_leaves_its_pool(world):
    request = Request("a")
    world.pool.new_stream(request)
    world.pool.cancel(request)
    assert world.pool.pending == []


def test_names_that_nobody_uses_are_forgotten(world):
    world.pool.new_stream(Request("busy"))
    for number in range(3 * MAX_IDLE_NAMES):
        request = Request(f"n{number}")
        world.pool.new_stream(request)
        world.pool.cancel(request)
        used = world.pool._pools[f"n{number}"]
        used.clients.clear()
    assert len(world.pool._pools) <= MAX_IDLE_NAMES + 1
    assert world.pool._pools["busy"].in_use


def test_without_auto_sni_or_without_tls_a_host_has_one_pool(world):
    world.cluster.tls = None
    assert type(make_pool(world.cluster, world.host, world.connector)) is ConnPool
    assert isinstance(world.pool, SniPools)


def test_auto_host_sni_asks_for_the_hosts_own_name(world):
    world.cluster.tls = SimpleNamespace(config=SimpleNamespace(auto_host_sni=True))
    named = Host(
        Address.parse("127.0.0.1", 1), EndpointConfig("127.0.0.1", 1, hostname="host.example")
    )
    assert world.cluster.connect_options(named).server_name == "host.example"
    assert world.cluster.connect_options(named, "other").server_name == "other"


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (b"A.example:80", "a.example"), (b"a.example", "a.example"), (b"10.0.0.1:80", "10.0.0.1"),
        (b"[::1]:80", "::1"), (b"", ""), (b"\xff", ""),
    ],
)  # fmt: skip
def test_the_host_of_an_authority(authority, host):
    assert host_of(authority) == host


LOADED = """
import sys
from types import SimpleNamespace
from meshproxy.stats.store import Store
from meshproxy.upstream.cluster import ClusterConfig, UpstreamProtocol
from meshproxy.upstream.cluster_manager import ClusterManager

clusters = ClusterManager(Store(), SimpleNamespace(random=lambda: 7), None)
for protocol in UpstreamProtocol:
    clusters.add(ClusterConfig(name=protocol.name, upstream_protocol=protocol))
    pools = {"meshproxy.upstream.http2_pool", "meshproxy.upstream.auto_pool"} & sys.modules.keys()
    print(protocol.name, *sorted(each.rpartition(".")[2] for each in pools))
"""


def test_what_a_cluster_speaks_is_loaded_before_its_first_request():
    """A first request would wait for it; a guest whose call it is would be interrupted."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == [
        "HTTP1", "HTTP2 http2_pool", "DOWNSTREAM http2_pool", "AUTO auto_pool http2_pool",
    ]  # fmt: skip
