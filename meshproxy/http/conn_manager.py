"""The HTTP connection manager: what one listener does to every request and response.

Owns streams' beginning and end, the clock that watches them, draining, and the headers that the
proxy itself sets. Refuses to know routes' insides, filters and sockets.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from meshproxy.http import request_headers
from meshproxy.http.codec import RequestDecoder, ResponseEncoder
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.http1 import ServerCodec
from meshproxy.http.http1.settings import Http1Settings
from meshproxy.http.local_reply import NO_ROUTE, LocalReply
from meshproxy.http.path import PathNormalizer
from meshproxy.http.peer_info import PeerInfo
from meshproxy.http.stream import Stream
from meshproxy.http.stream_info import ResponseFlag

if TYPE_CHECKING:
    from meshproxy.http.dispatcher import Dispatcher
    from meshproxy.http.filter_chain import FilterChain

# server_header_transformation
OVERWRITE: Final = 0
APPEND_IF_ABSENT: Final = 1
PASS_THROUGH: Final = 2

# How often streams' deadlines are looked at, in seconds; a timer per request would cost 0.9 us.
SWEEP_INTERVAL: Final = 0.02
CONNECTION_SWEEP_TURNS: Final = 10

REQUEST_HEADER_TIMEOUT: Final = LocalReply(
    408, "request_header_timeout", b"request header timeout", close=True
)
REQUEST_OVERALL_TIMEOUT: Final = LocalReply(
    408, "request_overall_timeout", b"request timeout", close=True
)
STREAM_IDLE_TIMEOUT: Final = LocalReply(
    504, "stream_idle_timeout", b"stream timeout", flag=ResponseFlag.StreamIdleTimeout
)
REQUEST_IDLE_TIMEOUT: Final = LocalReply(
    408, "stream_idle_timeout", b"stream timeout", flag=ResponseFlag.StreamIdleTimeout
)
MAX_STREAM_DURATION: Final = LocalReply(504, "max_duration_timeout", b"downstream duration timeout")
MAX_REQUEST_DURATION: Final = LocalReply(
    408, "max_duration_timeout", b"downstream duration timeout"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConnectionManagerConfig:
    """`HttpConnectionManager` with Envoy's defaults, compiled.

    Times are seconds, 0.0 or None: never. `internal_networks` None: nobody is internal (Envoy's
    default since `internal_address_config` became explicit).
    """

    stat_prefix: str
    route_config: Any
    filters: Sequence[Any] = ()
    access_logs: Sequence[Any] = ()
    http1: Http1Settings = field(default_factory=Http1Settings)
    codec_type: int = 0
    server_name: bytes = b"envoy"
    server_header_transformation: int = OVERWRITE
    via: bytes = b""
    use_remote_address: bool = False
    xff_num_trusted_hops: int = 0
    skip_xff_append: bool = False
    internal_networks: tuple[Any, ...] | None = None
    path_normalizer: PathNormalizer | None = None
    generate_request_id: bool = True
    preserve_external_request_id: bool = False
    always_set_request_id_in_response: bool = False
    proxy_100_continue: bool = False
    idle_timeout: float | None = 3600.0
    max_connection_duration: float | None = None
    max_requests_per_connection: int = 0
    max_stream_duration: float | None = None
    stream_idle_timeout: float = 300.0
    request_timeout: float = 0.0
    request_headers_timeout: float = 0.0
    drain_timeout: float = 5.0
    delayed_close_timeout: float = 1.0


class HttpConnectionManager:
    """The connection manager of one listener at run time."""

    __slots__ = (
        "_date",
        "_date_second",
        "_sweep_turn",
        "_sweeping",
        "active",
        "chain",
        "config",
        "connections",
        "dispatcher",
        "draining",
        "listener_stats",
        "local_ip",
        "route_config",
        "stats",
        "wall_offset",
    )

    def __init__(
        self,
        config: HttpConnectionManagerConfig,
        chain: FilterChain,
        stats: Any,
        listener_stats: Any,
        dispatcher: Dispatcher,
    ) -> None:
        self.config = config
        self.chain = chain
        self.stats = stats
        self.listener_stats = listener_stats
        self.dispatcher = dispatcher
        self.route_config = config.route_config
        self.active: set[Stream] = set()
        self.connections: set[HttpConnection] = set()
        self.draining = False
        self.local_ip = request_headers.host_ip()
        self.wall_offset = dispatcher.time() - dispatcher.now()
        self._date_second = -1
        self._date = (b"date", b"")
        self._sweeping = False
        self._sweep_turn = 0

    # -- streams -----------------------------------------------------------------------------

    def admit(self, stream: Stream, headers: HeaderMap) -> LocalReply | None:
        """Make a request's headers ours. Returns the answer instead, where it is not acceptable."""
        config = self.config
        info = stream.info
        refusal = request_headers.sanitize(headers, info, config, self.local_ip)
        for name, value in headers.pairs:
            if name == b":method":
                stream.is_head = value == b"HEAD"
                break
        if refusal is not None:
            self._count_refusal(refusal)
            if refusal is request_headers.UPGRADE_FAILED:
                stream.match_route()  # Envoy looks for the route first, and logs it
            return refusal
        if info.continue_expected:
            self.count(100)
            stream.encoder.encode_1xx(HeaderMap([(b":status", b"100")]))
        return None

    def _count_refusal(self, refusal: LocalReply) -> None:
        stats = self.stats
        if refusal is request_headers.UPGRADE_FAILED:
            stats.downstream_rq_ws_on_non_ws_route.value += 1
        elif refusal is request_headers.ABSOLUTE_PATH_REJECTED:
            stats.downstream_rq_non_relative_path.value += 1
        elif refusal is NO_ROUTE:
            stats.rq_total.value += 1
            stats.no_route.value += 1
        elif refusal.details == request_headers.PATH_NORMALIZATION_FAILED.details:
            if refusal.status == 307:
                stats.downstream_rq_redirected_with_normalized_path.value += 1
            else:
                stats.downstream_rq_failed_path_normalization.value += 1

    def finish_response_headers(self, stream: Stream, headers: HeaderMap) -> None:
        """Set the headers that the proxy answers for, and count the answer."""
        config = self.config
        pairs = headers.pairs
        has_date = server_at = -1
        coded = False
        for at, (name, _) in enumerate(pairs):
            if name == b"date":
                has_date = at
            elif name == b"server":
                server_at = at
            elif name == b"transfer-encoding":
                coded = True
        if has_date < 0:
            pairs.append(self.date())
        if server_at < 0:
            if config.server_header_transformation != PASS_THROUGH:
                pairs.append((b"server", config.server_name))
        elif config.server_header_transformation == OVERWRITE:
            pairs[server_at] = (b"server", config.server_name)
        if config.via:
            pairs.append((b"via", config.via))
        if coded:  # the upstream's; the codec says how this message goes
            headers.remove(b"transfer-encoding")
        info = stream.info
        if (
            config.always_set_request_id_in_response or info.force_trace
        ) and info.request_headers is not None:
            request_id = info.request_headers.get(b"x-request-id")
            if request_id is not None:
                headers.replace(b"x-request-id", request_id)
        connection = stream.connection
        if self.draining or connection.last_request:
            stream.encoder.close_when_done()
        if not stream.request_complete:
            self.stats.downstream_rq_response_before_rq_complete.value += 1
        status = pairs[0][1]
        info.response_code = code = int(status) if status.isdigit() else 0
        self.count(code)

    def count(self, code: int) -> None:
        """Count one answer, final or informational."""
        for stats in (self.stats, self.listener_stats):
            stats.downstream_rq_completed.value += 1
            hundred = code // 100
            if hundred == 2:
                stats.downstream_rq_2xx.value += 1
            elif hundred == 4:
                stats.downstream_rq_4xx.value += 1
            elif hundred == 5:
                stats.downstream_rq_5xx.value += 1
            elif hundred == 3:
                stats.downstream_rq_3xx.value += 1
            elif hundred == 1:
                stats.downstream_rq_1xx.value += 1

    def date(self) -> tuple[bytes, bytes]:
        """The `date` field (RFC 9110, 6.6.1), made anew once a second."""
        now = self.dispatcher.time()
        second = int(now)
        if second != self._date_second:
            self._date_second = second
            self.wall_offset = now - self.dispatcher.now()
            text = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(second))
            self._date = (b"date", text.encode())
        return self._date

    def on_stream_end(self, stream: Stream) -> None:
        """A stream has ended, well or not."""
        stats = self.stats
        stats.downstream_rq_active.value -= 1
        now = self.dispatcher.now()
        stream.info.response_end = now
        stats.downstream_rq_time.record(int((now - stream.info.start) * 1000))
        self.active.discard(stream)
        connection = stream.connection
        connection.stream = None
        connection.idle_since = now

    def on_idle_stream(self, stream: Stream) -> None:
        """Nothing has moved on a stream for `stream_idle_timeout`."""
        self.stats.downstream_rq_idle_timeout.value += 1
        stream.send_local_reply(
            STREAM_IDLE_TIMEOUT if stream.request_complete else REQUEST_IDLE_TIMEOUT
        )

    def on_max_duration(self, stream: Stream) -> None:
        """A stream has lived for `max_stream_duration`."""
        self.stats.downstream_rq_max_duration_reached.value += 1
        stream.send_local_reply(
            MAX_STREAM_DURATION if stream.request_complete else MAX_REQUEST_DURATION
        )

    # -- the clock ---------------------------------------------------------------------------

    def start_sweeping(self) -> None:
        """Look at the clock now and then, for as long as there are connections."""
        if not self._sweeping:
            self._sweeping = True
            self.dispatcher.call_later(SWEEP_INTERVAL, self._sweep)

    def _sweep(self) -> None:
        now = self.dispatcher.now()
        for stream in tuple(self.active):
            stream.sweep(now)
        self._sweep_turn += 1
        if self._sweep_turn >= CONNECTION_SWEEP_TURNS:
            self._sweep_turn = 0
            for connection in tuple(self.connections):
                connection.sweep(now)
        self._sweeping = bool(self.connections)
        if self._sweeping:
            self.dispatcher.call_later(SWEEP_INTERVAL, self._sweep)

    # -- draining ----------------------------------------------------------------------------

    def drain(self) -> None:
        """Close idle connections; the others end with the response that they are waiting for."""
        self.draining = True
        for connection in tuple(self.connections):
            connection.close_if_idle()

    @property
    def requests_active(self) -> int:
        """How many streams have not ended."""
        return len(self.active)


