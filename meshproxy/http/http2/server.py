"""The server side of HTTP/2: requests in, responses out, many at a time.

Owns what a client's streams may do, and how a connection is brought to its end. Refuses to know
routes, filters and sockets.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from h2.settings import SettingCodes

from meshproxy.http.codec import RequestDecoder, ServerConnectionCallbacks, Wire
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.http2 import extended_connect, frames
from meshproxy.http.http2.connection import REMOTE_PROTOCOL_ERROR, Http2Connection
from meshproxy.http.http2.error import Http2Error
from meshproxy.http.http2.hpack import Pair
from meshproxy.http.http2.keepalive import KeepalivePing
from meshproxy.http.http2.settings import Http2Settings
from meshproxy.http.http2.stream import Http2Stream
from meshproxy.http.http2.validation import VIOLATION, check_fields, read_request
from meshproxy.http.metadata import MetadataMap
from meshproxy.http.stream_info import HTTP2, ResponseFlag

if TYPE_CHECKING:
    from meshproxy.http.local_reply import LocalReply

# So many streams of a connection that is gone end in the same turn of the loop.
ENDS: Final = 16

REMOTE_RESET: Final = "http2.remote_reset"
_REMOTE_RESET_FLAG: Final = ResponseFlag.DownstreamRemoteReset.value
_PROTOCOL_FLAG: Final = ResponseFlag.DownstreamProtocolError.value


class _Nobody:
    """Takes what is still said of a stream that has ended.

    hot: a stream that let its decoder go dies by reference count; left to the cycle collector, the
    streams of every few thousand requests stopped everything for 30 ms.
    """

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """A request's headers."""

    def decode_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of its body."""

    def decode_trailers(self, trailers: HeaderMap) -> None:
        """Its trailers."""

    def decode_metadata(self, metadata: MetadataMap) -> None:
        """METADATA of it."""

    def on_codec_error(self, reply: LocalReply) -> None:
        """The rest of it cannot be read."""

    def send_local_reply(self, reply: LocalReply) -> None:
        """An answer for it."""

    def on_reset(self, details: str, flag: int = 0) -> None:
        """Its end."""

    def on_watermark(self, high: bool) -> None:
        """The response is sent faster than it can be taken, or no more."""


_NOBODY: Final = _Nobody()


class ServerStream(Http2Stream):
    """One request and its response; the encoder of the latter."""

    __slots__ = ("asks_for_upgrade", "decoder")

    protocol: Final = HTTP2
    asks_for_upgrade: bool
    decoder: RequestDecoder

    # -- what the connection has read ----------------------------------------------------------

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of the request's body."""
        if data or end_stream:
            self.decoder.decode_data(data, end_stream)

    def on_metadata(self, metadata: MetadataMap) -> None:
        """METADATA of the request."""
        self.decoder.decode_metadata(metadata)

    def on_reset(self, code: int) -> None:
        """The client does not want the response."""
        self.end_with(REMOTE_RESET, _REMOTE_RESET_FLAG)

    def end_with(self, details: str, flag: int) -> None:
        """There will be no (more) request, and nobody wants the response."""
        decoder, self.decoder = self.decoder, _NOBODY
        decoder.on_reset(details, flag)

    def cut(self) -> None:
        """Request and response are complete, or nobody wants the rest."""
        self.decoder = _NOBODY

    def watermark(self, high: bool) -> None:
        """Whoever makes the response has to wait, or may go on."""
        self.decoder.on_watermark(high)

    # -- ResponseEncoder -----------------------------------------------------------------------

    def encode_1xx(self, headers: HeaderMap) -> None:
        """Send an informational response."""
        self.send_headers(headers, False)

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Send the final response's headers."""
        if self.asks_for_upgrade:
            headers = HeaderMap(extended_connect.granted(headers.pairs))
        self.send_headers(headers, end_stream)

    def encode_data(self, data: bytes, end_stream: bool) -> None:
        """Send a piece of its body."""
        self.send_data(data, end_stream)

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Send its trailers."""
        self.send_trailers(trailers)

    def encode_metadata(self, metadata: MetadataMap) -> bool:
        """Send METADATA."""
        return self.send_metadata(metadata)

    def reset_stream(self) -> None:
        """The response cannot be finished."""
        self.abandon(frames.INTERNAL_ERROR)

    def close_when_done(self) -> None:
        """Nothing: a connection ends by GOAWAY, not with a response."""

    def on_local_end(self) -> None:
        """The response is out; what may still come of the request is of no use (RFC 9113, 8.1)."""
        if not self.remote_closed:
            self.abandon(frames.NO_ERROR)


class ServerCodec(Http2Connection):
    """One downstream HTTP/2 connection."""

    __slots__ = ("_ending", "_final", "_keepalive", "_stalls", "callbacks", "flush_timeout")

    def __init__(
        self, wire: Wire, callbacks: ServerConnectionCallbacks, settings: Http2Settings, stats: Any
    ) -> None:
        super().__init__(wire, settings, stats, frames.PREFACE)
        self.callbacks = callbacks
        stats.nghttp2_downstream_connections.value += 1  # and, as in Envoy, never less
        self.flush_timeout = 0.0  # seconds that a complete response may wait for its window
        self._stalls: dict[int, tuple[int, float]] = {}  # stream: bytes that wait, since when
        self._ending = False  # the connection is gone, and with it, one after another, its streams
        self._final = False  # the last GOAWAY is out: when no stream is left, the connection ends
        self._keepalive = KeepalivePing(self, settings.keepalive) if settings.keepalive else None
        values: list[tuple[int, int]] = [
            (SettingCodes.HEADER_TABLE_SIZE, settings.hpack_table_size),
            (SettingCodes.ENABLE_CONNECT_PROTOCOL, int(settings.allow_connect)),
            (SettingCodes.MAX_CONCURRENT_STREAMS, settings.max_concurrent_streams),
            (SettingCodes.INITIAL_WINDOW_SIZE, settings.initial_stream_window_size),
        ]
        self.announce(values)

    def upgrade(self, settings: bytes, pairs: Sequence[Pair]) -> None:
        """Begin with the request of an `Upgrade: h2c` as stream 1 (RFC 7540, 3.2)."""
        try:
            self.apply_settings(settings)
        except Http2Error as error:
            self.fail(error)
            return
        self._begin(1, True, -1).decoder.decode_headers(HeaderMap(list(pairs)), True)

    # -- streams -------------------------------------------------------------------------------

    def is_idle(self, stream_id: int) -> bool:
        """Not opened by the client yet, and never by us."""
        return stream_id > self.last_peer_stream or stream_id % 2 == 0

    def on_block(self, stream_id: int, end_stream: bool, pairs: list[Pair] | str) -> None:
        """A request's headers or trailers."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._on_trailers(stream, end_stream, pairs)
            return
        if stream_id % 2 == 0:
            raise Http2Error(frames.PROTOCOL_ERROR, "http2.protocol_error")
        if stream_id <= self.last_peer_stream:
            if stream_id in self.reset_by_us:
                return
            raise Http2Error(frames.STREAM_CLOSED, "http2.stream_closed")
        self.last_peer_stream = stream_id
        if self._final or len(self.streams) >= self.settings.max_concurrent_streams:
            self.resets += 1
            self.send_reset(stream_id, frames.REFUSED_STREAM)
            return
        # A request that is none: as in Envoy there is a stream of it, which is counted and logged,
        # and of which nothing is known.
        if isinstance(pairs, str):
            stream = self._begin(stream_id, True, -1)
            self.resets += 1
            self.send_reset(stream_id, frames.INTERNAL_ERROR)
            self._forget(stream)
            stream.end_with(pairs, _REMOTE_RESET_FLAG)
            return
        request = read_request(pairs, self.settings.allow_connect)
        if isinstance(request, str):
            self._begin(stream_id, True, -1)
            self.invalid_message(stream_id, request)
        elif end_stream and request.content_length > 0:
            self._begin(stream_id, True, -1)
            self.invalid_message(stream_id, VIOLATION)
        else:
            stream = self._begin(stream_id, end_stream, request.content_length)
            upgrade = extended_connect.upgrade_of(request.pairs) if request.is_connect else None
            stream.asks_for_upgrade = upgrade is not None
            stream.decoder.decode_headers(HeaderMap(upgrade or request.pairs), end_stream)

    def _on_rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id in self.streams:
            self.resets += 1
        super()._on_rst_stream(flags, stream_id, payload)

    def _begin(self, stream_id: int, end_stream: bool, length: int) -> ServerStream:
        stream = ServerStream(self, stream_id)
        stream.asks_for_upgrade = False
        self.last_peer_stream = stream_id
        self.streams[stream_id] = stream
        self.inbound.opened += 1
        self.stats.streams_active.value += 1
        stream.remote_closed = end_stream
        if not end_stream:
            stream.bytes_expected = length
        stream.decoder = self.callbacks.new_stream(stream)
        if self.wire_is_full:
            stream.update_watermark()
        return stream

    def _on_trailers(self, stream: ServerStream, end_stream: bool, pairs: list[Pair] | str) -> None:
        if stream.remote_closed:
            self.invalid_frame(stream.id, frames.STREAM_CLOSED)
            return
        if isinstance(pairs, str):
            self.send_reset(stream.id, frames.INTERNAL_ERROR)
            self.drop_stream(stream, pairs)
            return
        if not end_stream:
            self.invalid_message(stream.id, VIOLATION)
            return
        problem = check_fields(pairs)
        if problem is not None:
            self.invalid_message(stream.id, problem)
            return
        if stream.bytes_expected > 0:
            self.end_stream_in_error(stream.id, REMOTE_PROTOCOL_ERROR)
            return
        self.stats.trailers.value += 1
        stream.remote_closed = True
        stream.decoder.decode_trailers(HeaderMap(pairs))
        if stream.local_closed and not stream.gone:
            self.close_stream(stream)

    def drop_stream(self, stream: Http2Stream, details: str) -> None:
        """End a stream by its client's fault."""
        assert isinstance(stream, ServerStream)
        self.resets += 1
        self._forget(stream)
        stream.end_with(details, _PROTOCOL_FLAG)

    def _forget(self, stream: Http2Stream) -> None:
        super()._forget(stream)
        if self._final and not self.streams and not self.closed:
            self._end()

    # -- the end -------------------------------------------------------------------------------

    def shutdown_notice(self) -> None:
        """Say that the connection will end, while streams that are on their way still count."""
        self.stats.goaway_sent.value += 1
        self.write(frames.goaway(frames.MAX_STREAM_ID, frames.NO_ERROR))

    def finish(self) -> None:
        """Take no more streams; the connection ends with the last of those that there are."""
        if self._final or self.closed:
            return
        self._final = True
        self.go_away(frames.NO_ERROR)
        if not self.streams:
            self._end()

    def _end(self) -> None:
        self.closed = True
        self.wire.close_after_flush(False)

    def sweep(self, now: float) -> None:
        """Look at the clock: keep-alive PINGs, and responses that nobody takes."""
        if self._keepalive is not None and not self.closed:
            self._keepalive.sweep(now)
        self.show_outbound()
        if self.flush_timeout and (self.blocked or self._stalls):
            self._sweep_stalls(now)

    def _sweep_stalls(self, now: float) -> None:
        """A response that is complete has nobody who watches it any more, but the window."""
        stalls: dict[int, tuple[int, float]] = {}
        for stream_id, stream in tuple(self.blocked.items()):
            waiting = stream.waiting_end
            if waiting < 0:
                continue
            seen = self._stalls.get(stream_id)
            if seen is None or seen[0] != waiting:
                stalls[stream_id] = (waiting, now)
            elif now - seen[1] < self.flush_timeout:
                stalls[stream_id] = seen
            else:
                self.stats.tx_flush_timeout.value += 1
                stream.abandon(frames.INTERNAL_ERROR)
        self._stalls = stalls

    def on_keepalive_timeout(self) -> None:
        """The client has not answered a PING in time."""
        self.stats.keepalive_timeout.value += 1
        self.closed = True
        self.wire.abort()
        self.on_closed(True)

    @property
    def idle(self) -> bool:
        """No stream is active."""
        return not self.streams

    @property
    def head_started(self) -> bool:
        """A header block has begun to arrive and is not complete."""
        return self._block is not None

    def refuse_peer(self) -> None:
        """The client behaves as an attacker would."""
        self.fail(Http2Error(frames.ENHANCE_YOUR_CALM, "too_many_premature_resets"))

    def header_timeout(self) -> None:
        """A header block took too long."""
        self.fail(Http2Error(frames.PROTOCOL_ERROR, "request_header_timeout"))

    def on_eof(self) -> bool:
        """The peer sends no more: without acknowledgements no response can be finished."""
        self.catch_up()
        self.on_closed(False)
        return False

    def on_closed(self, local: bool) -> None:
        """The connection is gone: its streams end with it."""
        self.closed = True
        self.show_outbound()
        if not self._ending:
            # At the end of the process there may be no later turn.
            count = len(self.streams) if local else ENDS
            self._end_streams("downstream_remote_disconnect", 0, count)

    def on_connection_error(self, details: str) -> None:
        """The client broke the connection's rules."""
        self.callbacks.on_protocol_error()
        self._end_streams(details, _PROTOCOL_FLAG, ENDS)

    def _end_streams(self, details: str, flag: int, count: int) -> None:
        """End so many, and the others in later turns: a client leaves a thousand at once."""
        self._ending = True
        for stream in tuple(islice(self.streams.values(), count)):
            self._forget(stream)
            stream.end_with(details, flag)
        if self.streams:
            self.wire.later(lambda: self._end_streams(details, flag, ENDS))
