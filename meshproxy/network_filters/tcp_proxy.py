"""`envoy.filters.network.tcp_proxy`: bytes from one connection to another, and back.

With `tunneling_config` the other connection is a stream of HTTP (`upstream/http_tunnel.py`).

Owns which cluster, how often it is tried, both half-closes, the clocks and the log of a connection.
Refuses to know the upstream connection's making (`upstream/tcp_client.py`) and the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.stream_info import ResponseFlag
from meshproxy.network_filters.filter import (
    STOP_ITERATION,
    NetworkFilter,
    NetworkFilterCallbacks,
)
from meshproxy.network_filters.registry import NETWORK_FILTERS, NetworkFactoryContext
from meshproxy.stats.connection_metrics import TcpProxyStats
from meshproxy.upstream.conn_pool import OVERFLOW
from meshproxy.upstream.http_tunnel import HttpTunnel
from meshproxy.upstream.tcp_client import TcpClient

if TYPE_CHECKING:
    from meshproxy.http.buffer import Buffer
    from meshproxy.http.dispatcher import Timer
    from meshproxy.http.stream_info import StreamInfo
    from meshproxy.router.header_mutation import HeaderMutations, Value

TYPE: str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelingConfig:
    """`TunnelingConfig`: CONNECT to `hostname`, or POST to it where there is a `post_path`."""

    hostname: Value
    post_path: bytes = b""
    headers_to_add: HeaderMutations | None = None

    def request(self, info: StreamInfo) -> HeaderMap:
        """What asks for the tunnel."""
        hostname = self.hostname if isinstance(self.hostname, bytes) else self.hostname(info)
        pairs = [(b":method", b"CONNECT"), (b":authority", hostname)]
        if self.post_path:
            pairs = [
                (b":method", b"POST"), (b":path", self.post_path), (b":scheme", b"http"), pairs[1],
            ]  # fmt: skip
        headers = HeaderMap(pairs)
        if self.headers_to_add is not None:
            self.headers_to_add.apply(headers, info)
        return headers


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpProxyConfig:
    """`TcpProxy` with Envoy's defaults. Times are seconds, None: never.

    `clusters` are (name, weight); weights are whole and not all 0. `access_logs` are what
    `config/access_log.py` makes.
    """

    stat_prefix: str
    clusters: tuple[tuple[str, int], ...]
    idle_timeout: float | None = 3600.0
    max_connect_attempts: int = 1
    max_downstream_connection_duration: float | None = None
    tunneling: TunnelingConfig | None = None
    access_logs: Sequence[Any] = ()


@NETWORK_FILTERS.register(TYPE)
def build(config: TcpProxyConfig, context: NetworkFactoryContext) -> TcpProxyFactory:
    """The TCP proxy of one chain."""
    return TcpProxyFactory(config, context)


class TcpProxyFactory:
    """Makes the proxy of each connection; what a drain asks about them."""

    __slots__ = ("_bounds", "_names", "access_logs", "active", "cluster_manager", "config",
                 "connector", "draining", "random", "received", "sent", "stats")  # fmt: skip
    half_close = True

    def __init__(self, config: TcpProxyConfig, context: NetworkFactoryContext) -> None:
        self.config = config
        self.cluster_manager = context.cluster_manager
        self.connector = context.connector
        self.access_logs = context.access_logs(config.access_logs)
        self.stats = context.store.scope(f"tcp.{config.stat_prefix}.").block(TcpProxyStats)
        self.received = self.stats.downstream_cx_rx_bytes_total
        self.sent = self.stats.downstream_cx_tx_bytes_total
        self.random = context.dispatcher.random
        self.active = 0
        self.draining = False
        self._names = [name for name, _ in config.clusters]
        self._bounds = list(accumulate(weight for _, weight in config.clusters))

    def __call__(self, callbacks: NetworkFilterCallbacks) -> TcpProxy:
        """The proxy of one connection."""
        return TcpProxy(self, callbacks)

    @property
    def drainable(self) -> TcpProxyFactory:
        """A drain waits for the connections; nothing can tell their peers to end."""
        return self

    def on_rejected(self) -> None:
        """A connection has failed before it came here."""
        self.stats.downstream_cx_total.value += 1

    @property
    def requests_active(self) -> int:
        """How many connections there are."""
        return self.active

    def drain(self) -> None:
        """There is nothing between the bytes at which a connection could end."""
        self.draining = True

    def choose_cluster(self) -> str:
        """The cluster of a new connection, by weight."""
        if len(self._names) == 1:
            return self._names[0]
        value = self.random() % self._bounds[-1]
        return next(n for n, bound in zip(self._names, self._bounds, strict=True) if value < bound)


class TcpProxy(NetworkFilter):
    """The proxy of one connection. Implements `upstream.tcp_client.TcpCallbacks`."""

    __slots__ = ("_attempts", "_callbacks", "_client_ended", "_closed", "_cluster", "_factory",
                 "_flushing", "_host_ended", "_last", "_paused", "_timers", "_upstream",
                 "_upstream_paused")  # fmt: skip

    def __init__(self, factory: TcpProxyFactory, callbacks: NetworkFilterCallbacks) -> None:
        self._factory = factory
        self._callbacks = callbacks
        self._cluster: Any = None
        self._upstream: TcpClient | HttpTunnel | None = None
        self._attempts = 0
        self._client_ended = False
        self._host_ended = False
        self._closed = False
        self._flushing = False  # upstream, after downstream has gone
        self._paused = False  # reading from downstream
        self._upstream_paused = False
        self._last = 0.0
        self._timers: list[Timer] = []

    # -- the way up --------------------------------------------------------------------------

    def on_new_connection(self) -> int:
        """Begin to connect; until that is done nothing is read."""
        factory = self._factory
        factory.stats.downstream_cx_total.value += 1
        factory.active += 1
        config = factory.config
        duration = config.max_downstream_connection_duration
        if duration is not None:
            self._timers.append(
                self._callbacks.dispatcher.call_later(duration, self._on_max_duration)
            )
        self._pause(True)
        name = factory.choose_cluster()
        self._cluster = factory.cluster_manager.get(name)
        if self._cluster is None:
            factory.stats.downstream_cx_no_route.value += 1
            self._give_up(ResponseFlag.NoClusterFound)
        else:
            self._callbacks.info.cluster = self._cluster
            self._connect()
        return STOP_ITERATION

    def _connect(self) -> None:
        factory, cluster, info = self._factory, self._cluster, self._callbacks.info
        if cluster.connections_active >= cluster.config.circuit_breakers.max_connections:
            cluster.stats.upstream_cx_overflow.value += 1
            self._give_up(ResponseFlag.UpstreamOverflow)
            return
        if self._attempts >= factory.config.max_connect_attempts:
            cluster.stats.upstream_cx_connect_attempts_exceeded.value += 1
            self._give_up(ResponseFlag.UpstreamRetryLimitExceeded)
            return
        host = cluster.choose_host(None, factory.random())
        if host is None:
            cluster.stats.upstream_cx_none_healthy.value += 1
            self._give_up(ResponseFlag.NoHealthyUpstream)
            return
        self._attempts += 1
        info.attempt_count = self._attempts
        info.upstream_host = host
        tunneling = factory.config.tunneling
        if tunneling is None:
            self._upstream = TcpClient(cluster, host, self)
        else:
            self._upstream = HttpTunnel(cluster, host, tunneling.request(info), self)
        self._upstream.connect(factory.connector)

    def _give_up(self, flag: ResponseFlag) -> None:
        self._callbacks.info.response_flags |= flag.value
        self._callbacks.connection.close_after_flush(False)

    def on_upstream_connected(self) -> None:
        """The upstream connection is up: both ways are open."""
        upstream = self._upstream
        assert upstream is not None
        assert upstream.wire is not None
        info = self._callbacks.info
        info.upstream_local_address = upstream.wire.local_address
        info.upstream_connection_id = upstream.wire.connection_id
        info.upstream_tls = upstream.wire.tls
        idle = self._factory.config.idle_timeout
        dispatcher = self._callbacks.dispatcher
        self._last = dispatcher.now()
        if idle is not None:
            self._timers.append(dispatcher.call_later(idle, self._check_idle))
        # Not from here: the transport is not ready for data before this returns.
        dispatcher.call_later(0, self._begin)

    def _begin(self) -> None:
        if self._closed or self._upstream is None:
            return
        held = self._callbacks.read_buffer
        self._pause(False)
        if held.length or self._client_ended:
            self._forward(held)
            self._callbacks.continue_reading()  # the buffer is empty: it may fill again

    def on_upstream_failure(self, reason: str, text: str) -> None:
        """The host could not be reached: try again, if that is allowed."""
        self._upstream = None
        if self._closed:
            return
        info = self._callbacks.info
        if reason == OVERFLOW:  # of a pool: it did not come to a host
            info.upstream_host = None
        else:
            info.response_flags |= ResponseFlag.UpstreamConnectionFailure.value
            info.upstream_transport_failure_reason = text
        self._connect()

    # -- bytes -------------------------------------------------------------------------------

    def on_data(self, data: Buffer, end_stream: bool) -> int:
        """From downstream."""
        self._client_ended = end_stream
        if self._upstream is not None and self._upstream.wire is not None:
            self._forward(data)
        return STOP_ITERATION

    def _forward(self, data: Buffer) -> None:
        assert self._upstream is not None
        wire = self._upstream.wire
        assert wire is not None
        self._last = self._callbacks.dispatcher.now()
        if data.length:
            wire.write(data.take())
        if self._client_ended:
            wire.write_eof()
            if self._host_ended:
                self._callbacks.connection.finish()

    def on_upstream_data(self, data: bytes) -> None:
        """From the host."""
        callbacks = self._callbacks
        self._last = callbacks.dispatcher.now()
        callbacks.write(data, False)

    def on_upstream_eof(self) -> bool:
        """The host sends no more: neither do we, downstream."""
        self._host_ended = True
        self._callbacks.write(b"", True)
        if not self._client_ended:
            return True
        self._callbacks.connection.finish()
        upstream, self._upstream = self._upstream, None
        assert upstream is not None
        assert upstream.wire is not None
        upstream.wire.finish()
        return True

    # -- backpressure ------------------------------------------------------------------------

    def on_watermark(self, high: bool) -> None:
        """Downstream is full, or no more: the host waits."""
        upstream = self._upstream
        if upstream is None or upstream.wire is None or high == self._upstream_paused:
            return
        self._upstream_paused = high
        stats = self._cluster.stats
        if high:
            stats.upstream_flow_control_paused_reading_total.value += 1
        else:
            stats.upstream_flow_control_resumed_reading_total.value += 1
        upstream.wire.read_disable(high)

    def on_upstream_watermark(self, high: bool) -> None:
        """The upstream connection is full, or no more: downstream waits."""
        if self._closed or high == self._paused:
            return
        stats = self._factory.stats
        if high:
            stats.downstream_flow_control_paused_reading_total.value += 1
        else:
            stats.downstream_flow_control_resumed_reading_total.value += 1
        self._pause(high)

    def _pause(self, pause: bool) -> None:
        if pause != self._paused:
            self._paused = pause
            self._callbacks.connection.read_disable(pause)

    # -- the end -----------------------------------------------------------------------------

    def on_upstream_closed(self, local: bool) -> None:
        """The upstream connection is gone: what it has sent is still delivered."""
        upstream, self._upstream = self._upstream, None
        if self._flushing:
            self._factory.stats.upstream_flush_active.value -= 1
        if not self._closed:
            if upstream is not None and upstream.wire is not None and upstream.wire.was_reset:
                self._callbacks.info.response_flags |= ResponseFlag.UpstreamRemoteReset.value
            self._callbacks.connection.close_after_flush(False)

    def on_closed(self, local: bool) -> None:
        """The downstream connection is gone."""
        self._closed = True
        self._factory.active -= 1
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        upstream = self._upstream
        if upstream is not None:
            if upstream.wire is not None and upstream.wire.unsent:
                self._flushing = True
                self._factory.stats.upstream_flush_total.value += 1
                self._factory.stats.upstream_flush_active.value += 1
            upstream.close()
        info = self._callbacks.info
        info.response_end = self._callbacks.dispatcher.now()
        for log in self._factory.access_logs:
            log.log(info)

    def _check_idle(self) -> None:
        idle = self._factory.config.idle_timeout
        assert idle is not None
        left = self._last + idle - self._callbacks.dispatcher.now()
        if left > 0:
            self._timers[-1] = self._callbacks.dispatcher.call_later(left, self._check_idle)
            return
        self._factory.stats.idle_timeout.value += 1
        self._cut()

    def _on_max_duration(self) -> None:
        self._callbacks.info.response_flags |= ResponseFlag.DurationTimeout.value
        self._factory.stats.max_downstream_connection_duration.value += 1
        self._cut()

    def _cut(self) -> None:
        """Close both connections without waiting for what is queued."""
        if self._upstream is not None:
            if self._upstream.wire is not None:
                self._upstream.wire.abort()
            else:
                self._upstream.close()
        self._callbacks.connection.abort()
