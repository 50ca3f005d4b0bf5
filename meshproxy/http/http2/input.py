"""The half of an HTTP/2 connection that reads: bytes to frames, and pieces to whole header blocks.

Owns where a frame ends, how much of what has come one turn of the event loop deals with, and that
nothing stands between the pieces of a block. Refuses to know what frames mean (`connection.py`)
and what goes out (`output.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshproxy.http.codec import Wire
from meshproxy.http.http2 import frames
from meshproxy.http.http2.error import Http2Error, protocol_error
from meshproxy.http.http2.frames import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    HAS_PRIORITY,
    HEADER_SIZE,
    MAX_WINDOW,
    METADATA,
)
from meshproxy.http.http2.hpack import TOO_LARGE, BlockError, BombError, HeaderDecoder, Pair
from meshproxy.http.http2.limits import (
    FORGIVEN_RESETS,
    MAX_CONTINUATIONS,
    METADATA_WORK,
    RESET_WORK,
    SHIFT,
    SUSPICIOUS_TURN,
    TURN,
    UNKNOWN_SHIFT,
    WORK,
)
from meshproxy.http.http2.metadata import MetadataReader
from meshproxy.http.http2.output import Http2Output
from meshproxy.http.http2.settings import MAX_FRAME_SIZE, Http2Settings


class _Block:
    """A header block that is still arriving."""

    __slots__ = ("count", "end_stream", "pieces", "stream_id")

    def __init__(self, stream_id: int, end_stream: bool, first: bytes) -> None:
        self.stream_id = stream_id
        self.end_stream = end_stream
        self.pieces = [first]
        self.count = 0


class Http2Input(Http2Output):
    """What the peer sends. `last_received` counts frames: a sign of life."""

    __slots__ = ("_block", "_decoder", "_handlers", "_held", "_left", "_metadata",
                 "_preface_left", "_received_settings", "_rest", "_rest_at", "last_received",
                 "resets")  # fmt: skip

    # By the frame's type, up to CONTINUATION: gets flags, stream id and payload.
    _handlers: tuple[Callable[[int, int, bytes], None], ...]

    def __init__(self, wire: Wire, settings: Http2Settings, stats: Any, preface: bytes) -> None:
        super().__init__(wire, settings, stats)
        self.last_received = 0
        self.resets = 0  # streams that their peer gave up, or cost us
        self._received_settings = False
        self._preface_left = preface  # what the peer has still to say before its first frame
        self._held = b""  # the beginning of a frame
        self._left = 0  # work that this turn may still do
        self._rest = b""  # what was read and is left for later turns, from `_rest_at`
        self._rest_at = 0
        self._block: _Block | None = None
        self._metadata: MetadataReader | None = None
        if settings.allow_metadata:
            self._metadata = MetadataReader(settings.max_metadata_size, self.streams, stats)
        self._decoder = HeaderDecoder(
            settings.hpack_table_size, settings.max_headers_bytes, settings.max_headers_count
        )

    # -- frames ------------------------------------------------------------------------------

    def dispatch(self, data: bytes) -> None:
        """Take bytes from the peer."""
        if self.closed:
            return
        if self.outbound.behind:
            self._rest = self._rest[self._rest_at :] + data
            self._rest_at = 0
            return
        if self._held:
            data = self._held + data
            self._held = b""
        try:
            self._read(data, self._read_preface(data) if self._preface_left else 0)
        except Http2Error as error:
            self.fail(error)

    def _put_off(self, data: bytes, at: int) -> None:
        """Others have their turn; meanwhile nothing more is read."""
        self._rest = data
        self._rest_at = at
        if not self.outbound.behind:
            self.outbound.fall_behind()
            self.wire.read_disable(True)
        self.wire.next_turn(self._go_on)

    def _go_on(self) -> None:
        if self.closed or not self.outbound.behind:
            return
        data, self._rest = self._rest, b""
        try:
            self._read(data, self._rest_at)
        except Http2Error as error:
            self.fail(error)
            return
        if not self._rest and not self.closed:
            self.outbound.behind = False
            self.wire.read_disable(False)

    def catch_up(self) -> None:
        """Do at once what was put off: nothing comes any more."""
        while self.outbound.behind and not self.closed:
            self._go_on()

    def _read(self, data: bytes, at: int) -> None:
        """Deal with the frames from `at`, as many as one turn allows."""
        size = len(data)
        suspicious = (self.resets - FORGIVEN_RESETS) * 4 > self.inbound.opened
        self._left = SUSPICIOUS_TURN if suspicious else TURN
        handlers = self._handlers
        read_header = frames.read_header
        while size - at >= HEADER_SIZE:
            word, flags, stream_id = read_header(data, at)
            length = word >> 8
            if length > MAX_FRAME_SIZE:
                raise Http2Error(frames.FRAME_SIZE_ERROR, "http2.frame_size")
            end = at + HEADER_SIZE + length
            if end > size:
                break
            kind = word & 0xFF
            if self._block is not None and (
                kind != CONTINUATION or stream_id & MAX_WINDOW != self._block.stream_id
            ):
                raise protocol_error()
            if not self._received_settings:
                if kind != frames.SETTINGS or flags & ACK:
                    raise protocol_error()
                self._received_settings = True
            self.last_received += 1
            if kind <= CONTINUATION:
                self._left -= WORK[kind] + (length >> SHIFT[kind])
                handlers[kind](flags, stream_id & MAX_WINDOW, data[at + HEADER_SIZE : end])
                if self.closed:
                    return
            else:
                self._left -= 1 + (length >> UNKNOWN_SHIFT)
                # RFC 9113, 4.1: frames of unknown types are ignored.
                if kind == METADATA and self._metadata is not None:
                    self._left -= METADATA_WORK
                    payload = data[at + HEADER_SIZE : end]
                    self._metadata.take(flags, stream_id & MAX_WINDOW, payload)
                    if self.closed:
                        return
            at = end
            if self._left <= 0 and at < size:
                self._put_off(data, at)
                return
        if at < size:
            self._held = data[at:]

    def _read_preface(self, data: bytes) -> int:
        wanted = self._preface_left
        got = data[: len(wanted)]
        if not wanted.startswith(got):
            raise protocol_error()
        self._preface_left = wanted[len(got) :]
        return len(got)

    # -- header blocks ------------------------------------------------------------------------

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        fragment = frames.unpadded(flags, payload)
        if fragment is None or not stream_id:
            raise protocol_error()
        if flags & HAS_PRIORITY:
            if len(fragment) < 5:
                raise Http2Error(frames.FRAME_SIZE_ERROR, "http2.frame_size")
            self._check_dependency(stream_id, fragment)
            fragment = fragment[5:]
        end_stream = flags & END_STREAM == END_STREAM
        if fragment or end_stream:
            self.inbound.payload()
        else:
            self._check(self.inbound.empty())
        if flags & END_HEADERS:
            self._on_block(stream_id, end_stream, fragment)
        else:
            self._block = _Block(stream_id, end_stream, fragment)

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise protocol_error()
        if payload:
            self.inbound.payload()
        else:
            self._check(self.inbound.empty())
        block.pieces.append(payload)
        block.count += 1
        if block.count > MAX_CONTINUATIONS:
            raise Http2Error(frames.ENHANCE_YOUR_CALM, "http2.too_many_continuations")
        if flags & END_HEADERS:
            self._block = None
            self._on_block(stream_id, block.end_stream, b"".join(block.pieces))

    def _on_block(self, stream_id: int, end_stream: bool, block: bytes) -> None:
        try:
            pairs = self._decoder.decode(block)
        except BombError:
            raise Http2Error(
                frames.ENHANCE_YOUR_CALM, "http2.header_bomb", "header_overflow"
            ) from None
        except BlockError:
            raise Http2Error(frames.COMPRESSION_ERROR, "http2.compression") from None
        if isinstance(pairs, str):
            self._left -= RESET_WORK  # beside that of its reset: it was a large one
            overflow = (
                self.stats.header_list_size_too_large
                if pairs == TOO_LARGE
                else self.stats.header_overflow
            )
            overflow.value += 1
        self.on_block(stream_id, end_stream, pairs)

    def _check_dependency(self, stream_id: int, payload: bytes) -> None:
        if int.from_bytes(payload[:4], "big") & MAX_WINDOW == stream_id:
            raise protocol_error()

    def _check(self, flood: str | None) -> None:
        if flood is not None:
            raise Http2Error(frames.ENHANCE_YOUR_CALM, "http2." + flood, flood)

    # -- what the whole connection does ------------------------------------------------------

    def on_block(self, stream_id: int, end_stream: bool, pairs: list[Pair] | str) -> None:
        """A whole block: headers or trailers, or in what way it is larger than allowed."""
        raise NotImplementedError

    def fail(self, error: Http2Error) -> None:
        """End the connection, and tell the peer why."""
        raise NotImplementedError