class HttpConnection:
    """One downstream connection: between `network.connection.Connection` and the codec."""

    __slots__ = (
        "_closes_at",
        "_opened",
        "_requests",
        "_speaks",
        "codec",
        "head_since",
        "idle_since",
        "last_request",
        "manager",
        "peer",
        "stream",
        "wire",
    )

    def __init__(self, manager: HttpConnectionManager) -> None:
        self.manager = manager
        self.stream: Stream | None = None
        self.last_request = False
        self._opened = self.idle_since = manager.dispatcher.now()
        self.head_since: float | None = None
        self._requests = 0
        self._speaks = False
        self._closes_at: float | None = None  # when draining ends; monotonic seconds
        self.wire: Any = None
        self.peer: PeerInfo | None = None
        self.codec: ServerCodec | None = None

    def on_connected(self, connection: Any) -> Callable[[bytes], None]:
        """The connection is up."""
        manager = self.manager
        self.wire = connection
        connection.delayed_close_timeout = manager.config.delayed_close_timeout
        connection.delayed_closes = manager.stats.downstream_cx_delayed_close_timeout
        self.peer = PeerInfo(connection)
        self.codec = ServerCodec(connection, self, manager.config.http1)
        manager.connections.add(self)
        stats = manager.stats
        stats.downstream_cx_total.value += 1
        stats.downstream_cx_active.value += 1
        manager.start_sweeping()
        return self._first_data

    def _first_data(self, data: bytes) -> None:
        """A connection is of a protocol from its first byte on."""
        assert self.codec is not None
        self._speaks = True
        stats = self.manager.stats
        stats.downstream_cx_http1_total.value += 1
        stats.downstream_cx_http1_active.value += 1
        self.wire.dispatch_to(self.codec.dispatch)
        self.codec.dispatch(data)

    def new_stream(self, encoder: ResponseEncoder) -> RequestDecoder:
        """A request begins."""
        manager = self.manager
        stats = manager.stats
        stats.downstream_rq_total.value += 1
        stats.downstream_rq_active.value += 1
        stats.downstream_rq_http1_total.value += 1
        self.stream = stream = Stream(self, encoder)
        manager.active.add(stream)
        limit = manager.config.max_requests_per_connection
        if limit:
            self._requests += 1
            if self._requests >= limit and not self.last_request:
                self.last_request = True
                stats.downstream_cx_max_requests_reached.value += 1
        return stream

    def on_eof(self) -> bool:
        """The peer sends no more."""
        assert self.codec is not None
        return self.codec.on_eof()

    def on_watermark(self, high: bool) -> None:
        """The connection is full, or no more."""
        stats = self.manager.stats
        if high:
            stats.downstream_flow_control_paused_reading_total.value += 1
        else:
            stats.downstream_flow_control_resumed_reading_total.value += 1
        if self.stream is not None:
            self.stream.on_watermark(high)

    def on_closed(self, local: bool) -> None:
        """The connection is gone."""
        manager = self.manager
        if self.codec is None:
            return
        self.codec.on_closed(local)
        manager.connections.discard(self)
        stats = manager.stats
        stats.downstream_cx_active.value -= 1
        if self._speaks:
            stats.downstream_cx_http1_active.value -= 1
        stats.downstream_cx_destroy.value += 1
        if local:
            stats.downstream_cx_destroy_local.value += 1
        else:
            stats.downstream_cx_destroy_remote.value += 1
        milliseconds = int((manager.dispatcher.now() - self._opened) * 1000)
        stats.downstream_cx_length_ms.record(milliseconds)

    def destroyed_with_request(self) -> None:
        """The peer went away while it was owed a response."""
        stats = self.manager.stats
        stats.downstream_cx_destroy_active_rq.value += 1
        stats.downstream_cx_destroy_remote_active_rq.value += 1

    def close_if_idle(self) -> None:
        """Close, unless a request is under way: then after its response."""
        if self.codec is None or self.codec.idle:
            self.manager.stats.downstream_cx_drain_close.value += 1
            self.wire.close_after_flush(False)

    def sweep(self, now: float) -> None:
        """Look at the clock, on behalf of the connection."""
        config = self.manager.config
        stats = self.manager.stats
        codec = self.codec
        if codec is None or self.wire.closing:
            return
        if self.stream is None:
            if codec.head_started:
                if self.head_since is None:
                    self.head_since = now
                limit = config.request_headers_timeout
                if limit and now - self.head_since >= limit:
                    stats.downstream_rq_header_timeout.value += 1
                    codec.give_up(REQUEST_HEADER_TIMEOUT)
                    return
                if config.request_timeout and now - self.head_since >= config.request_timeout:
                    stats.downstream_rq_timeout.value += 1
                    codec.give_up(REQUEST_OVERALL_TIMEOUT)
                    return
            else:
                self.head_since = None
            if (
                config.idle_timeout
                and now - self.idle_since >= config.idle_timeout
                and self._closes_at is None
            ):
                stats.downstream_cx_idle_timeout.value += 1
                self._drain(now)
        elif (
            config.request_timeout
            and not self.stream.request_complete
            and now - self.stream.info.start >= config.request_timeout
        ):
            stats.downstream_rq_timeout.value += 1
            self.stream.send_local_reply(REQUEST_OVERALL_TIMEOUT)
            return
        lifetime = config.max_connection_duration
        if lifetime and now - self._opened >= lifetime and self._closes_at is None:
            stats.downstream_cx_max_duration_reached.value += 1
            self._drain(now)
        if self._closes_at is not None and now >= self._closes_at:
            if codec.idle:
                self.wire.close_after_flush(True)
            else:
                codec.close_when_done()

    def _drain(self, now: float) -> None:
        """Close after `drain_timeout`: a request may be on its way, and is still answered."""
        if self._speaks:
            self.last_request = True
            self._closes_at = now + self.manager.config.drain_timeout
        else:
            self._closes_at = now
            self.wire.close_after_flush(False)
