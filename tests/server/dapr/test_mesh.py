"""Which apps an Envoy configuration names, and which listener leads to them."""

import logging
from types import SimpleNamespace

import pytest
import yaml

from meshproxy.config import load_config
from meshproxy.network.address import Address
from meshproxy.server.dapr.mesh import Mesh
from meshproxy.stats.store import Store
from meshproxy.upstream.cluster import UpstreamProtocol
from meshproxy.upstream.cluster_manager import ClusterManager

HTTP = (
    "type.googleapis.com/envoy.extensions.filters.network."
    "http_connection_manager.v3.HttpConnectionManager"
)
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
TCP = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


class Dispatcher:
    def random(self) -> int:
        return 0


def listener(name: str, *domains: str, direction: str = "OUTBOUND", **more):
    manager = {
        "@type": HTTP,
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [{"name": name, "domains": list(domains)}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
    }
    return {
        "name": name,
        "traffic_direction": direction,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}], **more}],
    }


def loaded(*listeners):
    document = {"static_resources": {"listeners": list(listeners)}}
    return load_config(yaml=yaml.safe_dump(document)).listeners


def connected(*listeners):
    manager = ClusterManager(Store(), Dispatcher(), None)
    configs = loaded(*listeners)
    mesh = Mesh(configs)
    return mesh, mesh.connect(manager), manager, configs


def test_exact_domains_of_outbound_listeners_are_apps():
    _, names, _, _ = connected(
        listener("out", "cart", "shop.other", "*.local", "*"),
        listener("in", "inner", direction="INBOUND"),
        listener("none", "nowhere", direction="UNSPECIFIED"),
    )
    assert names == {"cart": "dapr/mesh/out", "shop.other": "dapr/mesh/out"}


def test_without_an_envoy_configuration_there_are_none():
    manager = ClusterManager(Store(), Dispatcher(), None)
    assert Mesh().connect(manager) == {}
    assert not manager.clusters


def test_the_first_listener_of_a_name_counts(caplog):
    with caplog.at_level(logging.WARNING, "meshproxy.dapr.runtime"):
        _, names, _, _ = connected(listener("one", "cart"), listener("two", "cart", "shop"))
    assert names == {"cart": "dapr/mesh/one", "shop": "dapr/mesh/two"}
    assert "'cart' is invoked through the listener 'one', not through 'two'" in caplog.text


def test_a_listener_that_does_not_speak_http_names_nobody():
    tcp = listener("tcp")
    config = {"@type": TCP, "stat_prefix": "tcp", "cluster": "c"}
    tcp["filter_chains"] = [{"filters": [{"name": "tcp", "typed_config": config}]}]
    clusters = [{"name": "c"}]
    document = {"static_resources": {"listeners": [tcp], "clusters": clusters}}
    configs = load_config(yaml=yaml.safe_dump(document)).listeners
    assert Mesh(configs).connect(ClusterManager(Store(), Dispatcher(), None)) == {}


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (Address("127.0.0.1", 81), "127.0.0.1:81"),
        (Address("0.0.0.0", 81), "127.0.0.1:81"),
        (Address("::", 81), "[::1]:81"),
        (Address("10.0.0.5", 81), "10.0.0.5:81"),
        (Address.pipe("/run/out.sock"), "/run/out.sock"),
    ],
)
def test_the_cluster_leads_to_where_the_listener_was_bound(bound, expected):
    mesh, names, manager, (config,) = connected(listener("out", "cart"))
    cluster = manager.get(names["cart"])
    assert cluster.config.upstream_protocol is UpstreamProtocol.DOWNSTREAM
    assert not cluster.hosts
    mesh.listening(SimpleNamespace(config=config, local_address=bound))
    assert [host.address.text for host in cluster.hosts] == [expected]
