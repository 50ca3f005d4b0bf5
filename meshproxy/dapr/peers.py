"""The other sidecars: a cluster for every app that was invoked, its hosts by name resolution.

Owns the caching of answers. Refuses to know how names are resolved and what is sent.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.name_resolution.resolver import NameResolver
from meshproxy.network.address import Address
from meshproxy.network.tls.config import UpstreamTlsConfig
from meshproxy.upstream.cluster import Cluster, ClusterConfig, UpstreamProtocol
from meshproxy.upstream.cluster_manager import ClusterManager
from meshproxy.upstream.host import NOWHERE, EndpointConfig, Host

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

FRESH: Final = 5.0
"""Seconds for which an answer is used without asking again."""


class NotFound(Exception):
    """No sidecar stands beside an app of this name."""


class _Peer:
    __slots__ = ("cluster", "fresh_until", "hosts")

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.hosts: dict[str, Host] = {}
        self.fresh_until = 0.0


class Peers:
    """Apps by id and namespace; only those that exist are kept, not the names clients invent."""

    def __init__(
        self,
        clusters: ClusterManager,
        resolver: NameResolver,
        now: Callable[[], float] = time.monotonic,
        tls_to: Callable[[str, str], UpstreamTlsConfig] | None = None,
    ) -> None:
        """`tls_to` gives the TLS to the sidecar of an app in a namespace; None: there is none."""
        self._clusters = clusters
        self._resolver = resolver
        self._now = now
        self._tls_to = tls_to
        self._peers: dict[tuple[str, str], _Peer] = {}

    def cluster_of(self, app_id: str, namespace: str) -> str | None:
        """The name of an app's cluster, None where it has to be looked up (again)."""
        peer = self._peers.get((app_id, namespace))
        if peer is None or self._now() >= peer.fresh_until:
            return None
        return peer.cluster.name

    async def look_up(self, app_id: str, namespace: str) -> str:
        """Ask where an app is, and return the name of its cluster. Raises NotFound.

        Where nobody can be asked just now, the older answer counts.
        """
        key = (app_id, namespace)
        try:
            addresses = await self._resolver.resolve(app_id, namespace)
        except ComponentError as error:
            logger.warning("looking up %s has failed: %s", app_id, error)
            if (peer := self._peers.get(key)) is not None:
                return peer.cluster.name
            raise NotFound(f"couldn't find service: {app_id}: {error}") from error
        if not addresses:
            if (gone := self._peers.pop(key, None)) is not None:
                self._clusters.remove(gone.cluster.name)
            raise NotFound(f"couldn't find service: {app_id}")
        # Looked up here, after the wait: somebody else may have come first.
        peer = self._peers.get(key)
        if peer is None:
            tls = None if self._tls_to is None else self._tls_to(app_id, namespace)
            config = _config(f"dapr/{namespace or 'default'}/{app_id}", tls)
            peer = self._peers[key] = _Peer(self._clusters.replace(config))
        known = peer.hosts
        hosts = {text: known.get(text) or _host(text) for text in addresses}
        peer.hosts = {text: host for text, host in hosts.items() if host is not None}
        peer.cluster.set_hosts(peer.hosts.values())
        peer.fresh_until = self._now() + FRESH
        return peer.cluster.name

    def forget(self, app_id: str, namespace: str) -> None:
        """An app could not be reached: ask again before the next call."""
        peer = self._peers.get((app_id, namespace))
        if peer is not None:
            peer.fresh_until = 0.0
            self._resolver.forget(app_id, namespace)


def _config(name: str, tls: UpstreamTlsConfig | None) -> ClusterConfig:
    """Calls go on as they come: gRPC needs HTTP/2."""
    return ClusterConfig(name, upstream_protocol=UpstreamProtocol.DOWNSTREAM, tls=tls)


def _host(text: str) -> Host | None:
    """The host of an address, None where it is none: others may write what they like."""
    host, _, port = text.rpartition(":")
    try:
        address = Address.parse(host.strip("[]"), int(port))
    except ValueError:
        logger.warning("the name registry has '%s', which is no address", text)
        return None
    return Host(address, EndpointConfig(host, int(port)), NOWHERE, 0)
