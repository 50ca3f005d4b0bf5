"""Connections to one host: kept, reused, made, and waited for.

Owns which connection serves which request. `next_step` decides purely; the rest does what it said.
Refuses to know routes and what a request is for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from meshproxy.http.codec import ResponseDecoder
from meshproxy.http.http1 import ClientCodec
from meshproxy.http.http1.settings import Http1Settings
from meshproxy.network.connector import Connector
from meshproxy.upstream.cluster import Cluster
from meshproxy.upstream.host import Host

REMOTE_CONNECTION_FAILURE: Final = "remote connection failure"
LOCAL_CONNECTION_FAILURE: Final = "local connection failure"
CONNECTION_TIMEOUT: Final = "connection timeout"
OVERFLOW: Final = "overflow"

# next_step
READY: Final = 0
CONNECT: Final = 1
WAIT: Final = 2
FULL: Final = 3


class PoolRequest(ResponseDecoder, Protocol):
    """A request that wants a connection (`router/upstream_request.py`)."""

    def on_pool_ready(self, client: Any) -> None:
        """`client` is its own until the exchange ends: a PoolClient or an `http2_pool.Exchange`."""

    def on_pool_failure(self, reason: str, transport_reason: str, host: Host | None) -> None:
        """There will be no connection. `host`: which one that is about, if it came to that."""

    def on_upstream_watermark(self, high: bool) -> None:
        """Its connection is full, or no more."""


class ConnPool:
    """The HTTP/1 connections of one host. Idle ones are reused last in, first out.

    `server_name` is whom TLS asks for instead of its own, `alpn` what it offers by itself.
    """

    __slots__ = ("_connector", "_idle_timer", "alpn", "clients", "cluster", "connecting",
                 "dispatcher", "host", "idle", "max_requests", "now", "pending", "server_name",
                 "settings")  # fmt: skip

    def __init__(self, cluster: Cluster, host: Host, connector: Connector) -> None:
        self.cluster = cluster
        self.host = host
        self.idle: list[Any] = []
        self.clients: set[Any] = set()
        self.pending: deque[PoolRequest] = deque()
        self.connecting = 0
        self.server_name = ""
        self.alpn: tuple[str, ...] = ("http/1.1",)
        self._connector = connector
        self._idle_timer: Any = None  # one for all: when the longest idle one has been so too long
        self.dispatcher = connector.dispatcher
        self.now: Callable[[], float] = connector.dispatcher.now
        config = cluster.config
        self.max_requests = config.circuit_breakers.max_requests
        self.settings = Http1Settings(
            max_headers_bytes=config.max_response_headers_kb * 1024,
            max_headers_count=config.max_response_headers_count,
            enable_trailers=config.enable_trailers,
        )

    def name_server(self, name: str) -> None:
        """Ask for this name in TLS."""
        self.server_name = name

    @property
    def in_use(self) -> bool:
        """Whether there is a connection, or somebody who waits for one."""
        return bool(self.clients or self.pending)

    def next_step(self) -> int:
        """What a new request gets: READY, CONNECT, WAIT or FULL."""
        if self.idle:
            return READY
        cluster = self.cluster
        limits = cluster.config.circuit_breakers
        if cluster.pending_active >= limits.max_pending_requests:
            return FULL
        if self.connecting > len(self.pending):
            return WAIT  # for a connection that is being made, and that nobody wants any more
        # Envoy lets a host without any connection have its first one, limit or not.
        if cluster.connections_active < limits.max_connections or not self.clients:
            return CONNECT
        return WAIT

    def new_stream(self, request: PoolRequest) -> None:
        """Serve `request` as soon as a connection is free; it may be called back at once."""
        idle = self.idle
        while idle:
            client = idle.pop()
            if not client.wire.closing:
                if self.cluster.requests_active < self.max_requests:
                    client.begin(request)
                else:
                    idle.append(client)
                    self.refuse(request)
                return
        self.wait(request)

    def wait(self, request: PoolRequest) -> None:
        """There is no connection free: `request` waits for one, if it may."""
        stats = self.cluster.stats
        step = self.next_step()
        if step == FULL:
            stats.upstream_rq_pending_overflow.value += 1
            request.on_pool_failure(OVERFLOW, "", None)
            return
        stats.upstream_rq_pending_total.value += 1
        stats.upstream_rq_pending_active.value += 1
        self.cluster.pending_active += 1
        self.pending.append(request)
        if self.cluster.connections_active >= self.cluster.config.circuit_breakers.max_connections:
            stats.upstream_cx_overflow.value += 1
        if step == CONNECT:
            self.connect()

    def refuse(self, request: PoolRequest) -> None:
        """As many requests are active as the circuit breaker lets be."""
        self.cluster.stats.upstream_rq_active_overflow.value += 1
        request.on_pool_failure(OVERFLOW, "", self.host)

    def cancel(self, request: PoolRequest) -> None:
        """`request` does not wait any more."""
        try:
            self.pending.remove(request)
        except ValueError:
            return
        self.one_less_pending()
        self.cluster.stats.upstream_rq_cancelled.value += 1

    def connect(self) -> None:
        """Begin to make a connection."""
        client = self.make_client()
        self.clients.add(client)
        self.connecting += 1
        stats = self.cluster.stats
        stats.upstream_cx_total.value += 1
        stats.upstream_cx_active.value += 1
        self.host.stats.cx_total += 1
        self.host.stats.cx_active += 1
        self.cluster.connections_active += 1
        options = self.cluster.connect_options(self.host, self.server_name, self.alpn)
        self._connector.connect(client, self.host.address, options)

    def make_client(self) -> Any:
        """A connection that is still to be made."""
        self.cluster.stats.upstream_cx_http1_total.value += 1
        self.cluster.count_http1()
        return PoolClient(self)

    def on_connected(self, client: Any) -> None:
        """A connection is up."""
        self.connecting -= 1
        self.cluster.stats.upstream_cx_connect_ms.record(int((self.now() - client.opened) * 1000))

    def on_ready(self, client: PoolClient) -> None:
        """A connection is up, or free again."""
        while self.pending:
            request = self.pending.popleft()
            self.one_less_pending()
            if self.cluster.requests_active < self.max_requests:
                client.begin(request)
                return
            self.refuse(request)
        if client.last or self.host.gone:
            client.wire.close_after_flush(False)
            return
        client.idle_since = self.now()
        self.idle.append(client)
        if self._idle_timer is None:
            self.watch_idle()

    def on_connect_failure(self, client: Any, reason: str, text: str) -> None:
        """A connection could not be made: all who wait for this host hear it, as in Envoy."""
        stats = self.cluster.stats
        stats.upstream_cx_connect_fail.value += 1
        if reason == CONNECTION_TIMEOUT:
            stats.upstream_cx_connect_timeout.value += 1
        self.host.stats.cx_connect_fail += 1
        self.connecting -= 1
        # Taken away first: for those who wait no more, `remove` must not connect again.
        waiting, self.pending = self.pending, deque()
        self.remove(client, local=reason == CONNECTION_TIMEOUT)
        for request in waiting:
            self.one_less_pending()
            stats.upstream_rq_pending_failure_eject.value += 1
            request.on_pool_failure(reason, text, self.host)

    def remove(self, client: Any, local: bool) -> None:
        """A connection is gone."""
        if client not in self.clients:
            return
        self.clients.discard(client)
        if client in self.idle:
            self.idle.remove(client)
        stats = self.cluster.stats
        stats.upstream_cx_active.value -= 1
        stats.upstream_cx_destroy.value += 1
        side = stats.upstream_cx_destroy_local if local else stats.upstream_cx_destroy_remote
        side.value += 1
        stats.upstream_cx_length_ms.record(int((self.now() - client.opened) * 1000))
        if client.codec is not None:
            stats.upstream_rq_per_cx.record(client.served)
        self.host.stats.cx_active -= 1
        self.cluster.connections_active -= 1
        # Somebody may have been waiting only because there were too many connections.
        if self.wants_connection:
            self.connect()

    @property
    def wants_connection(self) -> bool:
        """Somebody waits for whom no connection is being made."""
        return len(self.pending) > self.connecting

    def watch_idle(self) -> None:
        """Some connection is idle from now on."""
        seconds = self.cluster.config.idle_timeout
        if seconds is not None and self._idle_timer is None:
            self._idle_timer = self.dispatcher.call_later(seconds, self._close_idle)

    def _close_idle(self) -> None:
        """Close the connections that have been idle for `idle_timeout`, the first in the list."""
        self._idle_timer = None
        timeout = self.cluster.config.idle_timeout
        assert timeout is not None
        now = self.now()
        idle = self.idle
        while idle and now - idle[0].idle_since >= timeout:
            self.cluster.stats.upstream_cx_idle_timeout.value += 1
            idle.pop(0).wire.close_after_flush(False)
        if idle:
            left = idle[0].idle_since + timeout - now
            self._idle_timer = self.dispatcher.call_later(left, self._close_idle)

    def drain(self) -> None:
        """The host is gone: idle connections close now, the others after their exchange."""
        self.stop_watching()
        for client in tuple(self.clients):
            if client in self.idle:
                client.wire.close_after_flush(False)
            else:
                client.last = True

    def stop_watching(self) -> None:
        """No idle connection needs to be closed any more."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    # -- counts --------------------------------------------------------------------------------

    def one_less_pending(self) -> None:
        """A request waits no more."""
        self.cluster.pending_active -= 1
        self.cluster.stats.upstream_rq_pending_active.value -= 1

    def count_begin(self) -> None:
        """A request begins on one of the connections."""
        cluster = self.cluster
        stats = cluster.stats
        stats.upstream_rq_total.value += 1
        stats.upstream_rq_active.value += 1
        host = self.host
        host.stats.rq_total += 1
        host.active_requests += 1
        cluster.requests_active += 1

    def count_end(self) -> None:
        """It is over."""
        cluster = self.cluster
        cluster.stats.upstream_rq_active.value -= 1
        cluster.requests_active -= 1
        self.host.active_requests -= 1

    def count_active_destroy(self, local: bool) -> None:
        """A connection ends with a request on it."""
        stats = self.cluster.stats
        stats.upstream_cx_destroy_with_active_rq.value += 1
        if local:
            stats.upstream_cx_destroy_local_with_active_rq.value += 1
        else:
            stats.upstream_cx_destroy_remote_with_active_rq.value += 1

    def count_watermark(self, high: bool) -> None:
        """A connection is full, or no more."""
        stats = self.cluster.stats
        if high:
            stats.upstream_flow_control_backed_up_total.value += 1
        else:
            stats.upstream_flow_control_drained_total.value += 1


