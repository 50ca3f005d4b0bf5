"""The chunked transfer coding (RFC 9112, 7.1), decoded strictly and without copying whole chunks.

Owns chunk framing. Refuses to know who sent it and what is done with the payload.
"""

from __future__ import annotations

from typing import Final

from meshproxy.http.http1.head import has_stray_controls_so_far

_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3
DONE: Final = 4
BROKEN: Final = 5

MAX_EXTENSION: Final = 256
MAX_SIZE_LINE: Final = 16 + MAX_EXTENSION
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")


class ChunkedDecoder:
    """Feed it bytes; it gives back payload and says when the message is over.

    After `state` became DONE, `trailers` holds the trailer section (its closing empty line
    included)
    and `rest` what followed the message. BROKEN: the coding was malformed or over a limit.
    """

    __slots__ = ("_buffer", "_left", "_max_trailers", "rest", "state", "trailers")

    def __init__(self, max_trailers: int) -> None:
        self.state = _SIZE
        self.rest = b""
        self.trailers = b""
        self._buffer = b""
        self._left = 0
        self._max_trailers = max_trailers

    def feed(self, data: bytes) -> bytes:
        """Decode `data`; returns the payload that it held, joined."""
        payload: list[bytes] = []
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        at = 0
        while self.state < DONE:
            if self.state == _DATA:
                end = at + self._left
                piece = data if at == 0 and end >= len(data) else data[at:end]
                payload.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self.state = _DATA_END
            else:
                after = self._line(data, at)
                if after < 0:
                    break
                at = after
        else:
            self.rest = data[at:]
        return payload[0] if len(payload) == 1 else b"".join(payload)

    def _line(self, data: bytes, at: int) -> int:
        """Read one of the parts that end in CRLF. Returns where it ended, or -1 to wait."""
        if self.state == _DATA_END:
            tail = data[at : at + 2]
            if tail == b"\r\n":
                self.state = _SIZE
                return at + 2
            return self._wait(data, at, 0, tail in (b"", b"\r"))
        if self.state == _TRAILERS:
            return self._trailer_section(data, at)
        end = data.find(b"\r\n", at)
        if end < 0:
            return self._wait(data, at, MAX_SIZE_LINE, _plausible_size_line(data[at:]))
        size = parse_chunk_size(data[at:end])
        if size < 0:
            self.state = BROKEN
        else:
            self._left = size
            self.state = _DATA if size else _TRAILERS
        return end + 2

    def _trailer_section(self, data: bytes, at: int) -> int:
        # The section is the empty line alone, or fields that end in an empty line.
        if data.startswith(b"\r\n", at):
            end = at + 2
        else:
            found = data.find(b"\r\n\r\n", at)
            if found < 0:
                plausible = not has_stray_controls_so_far(data[at:])
                return self._wait(data, at, self._max_trailers, plausible)
            end = found + 4
        if end - at > self._max_trailers:
            self.state = BROKEN
            return end
        self.trailers = data[at:end]
        self.state = DONE
        return end

    def _wait(self, data: bytes, at: int, limit: int, plausible: bool) -> int:
        held = data[at:]
        if not plausible or (limit and len(held) > limit):
            self.state = BROKEN
        else:
            self._buffer = held
        return -1


def _plausible_size_line(held: bytes) -> bool:
    """A size line that is still arriving may hold no LF, and a CR only at its end."""
    return b"\n" not in held and b"\r" not in held[:-1]


def parse_chunk_size(line: bytes) -> int:
    """The size in a chunk's first line (without its CRLF), or -1. Extensions are read and
    ignored."""
    digits, semicolon, extension = line.partition(b";")
    # BWS before the semicolon is tolerated by RFC 9112, 7.1.1 and refused by Envoy: refuse.
    if semicolon and (
        len(extension) > MAX_EXTENSION or any(byte < 32 and byte != 9 for byte in extension)
    ):
        return -1
    if not digits or len(digits) > 15 or not _HEX.issuperset(digits):
        return -1
    return int(digits, 16)
