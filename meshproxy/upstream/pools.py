"""Which pool a host gets: by what its cluster speaks.

Owns that choice. Refuses to know what a pool does.
"""

from __future__ import annotations

from typing import Any, Protocol

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


def make_pool(cluster: Cluster, host: Host, connector: Connector) -> Any:
    """The pool of a host, for all of its requests."""
    protocol = cluster.config.upstream_protocol
    if protocol is UpstreamProtocol.HTTP2:
        return _http2_pool(cluster, host, connector)
    if protocol is UpstreamProtocol.DOWNSTREAM:
        return DownstreamPool(cluster, host, connector)
    return ConnPool(cluster, host, connector)


def _http2_pool(cluster: Cluster, host: Host, connector: Connector) -> Any:
    # Not at the top: many a proxy has no cluster that needs it, and it takes 20 ms to load.
    from meshproxy.upstream.http2_pool import Http2Pool

    return Http2Pool(cluster, host, connector)


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

    @property
    def pending(self) -> list[PoolRequest]:
        """Who waits for a connection."""
        return [*self._http1.pending, *self._http2.pending]

    def drain(self) -> None:
        """The host is gone."""
        self._http1.drain()
        self._http2.drain()
