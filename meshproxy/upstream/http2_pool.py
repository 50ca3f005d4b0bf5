"""Connections to one host that carry many requests at a time.

Owns which HTTP/2 connection serves which request, and when another one is made. Refuses to know
frames (`http/http2/`), routes, and what a request is for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from meshproxy.http.http2.client import (
    CONNECT_ERROR,
    REMOTE_REFUSED,
    REMOTE_RESET,
    TERMINATION,
    ClientCodec,
    ClientStream,
)
from meshproxy.http.http2.frames import INTERNAL_ERROR
from meshproxy.upstream.conn_pool import CONNECT, FULL, READY, WAIT, ConnPool, PoolRequest

# How often the clock is looked at for keep-alive PINGs, in seconds.
SWEEP_INTERVAL: Final = 0.2


class Http2Pool(ConnPool):
    """The HTTP/2 connections of one host. `ready`: those that can take another request.

    `settling`: how many are up and will be ready in the next turn of the loop.
    """

    __slots__ = ("ready", "settling")

    def __init__(self, cluster: Any, host: Any, connector: Any) -> None:
        super().__init__(cluster, host, connector)
        self.alpn = ("h2",)
        self.ready: list[Http2Client] = []
        self.settling = 0

    def next_step(self) -> int:
        """What a new request gets: READY, CONNECT, WAIT or FULL."""
        if self.ready:
            return READY
        cluster = self.cluster
        limits = cluster.config.circuit_breakers
        if cluster.pending_active >= limits.max_pending_requests:
            return FULL
        most = cluster.config.http2.max_concurrent_streams
        if (self.connecting + self.settling) * most > len(self.pending):
            return WAIT  # there will be room on the connections that are being made
        if cluster.connections_active < limits.max_connections or not self.clients:
            return CONNECT
        return WAIT

    def new_stream(self, request: PoolRequest) -> None:
        """Serve `request` as soon as a connection has room; it may be called back at once."""
        ready = self.ready
        while ready:
            client = ready[0]
            if not client.has_room:  # it is being closed
                del ready[0]
            elif self.cluster.requests_active < self.max_requests:
                client.begin(request)
                return
            else:
                self.refuse(request)
                return
        self.wait(request)

    def make_client(self) -> Any:
        """A connection that is still to be made."""
        self.count_connection()
        return Http2Client(self)

    def count_connection(self) -> None:
        """One more connection speaks HTTP/2."""
        self.cluster.stats.upstream_cx_http2_total.value += 1
        self.cluster.http2_stats().nghttp2_upstream_connections.value += 1  # and never less

    def on_room(self, client: Http2Client) -> None:
        """A connection is up, or has room again."""
        while self.pending and client.has_room:
            request = self.pending.popleft()
            self.one_less_pending()
            if self.cluster.requests_active < self.max_requests:
                client.begin(request)
            else:
                self.refuse(request)
        self.sort(client)

    def sort(self, client: Http2Client) -> None:
        """Put a connection where its room says."""
        if client.has_room:
            if client not in self.ready:
                self.ready.append(client)
        elif client in self.ready:
            self.ready.remove(client)

    def on_idle(self, client: Http2Client) -> None:
        """A connection has no request left."""
        if self.host.gone and not client.last:
            client.last = True
            client.on_change()
            return
        client.idle_since = self.now()
        if client not in self.idle:
            self.idle.append(client)
            self.watch_idle()

    def remove(self, client: Any, local: bool) -> None:
        """A connection is gone."""
        if client in self.ready:
            self.ready.remove(client)
        super().remove(client, local)

    @property
    def wants_connection(self) -> bool:
        """Somebody waits for whom no connection is being made."""
        return bool(self.pending) and not (self.connecting or self.settling or self.ready)

    def drain(self) -> None:
        """The host is gone: connections end with their last request."""
        self.stop_watching()
        for client in tuple(self.clients):
            client.last = True
            if client.codec is not None:
                client.on_change()


class Http2Client:
    """One upstream connection: between `network.connection.Connection` and the codec."""

    __slots__ = ("_closed_by_peer", "_sweeper", "_told_to_go", "active", "codec", "idle_since",
                 "last", "opened", "pool", "served", "wire")  # fmt: skip

    def __init__(self, pool: Http2Pool) -> None:
        self.pool = pool
        self.codec: ClientCodec | None = None
        self.wire: Any = None
        self.last = False  # no further request
        self.served = 0
        self.active = 0
        self.opened = self.idle_since = pool.now()
        self._closed_by_peer = False
        self._told_to_go = False
        self._sweeper: Any = None

    @property
    def has_room(self) -> bool:
        """Whether another request can begin now."""
        codec = self.codec
        return codec is not None and not self.last and codec.capacity > 0 and not self.wire.closing

    def begin(self, request: PoolRequest) -> None:
        """Let `request` begin."""
        pool = self.pool
        cluster = pool.cluster
        codec = self.codec
        assert codec is not None
        self.served += 1
        self.active += 1
        if self in pool.idle:
            pool.idle.remove(self)
        pool.count_begin()
        limit = cluster.config.max_requests_per_connection
        if limit and self.served >= limit:
            cluster.stats.upstream_cx_max_requests.value += 1
            self.last = True
        codec.before_use(pool.now())
        request.on_pool_ready(Exchange(self, request))
        pool.sort(self)

    def on_exchange_end(self) -> None:
        """One of the requests is over."""
        self.active -= 1
        self.pool.count_end()
        self.on_change()

    def on_change(self) -> None:
        """The room may be another: a stream has ended, or the server has said something."""
        pool = self.pool
        codec = self.codec
        if codec is None:
            return
        if codec.going_away and not self._told_to_go:
            self._told_to_go = True
            pool.cluster.stats.upstream_cx_close_notify.value += 1
        if self.wire.closing:
            pool.sort(self)
        elif self.active == 0 and (self.last or codec.going_away or codec.is_used_up):
            pool.sort(self)
            self.wire.close_after_flush(False)
        else:
            pool.on_room(self)
            if self.active == 0:
                pool.on_idle(self)
        if pool.wants_connection:
            pool.connect()

    # -- ConnectionOwner ---------------------------------------------------------------------

    def on_connected(self, connection: Any) -> Callable[[bytes], None]:
        """The connection is up."""
        self.wire = connection
        pool = self.pool
        pool.on_connected(self)
        cluster = pool.cluster
        self.codec = codec = ClientCodec(connection, cluster.config.http2, cluster.http2_stats())
        codec.on_change = self._on_codec_change
        # Not from here: the transport is not ready for data before this returns.
        pool.settling += 1
        pool.dispatcher.call_soon(self._ready)
        return codec.dispatch

    def _on_codec_change(self) -> None:
        self.pool.sort(self)
        if self.codec is not None and (self.codec.going_away or self.pool.pending):
            self.on_change()

    def _ready(self) -> None:
        pool = self.pool
        pool.settling -= 1
        if self.wire.closing or self not in pool.clients:
            if pool.wants_connection:
                pool.connect()
            return
        if pool.cluster.config.http2.keepalive is not None:
            self._sweep()
        self.on_change()

    def _sweep(self) -> None:
        if self.codec is not None and not self.wire.closing:
            self.codec.sweep(self.pool.now())
            self._sweeper = self.pool.dispatcher.call_later(SWEEP_INTERVAL, self._sweep)

    def on_connect_failure(self, reason: str, text: str) -> None:
        """The connection could not be made."""
        self.pool.on_connect_failure(self, reason, text)

    def on_eof(self) -> bool:
        """The peer sends no more."""
        self._closed_by_peer = True
        self._end_streams()
        return False

    def on_watermark(self, high: bool) -> None:
        """The connection is full, or no more."""
        self.pool.count_watermark(high)
        if self.codec is not None:
            self.codec.on_watermark(high)

    def on_closed(self, local: bool) -> None:
        """The connection is gone."""
        local = local and not self._closed_by_peer
        codec = self.codec
        if codec is not None:
            self._end_streams(local)
            if codec.broken:
                self.pool.cluster.stats.upstream_cx_protocol_error.value += 1
        if self._sweeper is not None:
            self._sweeper.cancel()
        self.pool.remove(self, local)

    def _end_streams(self, local: bool = False) -> None:
        codec = self.codec
        assert codec is not None
        if self.active:
            self.pool.count_active_destroy(local)
        if self in self.pool.ready:
            self.pool.ready.remove(self)
        codec.on_closed()


class Exchange(ClientStream):
    """One request on a connection that it shares, as `router/upstream_request.py` sees it."""

    __slots__ = ("_client", "_request", "served", "wire")

    def __init__(self, client: Http2Client, request: PoolRequest) -> None:
        assert client.codec is not None
        super().__init__(client.codec)
        self._client: Http2Client | None = client
        self._request: PoolRequest | None = request
        self.wire = client.wire
        self.served = client.served

    @property
    def codec(self) -> Exchange:
        """Where the request is written."""
        return self

    def watermark(self, high: bool) -> None:
        """The request is sent faster than it can be taken, or no more."""
        if self._request is not None:
            self._request.on_upstream_watermark(high)

    def end(self) -> None:
        """The exchange is over."""
        self._release()

    def end_with(self, reason: str, details: str) -> None:
        """There will be no (more) response."""
        client = self._client
        if client is not None:
            _count_reset(client.pool.cluster.stats, reason)
        super().end_with(reason, details)

    def fail(self) -> None:
        """The request has heard that there will be no (more) response."""
        self._release()

    def reset(self) -> None:
        """Nobody wants the rest of the response."""
        client = self._client
        if client is not None:
            client.pool.cluster.stats.upstream_rq_tx_reset.value += 1
            self.handler = None
            self.abandon(INTERNAL_ERROR)
            self._release()

    def leave(self) -> None:
        """The same, where the stream was another protocol's."""
        self.reset()

    def _release(self) -> None:
        self._request = None  # hot: as all that has ended, without the cycle collector
        client, self._client = self._client, None
        if client is not None:
            client.on_exchange_end()


def _count_reset(stats: Any, reason: str) -> None:
    if reason == TERMINATION:
        stats.upstream_rq_pending_failure_eject.value += 1
    elif reason == REMOTE_RESET:
        stats.upstream_rq_rx_reset.value += 1
    elif reason not in (REMOTE_REFUSED, CONNECT_ERROR):
        stats.upstream_rq_tx_reset.value += 1
