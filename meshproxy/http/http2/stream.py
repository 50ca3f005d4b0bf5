"""What both sides of a stream of HTTP/2 share: its two windows, and the bytes that wait for one.

Owns flow control (RFC 9113, 5.2) of one stream, in both directions, and the order of what it sends.
Refuses to know requests from responses.

Received bytes are acknowledged when they have been passed on, and not while whoever takes them has
asked to wait (`read_disable`): so the peer's window closes, and nothing is kept here. Bytes to send
that the peer has no window for are kept here, and who makes them is told (`watermark`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.http2.metadata import metadata_frames
from meshproxy.http.metadata import MetadataMap

if TYPE_CHECKING:
    from meshproxy.http.http2.output import Http2Output


class Http2Stream:
    """One stream. `remote_closed`, `local_closed`: that side has sent its END_STREAM."""

    __slots__ = ("_end_pending", "_high", "_pending", "_pending_bytes", "_read_disabled",
                 "_trailers_pending", "_unread", "bytes_expected", "connection", "gone",
                 "id", "local_closed", "recv_window", "remote_closed", "send_window",
                 "unacknowledged")  # fmt: skip

    def __init__(self, connection: Http2Output, stream_id: int) -> None:
        self.connection = connection
        self.id = stream_id
        self.send_window = connection.peer_initial_window
        self.recv_window = connection.settings.initial_stream_window_size
        self.unacknowledged = 0  # passed on, and not yet worth a WINDOW_UPDATE
        self.bytes_expected = -1  # what content-length leaves of the body; -1: it says nothing
        self.remote_closed = False
        self.local_closed = False
        self.gone = False  # no frame may be sent on it any more
        self._unread = 0  # received while reading was disabled
        self._read_disabled = 0
        self._pending: deque[bytes] | None = None
        self._pending_bytes = 0
        self._end_pending = False
        self._trailers_pending: HeaderMap | None = None
        self._high = False

    # -- receiving ---------------------------------------------------------------------------

    def received(self, size: int) -> None:
        """`size` bytes of DATA frames have been passed on, or dropped."""
        if self._read_disabled > 0 and not self.gone:
            self._unread += size
        else:
            self.connection.acknowledge(self, size)

    def read_disable(self, disable: bool) -> None:
        """Stop or go on acknowledging what is received; calls nest."""
        self._read_disabled += 1 if disable else -1
        if self._read_disabled == 0 and self._unread:
            size, self._unread = self._unread, 0
            self.connection.acknowledge(self, size)

    # -- sending -----------------------------------------------------------------------------

    def send_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """A header block: headers, or trailers when the body is out."""
        if self.gone:
            return
        self.connection.send_block(self.id, headers.pairs, end_stream)
        if end_stream:
            self._ended()

    def send_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of the body. What there is no window for waits."""
        if self.gone:
            return
        connection = self.connection
        size = len(data)
        if (
            self._pending is None
            and size <= self.send_window
            and size <= connection.send_window
            and size <= connection.peer_max_frame
        ):
            if size or end_stream:
                self.send_window -= size
                connection.send_window -= size
                connection.send_data_frame(self.id, data, end_stream)
                if end_stream:
                    self._ended()
            return
        if self._pending is None:
            self._pending = deque()
        if size:
            self._pending.append(data)
            self._keep(size)
        self._end_pending = end_stream
        connection.blocked[self.id] = self
        self.flush()

    def send_trailers(self, trailers: HeaderMap) -> None:
        """Trailers, which end what is sent; none end it as a body does, as in Envoy."""
        if not trailers.pairs:
            self.send_data(b"", True)
        elif self._pending is not None:
            self._trailers_pending = trailers
        else:
            self.send_headers(trailers, True)

    def send_metadata(self, metadata: MetadataMap) -> bool:
        """METADATA, where both sides of this stream know it; it waits for no window. True: this
        protocol has it."""
        connection = self.connection
        if connection.settings.allow_metadata and not (self.gone or self.local_closed):
            for frame in metadata_frames(self.id, metadata, connection.peer_max_frame):
                connection.write(frame)
        return True

    def flush(self) -> None:
        """Send what the windows allow of what waits."""
        while self.send_one():
            pass
        self.update_watermark()

    def send_one(self) -> bool:
        """Send one DATA frame of what waits. False: nothing, or all that the windows allow."""
        pending = self._pending
        if pending is None or self.gone:
            return False
        connection = self.connection
        room = min(self.send_window, connection.send_window, connection.peer_max_frame)
        if not pending:
            self._finish_pending()
            return False
        if room <= 0:
            return False
        piece = pending[0]
        if len(piece) > room:
            pending[0] = piece[room:]
            piece = piece[:room]
        else:
            pending.popleft()
        size = len(piece)
        self._keep(-size)
        self.send_window -= size
        connection.send_window -= size
        last = self._end_pending and not pending and self._trailers_pending is None
        connection.send_data_frame(self.id, piece, last)
        if last:
            self._drop_pending()
            self._ended()
            return False
        return True

    def _finish_pending(self) -> None:
        """Nothing waits but, maybe, the end."""
        trailers, ends = self._trailers_pending, self._end_pending
        self._drop_pending()
        if trailers is not None:
            self.send_headers(trailers, True)
        elif ends:
            self.connection.send_data_frame(self.id, b"", True)
            self._ended()

    def _drop_pending(self) -> None:
        self._pending = None
        self._keep(-self._pending_bytes)
        self._end_pending = False
        self._trailers_pending = None
        self.connection.blocked.pop(self.id, None)

    def _keep(self, size: int) -> None:
        """So many bytes more wait here, or fewer."""
        self._pending_bytes += size
        self.connection.stats.pending_send_bytes.value += size

    def update_watermark(self) -> None:
        """Tell who makes the bytes whether to wait: too many are kept here, or below."""
        limit = self.connection.settings.buffer_limit
        if self._high:
            high = self._pending_bytes > limit // 2 or self.connection.wire_is_full
        else:
            high = self._pending_bytes > limit or self.connection.wire_is_full
        if high != self._high:
            self._high = high
            if not self.gone:
                self.watermark(high)

    def watermark(self, high: bool) -> None:
        """The side's own: pass the wish on."""

    # -- the end -----------------------------------------------------------------------------

    def _ended(self) -> None:
        self.local_closed = True
        self.on_local_end()
        if self.remote_closed and not self.gone:
            self.connection.close_stream(self)

    def on_local_end(self) -> None:
        """The side's own: END_STREAM has been sent."""

    def let_go(self) -> None:
        """The stream is over: what was kept from the peer's windows goes back to the connection."""
        self.gone = True
        self._drop_pending()
        if self._unread:
            size, self._unread = self._unread, 0
            self.connection.acknowledge_connection(size)

    def cut(self) -> None:
        """Nobody is told anything of it any more, so that nobody is kept."""

    @property
    def waiting_end(self) -> int:
        """How many bytes wait for a window with the end behind them; -1: none do."""
        ends = self._end_pending or self._trailers_pending is not None
        return self._pending_bytes if self._pending is not None and ends else -1

    @property
    def above_high(self) -> bool:
        """More is kept here than should be."""
        return self._high

    def abandon(self, code: int) -> None:
        """End the stream with RST_STREAM."""
        if not self.gone:
            self.connection.reset_stream(self, code)
