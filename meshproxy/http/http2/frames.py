"""The octets of HTTP/2 frames (RFC 9113, 4 and 6): their names, and how those we send are made.

Owns layout. Refuses to know when a frame is sent, and what one that arrives means.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9
METADATA: Final = 0x4D  # of Envoy, not of the RFC

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20

# RFC 9113, 7. Plain ints: an IntEnum member costs 0.1 us an access.
NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
CONNECT_ERROR: Final = 0xA
ENHANCE_YOUR_CALM: Final = 0xB

HEADER_SIZE: Final = 9
MAX_WINDOW: Final = 2**31 - 1
MAX_STREAM_ID: Final = 2**31 - 1

_HEADER: Final = Struct(">IBI")  # length (24 bits) and type, flags, stream
_LONG: Final = Struct(">IBII")
_PAIR: Final = Struct(">IBIII")
_SETTING: Final = Struct(">HI")
read_header: Final = _HEADER.unpack_from
_pack: Final = _HEADER.pack
_LONG_PACK: Final = _LONG.pack

SETTINGS_ACK: Final = _pack(SETTINGS, ACK, 0)


def data_header(length: int, end_stream: bool, stream_id: int) -> bytes:
    """The header of a DATA frame."""
    return _pack(length << 8, 1 if end_stream else 0, stream_id)


def header_block(block: bytes, end_stream: bool, stream_id: int, max_frame: int) -> bytes:
    """HEADERS, and as many CONTINUATIONs as a block of this size needs."""
    size = len(block)
    if size <= max_frame:
        return _pack((size << 8) | HEADERS, 5 if end_stream else 4, stream_id) + block
    pieces = [block[at : at + max_frame] for at in range(0, size, max_frame)]
    last = len(pieces) - 1
    out = [_pack((max_frame << 8) | HEADERS, 1 if end_stream else 0, stream_id) + pieces[0]]
    out += [
        _pack((len(piece) << 8) | CONTINUATION, END_HEADERS if at == last else 0, stream_id) + piece
        for at, piece in enumerate(pieces[1:], 1)
    ]
    return b"".join(out)


def extension(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """A frame of a type that the RFC does not know."""
    return _pack((len(payload) << 8) | kind, flags, stream_id) + payload


def rst_stream(stream_id: int, code: int) -> bytes:
    """RST_STREAM."""
    return _LONG_PACK((4 << 8) | RST_STREAM, 0, stream_id, code)


def window_update(stream_id: int, increment: int) -> bytes:
    """WINDOW_UPDATE."""
    return _LONG_PACK((4 << 8) | WINDOW_UPDATE, 0, stream_id, increment)


def goaway(last_stream_id: int, code: int) -> bytes:
    """GOAWAY without debug data."""
    return _PAIR.pack((8 << 8) | GOAWAY, 0, 0, last_stream_id, code)


def ping(payload: bytes, ack: bool) -> bytes:
    """PING with 8 bytes."""
    return _pack((8 << 8) | PING, ACK if ack else 0, 0) + payload


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    """SETTINGS."""
    payload = b"".join(_SETTING.pack(code, value) for code, value in values)
    return _pack((len(payload) << 8) | SETTINGS, 0, 0) + payload


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The identifiers and values of a SETTINGS frame, whose length is a multiple of 6."""
    return [(code, value) for code, value in _SETTING.iter_unpack(payload)]


def unpadded(flags: int, payload: bytes) -> bytes | None:
    """The payload without its padding (RFC 9113, 6.1); None where there is more than fits."""
    if not flags & PADDED:
        return payload
    if not payload:
        return None
    padding = payload[0]
    end = len(payload) - padding
    return payload[1:end] if end >= 1 else None
