"""Frames of HTTP/2 made and read octet by octet, so that a test can send what no library would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import hpack

from meshproxy.http.codec import ServerConnectionCallbacks
from meshproxy.http.http2.server import ServerCodec
from meshproxy.http.http2.settings import Http2Settings
from meshproxy.stats.metrics import Http2CodecStats
from meshproxy.stats.store import Store
from tests.support.fake_wire import FakeWire, RecordedRequest, RecordingManager

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 1, 1, 4, 8, 32
ERRORS: Final = (
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
    "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR",
    "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
)  # fmt: skip
GET: Final = ((":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "h"))
POST: Final = ((":method", "POST"), *GET[1:])

Fields = tuple[tuple[str | bytes, str | bytes], ...]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Any frame."""
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags))
    return head + stream.to_bytes(4, "big") + payload


def block(fields: Fields = GET) -> bytes:
    """A header block that leaves the table alone: every one can be sent in any order."""
    out = b""
    for name, value in fields:
        for text in (b"\0", name, value):
            text = text.encode() if isinstance(text, str) else text
            out += text if text == b"\0" else _string(text)
    return out


def _string(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes((len(text),)) + text
    rest, size = len(text) - 127, bytearray((127,))
    while rest >= 128:
        size.append(rest & 127 | 128)
        rest >>= 7
    return bytes((*size, rest)) + text


def headers(stream: int, fields: Fields = GET, flags: int = END_STREAM | END_HEADERS) -> bytes:
    """HEADERS; a whole request without body unless said otherwise."""
    return frame(HEADERS, flags, stream, block(fields))


def post(stream: int, fields: Fields = POST) -> bytes:
    """HEADERS of a request whose body follows."""
    return headers(stream, fields, END_HEADERS)


def data(stream: int, payload: bytes, flags: int = END_STREAM) -> bytes:
    """DATA."""
    return frame(DATA, flags, stream, payload)


def number(value: int) -> bytes:
    """32 bits."""
    return value.to_bytes(4, "big")


def rst(stream: int, code: int = 8) -> bytes:
    """RST_STREAM."""
    return frame(RST_STREAM, 0, stream, number(code))


def window_update(stream: int, increment: int) -> bytes:
    """WINDOW_UPDATE."""
    return frame(WINDOW_UPDATE, 0, stream, number(increment))


def settings(*values: tuple[int, int]) -> bytes:
    """SETTINGS."""
    payload = b"".join(code.to_bytes(2, "big") + number(value) for code, value in values)
    return frame(SETTINGS, 0, 0, payload)


START: Final = PREFACE + settings()


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it was read."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def ends(self) -> bool:
        """END_STREAM is set."""
        return bool(self.flags & END_STREAM) and self.kind in (DATA, HEADERS)

    @property
    def code(self) -> str:
        """The error of a GOAWAY or RST_STREAM."""
        return ERRORS[int.from_bytes(self.payload[-4:], "big")]


def read_frames(octets: bytes) -> list[Frame]:
    """Every frame of complete octets."""
    found = []
    while octets:
        size = int.from_bytes(octets[:3], "big")
        stream = int.from_bytes(octets[5:9], "big")
        assert len(octets) >= 9 + size, "cut off in a frame"
        found.append(Frame(octets[3], octets[4], stream, octets[9 : 9 + size]))
        octets = octets[9 + size :]
    return found


class Server:
    """A server codec without sockets, and what it has done. `answer` as for RecordingManager."""

    def __init__(
        self,
        answer=None,
        options: Http2Settings | None = None,
        callbacks: ServerConnectionCallbacks | None = None,
    ) -> None:
        self.wire = FakeWire()
        self.manager = RecordingManager(answer)
        self.stats = Store().scope("http2.").block(Http2CodecStats)
        self.codec = ServerCodec(
            self.wire, callbacks or self.manager, options or Http2Settings(), self.stats
        )
        self.greeting = read_frames(self.wire.take())
        self._decoder = hpack.Decoder()

    def send(self, *octets: bytes) -> list[Frame]:
        """Feed octets, one dispatch each; the frames that were written meanwhile."""
        for each in octets:
            self.codec.dispatch(each)
            self.wire.take_turns()
        return read_frames(self.wire.take())

    def start(self, *octets: bytes) -> list[Frame]:
        """The same after preface and SETTINGS."""
        self.send(START)
        return self.send(*octets)

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests so far."""
        return self.manager.requests

    def decode(self, each: Frame) -> list[tuple[bytes, bytes]]:
        """The fields of a HEADERS frame; to be called for each of them in order."""
        return [tuple(pair) for pair in self._decoder.decode(each.payload, raw=True)]
