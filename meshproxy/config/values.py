"""Scalars of a document to values of protobuf fields.

Owns the forms in which protobuf JSON, as Envoy reads it, lets a number, bool, enum, duration or
byte string be written. Refuses to know messages and places.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, cast

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from meshproxy.config.nodes import Scalar
from meshproxy.config.problems import nearest

_HEXADECIMAL: Final = re.compile(r"[+-]?0[xX][0-9a-fA-F]{1,16}")
_DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_FLOAT_WORD: Final = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_DURATION: Final = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s")
_OTHER_UNIT: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|us|m|min|h|S|sec|)")
_SECONDS: Final = {
    "ms": "0.001", "us": "0.000001", "m": "60", "min": "60", "h": "3600", "S": "1", "sec": "1",
    "": "1",
}  # fmt: skip
_MAX_SECONDS: Final = 315_576_000_000  # ten thousand years, the limit of google.protobuf.Duration
_TRUE: Final = frozenset({"true", "t", "yes", "y", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "0"})
_SHOWN: Final = 40

_INTEGERS: Final = {
    FieldDescriptor.CPPTYPE_INT32: range(-(2**31), 2**31),
    FieldDescriptor.CPPTYPE_INT64: range(-(2**63), 2**63),
    FieldDescriptor.CPPTYPE_UINT32: range(2**32),
    FieldDescriptor.CPPTYPE_UINT64: range(2**64),
}


class BadValue(Exception):
    """A value does not fit its field: what is wrong, what was expected, what was probably meant."""

    def __init__(
        self, message: str, expected: str, suggestion: str = "", *, wrong_type: bool = False
    ) -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.suggestion = suggestion
        self.wrong_type = wrong_type


def read(field: FieldDescriptor, node: Scalar) -> Any:
    """The value of a scalar for a field that is not a message. Raises `BadValue`."""
    integers = _INTEGERS.get(field.cpp_type)
    if integers is not None:
        return read_int(node, integers)
    return _READERS[field.type](field, node)


def read_string(node: Scalar) -> str:
    """Text. Envoy takes a plain `5` or `yes` for a number or bool, and refuses it here."""
    if isinstance(node.value, str):
        return node.value
    quoted = f'"{node.text}"' if node.value is not None else ""
    raise BadValue(f"found {describe(node)}", "a string", quoted, wrong_type=True)


def read_bool(node: Scalar) -> bool:
    """`true` or `false`, or a word that Envoy takes for one of them."""
    if isinstance(node.value, bool):
        return node.value
    word = node.value.lower() if isinstance(node.value, str) else ""
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise BadValue(f"found {describe(node)}", "true or false", wrong_type=True)


def read_int(node: Scalar, allowed: range) -> int:
    """A whole number, also as text, in hexadecimal, or as `1e3` and `5.0`."""
    expected = f"a whole number from {allowed.start} to {allowed.stop - 1}"
    value = _number(node, expected)
    if not math.isfinite(value) or value != int(value):
        raise BadValue(f"{describe(node)} is not a whole number", expected)
    if int(value) not in allowed:
        raise BadValue(f"{describe(node)} is out of range", expected)
    return int(value)


def read_float(node: Scalar) -> float:
    """A number, also as text, or one of NaN and Infinity."""
    if isinstance(node.value, str) and _FLOAT_WORD.fullmatch(node.value):
        return float(node.value)
    return float(_number(node, "a number"))


def _number(node: Scalar, expected: str) -> int | float | Decimal:
    if isinstance(node.value, bool) or node.value is None:
        raise BadValue(f"found {describe(node)}", expected, wrong_type=True)
    if not isinstance(node.value, str):
        return node.value
    text = node.value
    if _HEXADECIMAL.fullmatch(text):
        return int(text, 16)
    if not _DECIMAL.fullmatch(text):
        raise BadValue(f"{describe(node)} is not a number", expected, wrong_type=True)
    # A Decimal is exact beyond 2**53; a huge exponent would make an int of as many digits.
    rough = float(text)
    return Decimal(text) if abs(rough) < 1e30 else rough


def read_bytes(node: Scalar) -> bytes:
    """Base64 in either alphabet, with or without padding."""
    expected = "bytes in base64"
    if not isinstance(node.value, str):
        raise BadValue(f"found {describe(node)}", expected, wrong_type=True)
    text = node.value.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadValue("the value is not base64", expected) from None


def read_enum(enum: EnumDescriptor, node: Scalar) -> int:
    """The number of an enum value, given by its name in any case, or by its number."""
    value = node.value
    names = enum.values_by_name
    expected = "one of " + ", ".join(names) if len(names) <= 12 else f"a value of {enum.name}"
    if isinstance(value, bool) or value is None:
        raise BadValue(f"found {describe(node)}", expected, wrong_type=True)
    if isinstance(value, str):
        known = names.get(value) or names.get(value.upper())
        if known is not None:
            number: int = known.number
            return number
        if not re.fullmatch(r"-?[0-9]{1,10}", value):
            raise BadValue(f"unknown value {describe(node)}", expected, nearest(value, names))
        value = int(value)
    if value != int(value) or int(value) not in _INTEGERS[FieldDescriptor.CPPTYPE_INT32]:
        raise BadValue(f"unknown value {describe(node)}", expected)
    return int(value)


def read_duration(node: Scalar) -> tuple[int, int]:
    """(seconds, nanoseconds) of a text such as `1.5s`; seconds are the only unit."""
    expected = 'a duration in seconds, such as "1.5s"'
    match = _DURATION.fullmatch(node.value) if isinstance(node.value, str) else None
    if match is None:
        other = _OTHER_UNIT.fullmatch(node.text)
        suggestion = ""
        if other is not None and len(node.text) < 20:
            meant = Decimal(other[1]) * Decimal(_SECONDS[other[2]])
            suggestion = f"{meant.normalize():f}s"
        raise BadValue(f"found {describe(node)}", expected, suggestion, wrong_type=True)
    sign = -1 if match[1] else 1
    seconds, nanos = int(match[2]), int((match[3] or "").ljust(9, "0"))
    if seconds > _MAX_SECONDS:
        raise BadValue(f"{describe(node)} is out of range", expected)
    return sign * seconds, sign * nanos


def describe(node: Scalar) -> str:
    """A scalar in words, with its type, cut short."""
    text = node.text if len(node.text) <= _SHOWN else node.text[:_SHOWN] + "…"
    if node.value is None:
        return "null"
    if isinstance(node.value, bool):
        return f"the bool {text}"
    if isinstance(node.value, int | float):
        return f"the number {text}"
    return f"'{text}'"


_READERS: Final[dict[int, Callable[[FieldDescriptor, Scalar], Any]]] = {
    FieldDescriptor.TYPE_STRING: lambda _, node: read_string(node),
    FieldDescriptor.TYPE_BYTES: lambda _, node: read_bytes(node),
    FieldDescriptor.TYPE_BOOL: lambda _, node: read_bool(node),
    FieldDescriptor.TYPE_FLOAT: lambda _, node: read_float(node),
    FieldDescriptor.TYPE_DOUBLE: lambda _, node: read_float(node),
    FieldDescriptor.TYPE_ENUM: lambda field, node: read_enum(
        cast(EnumDescriptor, field.enum_type), node
    ),
}
