"""One request and its response: between a codec on one side and a terminal filter on the other.

Owns the order of events of a stream, local replies, and its end. Refuses to know bytes on the wire
(codecs), the filters' own business, and where requests go (the terminal filter).

    codec ── decode_* ──▶ filters, first to last ──▶ terminal filter (the router)
    codec ◀── encode_* ── filters, last to first ◀── terminal filter

Every filter may stop either direction, and may answer instead of the upstream (`send_local_reply`),
even while it is being asked: `decode_aborted` and the paths' `aborted` tell the loops that are on
the stack at that moment to let go.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from meshproxy.http.codec import ResponseEncoder
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply, asks_for_grpc, render
from meshproxy.http.metadata import MetadataMap
from meshproxy.http.stream_info import HTTP2, ResponseFlag, StreamInfo

if TYPE_CHECKING:
    from meshproxy.http.conn_manager import HttpConnectionManager
    from meshproxy.http.downstream import HttpConnection
    from meshproxy.http.filter_chain import ActiveFilter, FilterChain
    from meshproxy.http.filter_path import FilterPath

_UNROUTED: Final = object()

REQUEST_PAYLOAD_TOO_LARGE: Final = LocalReply(
    413, "request_payload_too_large", b"Payload Too Large"
)
RESPONSE_PAYLOAD_TOO_LARGE: Final = LocalReply(
    500, "response_payload_too_large", b"Internal Server Error"
)


class TerminalFilter(Protocol):
    """The last filter: it answers, or passes the request on (`router/router.py`)."""

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The request's headers."""

    def decode_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of its body."""

    def decode_trailers(self, trailers: HeaderMap) -> None:
        """Its trailers."""

    def decode_metadata(self, metadata: MetadataMap) -> None:
        """METADATA beside it."""

    def on_downstream_watermark(self, high: bool) -> None:
        """Downstream cannot keep up with the response, or can again."""

    def on_timeout(self) -> None:
        """The stream's `deadline` has passed."""

    def on_destroy(self) -> None:
        """The stream ends without (the rest of) the terminal filter's response."""


