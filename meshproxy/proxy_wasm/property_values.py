"""How a property's value is encoded for the guest.

Owns the encoding of every kind of value. Refuses to know which property it is.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from meshproxy.proxy_wasm import wire_format as wire
from meshproxy.proxy_wasm.abi import NOT_FOUND, SERIALIZATION_FAILURE
from meshproxy.proxy_wasm.pairs import encode

_pack_int: Final = struct.Struct("<q").pack
_pack_double: Final = struct.Struct("<d").pack


def int_value(value: int) -> bytes:
    """A signed or unsigned integer: eight bytes, little endian."""
    return struct.pack("<Q", value & 0xFFFFFFFFFFFFFFFF)


def nanoseconds(seconds: float) -> bytes:
    """A timestamp or a duration."""
    return _pack_int(round(seconds * 1e9))


class Metadata:
    """A `Metadata` message of the configuration or of the stream; None is one without fields."""

    __slots__ = ("filter_metadata",)

    def __init__(self, filter_metadata: Mapping[str, Any] | None) -> None:
        self.filter_metadata: Mapping[str, Any] = filter_metadata or {}


def encode_value(value: Any) -> bytes | int:
    """Any value of plain data as CEL's types are encoded, or a status where that cannot be."""
    match value:
        case None:
            return NOT_FOUND
        case bytes():
            return value
        case str():
            return value.encode("utf-8", "surrogateescape")
        case bool():
            return b"\1" if value else b"\0"
        case int():
            return int_value(value)
        case float():
            return _pack_double(value)
        case Metadata():
            return metadata_message(value.filter_metadata)
        case Mapping():
            items = [(encode_value(str(key)), encode_value(item)) for key, item in value.items()]
        case Sequence():
            items = [(encode_value(item), b"") for item in value]
        case _:
            return SERIALIZATION_FAILURE
    pairs = [
        (key, item) for key, item in items if isinstance(key, bytes) and isinstance(item, bytes)
    ]
    return encode(pairs)


def walk(value: Any, path: Sequence[str]) -> bytes | int:
    """The value at `path` below `value`, encoded; NOT_FOUND where the path leads nowhere."""
    within = isinstance(value, Metadata)
    for name in path:
        if isinstance(value, Metadata):
            value = value.filter_metadata if name == "filter_metadata" else None
        elif isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and name.isdigit():
            index = int(name)
            value = value[index] if index < len(value) else None
        else:
            return NOT_FOUND
    return encode_value(as_struct(value) if within else value)


def as_struct(value: Any) -> Any:
    """Plain data as a protobuf Struct has it: every number is a double."""
    match value:
        case bool():
            return value
        case int():
            return float(value)
        case Mapping():
            return {key: as_struct(item) for key, item in value.items()}
        case list() | tuple():
            return [as_struct(item) for item in value]
        case _:
            return value


def locality_message(region: str, zone: str, sub_zone: str) -> bytes:
    """`envoy.config.core.v3.Locality`, serialized."""
    return b"".join(
        wire.bytes_field(number, text.encode())
        for number, text in enumerate((region, zone, sub_zone), 1)
        if text
    )


def metadata_message(filter_metadata: Mapping[str, Any]) -> bytes:
    """`envoy.config.core.v3.Metadata` with this `filter_metadata`, serialized."""
    return b"".join(
        wire.bytes_field(
            1, wire.bytes_field(1, name.encode()) + wire.bytes_field(2, _struct(value))
        )
        for name, value in filter_metadata.items()
    )


def _struct(fields: Mapping[str, Any]) -> bytes:
    """`google.protobuf.Struct`."""
    return b"".join(
        wire.bytes_field(
            1, wire.bytes_field(1, str(key).encode()) + wire.bytes_field(2, _value(item))
        )
        for key, item in fields.items()
    )


def _value(value: Any) -> bytes:
    """`google.protobuf.Value`."""
    match value:
        case None:
            return wire.int_field(1, 0)
        case bool():
            return wire.int_field(4, int(value))
        case int() | float():
            return wire.tag(2, wire.FIXED64) + _pack_double(value)
        case bytes() | str():
            text = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
            return wire.bytes_field(3, text)
        case Mapping():
            return wire.bytes_field(5, _struct(value))
        case _:
            items = b"".join(wire.bytes_field(1, _value(item)) for item in value)
            return wire.bytes_field(6, items)
