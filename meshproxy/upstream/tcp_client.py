"""One upstream connection for one downstream connection: no pool, no sharing.

Owns connecting, the counters of cluster and host, and the limits on connections. Refuses to know
what the bytes are for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from meshproxy.network.connection import Connection
    from meshproxy.network.connector import Connector
    from meshproxy.upstream.cluster import Cluster
    from meshproxy.upstream.host import Host


class TcpCallbacks(Protocol):
    """Who an upstream connection is for."""

    def on_upstream_connected(self) -> None:
        """It is up."""

    def on_upstream_failure(self, reason: str, text: str) -> None:
        """It could not be made; see `network/connector.py` for the words."""

    def on_upstream_data(self, data: bytes) -> None:
        """Bytes from the host."""

    def on_upstream_eof(self) -> bool:
        """The host sends no more. True: keep the connection for writing."""

    def on_upstream_watermark(self, high: bool) -> None:
        """Its write buffer is over its limit, or has drained."""

    def on_upstream_closed(self, local: bool) -> None:
        """It is gone."""


class TcpClient:
    """The connection, from the wish for it to its end. `wire` is None until it is up."""

    __slots__ = ("_active", "_callbacks", "_cluster", "_connecting", "_now", "_opened", "host",
                 "wire")  # fmt: skip

    def __init__(self, cluster: Cluster, host: Host, callbacks: TcpCallbacks) -> None:
        self.host = host
        self.wire: Connection | None = None
        self._cluster = cluster
        self._callbacks = callbacks
        self._connecting: Any = None
        self._active = False
        self._now: Callable[[], float] | None = None
        self._opened = 0.0

    def connect(self, connector: Connector) -> None:
        """Begin; the callbacks hear how it went, never at once."""
        self._now = connector.dispatcher.now
        self._opened = self._now()
        cluster, host = self._cluster, self.host
        stats = cluster.stats
        stats.upstream_cx_total.value += 1
        stats.upstream_cx_active.value += 1
        stats.upstream_rq_pending_total.value += 1
        stats.upstream_rq_pending_active.value += 1
        cluster.pending_active += 1
        cluster.connections_active += 1
        host.stats.cx_total += 1
        host.stats.cx_active += 1
        host.tcp_clients.add(self)
        self._connecting = connector.connect(self, host.address, cluster.connect_options(host))

    def close(self) -> None:
        """Nobody wants it any more: send what is queued and close, or stop connecting."""
        if self.wire is not None:
            self.wire.close_after_flush(False)
        elif self._connecting is not None:
            connecting, self._connecting = self._connecting, None
            connecting.cancel()
            self._cluster.stats.upstream_rq_cancelled.value += 1
            self._no_longer_pending()
            self._gone(local=True)

    def leave(self) -> None:
        """The host is ill: end the connection, where it is up; whom it is for hears of it."""
        if self.wire is not None:
            self.wire.close_after_flush(False)

    def _no_longer_pending(self) -> None:
        self._cluster.pending_active -= 1
        self._cluster.stats.upstream_rq_pending_active.value -= 1

    # -- ConnectingOwner -------------------------------------------------------------------------

    def on_connected(self, connection: Connection) -> Callable[[bytes], None]:
        """It is up."""
        assert self._now is not None
        self.wire = connection
        self._connecting = None
        self._no_longer_pending()
        cluster = self._cluster
        stats = cluster.stats
        stats.upstream_cx_connect_ms.record(int((self._now() - self._opened) * 1000))
        stats.upstream_rq_total.value += 1
        stats.upstream_rq_active.value += 1
        cluster.requests_active += 1
        self.host.stats.rq_total += 1
        self.host.active_requests += 1
        self._active = True
        self._callbacks.on_upstream_connected()
        return self._callbacks.on_upstream_data

    def on_connect_failure(self, reason: str, text: str) -> None:
        """It could not be made."""
        if self._connecting is None:
            return
        self._connecting = None
        stats = self._cluster.stats
        stats.upstream_cx_connect_fail.value += 1
        if reason == "connection timeout":
            stats.upstream_cx_connect_timeout.value += 1
        self.host.stats.cx_connect_fail += 1
        self._no_longer_pending()
        stats.upstream_rq_pending_failure_eject.value += 1
        self._gone(local=reason == "connection timeout")
        self._callbacks.on_upstream_failure(reason, text)

    def on_eof(self) -> bool:
        """The host sends no more."""
        return self._callbacks.on_upstream_eof()

    def on_watermark(self, high: bool) -> None:
        """The write buffer is over its limit, or has drained."""
        self._callbacks.on_upstream_watermark(high)

    def on_closed(self, local: bool) -> None:
        """It is gone."""
        self._gone(local)
        self._callbacks.on_upstream_closed(local)

    def _gone(self, local: bool) -> None:
        cluster, host = self._cluster, self.host
        stats = cluster.stats
        stats.upstream_cx_active.value -= 1
        stats.upstream_cx_destroy.value += 1
        side = stats.upstream_cx_destroy_local if local else stats.upstream_cx_destroy_remote
        side.value += 1
        assert self._now is not None
        stats.upstream_cx_length_ms.record(int((self._now() - self._opened) * 1000))
        cluster.connections_active -= 1
        host.stats.cx_active -= 1
        host.tcp_clients.discard(self)
        if not self._active:
            return
        self._active = False
        stats.upstream_cx_destroy_with_active_rq.value += 1
        if local:
            stats.upstream_cx_destroy_local_with_active_rq.value += 1
        else:
            stats.upstream_cx_destroy_remote_with_active_rq.value += 1
        stats.upstream_rq_active.value -= 1
        cluster.requests_active -= 1
        host.active_requests -= 1
