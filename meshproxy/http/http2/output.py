"""The half of an HTTP/2 connection that writes: frames, windows, and what waits for them.

Owns what goes out, in which order, and that it is bounded. Refuses to know what comes in
(`input.py`).
"""

from __future__ import annotations

from typing import Any

from meshproxy.http.codec import Wire
from meshproxy.http.http2 import frames
from meshproxy.http.http2.frames import HEADER_SIZE
from meshproxy.http.http2.hpack import HeaderEncoder, Pair
from meshproxy.http.http2.limits import Inbound, Outbound
from meshproxy.http.http2.settings import DEFAULT_WINDOW, MAX_FRAME_SIZE, Http2Settings
from meshproxy.http.http2.stream import Http2Stream

# Up to this size a body's piece is joined with the header of its frame.
SMALL_DATA = 4096


class Http2Output:
    """What a stream may do to its connection. `closed`: nothing more goes out or matters."""

    __slots__ = (
        "_encoder",
        "_unacknowledged",
        "blocked",
        "closed",
        "inbound",
        "outbound",
        "peer_initial_window",
        "peer_max_frame",
        "recv_window",
        "send_window",
        "settings",
        "stats",
        "streams",
        "wire",
        "wire_is_full",
    )

    def __init__(self, wire: Wire, settings: Http2Settings, stats: Any) -> None:
        self.wire = wire
        self.settings = settings
        self.stats = stats  # stats.metrics.Http2CodecStats
        self.streams: dict[int, Any] = {}
        self.blocked: dict[int, Http2Stream] = {}  # have bytes to send and no window
        self.closed = False
        self.wire_is_full = False
        self.send_window = DEFAULT_WINDOW
        self.recv_window = DEFAULT_WINDOW
        self.peer_initial_window = DEFAULT_WINDOW
        self.peer_max_frame = MAX_FRAME_SIZE
        self.inbound = Inbound(settings)
        self.outbound = Outbound(wire, settings)
        self._encoder = HeaderEncoder()
        self._unacknowledged = 0

    # -- frames ------------------------------------------------------------------------------

    def send_block(self, stream_id: int, pairs: list[Pair], end_stream: bool) -> None:
        """A header block."""
        block = self._encoder.encode(pairs)
        self.write(frames.header_block(block, end_stream, stream_id, self.peer_max_frame))

    def send_data_frame(self, stream_id: int, data: bytes, end_stream: bool) -> None:
        """A DATA frame that the windows allow."""
        size = len(data)
        header = frames.data_header(size, end_stream, stream_id)
        self.inbound.data_sent += 1
        if size <= SMALL_DATA:
            self.write(header + data)
        elif not self.closed:
            self.wire.writelines((header, data))
            self._bound(self.outbound.add(HEADER_SIZE + size))

    def send_ping(self, payload: bytes) -> None:
        """PING with 8 bytes."""
        self.write_control(frames.ping(payload, False))

    def write(self, frame: bytes) -> None:
        """Any other frame."""
        if not self.closed:
            self.wire.write(frame)
            self._bound(self.outbound.add(len(frame)))

    def write_control(self, frame: bytes) -> None:
        """PING, SETTINGS or RST_STREAM, of which a peer can provoke any number."""
        if not self.closed:
            self.wire.write(frame)
            self._bound(self.outbound.add_control(len(frame)))

    def _bound(self, flood: str | None) -> None:
        """The peer may make us write, and not read: nothing that we say then would reach it."""
        if flood is not None:
            getattr(self.stats, flood).value += 1
            self.closed = True
            self.on_connection_error("http2." + flood)
            self.wire.abort()

    # -- windows -----------------------------------------------------------------------------

    def acknowledge(self, stream: Http2Stream, size: int) -> None:
        """`size` received bytes of `stream` have been passed on."""
        self.acknowledge_connection(size)
        if stream.remote_closed or stream.gone:
            return
        stream.unacknowledged += size
        # Half of the window at a time: an update for every frame would be another flood.
        if stream.unacknowledged * 2 >= self.settings.initial_stream_window_size:
            size, stream.unacknowledged = stream.unacknowledged, 0
            stream.recv_window += size
            self.write(frames.window_update(stream.id, size))

    def acknowledge_connection(self, size: int) -> None:
        """The same for bytes whose stream is gone."""
        self._unacknowledged += size
        if self._unacknowledged * 2 >= self.settings.initial_connection_window_size:
            size, self._unacknowledged = self._unacknowledged, 0
            self.recv_window += size
            self.write(frames.window_update(0, size))

    def flush_blocked(self) -> None:
        """Every stream that waits sends a frame in its turn, while there is window."""
        waited = tuple(self.blocked.values())
        while self.blocked and self.send_window > 0:
            moved = [each for each in tuple(self.blocked.values()) if each.send_one()]
            if not moved:
                break
        for stream in waited:  # also those that wait no more
            stream.update_watermark()

    def on_watermark(self, high: bool) -> None:
        """The transport is full, or no more."""
        self.wire_is_full = high
        self.show_outbound()
        for stream in tuple(self.streams.values()):
            stream.update_watermark()

    def show_outbound(self) -> None:
        """Set the gauges of frames that the transport holds; done when it is full, or no more, and
        now and then."""
        frames, control = (0, 0) if self.closed else self.outbound.waiting()
        stats, shown = self.stats, self.outbound.shown
        stats.outbound_frames_active.value += frames - shown[0]
        stats.outbound_control_frames_active.value += control - shown[1]
        self.outbound.shown = (frames, control)

    # -- what the other half does ------------------------------------------------------------

    def on_connection_error(self, details: str) -> None:
        """Every stream ends here."""
        raise NotImplementedError

    def close_stream(self, stream: Http2Stream) -> None:
        """A stream has ended well, on both sides."""
        raise NotImplementedError

    def reset_stream(self, stream: Http2Stream, code: int) -> None:
        """End a stream from here."""
        raise NotImplementedError
