"""Adding, overwriting and removing headers as the configuration's levels ask for it.

Owns the order in which Envoy does it. Refuses to know which levels there are, and where a value
comes from: `http/formatter.py` compiles values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from meshproxy.http.formatter import compile_value
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.stream_info import ResponseFlag

if TYPE_CHECKING:
    from meshproxy.http.header_map import HeaderMap
    from meshproxy.http.stream_info import StreamInfo

# HeaderValueOption.HeaderAppendAction
APPEND_IF_EXISTS_OR_ADD: Final = 0
ADD_IF_ABSENT: Final = 1
OVERWRITE_IF_EXISTS_OR_ADD: Final = 2
OVERWRITE_IF_EXISTS: Final = 3

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_CONTROLS: Final = bytes(set(range(32)) - {9}) + b"\x7f"

Value = bytes | Callable[["StreamInfo"], bytes]


class HeaderToAdd:
    """One HeaderValueOption. A `value` that is a function is evaluated per request."""

    __slots__ = ("append_action", "keep_empty_value", "name", "pair", "value")

    def __init__(
        self, name: str, value: str, append_action: int = 0, keep_empty_value: bool = False
    ) -> None:
        """Compile; ValueError for a name that may not be set, FormatError for a bad `value`.

        The deprecated `append: false` is OVERWRITE_IF_EXISTS_OR_ADD.
        """
        lowered = name.lower()
        if not lowered or lowered.startswith(":") or lowered == "host":
            raise ValueError(":-prefixed or host headers may not be modified")
        if not _TOKEN.fullmatch(lowered):
            raise ValueError(f"{name!r} is not the name of a header")
        self.name = lowered.encode()
        self.value: Value = compile_value(value)
        self.append_action = append_action
        self.keep_empty_value = keep_empty_value
        constant = self.value if isinstance(self.value, bytes) else None
        self.pair = None if constant is None else (self.name, constant)


class HeaderMutation:
    """What one level does to one direction: first remove, then overwrite, then add."""

    __slots__ = ("to_add", "to_remove")

    def __init__(self, to_add: Iterable[HeaderToAdd] = (), to_remove: Iterable[str] = ()) -> None:
        """Compile; ValueError for a name that may not be removed."""
        names = [name.lower() for name in to_remove]
        if any(not name or name.startswith(":") or name == "host" for name in names):
            raise ValueError(":-prefixed or host headers may not be removed")
        # An empty constant is never added, so it is not looked at per request.
        self.to_add = tuple(each for each in to_add if each.value or each.keep_empty_value)
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

    __slots__ = ("inline", "steps")

    def __init__(self, steps: Iterable[HeaderMutation], inline: frozenset[bytes]) -> None:
        """`inline` are the headers whose values are joined instead of repeated."""
        self.steps = tuple(steps)
        self.inline = inline

    def apply(self, headers: HeaderMap, info: StreamInfo) -> bytes | None:
        """Change `headers` in place; all values of a level are computed before it changes them.

        A value with a control character is not set, whatever operator it came from: the name of
        the first such header is returned, None where there is none.
        """
        refused = None
        for step in self.steps:
            if step.to_remove:
                drop = step.to_remove
                headers.pairs = [pair for pair in headers.pairs if pair[0] not in drop]
            if step.to_add:
                refused = self._add(step.to_add, headers, info) or refused
        return refused

    def _add(
        self, options: tuple[HeaderToAdd, ...], headers: HeaderMap, info: StreamInfo
    ) -> bytes | None:
        refused = None
        overwritten: list[tuple[bytes, bytes]] = []
        added: list[tuple[bytes, bytes]] = []
        for option in options:
            pair = option.pair
            if pair is None:
                value = option.value(info)  # type: ignore[operator]
                if not value and not option.keep_empty_value:
                    continue
                if len(value.translate(None, _CONTROLS)) != len(value):
                    refused = refused or option.name
                    continue
                pair = (option.name, value)
            action = option.append_action
            if action == APPEND_IF_EXISTS_OR_ADD:
                added.append(pair)
            elif action == OVERWRITE_IF_EXISTS_OR_ADD:
                overwritten.append(pair)
            elif (option.name in headers) == (action == OVERWRITE_IF_EXISTS):
                (added if action == ADD_IF_ABSENT else overwritten).append(pair)
        for pair in overwritten:
            headers.remove(pair[0])
            headers.pairs.append(pair)
        for pair in added:
            if pair[0] not in self.inline or not _join(headers, pair):
                headers.pairs.append(pair)
        return refused


def _join(headers: HeaderMap, pair: tuple[bytes, bytes]) -> bool:
    """Append the value to the first header of its name; False where there is none."""
    name, value = pair
    for index, (key, old) in enumerate(headers.pairs):
        if key == name:
            headers.pairs[index] = (name, old + b"," + value)
            return True
    return False


def concatenate(
    levels: Iterable[HeaderMutation | None], inline: frozenset[bytes] = frozenset()
) -> HeaderMutations | None:
    """The levels as one object, None where there is nothing to do."""
    steps = [level for level in levels if level]
    return HeaderMutations(steps, inline) if steps else None


def invalid_header_value(name: bytes) -> LocalReply:
    """The answer to a request of which a header cannot be sent on."""
    text = f"invalid header value for: {name.decode()}"
    details = f"filter_removed_required_request_headers{{{text.replace(' ', '_')}}}"
    return LocalReply(503, details, text.encode(), flag=ResponseFlag.DownstreamProtocolError)
