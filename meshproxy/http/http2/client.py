"""The client side of HTTP/2: requests out, responses in, many at a time.

Owns what a server's streams may do, how many there may be, and whether there may be another one.
Refuses to know pools, clusters and sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from h2.settings import SettingCodes, Settings

from meshproxy.http.codec import ResponseDecoder, Wire
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.http2 import extended_connect, frames
from meshproxy.http.http2.connection import Http2Connection
from meshproxy.http.http2.error import Http2Error
from meshproxy.http.http2.hpack import Pair
from meshproxy.http.http2.keepalive import KeepalivePing
from meshproxy.http.http2.settings import Http2Settings
from meshproxy.http.http2.stream import Http2Stream
from meshproxy.http.http2.validation import VIOLATION, check_fields, read_response
from meshproxy.http.metadata import MetadataMap
from meshproxy.http.stream_info import HTTP2

# Envoy's reset reasons
REMOTE_RESET: Final = "remote reset"
REMOTE_REFUSED: Final = "remote refused stream reset"
CONNECT_ERROR: Final = "connect error"
PROTOCOL_ERROR: Final = "protocol error"
TERMINATION: Final = "connection termination"
_REASONS: Final = {frames.REFUSED_STREAM: REMOTE_REFUSED, frames.CONNECT_ERROR: CONNECT_ERROR}

# A body that has not the length that was announced: its stream ends, whatever is configured.
BAD_LENGTH: Final = "content-length that is not the body's length"

# What we open at most before the server's SETTINGS have come, which may say less.
_NO_LIMIT: Final = 2**31 - 1


class ClientStream(Http2Stream):
    """One request and its response. Opened by `encode_headers`."""

    __slots__ = ("_has_no_body", "_headers_seen", "_upgrade", "handler")

    protocol: Final = HTTP2

    def __init__(self, connection: ClientCodec) -> None:
        super().__init__(connection, 0)
        self.handler: ResponseDecoder | None = None
        self._has_no_body = False  # whatever its headers say, the response has none
        self._headers_seen = False
        self._upgrade: bytes | None = None  # the protocol that the request asks for

    # -- writing -----------------------------------------------------------------------------

    def encode_headers(
        self, handler: ResponseDecoder, headers: HeaderMap, end_stream: bool
    ) -> None:
        """Begin a request; `handler` gets the response."""
        self.handler = handler
        self._has_no_body = (b":method", b"HEAD") in headers.pairs
        connection = self.connection
        assert isinstance(connection, ClientCodec)
        connection.open(self)
        asked = extended_connect.extended_connect_of(headers.pairs)
        if asked is not None:
            headers, self._upgrade = HeaderMap(asked[0]), asked[1]
        self.send_headers(headers, end_stream)

    def encode_data(self, data: bytes, end_stream: bool) -> None:
        """Send a piece of the request's body."""
        self.send_data(data, end_stream)

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """End the request with trailers."""
        self.send_trailers(trailers)

    def encode_metadata(self, metadata: MetadataMap) -> bool:
        """Send METADATA of the request, which has begun."""
        return self.send_metadata(metadata)

    # -- reading -----------------------------------------------------------------------------

    def on_headers(self, end_stream: bool, pairs: list[Pair]) -> str | None:
        """The response's headers, informational or final, or its trailers; what is wrong."""
        handler = self.handler
        if handler is None:
            return None
        if self._headers_seen:
            return self._on_trailers(handler, end_stream, pairs)
        response = read_response(pairs)
        if isinstance(response, str):
            return response
        status, length = response
        if status < 200:
            if end_stream:
                return VIOLATION
            handler.on_1xx(HeaderMap(pairs))
            return None
        self._headers_seen = True
        if self._has_no_body or status == 204 or status == 304:
            self.bytes_expected = 0
        elif end_stream:
            if length > 0:
                return BAD_LENGTH
        else:
            self.bytes_expected = length
        self.remote_closed = end_stream
        if self._upgrade is not None:
            pairs = extended_connect.switched(pairs, self._upgrade)
        handler.on_headers(HeaderMap(pairs), end_stream)
        return None

    def _on_trailers(
        self, handler: ResponseDecoder, end_stream: bool, pairs: list[Pair]
    ) -> str | None:
        if not end_stream:
            return VIOLATION
        if self.bytes_expected > 0:
            return BAD_LENGTH
        problem = check_fields(pairs)
        if problem is None:
            self.remote_closed = True
            handler.on_trailers(HeaderMap(pairs))
        return problem

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of the response's body."""
        if self.handler is not None and (data or end_stream):
            self.handler.on_data(data, end_stream)

    def on_metadata(self, metadata: MetadataMap) -> None:
        """METADATA of the response, which may come before it."""
        if self.handler is not None:
            self.handler.on_metadata(metadata)

    def cut(self) -> None:
        """The response is complete, or nobody wants it."""
        self.handler = None

    def on_reset(self, code: int) -> None:
        """The server gives the stream up."""
        self.end_with(_REASONS.get(code, REMOTE_RESET), "")

    def end_with(self, reason: str, details: str) -> None:
        """There will be no (more) response."""
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.on_reset(reason, details)