class PoolClient:
    """One upstream connection: between `network.connection.Connection` and the codec."""

    __slots__ = (
        "_closed_by_peer",
        "codec",
        "idle_since",
        "last",
        "opened",
        "pool",
        "request",
        "served",
        "wire",
    )

    def __init__(self, pool: ConnPool) -> None:
        self.pool = pool
        self.codec: ClientCodec | None = None
        self.wire: Any = None
        self.request: PoolRequest | None = None
        self.last = False
        self._closed_by_peer = False
        self.served = 0
        self.opened = self.idle_since = pool.now()

    # -- the exchange --------------------------------------------------------------------------

    def begin(self, request: PoolRequest) -> None:
        """Give this connection to `request`."""
        self.request = request
        self.served += 1
        self.pool.count_begin()
        cluster = self.pool.cluster
        limit = cluster.config.max_requests_per_connection
        if limit and self.served >= limit:
            cluster.stats.upstream_cx_max_requests.value += 1
            self.last = True
        request.on_pool_ready(self)

    def end(self) -> None:
        """The exchange is over: keep the connection if it can serve once more."""
        if self.request is None:
            return
        self._release()
        codec = self.codec
        assert codec is not None
        if codec.idle and codec.reusable and not self.last and not self.wire.closing:
            self.pool.on_ready(self)
        elif not self._closed_by_peer:
            self.wire.close_after_flush(False)

    def fail(self) -> None:
        """The response cannot be read to its end: the connection ends, and closes by itself."""
        if not self._closed_by_peer:
            self.pool.count_active_destroy(local=True)
        self._release()

    def reset(self) -> None:
        """Give the exchange up; the connection goes with it."""
        if self.request is None:
            return
        self.pool.count_active_destroy(local=True)
        self._release()
        if self.codec is not None:
            self.codec.reset_stream()

    def leave(self) -> None:
        """What the connection has become is over from here: it ends when all is sent."""
        if self.request is None:
            return
        self.pool.count_active_destroy(local=True)
        self._release()
        self.wire.close_after_flush(False)

    def _release(self) -> None:
        self.request = None
        self.pool.count_end()

    @property
    def above_high(self) -> bool:
        """Whether the connection is full."""
        full: bool = self.wire.above_high
        return full

    def read_disable(self, disable: bool) -> None:
        """Stop or go on reading the response."""
        self.wire.read_disable(disable)

    # -- ConnectionOwner -------------------------------------------------------------------------

    def on_connected(self, connection: Any) -> Callable[[bytes], None]:
        """The connection is up."""
        self.wire = connection
        pool = self.pool
        pool.on_connected(self)
        self.codec = codec = ClientCodec(connection, pool.settings)
        # Not from here: the transport is not ready for data before this returns.
        pool.dispatcher.call_soon(self._ready)
        return codec.dispatch

    def _ready(self) -> None:
        if not self.wire.closing and self in self.pool.clients:
            self.pool.on_ready(self)

    def on_connect_failure(self, reason: str, text: str) -> None:
        """The connection could not be made."""
        self.pool.on_connect_failure(self, reason, text)

    def on_eof(self) -> bool:
        """The peer sends no more: the end of a response, or of the connection."""
        assert self.codec is not None
        self._peer_closes(self.codec)
        return False

    def _peer_closes(self, codec: ClientCodec) -> None:
        self._closed_by_peer = True
        if self in self.pool.idle:
            self.pool.idle.remove(self)  # it may not be picked before the transport is gone
        if self.request is not None and not codec.ends_with_eof:
            self.pool.count_active_destroy(local=False)
        codec.on_eof()

    def on_watermark(self, high: bool) -> None:
        """The connection is full, or no more."""
        self.pool.count_watermark(high)
        if self.request is not None:
            self.request.on_upstream_watermark(high)

    def on_closed(self, local: bool) -> None:
        """The connection is gone."""
        codec = self.codec
        if codec is not None:
            if local:
                codec.on_eof()  # where an error of ours closed it, somebody still waits
            elif not self._closed_by_peer:
                self._peer_closes(codec)
            stats = self.pool.cluster.stats
            if codec.broken:
                stats.upstream_cx_protocol_error.value += 1
            if codec.close_announced:
                stats.upstream_cx_close_notify.value += 1
        if self.request is not None:
            self._release()
        self.pool.remove(self, local and not self._closed_by_peer)
