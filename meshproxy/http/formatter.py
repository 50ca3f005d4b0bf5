"""Envoy's command operators (`%REQ(X?Y):Z%`), compiled into closures over StreamInfo.

Owns the syntax and the three shapes of output: text, header value, JSON. Refuses to know what the
operators mean (`http/operators.py`) and who asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import orjson

from meshproxy.http.operators import (
    OPERATORS,
    TAKES_LENGTH,
    FormatError,
    Operator,
    nearest_operator,
)

if TYPE_CHECKING:
    from meshproxy.http.stream_info import StreamInfo

__all__ = [
    "DEFAULT_FORMAT",
    "FormatError",
    "compile_format",
    "compile_json",
    "compile_value",
]

DEFAULT_FORMAT: Final = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" '
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "
    '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n'
)
"""What an access log without a format writes."""

# %NAME%, %NAME(argument)%, %NAME(argument):length%
_OPERATOR: Final = re.compile(r"%([A-Z0-9_]+)(?:\(([^)]*)\))?(?::([0-9]+))?%")
# A line of a log is one line: what came from the wire must not begin another (CVE-2024-45808).
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")


def _parse(text: str) -> list[str | Operator]:
    """Literal texts and operators in turn. FormatError with the place of what is wrong."""
    parts: list[str | Operator] = []
    at = 0
    while at < len(text):
        start = text.find("%", at)
        if start < 0:
            parts.append(text[at:])
            break
        if start > at:
            parts.append(text[at:start])
        if text.startswith("%%", start):
            parts.append("%")
            at = start + 2
            continue
        found = _OPERATOR.match(text, start)
        if found is None:
            message = "a '%' begins no operator such as %REQ(NAME)%; write %% for one"
            raise FormatError(start, message)
        name, argument, length = found.groups()
        make = OPERATORS.get(name)
        if make is None:
            near = nearest_operator(name)
            hint = f", did you mean %{near}%?" if near else ""
            raise FormatError(start, f"not an operator: %{name}%{hint}")
        try:
            operator = make(argument)
        except ValueError as error:
            raise FormatError(start, f"%{name}%: {error}") from None
        if length and name not in TAKES_LENGTH:
            raise FormatError(start, f"%{name}% does not allow a length")
        parts.append(_cut(operator, int(length)) if length else operator)
        at = found.end()
    return parts


def _cut(operator: Operator, length: int) -> Operator:
    def cut(info: StreamInfo) -> Any:
        value: Any = operator(info)
        return value if value is None else _text(value)[:length]

    return cut


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return orjson.dumps(_encodable(value), option=orjson.OPT_SORT_KEYS).decode()
    return str(_number(value))


def _escape(found: re.Match[str]) -> str:
    return f"\\x{ord(found[0]):02x}"


def compile_format(text: str, *, omit_empty_values: bool = False) -> Callable[[StreamInfo], str]:
    """Compile a text_format; an unset value is `-` (empty with `omit_empty_values`)."""
    return _joining(_parse(text), "" if omit_empty_values else "-", _escaped)


def _escaped(value: Any) -> str:
    text = _text(value)
    return text if text.isprintable() else _CONTROLS.sub(_escape, text)


def _joining(
    parts: list[str | Operator], unset: str, show: Callable[[Any], str]
) -> Callable[[StreamInfo], str]:
    def render(info: StreamInfo) -> str:
        out = []
        for part in parts:
            if type(part) is str:
                out.append(part)
                continue
            value: Any = part(info)  # type: ignore[operator]
            out.append(unset if value is None else show(value))
        return "".join(out)

    return render


def compile_value(text: str) -> bytes | Callable[[StreamInfo], bytes]:
    """Compile a header's value; a constant where there is no operator. An unset value is empty."""
    parts = _parse(_METADATA_LIST.sub(_colons, text))
    if all(type(part) is str for part in parts):
        return "".join(part for part in parts if type(part) is str).encode()

    def render(info: StreamInfo) -> bytes:
        out = []
        for part in parts:
            value = part if type(part) is str else part(info)  # type: ignore[operator]
            if value is not None:
                out.append(_text(value))
        return "".join(out).encode("utf-8", "surrogateescape")

    return render


# %DYNAMIC_METADATA(["a", "b"])% is how headers once spelled %DYNAMIC_METADATA(a:b)%.
_METADATA_LIST: Final = re.compile(r"(%(?:DYNAMIC|UPSTREAM)_METADATA\()\[([^)\]]*)\](?=\))")


def _colons(found: re.Match[str]) -> str:
    keys = (key.strip().strip('"') for key in found[2].split(","))
    return found[1] + ":".join(keys)


def compile_json(tree: Any, *, omit_empty_values: bool = False) -> Callable[[StreamInfo], bytes]:
    """Compile a json_format (dicts, lists, strings, numbers, booleans, None) to a JSON line.

    A string that is one operator alone keeps the operator's type; an unset value is null. Keys are
    sorted. With `omit_empty_values` objects and lists lose their nulls, objects also empty objects.
    """
    make = _compile_node(tree, omit_empty_values)

    def render(info: StreamInfo) -> bytes:
        made = make(info)
        try:
            return orjson.dumps(made, option=_JSON)
        except TypeError:  # bytes of the wire that are not UTF-8
            return orjson.dumps(_encodable(made), option=_JSON)

    return render


_JSON: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SORT_KEYS


def _compile_node(tree: Any, omit: bool) -> Operator:
    if isinstance(tree, dict):
        fields = [(key, _compile_node(value, omit)) for key, value in tree.items()]

        def make_object(info: StreamInfo) -> Any:
            made = [(key, make(info)) for key, make in fields]
            return {key: value for key, value in made if not (omit and value in (None, {}))}

        return make_object
    if isinstance(tree, list):
        items = [_compile_node(value, omit) for value in tree]
        return lambda info: [
            value for value in (make(info) for make in items) if not (omit and value is None)
        ]
    if not isinstance(tree, str):
        constant = _number(tree)
        return lambda info: constant
    parts = _parse(tree)
    if len(parts) == 1 and type(parts[0]) is not str:
        operator: Operator = parts[0]  # type: ignore[assignment]
        return lambda info: _number(operator(info))
    # JSON has escapes of its own, so controls stay as they are.
    return _joining(parts, "" if omit else "-", _text)


def _number(value: Any) -> Any:
    """Numbers of protobuf's Struct are doubles; Envoy prints the integers among them as such."""
    if type(value) is float and value.is_integer() and abs(value) < _UINT64:
        return int(value)
    return value


_UINT64: Final = float(1 << 64)


def _encodable(value: Any) -> Any:
    """JSON is UTF-8: text of other bytes is taken for Latin-1, as Envoy writes it."""
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogateescape")
        return value if raw.isascii() or value.isprintable() else _utf8_or_latin1(raw)
    if isinstance(value, dict):
        return {key: _encodable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_encodable(each) for each in value]
    return _number(value)


def _utf8_or_latin1(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
