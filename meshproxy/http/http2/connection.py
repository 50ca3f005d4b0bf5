"""One connection of HTTP/2 (RFC 9113): what frames do to streams, windows and settings.

Owns what client and server have in common; the streams' meaning is the subclasses' (`server.py`,
`client.py`). Refuses to know how bytes become frames (`input.py`) and frames bytes (`output.py`),
sockets, routes and pools.

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
from meshproxy.http.http2.frames import ACK, END_STREAM, MAX_WINDOW
from meshproxy.http.http2.input import Http2Input
from meshproxy.http.http2.limits import RESET_WORK
from meshproxy.http.http2.settings import DEFAULT_WINDOW, MAX_FRAME_SIZE, Http2Settings
from meshproxy.http.http2.stream import Http2Stream

# How many streams that we reset are remembered: their peers may not know it yet.
MAX_REMEMBERED: Final = 1024
# What a message whose body has not the length that was announced ends with.
REMOTE_PROTOCOL_ERROR: Final = "http2.protocol_error"


class Http2Connection(Http2Input):
    """The connection, both halves."""

    __slots__ = ("_peer_settings", "broken", "last_peer_stream", "reset_by_us")

    protocol: Final = "HTTP/2"

    def __init__(self, wire: Wire, settings: Http2Settings, stats: Any, preface: bytes) -> None:
        super().__init__(wire, settings, stats, preface)
        self.last_peer_stream = 0
        self.broken = False  # the peer broke a rule
        self.reset_by_us: dict[int, None] = {}
        self._peer_settings = Settings(client=bool(preface))
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

    # -- control -----------------------------------------------------------------------------

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise protocol_error()
        if len(payload) != 5:
            self.invalid_frame(stream_id, frames.FRAME_SIZE_ERROR)
            return
        self._check_dependency(stream_id, payload)
        self._check(self.inbound.priority())

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
        stream.cut()

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
        stream.cut()

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
