"""The HTTP connection manager: what one listener does to every request and response.

Owns streams' beginning and end, the clock that watches them, draining, and the headers that the
proxy itself sets. Refuses to know routes' insides, filters, sockets and connections
(`downstream.py`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from meshproxy.http import request_headers
from meshproxy.http.client_cert import ClientCertPolicy
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.http1.settings import Http1Settings
from meshproxy.http.http2.settings import Http2Settings
from meshproxy.http.local_info import LocalInfo
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.path import PathNormalizer
from meshproxy.http.stream_info import ResponseFlag
from meshproxy.stats.metrics import (
    Http1CodecStats,
    Http2CodecStats,
    HttpConnectionManagerStats,
    ListenerHttpStats,
    TracingStats,
)
from meshproxy.stats.response_codes import AnswerCounters

if TYPE_CHECKING:
    from meshproxy.http.dispatcher import Dispatcher
    from meshproxy.http.downstream import HttpConnection
    from meshproxy.http.filter_chain import FilterChain
    from meshproxy.http.stream import Stream

# server_header_transformation
OVERWRITE: Final = 0
APPEND_IF_ABSENT: Final = 1
PASS_THROUGH: Final = 2

# codec_type
AUTO: Final = 0
HTTP1: Final = 1
HTTP2: Final = 2

# How often streams' deadlines are looked at, in seconds; a timer per request would cost 0.9 us.
SWEEP_INTERVAL: Final = 0.02
CONNECTION_SWEEP_TURNS: Final = 10

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
    http2: Http2Settings = field(default_factory=Http2Settings)
    codec_type: int = AUTO
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
    upgrades: Mapping[bytes, bool] = field(default_factory=dict)  # by name in lower case
    client_cert: ClientCertPolicy | None = None  # None: strangers' x-forwarded-client-cert goes


class HttpConnectionManager:
    """The connection manager of one listener at run time."""

    __slots__ = (
        "_answers",
        "_date",
        "_date_second",
        "_http2_stats",
        "_sweep_turn",
        "_sweeping",
        "active",
        "chain",
        "codec_scope",
        "config",
        "connections",
        "dispatcher",
        "draining",
        "http1_stats",
        "local",
        "local_ip",
        "route_config",
        "stats",
        "tracing_stats",
        "wall_offset",
    )

    def __init__(
        self,
        config: HttpConnectionManagerConfig,
        chain: FilterChain,
        stats: HttpConnectionManagerStats,
        listener_stats: ListenerHttpStats,
        dispatcher: Dispatcher,
    ) -> None:
        self.config = config
        self.chain = chain
        self.stats = stats
        self._answers = [AnswerCounters(each) for each in (stats, listener_stats)]
        self.dispatcher = dispatcher
        self.route_config = config.route_config
        self.active: set[Stream] = set()
        self.connections: set[HttpConnection] = set()
        self.draining = False
        self.local_ip = request_headers.host_ip()
        self.wall_offset = dispatcher.time() - dispatcher.now()
        self._date_second = -1
        self._date = (b"date", b"")
        self.local = LocalInfo()
        self.tracing_stats: TracingStats | None = None
        self.codec_scope: Any = None  # `http2.`
        self.http1_stats: Http1CodecStats | None = None
        self._http2_stats: Http2CodecStats | None = None
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
        if refusal is None and info.upgrade is not None:
            refusal = self._admit_upgrade(stream)
        if refusal is not None:
            self._count_refusal(refusal)
            return refusal
        if info.continue_expected:
            self.count(100)
            stream.encoder.encode_1xx(HeaderMap([(b":status", b"100")]))
        return None

    def _admit_upgrade(self, stream: Stream) -> LocalReply | None:
        """Let another protocol in, where the route or the manager does."""
        stream.match_route()  # Envoy looks for the route first, and logs it
        name = stream.info.upgrade
        assert name is not None
        route = stream.info.route
        of_route = route.upgrades.get(name) if route is not None else None
        allowed = self.config.upgrades.get(name, False) if of_route is None else of_route
        if not allowed:
            # A tunnel that no route wants is looked for in vain, as any other request.
            unwanted = name == b"connect" and route is None
            return None if unwanted else request_headers.UPGRADE_FAILED
        stream.upgraded = True
        self.stats.downstream_cx_upgrades_total.value += 1
        self.stats.downstream_cx_upgrades_active.value += 1
        return None

    def _count_refusal(self, refusal: LocalReply) -> None:
        stats = self.stats
        if refusal is request_headers.UPGRADE_FAILED:
            stats.downstream_rq_ws_on_non_ws_route.value += 1
        elif refusal is request_headers.ABSOLUTE_PATH_REJECTED:
            stats.downstream_rq_non_relative_path.value += 1
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
        if self.draining or self.local.health_failed:
            connection.drain_after(stream)
        elif connection.last_request:
            stream.encoder.close_when_done()
        if not stream.request_complete:
            self.stats.downstream_rq_response_before_rq_complete.value += 1
        status = pairs[0][1]
        info.response_code = code = int(status) if status.isdigit() else 0
        if not info.health_check:
            self.count(code)

    def count(self, code: int) -> None:
        """Count one answer, final or informational."""
        for each in self._answers:
            each.record(code)

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
        if stream.upgraded:
            stats.downstream_cx_upgrades_active.value -= 1
        if stream.info.health_check and self.tracing_stats is not None:
            self.tracing_stats.health_check.value += 1
        now = self.dispatcher.now()
        stream.info.response_end = now
        stats.downstream_rq_time.record(int((now - stream.info.start) * 1000))
        self.active.discard(stream)
        connection = stream.connection
        connection.stream = None
        connection.idle_since = now
        if connection.multiplexed:
            connection.on_stream_end(stream, now)

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

    def count_lost_metadata(self) -> None:
        """METADATA cannot go to a client of HTTP/1."""
        if self.http1_stats is not None:
            self.http1_stats.metadata_not_supported_error.value += 1

    def http2_stats(self) -> Http2CodecStats:
        """`http2.`: there from the first connection on, as in Envoy."""
        stats = self._http2_stats
        if stats is None:
            self._http2_stats = stats = self.codec_scope.block(Http2CodecStats)
        return stats

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
