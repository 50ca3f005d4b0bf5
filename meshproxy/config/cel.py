"""The Common Expression Language: text to a function of plain data.

Owns the one environment and the way of Python's values into CEL's and back. Refuses to know what
the variables mean. It stands on this floor because CEL's times are protobuf messages. The language
is that of the package `cel-expr-python`, which is loaded with the first expression.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

Program = Callable[[Mapping[str, Any]], Any]
"""Evaluates with these variables. Raises ValueError with the reason where there is no value."""


class CelEngine:
    """Compiles expressions. No types are checked before evaluation: Envoy's attributes have none.

    `variables`: every name that an expression may begin with.
    """

    def __init__(self, variables: tuple[str, ...]) -> None:
        self._variables = variables

    def compile(self, text: str) -> Program:
        """The expression as a function. Raises ValueError with the parser's words.

        Values are None, bool, int, float, str, bytes, datetime, timedelta, and lists and mappings
        of these, both ways.
        """
        try:
            expression = _environment(self._variables).compile(text, disable_check=True)
        except RuntimeError as error:
            raise ValueError(str(error)) from error

        def evaluate(data: Mapping[str, Any]) -> Any:
            try:
                value = expression.eval(data={name: _to_cel(item) for name, item in data.items()})
                if value.type().name() in ("ERROR", "UNKNOWN"):
                    raise ValueError(str(value.value()))
                return _from_cel(value.plain_value())
            except RuntimeError as error:
                raise ValueError(str(error)) from error

        return evaluate


@functools.cache
def _environment(variables: tuple[str, ...]) -> Any:
    from cel_expr_python import cel

    return cel.NewEnv(variables=dict.fromkeys(variables, cel.Type.DYN))


def _to_cel(value: Any) -> Any:
    match value:
        case datetime():
            stamp = Timestamp()
            stamp.FromDatetime(value)
            return stamp
        case timedelta():
            duration = Duration()
            duration.FromTimedelta(value)
            return duration
        case Mapping():
            return {key: _to_cel(item) for key, item in value.items()}
        case list() | tuple():
            return [_to_cel(item) for item in value]
        case _:
            return value


def _from_cel(value: Any) -> Any:
    match value:
        case bytearray():
            return bytes(value)
        case dict():
            return {key: _from_cel(item) for key, item in value.items()}
        case list():
            return [_from_cel(item) for item in value]
        case datetime() if value.tzinfo is None:
            return value.replace(tzinfo=UTC)
        case _:
            return value
