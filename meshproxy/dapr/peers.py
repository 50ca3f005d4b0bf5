"""The other sidecars: clusters for every app that was invoked, their hosts by name resolution.

Owns the caching of answers, and which sidecars are asked in which way. Whoever is found may be a
daprd, so the first call is daprd's own (`call_local/`). A sidecar of this kind says in its answer
that it takes plain requests over HTTP, too, and gets those from then on: they cost both ends little
more than half (measured uncompiled, at 1 KB each way: 325 and 337 us of processor against 640 and
555). gRPC of the apps themselves goes as it is to either. Refuses to know how names are resolved
and what is sent.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.name_resolution.resolver import NameResolver
from meshproxy.network.address import Address
from meshproxy.network.tls.config import UpstreamTlsConfig
from meshproxy.upstream.cluster import Cluster, ClusterConfig, UpstreamProtocol
from meshproxy.upstream.cluster_manager import ClusterManager
from meshproxy.upstream.host import NOWHERE, EndpointConfig, Host

if TYPE_CHECKING:
    from meshproxy.http.filter_chain import FilterChain

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

FRESH: Final = 5.0
"""Seconds for which an answer is used without asking again."""


class NotFound(Exception):
    """No sidecar stands beside an app of this name."""


CallLocal = Callable[[Callable[[Host], None]], "FilterChain"]
"""Makes the filters that speak daprd's own way; they tell which host takes plain requests."""


class _Peer:
    """`plain` takes requests as they come, `calls` makes daprd's calls of them."""

    __slots__ = ("called", "calls", "fresh_until", "hosts", "plain", "strangers")

    def __init__(self, plain: Cluster, calls: Cluster | None) -> None:
        self.plain = plain
        self.calls = calls
        self.hosts: dict[str, Host] = {}
        self.called: dict[str, Host] = {}
        self.strangers: set[str] = set()  # may be daprds
        self.fresh_until = 0.0

    def cluster_name(self, *, grpc: bool) -> str:
        """Where one of several is a daprd, all are asked as if they were."""
        if grpc or self.calls is None or not self.strangers:
            return self.plain.name
        return self.calls.name


class Peers:
    """Apps by id and namespace; only those that exist are kept, not the names clients invent."""

    def __init__(
        self,
        clusters: ClusterManager,
        resolver: NameResolver,
        now: Callable[[], float] = time.monotonic,
        tls_to: Callable[[str, str], UpstreamTlsConfig] | None = None,
        call_local: CallLocal | None = None,
    ) -> None:
        """`tls_to` gives the TLS to the sidecar of an app in a namespace; None: there is none.
        `call_local` None: none of them is a daprd.
        """
        self._clusters = clusters
        self._resolver = resolver
        self._now = now
        self._tls_to = tls_to
        self._chain = None if call_local is None else call_local(self._speaks_http)
        self._speaking: set[str] = set()
        self._peers: dict[tuple[str, str], _Peer] = {}

    def cluster_of(self, app_id: str, namespace: str, *, grpc: bool = False) -> str | None:
        """The name of an app's cluster, None where it has to be looked up (again).

        `grpc`: for calls of the app's own services.
        """
        peer = self._peers.get((app_id, namespace))
        if peer is None or self._now() >= peer.fresh_until:
            return None
        return peer.cluster_name(grpc=grpc)

    async def look_up(self, app_id: str, namespace: str, *, grpc: bool = False) -> str:
        """Ask where an app is, and return the name of its cluster. Raises NotFound.

        Where nobody can be asked just now, the older answer counts.
        """
        key = (app_id, namespace)
        try:
            addresses = await self._resolver.resolve(app_id, namespace)
        except ComponentError as error:
            logger.warning("looking up %s has failed: %s", app_id, error)
            if (peer := self._peers.get(key)) is not None:
                return peer.cluster_name(grpc=grpc)
            raise NotFound(f"couldn't find service: {app_id}: {error}") from error
        if not addresses:
            self._remove(key)
            raise NotFound(f"couldn't find service: {app_id}")
        # Looked up here, after the wait: somebody else may have come first.
        peer = self._peers.get(key)
        if peer is None:
            peer = self._peers[key] = self._add(app_id, namespace)
        self._speaking.difference_update(peer.hosts.keys() - set(addresses))
        peer.hosts = _hosts(addresses, peer.hosts)
        peer.plain.set_hosts(peer.hosts.values())
        if peer.calls is not None:
            peer.called = _hosts(addresses, peer.called)
            peer.calls.set_hosts(peer.called.values())
        peer.strangers = peer.hosts.keys() - self._speaking
        peer.fresh_until = self._now() + FRESH
        return peer.cluster_name(grpc=grpc)

    def _add(self, app_id: str, namespace: str) -> _Peer:
        tls = None if self._tls_to is None else self._tls_to(app_id, namespace)
        name = f"{namespace or 'default'}/{app_id}"
        # gRPC needs HTTP/2, requests over HTTP go on as they come.
        protocol = UpstreamProtocol.DOWNSTREAM
        plain = ClusterConfig(f"dapr/{name}", upstream_protocol=protocol, tls=tls)
        calls = None
        if self._chain is not None:
            protocol = UpstreamProtocol.HTTP2
            config = ClusterConfig(f"dapr/call-local/{name}", upstream_protocol=protocol, tls=tls)
            calls = self._clusters.replace(config)
            calls.filter_chain = self._chain
        return _Peer(self._clusters.replace(plain), calls)

    def _remove(self, key: tuple[str, str]) -> None:
        gone = self._peers.pop(key, None)
        if gone is not None:
            self._speaking -= gone.hosts.keys()
            for cluster in (gone.plain, gone.calls):
                if cluster is not None:
                    self._clusters.remove(cluster.name)

    def _speaks_http(self, host: Host) -> None:
        """The sidecar there is no daprd."""
        address = host.address.text
        if address in self._speaking:
            return
        for peer in self._peers.values():
            if peer.called.get(address) is host:
                self._speaking.add(address)
                peer.strangers.discard(address)

    def forget(self, app_id: str, namespace: str) -> None:
        """An app could not be reached: ask again before the next call, and who it is, too."""
        peer = self._peers.get((app_id, namespace))
        if peer is not None:
            peer.fresh_until = 0.0
            self._speaking -= peer.hosts.keys()
            self._resolver.forget(app_id, namespace)


def _hosts(addresses: Iterable[str], known: Mapping[str, Host]) -> dict[str, Host]:
    hosts = {text: known.get(text) or _host(text) for text in addresses}
    return {text: host for text, host in hosts.items() if host is not None}


def _host(text: str) -> Host | None:
    """The host of an address, None where it is none: others may write what they like."""
    host, _, port = text.rpartition(":")
    try:
        address = Address.parse(host.strip("[]"), int(port))
    except ValueError:
        logger.warning("the name registry has '%s', which is no address", text)
        return None
    return Host(address, EndpointConfig(host, int(port)), NOWHERE, 0)
