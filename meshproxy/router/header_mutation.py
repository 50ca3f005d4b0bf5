"""Adding, overwriting and removing headers as the configuration's levels ask for it.

Owns the order in which Envoy does it. Refuses to know which levels there are, and where a value
comes from: `http/formatter.py` compiles values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from meshproxy.http.formatter import compile_value

if TYPE_CHECKING:
    from meshproxy.http.header_map import HeaderMap
    from meshproxy.http.stream_info import StreamInfo

# HeaderValueOption.HeaderAppendAction
APPEND_IF_EXISTS_OR_ADD: Final = 0
ADD_IF_ABSENT: Final = 1
OVERWRITE_IF_EXISTS_OR_ADD: Final = 2
OVERWRITE_IF_EXISTS: Final = 3

Value = bytes | Callable[["StreamInfo"], bytes]


class HeaderToAdd:
    """One HeaderValueOption. A `value` that is a function is evaluated per request."""

    __slots__ = ("append_action", "keep_empty_value", "name", "value")

    def __init__(
        self, name: str, value: str, append_action: int = 0, keep_empty_value: bool = False
    ) -> None:
        """Compile; ValueError for a name that may not be set, FormatError for a bad `value`.

        The deprecated `append: false` is OVERWRITE_IF_EXISTS_OR_ADD.
        """
        lowered = name.lower()
        if not lowered or lowered.startswith(":") or lowered == "host":
            raise ValueError(":-prefixed or host headers may not be modified")
        self.name = lowered.encode()
        self.value: Value = compile_value(value)
        self.append_action = append_action
        self.keep_empty_value = keep_empty_value


class HeaderMutation:
    """What one level does to one direction: first add and overwrite, then remove."""

    __slots__ = ("to_add", "to_remove")

    def __init__(self, to_add: Iterable[HeaderToAdd] = (), to_remove: Iterable[str] = ()) -> None:
        """Compile; ValueError for a name that may not be removed."""
        names = [name.lower() for name in to_remove]
        if any(not name or name.startswith(":") or name == "host" for name in names):
            raise ValueError(":-prefixed or host headers may not be removed")
        self.to_add = tuple(to_add)
        self.to_remove = frozenset(name.encode() for name in names)

    def __bool__(self) -> bool:
        return bool(self.to_add or self.to_remove)


class HeaderLevel:
    """`request_headers_to_add/remove` and `response_headers_to_add/remove` of one level."""

    __slots__ = ("request", "response")

    def __init__(
        self, request: HeaderMutation | None = None, response: HeaderMutation | None = None
    ) -> None:
        self.request = request or None
        self.response = response or None


NO_HEADERS: Final = HeaderLevel()


class HeaderMutations:
    """The mutations of all levels, in the order in which they are applied."""

    __slots__ = ("steps",)

    def __init__(self, steps: Iterable[HeaderMutation]) -> None:
        self.steps = tuple(steps)

    def apply(self, headers: HeaderMap, info: StreamInfo) -> None:
        """Change `headers` in place; values are computed from `info`, level by level."""
        for step in self.steps:
            for option in step.to_add:
                value = option.value
                if type(value) is not bytes:
                    value = value(info)  # type: ignore[operator]
                if value or option.keep_empty_value:
                    _set(headers, option.name, value, option.append_action)
            if step.to_remove:
                drop = step.to_remove
                headers.pairs = [pair for pair in headers.pairs if pair[0] not in drop]


def _set(headers: HeaderMap, name: bytes, value: bytes, action: int) -> None:
    if action == APPEND_IF_EXISTS_OR_ADD:
        headers.add(name, value)
    elif action == OVERWRITE_IF_EXISTS_OR_ADD or (name in headers) == (
        action == OVERWRITE_IF_EXISTS
    ):
        headers.replace(name, value)


def concatenate(levels: Iterable[HeaderMutation | None]) -> HeaderMutations | None:
    """The levels as one object, None where there is nothing to do."""
    steps = [level for level in levels if level]
    return HeaderMutations(steps) if steps else None
