"""The floods that HTTP/2 makes possible, and where each of them ends, counted as Envoy counts.

Owns the counts of one connection (Envoy's `ProtocolConstraints`). Refuses to know what is in a
frame, and what is done about a flood: a method that returns a name says that the connection must
go.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from meshproxy.http.codec import Wire
from meshproxy.http.http2.settings import Http2Settings

# A HEADERS frame may go on in so many CONTINUATIONs (CVE-2024-27316).
MAX_CONTINUATIONS: Final = 8

# What a connection may do in one turn of the loop before others have theirs: 16 requests that are
# answered here, or a few of those that only cost. The figures are what each costs in about 2.5 us,
# but for HEADERS, which are what connections are for: more turns make them dearer.
TURN: Final = 128
# Of one whose streams end in resets, more than every fourth of them: one such stream, not two. A
# few are anybody's right.
SUSPICIOUS_TURN: Final = 32
FORGIVEN_RESETS: Final = 4
# Of a frame, by its type from DATA on; and for so many of its bytes (as a shift) one more.
WORK: Final = (4, 8, 1, 64, 8, 1, 2, 1, 1, 4)
SHIFT: Final = (12, 5, 31, 31, 31, 31, 31, 31, 31, 5)
# Of a frame of another type, and of METADATA where it is allowed: it is decoded like headers.
UNKNOWN_SHIFT: Final = 5
METADATA_WORK: Final = 7
# Of an RST_STREAM that the peer makes us send.
RESET_WORK: Final = 64

# The counters in `http2.` of what was seen.
EMPTY_FRAMES: Final = "inbound_empty_frames_flood"
PRIORITY_FRAMES: Final = "inbound_priority_frames_flood"
WINDOW_UPDATES: Final = "inbound_window_update_frames_flood"
OUTBOUND: Final = "outbound_flood"
OUTBOUND_CONTROL: Final = "outbound_control_flood"


class Outbound:
    """Frames that were written and that the peer may not have taken yet.

    The transport knows bytes only, so every frame leaves the place where it ends in the stream of
    bytes; what the transport still holds tells which of them are out. While the peer is `behind`,
    none is: what it has sent at once is one flood, however many turns that takes.
    """

    __slots__ = ("_control", "_frames", "_max_control", "_max_frames", "_wire", "behind",
                 "shown", "written")  # fmt: skip

    def __init__(self, wire: Wire, settings: Http2Settings) -> None:
        self._wire = wire
        self._max_frames = settings.max_outbound_frames
        self._max_control = settings.max_outbound_control_frames
        self._frames: deque[int] = deque()
        self._control: deque[int] = deque()
        self.written = 0
        self.behind = False
        self.shown = (0, 0)  # what gauges have of `waiting`

    def fall_behind(self) -> None:
        """The peer has sent more than is dealt with now; what is out already does not count."""
        self._left(self._frames)
        self._left(self._control)
        self.behind = True

    def add(self, size: int) -> str | None:
        """A frame of `size` bytes was written."""
        self.written = written = self.written + size
        self._frames.append(written)
        if len(self._frames) > self._max_frames and self._left(self._frames) > self._max_frames:
            return OUTBOUND
        return None

    def add_control(self, size: int) -> str | None:
        """The same for a PING, a SETTINGS or an RST_STREAM, which a peer can make us write."""
        self._control.append(self.written + size)
        if len(self._control) > self._max_control and self._left(self._control) > self._max_control:
            return OUTBOUND_CONTROL
        return self.add(size)

    def waiting(self) -> tuple[int, int]:
        """How many frames are not out yet, and how many of them the peer has made us write."""
        return self._left(self._frames), self._left(self._control)

    def _left(self, positions: deque[int]) -> int:
        if self.behind:
            return len(positions)
        sent = self.written - self._wire.unsent
        while positions and positions[0] <= sent:
            positions.popleft()
        return len(positions)


class Inbound:
    """Frames that cost their sender nothing."""

    __slots__ = ("_empty", "_max_empty", "_max_priority", "_max_updates", "_priority", "_updates",
                 "data_sent", "opened")  # fmt: skip

    def __init__(self, settings: Http2Settings) -> None:
        self._max_empty = settings.max_consecutive_inbound_frames_with_empty_payload
        self._max_priority = settings.max_inbound_priority_frames_per_stream
        self._max_updates = settings.max_inbound_window_update_frames_per_data_frame_sent
        self._empty = 0
        self._priority = 0
        self._updates = 0
        self.opened = 0  # streams
        self.data_sent = 0  # DATA frames that we wrote

    def payload(self) -> None:
        """A frame of a message that has a payload, or ends it."""
        self._empty = 0

    def empty(self) -> str | None:
        """A frame of a message without payload and end."""
        self._empty += 1
        return EMPTY_FRAMES if self._empty > self._max_empty else None

    def priority(self) -> str | None:
        """A PRIORITY frame."""
        self._priority += 1
        allowed = self._max_priority * (1 + self.opened)
        return PRIORITY_FRAMES if self._priority > allowed else None

    def window_update(self) -> str | None:
        """A WINDOW_UPDATE frame."""
        self._updates += 1
        allowed = 5 + 2 * (self.opened + self._max_updates * self.data_sent)
        return WINDOW_UPDATES if self._updates > allowed else None