class Stream:
    """One stream. What it knows is in `info`; who it is to its filters is `ActiveFilter`."""

    __slots__ = (
        "_decode_path",
        "_encode_path",
        "_filters",
        "_is_grpc",
        "_last_active",
        "_local_reply",
        "_max_duration",
        "_route",
        "chain",
        "cluster_entry",
        "connection",
        "deadline",
        "decode_aborted",
        "encoder",
        "headers_sent",
        "idle_timeout",
        "info",
        "is_head",
        "manager",
        "random",
        "request_complete",
        "reset_by_peer",
        "response_complete",
        "terminal",
        "upgraded",
        "watermark",
    )

    def __init__(self, connection: HttpConnection, encoder: ResponseEncoder) -> None:
        self.connection = connection
        self.manager: HttpConnectionManager = connection.manager
        self.encoder = encoder
        self.chain: FilterChain = connection.manager.chain
        dispatcher = connection.manager.dispatcher
        self.info = info = StreamInfo()
        info.start = self._last_active = now = dispatcher.now()
        info.start_time = now + connection.manager.wall_offset
        info.protocol = encoder.protocol
        info.connection = connection.peer
        self.random = dispatcher.random()
        self._route: Any = _UNROUTED
        self.cluster_entry: Any = None  # where the route sends to: `router.action.ClusterEntry`
        self._filters: tuple[ActiveFilter, ...] = ()
        self._decode_path: FilterPath | None = None
        self._encode_path: FilterPath | None = None
        self._is_grpc = False
        self._local_reply = False
        self._max_duration = connection.manager.config.max_stream_duration
        self.terminal: TerminalFilter | None = None
        self.watermark: Callable[[bool], None] | None = None  # of a filter that answers itself
        self.deadline: float | None = None  # monotonic; `terminal.on_timeout` is called after it
        self.idle_timeout = connection.manager.config.stream_idle_timeout
        self.is_head = False
        self.upgraded = False  # another protocol has been let in
        self.decode_aborted = False  # the request goes no further: it has been answered
        self.headers_sent = False
        self.request_complete = False
        self.reset_by_peer = False
        self.response_complete = False

    # -- request, from the codec -------------------------------------------------------------

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The request's headers."""
        info = self.info
        info.request_headers = headers
        if end_stream:
            self.request_complete = True
            info.request_complete = info.start
        refusal = self.manager.admit(self, headers)
        if refusal is not None:
            self.send_local_reply(refusal)
            return
        chain = self.chain
        self.terminal = chain.terminal(self)
        if chain.has_filters:
            # Matched before the filters run, so that what one of them answers is logged with its
            # cluster.
            self.match_route()
            self._is_grpc = asks_for_grpc(headers)  # a filter may make something else of it
            self._filters, self._decode_path, self._encode_path = chain.instantiate(self)
            self._decode_path.send_headers(headers, end_stream)
        else:
            self.terminal.decode_headers(headers, end_stream)

    def decode_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of the request's body."""
        info = self.info
        info.bytes_received += len(data)
        self._last_active = now = self.manager.dispatcher.now()
        if end_stream:
            self.request_complete = True
            info.request_complete = now
        if self.decode_aborted:
            return
        path = self._decode_path
        if path is None:
            if self.terminal is not None:
                self.terminal.decode_data(data, end_stream)
        elif end_stream and data and path.watches_data and info.protocol != HTTP2:
            # Envoy's HTTP/1 codec ends a body with an empty piece; filters count on being asked.
            self.request_complete = False
            path.send_data(data, False)
            self.request_complete = True
            if not path.aborted:
                path.send_data(b"", True)
        else:
            path.send_data(data, end_stream)

    def decode_trailers(self, trailers: HeaderMap) -> None:
        """The request's trailers."""
        self.info.request_trailers = trailers
        self.request_complete = True
        self.info.request_complete = self.manager.dispatcher.now()
        if self.decode_aborted:
            return
        if self._decode_path is not None:
            self._decode_path.send_trailers(trailers)
        elif self.terminal is not None:
            self.terminal.decode_trailers(trailers)

    def decode_metadata(self, metadata: MetadataMap) -> None:
        """METADATA beside the request."""
        self._last_active = self.manager.dispatcher.now()
        if self.decode_aborted:
            return
        if self._decode_path is not None:
            self._decode_path.send_metadata(metadata)
        elif self.terminal is not None:
            self.terminal.decode_metadata(metadata)

    def on_codec_error(self, reply: LocalReply) -> None:
        """The rest of the request cannot be read."""
        stats = self.manager.stats
        stats.downstream_cx_protocol_error.value += 1
        if reply.flag == 0:
            self.info.response_flags |= ResponseFlag.DownstreamProtocolError.value
        self.send_local_reply(reply)

    def on_reset(self, details: str, flag: int = 0) -> None:
        """The peer went away, or gave this stream up."""
        info = self.info
        info.response_flags |= flag or ResponseFlag.DownstreamConnectionTermination.value
        info.response_code_details = details
        stats = self.manager.stats
        stats.downstream_rq_rx_reset.value += 1
        self.reset_by_peer = True
        if not flag:
            self.connection.destroyed_with_request()
        self._abort()

    # -- route -------------------------------------------------------------------------------

    @property
    def route(self) -> Any:
        """The matched route or None; matched on first use."""
        route = self._route
        return self.match_route() if route is _UNROUTED else route

    def match_route(self) -> Any:
        """Find the route by the headers as they are now."""
        info = self.info
        headers = info.request_headers
        assert headers is not None
        if info.forwarded_proto_empty and not headers.get(b"x-forwarded-proto"):
            self._route = info.route = None  # without a scheme Envoy finds none
            return None
        self._route = info.route = route = self.manager.route_config.route(headers, self.random)
        if route is not None:
            self.cluster_entry = entry = route.choose(headers, self.random)
            info.cluster = entry and entry.cluster
            if route.idle_timeout is not None:
                self.idle_timeout = route.idle_timeout
        return route

    @property
    def buffer_limit(self) -> int:
        """How many bytes of a body may be kept (per_connection_buffer_limit_bytes)."""
        return self.chain.limit

    def speak_http(self) -> None:
        """Local replies are HTTP's from now on: a filter makes gRPC of every answer."""
        self._is_grpc = False

    def clear_route_cache(self) -> None:
        """Match the route again on next use."""
        self._route = _UNROUTED
        self.cluster_entry = self.info.cluster = None

    def request_headers_changed(self, names: Iterable[bytes]) -> None:
        """Match the route again on next use, if it depends on one of these headers.

        Envoy does so after every change. Nobody can tell, and it is 5 us of the 30 of a filter.
        """
        if not self.manager.route_config.deciding_headers.isdisjoint(names):
            self.clear_route_cache()

    # -- response, from the terminal filter --------------------------------------------------

    def encode_1xx(self, headers: HeaderMap) -> None:
        """An informational response."""
        if self.manager.config.proxy_100_continue and not self.headers_sent:
            self.manager.count(int(headers.pairs[0][1]))
            self.encoder.encode_1xx(headers)

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response's headers."""
        self.info.response_headers = headers
        if self._encode_path is None:
            self.headers_through(headers, end_stream)
        else:
            self._encode_path.send_headers(headers, end_stream)

    def encode_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of the response's body."""
        path = self._encode_path
        if path is None:
            self.data_through(data, end_stream)
        elif end_stream and data and path.watches_data and self.info.upstream_protocol != HTTP2:
            path.send_data(data, False)
            if not path.aborted:
                path.send_data(b"", True)
        else:
            path.send_data(data, end_stream)

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """The response's trailers."""
        self.info.response_trailers = trailers
        if self._encode_path is None:
            self.trailers_through(trailers)
        else:
            self._encode_path.send_trailers(trailers)

    def encode_metadata(self, metadata: MetadataMap) -> None:
        """METADATA beside the response."""
        path = self._encode_path
        if path is None:
            self.metadata_through(metadata)
        elif not path.aborted:
            path.send_metadata(metadata)

    # -- PathEnd of the encode path: what all filters have let pass --------------------------

    def headers_through(self, headers: HeaderMap, end_stream: bool) -> None:
        """Send the response's headers."""
        info = self.info
        self.headers_sent = True
        self.manager.finish_response_headers(self, headers)
        info.response_start = self.manager.dispatcher.now()
        self.encoder.encode_headers(headers, end_stream)
        if end_stream:
            self._response_sent()

    def data_through(self, data: bytes, end_stream: bool) -> None:
        """Send a piece of the response's body."""
        self.info.bytes_sent += len(data)
        self._last_active = self.manager.dispatcher.now()
        self.encoder.encode_data(data, end_stream)
        if end_stream:
            self._response_sent()

    def trailers_through(self, trailers: HeaderMap) -> None:
        """Send the response's trailers."""
        self.encoder.encode_trailers(trailers)
        self._response_sent()

    def metadata_through(self, metadata: MetadataMap) -> None:
        """Send METADATA; Envoy counts where it cannot."""
        if not self.response_complete and not self.encoder.encode_metadata(metadata):
            self.manager.count_lost_metadata()

    def buffer_high(self, may_wait: bool) -> None:
        """The response's filters hold back more than the limit."""
        if may_wait:
            if self.terminal is not None:
                self.terminal.on_downstream_watermark(True)
            return
        self.manager.stats.rs_too_large.value += 1
        self.send_local_reply(RESPONSE_PAYLOAD_TOO_LARGE)

    def buffer_low(self) -> None:
        """The response's filters have let go of what they held back."""
        if self.terminal is not None:
            self.terminal.on_downstream_watermark(False)

    def request_buffer_high(self, may_wait: bool) -> None:
        """The request's filters hold back more than the limit."""
        if may_wait:
            self.encoder.read_disable(True)
            return
        self.manager.stats.downstream_rq_too_large.value += 1
        self.send_local_reply(REQUEST_PAYLOAD_TOO_LARGE)

    def on_watermark(self, high: bool) -> None:
        """Downstream's connection is full, or no more."""
        if self.watermark is not None:
            self.watermark(high)
        if self.terminal is not None:
            self.terminal.on_downstream_watermark(high)

    # -- local replies -----------------------------------------------------------------------

    def send_local_reply(self, reply: LocalReply) -> None:
        """Answer from here. Too late for that, when headers have gone: the stream is reset."""
        if self.response_complete:
            return
        info = self.info
        info.response_flags |= reply.flag
        info.response_code_details = reply.details
        self._stop_request()
        if self.headers_sent:
            self.reset(reply.details)
            return
        if reply.close or not self.request_complete:
            # Also where the last bytes are there, and the filters have not been shown the end.
            self.encoder.close_when_done()
        grpc = self._is_grpc if self._filters else asks_for_grpc(info.request_headers)
        headers, body = render(reply, grpc=grpc, is_head=self.is_head)
        encode_path = self._encode_path
        info.response_headers = headers
        if encode_path is None or encode_path.headers is not None or encode_path.aborted:
            # The upstream's response is already with the filters: this one takes its place.
            if encode_path is not None:
                encode_path.aborted = True
            self.headers_through(headers, not body)
            if body:
                self.data_through(body, True)
            return
        self._local_reply = True
        encode_path.send_headers(headers, not body)
        if body and not encode_path.aborted:
            encode_path.send_data(body, True)

    def reset(self, details: str) -> None:
        """End the stream: what has been sent of the response will not be completed."""
        if self.response_complete:
            return
        info = self.info
        info.response_code_details = details
        stats = self.manager.stats
        stats.downstream_rq_tx_reset.value += 1
        stats.downstream_rq_rx_reset.value += 1  # Envoy's name for a stream that is reset at all
        self._abort()
        self.encoder.reset_stream()

    # -- the end -----------------------------------------------------------------------------

    def _stop_request(self) -> None:
        self.decode_aborted = True
        if self._decode_path is not None:
            self._decode_path.aborted = True
        if self.terminal is not None:
            self.terminal.on_destroy()

    def _abort(self) -> None:
        """Everything stops here, in both directions."""
        if self.response_complete:
            return
        self.response_complete = True
        self._stop_request()
        if self._encode_path is not None:
            self._encode_path.aborted = True
        self._destroy()

    def _response_sent(self) -> None:
        if self.response_complete:
            return
        self.response_complete = True
        self.info.response_end = self.manager.dispatcher.now()
        if not self.request_complete:
            # The codec ends the connection after such a response; what still comes is not read.
            self.manager.stats.downstream_rq_rx_reset.value += 1
            self._stop_request()
        self._destroy()

    def _destroy(self) -> None:
        self.manager.on_stream_end(self)
        for each in self._filters:
            each.filter.on_stream_complete()
        for log in self.manager.config.access_logs:
            log.log(self.info)
        filters, self._filters = self._filters, ()
        for active in filters:
            active.destroy()
        # hot: cut the cycles, so that a request's objects die by reference count and at once; left
        # to the cycle collector they cost a third of the throughput, and pauses of 30 ms.
        self.terminal = None
        self.watermark = None
        self._decode_path = self._encode_path = None

    def sweep(self, now: float) -> None:
        """Look at the clock, on behalf of everybody who waits for this stream."""
        if self.deadline is not None and now >= self.deadline:
            self.deadline = None
            if self.terminal is not None:
                self.terminal.on_timeout()
            return
        longest = self._max_duration
        if longest and now - self.info.start >= longest:
            self.manager.on_max_duration(self)
        elif self.idle_timeout and now - self._last_active >= self.idle_timeout:
            self.manager.on_idle_stream(self)

    def set_max_duration(self, seconds: float | None) -> None:
        """A route has its own word on how long the stream may live; 0.0: for ever."""
        if seconds is not None:
            self._max_duration = seconds

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> Any:
        """Run a coroutine; whoever spawned it cancels it."""
        return self.manager.dispatcher.spawn(coroutine, name)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
        """Run `callback` once; the result has `cancel()`."""
        return self.manager.dispatcher.call_later(seconds, callback)
