"""Which pool a host gets: by what its cluster speaks.

Owns that choice. Refuses to know what a pool does.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final, Protocol

from meshproxy.http.stream_info import HTTP2
from meshproxy.network.connector import Connector
from meshproxy.upstream.cluster import Cluster, UpstreamProtocol
from meshproxy.upstream.conn_pool import ConnPool, PoolRequest
from meshproxy.upstream.host import Host


class DownstreamRequest(PoolRequest, Protocol):
    """A request that knows in which protocol it came."""

    @property
    def downstream_protocol(self) -> str:
        """In the words of `%PROTOCOL%`."""


class NamingRequest(PoolRequest, Protocol):
    """A request that knows whom it is for."""

    def server_name(self, header: str) -> str:
        """The host of that header without its port."""


def load(protocol: UpstreamProtocol) -> None:
    """Load what the pools of such a cluster need, at a time when no request waits for it.

    A first request would wait 0.1 s, and so would the loop; a guest's first gRPC call would be
    interrupted, since the time is its callback's.
    """
    if protocol is not UpstreamProtocol.HTTP1:
        import_module("meshproxy.upstream.http2_pool")
    if protocol is UpstreamProtocol.AUTO:
        import_module("meshproxy.upstream.auto_pool")


def make_pool(cluster: Cluster, host: Host, connector: Connector) -> Any:
    """The pool of a host, for all of its requests."""
    if cluster.config.auto_sni and cluster.tls_of(host) is not None:
        return SniPools(cluster, host, connector)
    return _make_pool(cluster, host, connector)


def _make_pool(cluster: Cluster, host: Host, connector: Connector) -> Any:
    protocol = cluster.config.upstream_protocol
    if protocol is UpstreamProtocol.HTTP2:
        return _http2_pool(cluster, host, connector)
    if protocol is UpstreamProtocol.AUTO:
        # Not at the top, for the same reason as `_http2_pool`.
        from meshproxy.upstream.auto_pool import AutoPool

        return AutoPool(cluster, host, connector)
    if protocol is UpstreamProtocol.DOWNSTREAM:
        return DownstreamPool(cluster, host, connector)
    return ConnPool(cluster, host, connector)


def _http2_pool(cluster: Cluster, host: Host, connector: Connector) -> Any:
    # Not at the top: many a proxy has no cluster that needs it, and it takes 20 ms to load.
    from meshproxy.upstream.http2_pool import Http2Pool

    return Http2Pool(cluster, host, connector)


# A client chooses names: so many pools of a host are kept, and others only while they are in use.
MAX_IDLE_NAMES: Final = 100


class SniPools:
    """`auto_sni`: a pool for each name that TLS asks for."""

    __slots__ = ("_cluster", "_connector", "_host", "_pools")

    def __init__(self, cluster: Cluster, host: Host, connector: Connector) -> None:
        self._cluster = cluster
        self._host = host
        self._connector = connector
        self._pools: dict[str, Any] = {}

    def new_stream(self, request: NamingRequest) -> None:
        """Serve `request` on a connection of its name."""
        name = request.server_name(self._cluster.config.auto_sni)
        pool = self._pools.get(name)
        if pool is None:
            if len(self._pools) >= MAX_IDLE_NAMES:
                self._forget_unused()
            self._pools[name] = pool = _make_pool(self._cluster, self._host, self._connector)
            pool.name_server(name)
        pool.new_stream(request)

    def cancel(self, request: NamingRequest) -> None:
        """`request` does not wait any more."""
        pool = self._pools.get(request.server_name(self._cluster.config.auto_sni))
        if pool is not None:
            pool.cancel(request)

    def _forget_unused(self) -> None:
        for name in [name for name, pool in self._pools.items() if not pool.in_use]:
            del self._pools[name]

    @property
    def pending(self) -> list[PoolRequest]:
        """Who waits for a connection."""
        return [request for pool in self._pools.values() for request in pool.pending]

    def drain(self) -> None:
        """The host is gone."""
        for pool in self._pools.values():
            pool.drain()


class DownstreamPool:
    """`use_downstream_protocol_config`: a pool for each protocol."""

    __slots__ = ("_http1", "_http2")

    def __init__(self, cluster: Cluster, host: Host, connector: Connector) -> None:
        self._http1 = ConnPool(cluster, host, connector)
        self._http2 = _http2_pool(cluster, host, connector)

    def new_stream(self, request: DownstreamRequest) -> None:
        """Serve `request` in the protocol that it came in."""
        pool = self._http2 if request.downstream_protocol == HTTP2 else self._http1
        pool.new_stream(request)

    def cancel(self, request: DownstreamRequest) -> None:
        """`request` does not wait any more."""
        pool = self._http2 if request.downstream_protocol == HTTP2 else self._http1
        pool.cancel(request)

    def name_server(self, name: str) -> None:
        """Ask for this name in TLS."""
        self._http1.name_server(name)
        self._http2.name_server(name)

    @property
    def in_use(self) -> bool:
        """Whether there is a connection, or somebody who waits for one."""
        return bool(self._http1.in_use or self._http2.in_use)

    @property
    def pending(self) -> list[PoolRequest]:
        """Who waits for a connection."""
        return [*self._http1.pending, *self._http2.pending]

    def drain(self) -> None:
        """The host is gone."""
        self._http1.drain()
        self._http2.drain()