class ClientCodec(Http2Connection):
    """One upstream HTTP/2 connection.

    `going_away`: the server takes no more streams. `on_change` is called when that, or the number
    of streams that there may be, has changed, and when a stream has ended.
    """

    __slots__ = ("_keepalive", "_next_id", "going_away", "on_change", "peer_max_streams")

    def __init__(self, wire: Wire, settings: Http2Settings, stats: Any) -> None:
        super().__init__(wire, settings, stats, b"")
        self.going_away = False
        self.on_change: Callable[[], None] | None = None
        self.peer_max_streams = _NO_LIMIT
        self._next_id = 1
        self._keepalive = KeepalivePing(self, settings.keepalive) if settings.keepalive else None
        self.write(frames.PREFACE)
        values: list[tuple[int, int]] = [
            (SettingCodes.HEADER_TABLE_SIZE, settings.hpack_table_size),
            (SettingCodes.ENABLE_PUSH, 0),
            (SettingCodes.MAX_CONCURRENT_STREAMS, settings.max_concurrent_streams),
            (SettingCodes.INITIAL_WINDOW_SIZE, settings.initial_stream_window_size),
        ]
        self.announce(values)

    # -- streams -----------------------------------------------------------------------------

    @property
    def capacity(self) -> int:
        """How many more streams there may be now."""
        if self.going_away or self.closed or self.is_used_up:
            return 0
        allowed = min(self.peer_max_streams, self.settings.max_concurrent_streams)
        return max(0, allowed - len(self.streams))

    @property
    def is_used_up(self) -> bool:
        """Whether no stream id is left (RFC 9113, 5.1.1)."""
        return self._next_id > frames.MAX_STREAM_ID

    def open(self, stream: ClientStream) -> None:
        """Give a stream its place."""
        stream.id = self._next_id
        self._next_id += 2
        stream.send_window = self.peer_initial_window
        self.streams[stream.id] = stream
        self.inbound.opened += 1
        self.stats.streams_active.value += 1
        if self.wire_is_full:
            stream.update_watermark()

    def is_idle(self, stream_id: int) -> bool:
        """Not opened by us, and nobody else may."""
        return stream_id >= self._next_id or stream_id % 2 == 0

    def on_block(self, stream_id: int, end_stream: bool, pairs: list[Pair] | str) -> None:
        """A response's headers or trailers."""
        stream = self.streams.get(stream_id)
        if stream is None:
            if self.is_idle(stream_id):
                raise Http2Error(frames.PROTOCOL_ERROR, "http2.protocol_error")
            return  # it crossed our RST_STREAM
        if stream.remote_closed:
            self.invalid_frame(stream_id, frames.STREAM_CLOSED)
            return
        if isinstance(pairs, str):
            self.send_reset(stream_id, frames.INTERNAL_ERROR)
            self.drop_stream(stream, pairs)
            return
        problem = stream.on_headers(end_stream, pairs)
        if problem == BAD_LENGTH:
            self.end_stream_in_error(stream_id, "")
        elif problem is not None:
            self.invalid_message(stream_id, problem)
        elif stream.remote_closed and stream.local_closed and not stream.gone:
            self.close_stream(stream)

    def drop_stream(self, stream: Http2Stream, details: str) -> None:
        """End a stream by its server's fault."""
        assert isinstance(stream, ClientStream)
        self._forget(stream)
        stream.end_with(PROTOCOL_ERROR, "")

    def _forget(self, stream: Http2Stream) -> None:
        super()._forget(stream)
        if self.on_change is not None:
            self.on_change()

    def on_peer_settings(self, theirs: Settings) -> None:
        """The server has said how many streams it takes."""
        limit = theirs.max_concurrent_streams
        self.peer_max_streams = _NO_LIMIT if limit is None else int(limit)
        if self.on_change is not None:
            self.on_change()

    # -- the end -----------------------------------------------------------------------------

    def on_goaway(self, last_stream: int, code: int) -> None:
        """The server goes: what it has not begun never happened."""
        self.going_away = True
        for stream in [each for each in self.streams.values() if each.id > last_stream]:
            self._forget(stream)
            stream.end_with(REMOTE_REFUSED, "")
        if self.on_change is not None:
            self.on_change()

    def sweep(self, now: float) -> None:
        """Look at the clock: keep-alive PINGs."""
        if self._keepalive is not None and not self.closed:
            self._keepalive.sweep(now)

    def before_use(self, now: float) -> None:
        """A request is about to begin: is the server still there?"""
        if self._keepalive is not None:
            self._keepalive.ask_before_use(now)

    def on_keepalive_timeout(self) -> None:
        """The server has not answered a PING in time."""
        self.stats.keepalive_timeout.value += 1
        self.wire.abort()
        self.on_closed()

    def on_closed(self) -> None:
        """The connection is gone: its streams end with it."""
        if not self.closed:
            self.closed = True
        self.show_outbound()
        self._end_all(TERMINATION)

    def on_connection_error(self, details: str) -> None:
        """The server broke the connection's rules."""
        self._end_all(PROTOCOL_ERROR)

    def _end_all(self, reason: str) -> None:
        for stream in tuple(self.streams.values()):
            self._forget(stream)
            stream.end_with(reason, "")
