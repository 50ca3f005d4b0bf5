"""Small readings of protobuf fields, shared by the builders.

Owns how Envoy's ways of saying "unset" become Python values. Refuses to know any one message.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from meshproxy.config.document import At, Label
from meshproxy.config.problems import Problems
from meshproxy.errors import Code
from meshproxy.network.address import IpNetwork

MAX_DATA_SOURCE: Final = 16 * 1024 * 1024


def seconds(at: At, field: str, default: float) -> float:
    """A duration field in seconds, `default` where it is not set."""
    if not at.message.HasField(field):
        return default
    duration = getattr(at.message, field)
    total: float = duration.seconds + duration.nanos / 1e9
    return total


def seconds_or_never(at: At, field: str, default: float | None) -> float | None:
    """A duration in which 0 means that it never runs out: None."""
    if not at.message.HasField(field):
        return default
    return seconds(at, field, 0.0) or None


def wrapped(at: At, field: str, default: Any) -> Any:
    """The value in a wrapper field (BoolValue, UInt32Value), `default` where it is not set."""
    return getattr(at.message, field).value if at.message.HasField(field) else default


def enum_name(at: At, field: str, default: str = "") -> str:
    """The name of an enum field's value, `default` for a number that has no name."""
    enum = at.message.DESCRIPTOR.fields_by_name[field].enum_type
    value = enum.values_by_number.get(getattr(at.message, field))
    return value.name if value is not None else default


def plain(value: Any) -> Any:
    """A Struct, Value or ListValue as dicts, lists and scalars; whole numbers become ints.

    Keys are sorted: a protobuf map has no order, and Envoy writes JSON logs in this one.
    """
    name = value.DESCRIPTOR.name
    if name == "Struct":
        return {key: plain(value.fields[key]) for key in sorted(value.fields)}
    if name == "ListValue":
        return [plain(item) for item in value.values]
    kind = value.WhichOneof("kind")
    if kind in {"struct_value", "list_value"}:
        return plain(getattr(value, kind))
    if kind == "number_value":
        number: float = value.number_value
        return int(number) if number.is_integer() else number
    return None if kind in {None, "null_value"} else getattr(value, kind)


def metadata(at: At) -> MappingProxyType[str, Any]:
    """`filter_metadata` of the field `metadata` by filter name, empty where it is not set."""
    if not at.message.HasField("metadata"):
        return MappingProxyType({})
    structs = at.message.metadata.filter_metadata
    return MappingProxyType({name: plain(structs[name]) for name in structs})


def cidr_ranges(ranges: Sequence[At], problems: Problems) -> tuple[IpNetwork, ...]:
    """CidrRanges as networks; one with an error is noted and left out."""
    networks: list[IpNetwork] = []
    for cidr in ranges:
        prefix, length = cidr.message.address_prefix, wrapped(cidr, "prefix_len", 0)
        try:
            address = ipaddress.ip_address(prefix)
        except ValueError:
            cidr.error(problems, Code.INVALID, f"'{prefix}' is not an IP address", "address_prefix")
            continue
        # Envoy takes a longer prefix for the longest there is.
        length = min(length, address.max_prefixlen)
        networks.append(ipaddress.ip_network(f"{address}/{length}", strict=False))
    return tuple(networks)


def data_source(at: At, problems: Problems) -> bytes | None:
    """The bytes of a DataSource, read now; None with the reason noted where they cannot be."""
    message = at.message
    kind = message.WhichOneof("specifier")
    labels: tuple[Label, ...] = (kind,) if kind else ()
    if kind == "inline_bytes":
        return bytes(message.inline_bytes)
    if kind == "inline_string":
        return str(message.inline_string).encode()
    if kind == "environment_variable":
        value = os.environ.get(message.environment_variable)
        if value is None:
            name = message.environment_variable
            text = f"the environment variable '{name}' is not set"
            at.error(problems, Code.INVALID, text, *labels)
        return value.encode(errors="surrogateescape") if value is not None else None
    if kind == "filename":
        return _file(at, message.filename, problems)
    return None


def _file(at: At, filename: str, problems: Problems) -> bytes | None:
    try:
        with Path(filename).open("rb") as file:
            data = file.read(MAX_DATA_SOURCE + 1)
    except OSError as error:
        text = f"the file '{filename}' cannot be read: {error.strerror}"
        at.error(problems, Code.INVALID, text, "filename")
        return None
    if len(data) > MAX_DATA_SOURCE:
        at.error(problems, Code.LIMIT, f"'{filename}' is larger than 16 MiB", "filename")
        return None
    return data
