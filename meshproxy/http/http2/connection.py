"""One connection of HTTP/2 (RFC 9113): frames in, frames out, settings, windows, floods.

Owns what client and server have in common; the streams' meaning is the subclasses' (`server.py`,
`client.py`). Refuses to know sockets, routes and pools.

Settings, error codes and their rules come from the library `h2`; frames and streams are read here,
because `h2.connection.H2Connection` takes 140 us for the frames of one exchange and this 8 to 25.
It is the oracle of this module in the tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from h2.exceptions import InvalidSettingsValueError
from h2.settings import SettingCodes, Settings

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
)
from meshproxy.http.http2.hpack import TOO_LARGE, BlockError, BombError, HeaderDecoder, Pair
from meshproxy.http.http2.limits import (
    FORGIVEN_RESETS,
    MAX_CONTINUATIONS,
    RESET_WORK,
    SHIFT,
    SUSPICIOUS_TURN,
    TURN,
    WORK,
)
from meshproxy.http.http2.output import Http2Output
from meshproxy.http.http2.settings import DEFAULT_WINDOW, MAX_FRAME_SIZE, Http2Settings
from meshproxy.http.http2.stream import Http2Stream

# How many streams that we reset are remembered: their peers may not know it yet.
MAX_REMEMBERED: Final = 1024
# What a message whose body has not the length that was announced ends with.
REMOTE_PROTOCOL_ERROR: Final = "http2.protocol_error"


class _Block:
    """A header block that is still arriving."""

    __slots__ = ("count", "end_stream", "pieces", "size", "stream_id")

    def __init__(self, stream_id: int, end_stream: bool, first: bytes) -> None:
        self.stream_id = stream_id
        self.end_stream = end_stream
        self.pieces = [first]
        self.size = len(first)
        self.count = 0


class Http2Connection(Http2Output):
    """The connection, both halves. `last_received` counts frames: a sign of life."""

    __slots__ = ("_block", "_decoder", "_handlers", "_held", "_left", "_peer_settings",
                 "_preface_left", "_received_settings", "_rest", "_rest_at", "broken",
                 "last_peer_stream", "last_received", "reset_by_us", "resets")  # fmt: skip

    protocol: Final = "HTTP/2"

    def __init__(self, wire: Wire, settings: Http2Settings, stats: Any, preface: bytes) -> None:
        super().__init__(wire, settings, stats)
        self.last_peer_stream = 0
        self.last_received = 0
        self.broken = False  # the peer broke a rule
        self.resets = 0  # streams that their peer gave up, or cost us
        self.reset_by_us: dict[int, None] = {}
        self._peer_settings = Settings(client=bool(preface))
        self._received_settings = False
        self._preface_left = preface  # what the peer has still to say before its first frame
        self._held = b""  # the beginning of a frame
        self._left = 0  # work that this turn may still do
        self._rest = b""  # what was read and is left for later turns, from `_rest_at`
        self._rest_at = 0
        self._block: _Block | None = None
        self._decoder = HeaderDecoder(
            settings.hpack_table_size, settings.max_headers_bytes, settings.max_headers_count
        )
        self._handlers = (
            self._on_data, self._on_headers, self._on_priority, self._on_rst_stream,
            self._on_settings, self._on_push_promise, self._on_ping, self._on_goaway,
            self._on_window_update, self._on_continuation,
        )  # fmt: skip

    def announce(self, values: Iterable[tuple[int, int]]) -> None:
        """Send our SETTINGS, and make the connection's window as large as configured."""
        self.write(frames.settings(values))
        more = self.settings.initial_connection_window_size - DEFAULT_WINDOW
        if more > 0:
            self.recv_window += more
            self.write(frames.window_update(0, more))

    # -- reading -----------------------------------------------------------------------------

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
            else:  # RFC 9113, 4.1: frames of unknown types are ignored
                self._left -= 1
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

    # -- messages ----------------------------------------------------------------------------

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        data = frames.unpadded(flags, payload)
        if data is None or not stream_id:
            raise protocol_error()
        end_stream = flags & END_STREAM == END_STREAM
        if data or end_stream:
            self.inbound.payload()
        else:
            self._check(self.inbound.empty())
        self.recv_window -= size
        if self.recv_window < 0:
            raise Http2Error(frames.FLOW_CONTROL_ERROR, "http2.flow_control")
        stream = self.streams.get(stream_id)
        if stream is None or stream.remote_closed:
            self.acknowledge_connection(size)
            self._on_late_frame(stream, stream_id)
            return
        stream.recv_window -= size
        if stream.recv_window < 0:
            raise Http2Error(frames.FLOW_CONTROL_ERROR, "http2.flow_control")
        expected = stream.bytes_expected
        if expected >= 0:
            stream.bytes_expected = expected = expected - len(data)
            if expected < 0 or (end_stream and expected):
                self.acknowledge_connection(size)
                self.end_stream_in_error(stream_id, REMOTE_PROTOCOL_ERROR)
                return
        if end_stream:
            stream.remote_closed = True
        stream.on_data(data, end_stream)
        if size:
            stream.received(size)
        if end_stream and stream.local_closed and not stream.gone:
            self.close_stream(stream)

    def _on_late_frame(self, stream: Http2Stream | None, stream_id: int) -> None:
        """A frame of a message on a stream that can have no more of them."""
        if stream is None:
            if stream_id in self.reset_by_us:
                return
            if self.is_idle(stream_id):
                raise protocol_error()
        self.send_reset(stream_id, frames.STREAM_CLOSED)
        if stream is not None:
            self.drop_stream(stream, "http2.stream_closed")

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

    def on_block(self, stream_id: int, end_stream: bool, pairs: list[Pair] | str) -> None:
        """A whole block: headers or trailers, or in what way it is larger than allowed."""
        raise NotImplementedError

    # -- control -----------------------------------------------------------------------------

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise protocol_error()
        if len(payload) != 5:
            self.invalid_frame(stream_id, frames.FRAME_SIZE_ERROR)
            return
        self._check_dependency(stream_id, payload)
        self._check(self.inbound.priority())

    def _check_dependency(self, stream_id: int, payload: bytes) -> None:
        if int.from_bytes(payload[:4], "big") & MAX_WINDOW == stream_id:
            raise protocol_error()

    def _on_rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id or self.is_idle(stream_id):
            raise protocol_error()
        if len(payload) != 4:
            raise Http2Error(frames.FRAME_SIZE_ERROR, "http2.frame_size")
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.stats.rx_reset.value += 1
            self._forget(stream)
            stream.on_reset(int.from_bytes(payload, "big"))

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise protocol_error()
        if flags & ACK:
            if payload:
                raise Http2Error(frames.FRAME_SIZE_ERROR, "http2.frame_size")
            return
        if len(payload) % 6:
            raise Http2Error(frames.FRAME_SIZE_ERROR, "http2.frame_size")
        self.apply_settings(payload)
        self.write_control(frames.SETTINGS_ACK)

    def apply_settings(self, payload: bytes) -> None:
        """Take over what the peer has set."""
        theirs = self._peer_settings
        try:
            for code, value in frames.read_settings(payload):
                # Of unknown ones none is kept: there are 65,536 of them.
                if code in _KNOWN_SETTINGS:
                    theirs[SettingCodes(code)] = value
        except InvalidSettingsValueError as error:
            raise Http2Error(int(error.error_code), "http2.settings") from None
        changes = theirs.acknowledge()
        if SettingCodes.HEADER_TABLE_SIZE in changes:
            self._encoder.resize(theirs.header_table_size)
        self.peer_max_frame = min(theirs.max_frame_size, MAX_FRAME_SIZE)
        if SettingCodes.INITIAL_WINDOW_SIZE in changes:
            self._move_windows(theirs.initial_window_size)
        self.on_peer_settings(theirs)

    def _move_windows(self, size: int) -> None:
        delta, self.peer_initial_window = size - self.peer_initial_window, size
        for stream in self.streams.values():
            stream.send_window += delta
            if stream.send_window > MAX_WINDOW:
                raise Http2Error(frames.FLOW_CONTROL_ERROR, "http2.flow_control")
        if delta > 0:
            self.flush_blocked()

    def on_peer_settings(self, theirs: Settings) -> None:
        """The side's own."""

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise protocol_error()  # clients may not push, and we tell servers not to

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise protocol_error()
        if len(payload) != 8:
            raise Http2Error(frames.FRAME_SIZE_ERROR, "http2.frame_size")
        if not flags & ACK:
            self.write_control(frames.ping(payload, True))

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise protocol_error()
        if len(payload) < 8:
            raise Http2Error(frames.FRAME_SIZE_ERROR, "http2.frame_size")
        last = int.from_bytes(payload[:4], "big") & MAX_WINDOW
        self.on_goaway(last, int.from_bytes(payload[4:8], "big"))

    def on_goaway(self, last_stream: int, code: int) -> None:
        """The peer takes no streams after `last_stream`."""

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2Error(frames.FRAME_SIZE_ERROR, "http2.frame_size")
        self._check(self.inbound.window_update())
        increment = int.from_bytes(payload, "big") & MAX_WINDOW
        if not stream_id:
            if not increment:
                raise protocol_error()
            self.send_window += increment
            if self.send_window > MAX_WINDOW:
                raise Http2Error(frames.FLOW_CONTROL_ERROR, "http2.flow_control")
            self.flush_blocked()
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            if self.is_idle(stream_id):
                raise protocol_error()
            return
        if not increment:
            self.invalid_frame(stream_id, frames.PROTOCOL_ERROR)
            return
        stream.send_window += increment
        if stream.send_window > MAX_WINDOW:
            self.invalid_frame(stream_id, frames.FLOW_CONTROL_ERROR)
        elif stream_id in self.blocked:
            stream.flush()

    # -- streams -----------------------------------------------------------------------------

    def is_idle(self, stream_id: int) -> bool:
        """Nobody has opened the stream yet."""
        raise NotImplementedError

    def reset_stream(self, stream: Http2Stream, code: int) -> None:
        """End a stream from here."""
        self._forget(stream)
        self.send_reset(stream.id, code)

    def send_reset(self, stream_id: int, code: int) -> None:
        """RST_STREAM; frames that cross it are no error."""
        self.stats.tx_reset.value += 1
        self._left -= RESET_WORK
        remembered = self.reset_by_us
        remembered[stream_id] = None
        if len(remembered) > MAX_REMEMBERED:
            del remembered[next(iter(remembered))]
        self.write_control(frames.rst_stream(stream_id, code))

    def drop_stream(self, stream: Http2Stream, details: str) -> None:
        """End a stream on whose peer's fault RST_STREAM has been sent."""
        raise NotImplementedError

    def close_stream(self, stream: Http2Stream) -> None:
        """A stream has ended well, on both sides."""
        self._forget(stream)

    def _forget(self, stream: Http2Stream) -> None:
        if self.streams.pop(stream.id, None) is not None:
            self.stats.streams_active.value -= 1
        stream.let_go()

    def invalid_frame(self, stream_id: int, code: int) -> None:
        """A frame that costs its stream only (RFC 9113, 5.4.2)."""
        if self.is_idle(stream_id):
            raise protocol_error()
        self.send_reset(stream_id, code)
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.drop_stream(stream, "http2.protocol_error")

    def invalid_message(self, stream_id: int, details: str) -> None:
        """A message that is malformed (RFC 9113, 8.1.1): its stream, or everything, ends."""
        self.stats.rx_messaging_error.value += 1
        if not self.settings.stream_error_on_invalid_http_messaging:
            raise Http2Error(frames.PROTOCOL_ERROR, details)
        self.end_stream_in_error(stream_id, details)

    def end_stream_in_error(self, stream_id: int, details: str) -> None:
        """The peer broke a rule that costs the stream."""
        self.send_reset(stream_id, frames.PROTOCOL_ERROR)
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.drop_stream(stream, details)

    # -- the end -----------------------------------------------------------------------------

    def _check(self, flood: str | None) -> None:
        if flood is not None:
            raise Http2Error(frames.ENHANCE_YOUR_CALM, "http2." + flood, flood)

    def fail(self, error: Http2Error) -> None:
        """End the connection, and tell the peer why."""
        if error.counter is not None:
            getattr(self.stats, error.counter).value += 1
        self.go_away(error.code)
        self.closed = self.broken = True
        self.on_connection_error(error.details)
        self.wire.close_after_flush(True)

    def go_away(self, code: int) -> None:
        """GOAWAY: what has come so far will be dealt with, nothing more."""
        self.stats.goaway_sent.value += 1
        self.write(frames.goaway(self.last_peer_stream, code))


_KNOWN_SETTINGS: Final = frozenset(int(code) for code in SettingCodes)
