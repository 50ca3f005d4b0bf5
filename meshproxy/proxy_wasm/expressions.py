"""CEL expressions of guests: `expr_create`, `expr_evaluate`, `expr_delete`.

Owns the expressions of one VM by their tokens, and which variables a stream gives them. Refuses to
know the language: an engine compiles and evaluates, by injection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from meshproxy.http.header_map import HeaderMap
from meshproxy.proxy_wasm.abi import INTERNAL_FAILURE, NOT_FOUND, SERIALIZATION_FAILURE
from meshproxy.proxy_wasm.properties import NAMESPACES, PLUGIN, XDS
from meshproxy.proxy_wasm.property_values import Metadata, as_struct, encode_value, nanoseconds

if TYPE_CHECKING:
    from meshproxy.http.stream_info import StreamInfo
    from meshproxy.proxy_wasm.context import Context

MAX_EXPRESSIONS: Final = 4096
"""Of one VM at the same time."""
MAX_TEXT: Final = 64 << 10
"""Bytes of one expression."""

# Facts that are encoded as nanoseconds, and what they are to CEL.
_SECONDS: Final[dict[tuple[str, str], Callable[[StreamInfo], Any]]] = {
    ("request", "time"): lambda info: datetime.fromtimestamp(info.start_time, UTC),
    ("request", "duration"): lambda info: _elapsed(info.start, info.response_end),
    ("response", "backend_latency"): lambda info: _elapsed(
        info.upstream_request_end, info.upstream_response_start
    ),
}
VARIABLES: Final = (*NAMESPACES, "metadata", "filter_state", "xds", *PLUGIN)


class ExpressionEngine(Protocol):
    """The language. The variables are those of VARIABLES."""

    def compile(self, text: str) -> Callable[[Mapping[str, Any]], Any]:
        """The expression as a function of its variables; ValueError with the reason.

        The function raises ValueError, too, where the expression has no value.
        """


class Expressions:
    """The expressions of one VM. Tokens count from 0, as Envoy's."""

    __slots__ = ("_engine", "_expressions", "_next")

    def __init__(self, engine: ExpressionEngine | None) -> None:
        self._engine = engine
        self._expressions: dict[int, tuple[Callable[..., Any], tuple[str, ...]]] = {}
        self._next = 0

    def create(self, text: bytes) -> int:
        """The token of a new expression. Raises ValueError where the text is none, there are too
        many, or no engine.
        """
        if self._engine is None:
            raise ValueError("there is no expression engine")
        if len(text) > MAX_TEXT or len(self._expressions) >= MAX_EXPRESSIONS:
            raise ValueError("too many expressions, or one too long")
        source = text.decode()
        expression = self._engine.compile(source)
        used = tuple(name for name in VARIABLES if re.search(rf"\b{name}\b", source))
        token = self._next
        self._next = token + 1 & 0xFFFFFFFF
        self._expressions[token] = (expression, used)
        return token

    def evaluate(self, token: int, context: Context) -> bytes | int:
        """The encoded value, or a status."""
        found = self._expressions.get(token)
        if found is None:
            return NOT_FOUND
        expression, used = found
        try:
            return _encode(expression(variables(context, used)))
        except ValueError as error:
            context.debug(f"expression without a value: {error}")
            return INTERNAL_FAILURE

    def delete(self, token: int) -> bool:
        """Forget an expression; False where there is none."""
        return self._expressions.pop(token, None) is not None


def _encode(value: Any) -> bytes | int:
    if isinstance(value, datetime):
        return nanoseconds(value.timestamp())
    if isinstance(value, timedelta):
        return nanoseconds(value.total_seconds())
    return SERIALIZATION_FAILURE if value is None else encode_value(value)


# -- a stream's facts as values ------------------------------------------------------------------


def variables(context: Context, names: tuple[str, ...]) -> dict[str, Any]:
    """What an expression can refer to, as far as it does and as far as it is known."""
    context.resolve_route()
    return {name: _variable(context, name) for name in names}


def _variable(context: Context, name: str) -> Any:
    if name in PLUGIN:
        return _plain(PLUGIN[name](context))
    info = context.info
    if name == "xds":
        node = {"node": _known(context.vm.services.node.fields)}
        return node if info is None else node | _facts(info, XDS)
    if info is None:
        return {}
    if name == "metadata":
        return {"filter_metadata": _known(as_struct(info.dynamic_metadata or {}))}
    if name == "filter_state":
        return dict(info.filter_state or {})
    facts = _facts(info, NAMESPACES[name])
    for (namespace, key), read in _SECONDS.items():
        if namespace == name:
            facts[key] = read(info)
    return {key: value for key, value in facts.items() if value is not None}


def _facts(info: StreamInfo, table: Mapping[str, Callable[[StreamInfo], Any]]) -> dict[str, Any]:
    found = {}
    for key, fact in table.items():
        name = key.removesuffix(".*")
        if f"{key}.*" in table:
            continue  # the map itself, which comes as bytes
        try:
            value = _known(fact(info))
        except AttributeError:  # a part of the way there is None now, as in properties.py
            continue
        if value is not None:
            found[name] = value
    return found


def _known(value: Any) -> Any:
    """A fact as plain data that CEL knows."""
    match value:
        case HeaderMap():
            names = dict.fromkeys(name for name, _ in value.pairs)
            return {_plain(name): _plain(value.joined(name) or b"") for name in names}
        case Metadata():
            return {"filter_metadata": _known(as_struct(value.filter_metadata))}
        case Mapping():
            return {str(key): _known(item) for key, item in value.items()}
        case list() | tuple():
            return [_known(item) for item in value]
        case _:
            return _plain(value)


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _elapsed(start: float | None, end: float | None) -> timedelta | None:
    return None if start is None or end is None else timedelta(seconds=end - start)
