"""The wire format of protobuf, as far as small messages from guests need it.

Owns tags, varints and sizes (protobuf.dev, "Encoding"). Refuses to know any message: callers name
the fields they want by number. The generated classes stay on the floor of the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
_MAX_VARINT: Final = 10
MAX_FIELDS: Final = 1024
"""Of one message. A guest's memory has room for millions, and each of them takes its time here."""

Field = tuple[int, int | bytes]
"""A field's number, and its number or bytes."""


class WireError(ValueError):
    """The bytes are no message."""


def fields(data: bytes) -> Iterator[Field]:
    """The fields of a message in their order. Raises WireError where the bytes are none."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise WireError("field number 0")
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == BYTES:
            size, at = _varint(data, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise WireError(f"wire type {kind}")
        if at + size > end:
            raise WireError("truncated")
        yield number, data[at : at + size]
        at += size


def message(data: bytes) -> dict[int, list[int | bytes]]:
    """The values of every field by number. Raises WireError, also for more than MAX_FIELDS."""
    found: dict[int, list[int | bytes]] = {}
    for count, (number, value) in enumerate(fields(data)):
        if count == MAX_FIELDS:
            raise WireError(f"more than {MAX_FIELDS} fields")
        found.setdefault(number, []).append(value)
    return found


def last_bytes(values: dict[int, list[int | bytes]], number: int) -> bytes:
    """The value of a singular string, bytes or message field: the last one counts."""
    for value in reversed(values.get(number, ())):
        if isinstance(value, bytes):
            return value
    return b""


def last_int(values: dict[int, list[int | bytes]], number: int) -> int:
    """The value of a singular integer, enum or bool field."""
    for value in reversed(values.get(number, ())):
        if isinstance(value, int):
            return value
    return 0


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(_MAX_VARINT):
        if at >= len(data):
            raise WireError("truncated")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, at
    raise WireError("a varint of more than 10 bytes")


def tag(number: int, kind: int) -> bytes:
    """The tag of a field."""
    return varint(number << 3 | kind)


def varint(value: int) -> bytes:
    """A number as varint."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def bytes_field(number: int, value: bytes) -> bytes:
    """A string, bytes or message field."""
    return tag(number, BYTES) + varint(len(value)) + value


def int_field(number: int, value: int) -> bytes:
    """An integer, enum or bool field."""
    return tag(number, VARINT) + varint(value)
