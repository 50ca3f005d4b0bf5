"""Objects of JSON in the bodies of requests, read as daprd reads them. Knows no call.

There are two ways: most calls read JSON as Go does, some as the JSON form of a proto.

As Go does: names count in any case, null is as if it were not there, and what no call knows is
passed over. Apps have been written against that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from meshproxy.dapr.api_error import malformed

_UPPER: Final = re.compile("[A-Z]")
_WHOLE: Final = re.compile(r"-?\d{1,10}", re.ASCII)


class Document:
    """One object. Every way to read it raises ApiError, which names the field."""

    __slots__ = ("_fields",)

    def __init__(self, value: Any) -> None:
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise malformed("expected an object")
        self._fields: Mapping[str, Any] = {name.lower(): each for name, each in value.items()}

    def value(self, name: str) -> Any:
        """A field of any kind, None where it is missing."""
        return self._fields.get(name.lower())

    def text(self, name: str) -> str:
        """A text, empty where it is missing."""
        return self.optional_text(name) or ""

    def optional_text(self, name: str) -> str | None:
        """A text, None where it is missing."""
        value = self.value(name)
        if value is not None and not isinstance(value, str):
            raise malformed(f"'{name}' is not a text")
        return value

    def texts(self, name: str) -> dict[str, str]:
        """An object of texts, whose own names count as they stand."""
        value = self.value(name)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(
            each is None or isinstance(each, str) for each in value.values()
        ):
            raise malformed(f"'{name}' is not an object of texts")
        return {key: each or "" for key, each in value.items()}

    def integer(self, name: str) -> int:
        """A whole number, 0 where it is missing."""
        value = self.value(name)
        if value is None:
            return 0
        if not isinstance(value, int) or isinstance(value, bool):
            raise malformed(f"'{name}' is not a whole number")
        return value

    def items(self, name: str) -> list[Any]:
        """A list, empty where it is missing."""
        return items(self.value(name), f"'{name}' is not a list")


class ProtoDocument:
    """A message in the JSON form of protos: a field by its JSON name or its own, never by both.

    An empty body is an empty message. Source: https://protobuf.dev/programming-guides/json/.
    """

    __slots__ = ("_fields",)

    def __init__(self, body: bytes) -> None:
        try:
            value = orjson.loads(body) if body else {}
        except orjson.JSONDecodeError as error:
            raise malformed(error) from None
        if not isinstance(value, dict):
            raise malformed("expected an object")
        self._fields: dict[str, Any] = value

    def text(self, name: str) -> str:
        """A text, empty where it is missing; `name` is the JSON name. Raises ApiError."""
        value = self._value(name)
        if value is not None and not isinstance(value, str):
            raise malformed(f"'{name}' is not a text")
        return value or ""

    def integer(self, name: str) -> int:
        """An int32, 0 where it is missing. Raises ApiError."""
        value = self._value(name)
        if value is None:
            return 0
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or value % 1:
            raise malformed(f"'{name}' is not a whole number")
        if not -(2**31) <= value < 2**31:
            raise malformed(f"'{name}' has more than 32 bits")
        return int(value)

    def has(self, name: str) -> bool:
        """Whether it is there, and not null."""
        return self._value(name) is not None

    def _value(self, name: str) -> Any:
        own = _UPPER.sub(lambda found: "_" + found[0].lower(), name)
        if own != name and name in self._fields and own in self._fields:
            raise malformed(f"'{name}' is there twice")
        return self._fields.get(name, self._fields.get(own))


def items(value: Any, otherwise: str) -> list[Any]:
    """A list, empty for null. Raises ApiError."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise malformed(otherwise)
    return value
