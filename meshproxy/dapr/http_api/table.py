"""The table of Dapr's HTTP API: method and path to the operation. Knows no operation.

A path is matched as it was sent, percent signs and all, so that `%2F` stays inside of a key; each
part is unescaped by itself, as a query is: `+` is a blank. Fixed parts win over parameters, among
the entries that take the method. `{name*}` takes the rest of the path.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from meshproxy.dapr.http_api.messages import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api

Operation = Callable[["Api", HttpRequest], Awaitable[HttpResponse]]
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SLASHES: Final = re.compile(r"/{2,}")


class BadEscape(ValueError):
    """The path cannot be unescaped."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One entry. `name`: what daprd calls it. `public`: served without a token, and whatever the
    configuration allows.
    """

    methods: frozenset[str]
    path: str
    operation: Operation
    name: str
    public: bool = False


def endpoint(
    methods: str, path: str, operation: Operation, name: str, *, public: bool = False
) -> Endpoint:
    """An entry; `methods` are separated by blanks, `path` begins with the version."""
    return Endpoint(frozenset(methods.split()), path, operation, name, public)


class _Node:
    __slots__ = ("any", "any_name", "ends", "fixed", "rest", "rest_name")

    def __init__(self) -> None:
        self.fixed: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.any_name = ""
        self.rest: dict[str, Endpoint] = {}
        self.rest_name = ""
        self.ends: dict[str, Endpoint] = {}


class Table:
    """All entries, as a tree of the parts of their paths. ValueError for two of one request."""

    def __init__(self, entries: Iterable[Endpoint]) -> None:
        self._root = _Node()
        self._entries: Final = tuple(entries)
        for entry in self._entries:
            self._add(entry)

    def only(self, allows: Callable[[str], bool]) -> Table:
        """The entries whose paths are allowed."""
        return Table(entry for entry in self._entries if allows(entry.path))

    def match(self, method: str, path: str) -> tuple[Endpoint, dict[str, str]] | None:
        """The entry of a request, with its parameters. Raises BadEscape."""
        if "%" in path and (wrong := _BAD_ESCAPE.search(path)) is not None:
            raise BadEscape(f'invalid URL escape in "{path[wrong.start() :][:3]}"')
        parts = clean_path(path).removesuffix("/").split("/")[1:]
        params: list[tuple[str, str]] = []
        found = _find(self._root, method, parts, 0, params)
        if found is None:
            return None
        return found, {name: unescape(value) for name, value in params}

    def _add(self, entry: Endpoint) -> None:
        node = self._root
        ends = node.ends
        for part in entry.path.strip("/").split("/"):
            if part.endswith("*}"):
                node.rest_name = part[1:-2]
                ends = node.rest
                break
            if part.startswith("{"):
                node.any = node.any or _Node()
                node.any_name = node.any_name or part[1:-1]
                if node.any_name != part[1:-1]:
                    raise ValueError(f"{entry.path}: {part} is {{{node.any_name}}} elsewhere")
                node = node.any
            else:
                node = node.fixed.setdefault(part, _Node())
            ends = node.ends
        for method in entry.methods:
            if method in ends:
                raise ValueError(f"two operations for {method} {entry.path}")
            ends[method] = entry


def _find(
    node: _Node, method: str, parts: Sequence[str], at: int, params: list[tuple[str, str]]
) -> Endpoint | None:
    if at == len(parts):
        return node.ends.get(method)
    part = parts[at]
    child = node.fixed.get(part)
    if child is not None and (found := _find(child, method, parts, at + 1, params)) is not None:
        return found
    if node.any is not None and part:
        params.append((node.any_name, part))
        found = _find(node.any, method, parts, at + 1, params)
        if found is not None:
            return found
        params.pop()
    rest = node.rest.get(method)
    if rest is not None and part:
        params.append((node.rest_name, "/".join(parts[at:])))
    return rest if part else None


def clean_path(path: str) -> str:
    """The path with single slashes and without `.` and `..`, as Go's `path.Clean` has it.

    A slash at the end stays.
    """
    if "//" not in path and "/." not in path:
        return path
    kept: list[str] = []
    parts = _SLASHES.sub("/", path).split("/")[1:]
    for part in parts:
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    if parts[-1:] in (["."], [".."]):
        kept.append("")
    return "/" + "/".join(kept)


def unescape(text: str) -> str:
    """One part of a path, as Go's `url.QueryUnescape` reads it; its escapes are good ones."""
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8", "replace")
