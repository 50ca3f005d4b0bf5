"""Apps that the Envoy configuration beside the sidecar knows: invoked through its listeners.

An app that a virtual host of an HTTP listener with `traffic_direction: OUTBOUND` names among its
`domains` (as its id, or `id.namespace`) is invoked by a request to that very listener. So all that
stands in the file applies, as it does to any other client: filters, routes, splits, TLS, logs.
Wildcards do not count: they would take every other app from name resolution.

Owns the clusters that lead to these listeners. Refuses to know what is in a listener.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from meshproxy.http.conn_manager import HttpConnectionManagerConfig
from meshproxy.network.address import Address
from meshproxy.network.listener import Listener, ListenerConfig
from meshproxy.upstream.cluster import Cluster, ClusterConfig, UpstreamProtocol
from meshproxy.upstream.cluster_manager import ClusterManager
from meshproxy.upstream.host import NOWHERE, EndpointConfig, Host

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

OUTBOUND: Final = 2  # core.TrafficDirection
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


class Mesh:
    """The listeners of an Envoy configuration, seen from Dapr."""

    def __init__(self, listeners: Iterable[ListenerConfig] = ()) -> None:
        self._names: dict[str, ListenerConfig] = {}
        self._clusters: dict[int, Cluster] = {}
        for listener in listeners:
            if listener.traffic_direction == OUTBOUND:
                self._add(listener)

    def _add(self, listener: ListenerConfig) -> None:
        for domain in _domains(listener):
            first = self._names.setdefault(domain, listener)
            if first is not listener:
                text = "'%s' is invoked through the listener '%s', not through '%s'"
                logger.warning(text, domain, first.name, listener.name)

    def connect(self, clusters: ClusterManager) -> dict[str, str]:
        """Make the clusters; the name of each app's, by the app's."""
        names: dict[str, str] = {}
        for app, listener in self._names.items():
            cluster = self._clusters.get(id(listener))
            if cluster is None:
                name = f"dapr/mesh/{listener.name or listener.address.text}"
                # The listener takes what a client speaks: gRPC stays HTTP/2.
                protocol = UpstreamProtocol.DOWNSTREAM
                cluster = clusters.replace(ClusterConfig(name, upstream_protocol=protocol))
                self._clusters[id(listener)] = cluster
            names[app] = cluster.name
        return names

    def listening(self, listener: Listener) -> None:
        """A listener has opened: from now on it can be reached."""
        cluster = self._clusters.get(id(listener.config))
        if cluster is not None:
            cluster.set_hosts([_host(listener.local_address)])


def _domains(listener: ListenerConfig) -> list[str]:
    """The exact domains of the HTTP connection managers, without those behind TLS."""
    found: list[str] = []
    for chain in listener.filter_chains:
        config = chain.filters[-1].config if chain.filters else None
        if not isinstance(config, HttpConnectionManagerConfig) or chain.tls is not None:
            continue
        for virtual_host in config.route_config.virtual_hosts:
            found += (each for each in virtual_host.domains if "*" not in each)
    return found


def _host(address: Address) -> Host:
    ip = _LOOPBACK.get(address.ip, address.ip)
    if not ip:
        return Host(address, EndpointConfig("", 0, pipe=address.text), NOWHERE, 0)
    return Host(Address(ip, address.port), EndpointConfig(ip, address.port), NOWHERE, 0)
