"""gRPC over HTTP/2, as far as a proxy has to understand it: messages, timeouts, statuses.

Owns the five bytes before a message, `grpc-timeout` and `grpc-message` (gRPC over HTTP2, the
protocol's own text). Refuses to know what is in a message, and who sends it where.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.status import grpc_status

OK: Final = 0
UNKNOWN: Final = 2
DEADLINE_EXCEEDED: Final = 4
RESOURCE_EXHAUSTED: Final = 8
INTERNAL: Final = 13
UNAVAILABLE: Final = 14

PREFIX_SIZE: Final = 5
CONTENT_TYPE: Final = b"application/grpc"

_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_MAX_DIGITS: Final = 99_999_999


def encode_message(message: bytes) -> bytes:
    """A message with its prefix, not compressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class MessageError(Exception):
    """The bytes are no messages, or one of them is too large: status and text say which."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class MessageReader:
    """Cuts a body into messages, however it arrives; keeps at most one that is not complete."""

    __slots__ = ("_held", "max_size")

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now. Raises MessageError."""
        held = self._held
        held += data
        found: list[bytes] = []
        at = 0
        while len(held) - at >= PREFIX_SIZE:
            if held[at] != 0:
                raise MessageError(INTERNAL, "a message is compressed, which was not offered")
            size = int.from_bytes(held[at + 1 : at + PREFIX_SIZE], "big")
            if size > self.max_size:
                text = f"grpc: received message larger than max ({size} vs. {self.max_size})"
                raise MessageError(RESOURCE_EXHAUSTED, text)
            end = at + PREFIX_SIZE + size
            if end > len(held):
                break
            found.append(bytes(held[at + PREFIX_SIZE : end]))
            at = end
        del held[:at]
        return found

    @property
    def partial(self) -> bool:
        """Whether a message has begun that is not complete."""
        return bool(self._held)


class MessageCounter:
    """Counts messages without keeping any of them; `largest` is in bytes."""

    __slots__ = ("_head", "_left", "count", "is_valid", "largest")

    def __init__(self) -> None:
        self.count = 0
        self.largest = 0
        self.is_valid = True
        self._head = b""
        self._left = 0

    def feed(self, data: bytes) -> int:
        """How many messages begin in `data`, which goes on from the last one."""
        before = self.count
        at, size = 0, len(data)
        while at < size and self.is_valid:
            if self._left:
                step = min(self._left, size - at)
                self._left -= step
                at += step
                continue
            head = self._head + data[at : at + PREFIX_SIZE - len(self._head)]
            at += len(head) - len(self._head)
            self._head = head
            if len(head) == PREFIX_SIZE:
                self.is_valid = head[0] in (0, 1)
                self.count += self.is_valid
                self._left = int.from_bytes(head[1:], "big")
                self.largest = max(self.largest, self._left)
                self._head = b""
        return self.count - before


def parse_timeout(value: bytes) -> float | None:
    """The seconds in a `grpc-timeout`; None where it is not one."""
    found = _TIMEOUT.fullmatch(value)
    return int(found[1]) * _UNITS[found[2]] if found is not None else None


def format_timeout(seconds: float) -> bytes:
    """A `grpc-timeout` of so many seconds, in the smallest unit that has room for it."""
    for unit, size in ((b"m", 1e-3), (b"S", 1.0), (b"M", 60.0)):
        count = round(seconds / size)
        if count <= _MAX_DIGITS:
            return b"%d%b" % (count, unit)
    return b"%dH" % min(round(seconds / 3600), _MAX_DIGITS)


def encode_text(text: bytes) -> bytes:
    """A `grpc-message`: visible ASCII but `%` stays as it is."""
    return b"".join(
        b"%c" % byte if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in text
    )


def decode_text(value: bytes) -> str:
    """A `grpc-message`, whose percent signs begin octets of UTF-8."""
    return unquote(value.decode("latin-1"), errors="replace")


def status_of(headers: HeaderMap) -> int | None:
    """The number in `grpc-status`; UNKNOWN where it is not one, None where there is none."""
    value = headers.get(b"grpc-status")
    if value is None:
        return None
    return int(value) if value.isdigit() and len(value) <= 9 else UNKNOWN


def status_of_response(headers: HeaderMap) -> int | None:
    """The status that a response's headers decide: by `grpc-status`, or by an HTTP status that is
    not 200. None: the trailers decide."""
    found = status_of(headers)
    if found is not None:
        return found
    code = headers.get(b":status")
    return None if code == b"200" else grpc_status(int(code or b"0"))
