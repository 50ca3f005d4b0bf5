"""Which transport socket a host gets, by its metadata."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from meshproxy.network.address import Address
from meshproxy.network.tls.config import Secrets, UpstreamTlsConfig
from meshproxy.stats.store import Store
from meshproxy.upstream.cluster import Cluster, ClusterConfig
from meshproxy.upstream.host import EndpointConfig, Host
from meshproxy.upstream.transport_sockets import METADATA, TransportSocketMatch


def tls(sni: str) -> UpstreamTlsConfig:
    return UpstreamTlsConfig(secrets=Secrets(), sni=sni)


MATCHES = (
    TransportSocketMatch("both", {"tls": True, "zone": "a"}, tls("both")),
    TransportSocketMatch("one", {"tls": True}, tls("one")),
    TransportSocketMatch("number", {"tls": 1}, tls("number")),
    TransportSocketMatch("plain", {"plain": True}),
)


def host(labels: Any = None) -> Host:
    metadata = MappingProxyType({} if labels is None else {METADATA: labels})
    endpoint = EndpointConfig("127.0.0.1", 1, metadata=metadata)
    return Host(Address.parse("127.0.0.1", 1), endpoint)


@pytest.fixture
def cluster() -> Cluster:
    config = ClusterConfig(
        name="c",
        tls=tls("default"),
        transport_socket_matches=MATCHES,
    )
    return Cluster(config, Store())


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (None, "default"),
        ({}, "default"),
        ("text", "default"),
        ({"zone": "a"}, "default"),
        ({"tls": True, "zone": "a", "more": 1}, "both"),
        ({"tls": True, "zone": "b"}, "one"),
        ({"tls": 1}, "number"),
        ({"plain": True, "tls": False}, "plain"),
    ],
)
def test_the_first_match_among_a_hosts_labels_is_its_transport_socket(cluster, labels, name):
    one = host(labels)
    cluster.set_hosts([one])
    found = cluster.tls_of(one)
    assert (found.config.sni if found is not None else "plain") == name
    assert cluster.connect_options(one).tls is found
    counts = {
        each: cluster.scope.counter(f"{each}.total_match_count").value
        for each in ("default", "both", "one", "number", "plain")
    }
    assert counts == {each: int(each == name) for each in counts}


def test_every_end_that_speaks_tls_is_known(cluster):
    assert [end.config.sni for end in cluster.transport_sockets.ends] == [
        "default", "both", "one", "number"
    ]  # fmt: skip


def test_a_match_without_labels_is_every_hosts():
    matches = (TransportSocketMatch("all", {}),)
    cluster = Cluster(ClusterConfig(name="c", transport_socket_matches=matches), Store())
    cluster.set_hosts([host()])
    assert cluster.scope.counter("all.total_match_count").value == 1
