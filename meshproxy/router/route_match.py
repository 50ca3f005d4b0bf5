"""Whether one route takes a request: path, headers, query parameters, runtime fraction.

Owns the conjunction. Refuses to know what happens after the match.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshproxy.router.matcher import parse_query

if TYPE_CHECKING:
    from meshproxy.http.header_map import HeaderMap
    from meshproxy.router.matcher import HeaderPredicate, QueryPredicate
    from meshproxy.router.regex import Regex


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteMatch:
    """A RouteMatch. Exactly one of the path specifiers is given.

    `runtime_fraction` is (numerator, denominator) after the runtime layers were looked at.
    `grpc` wants a `content-type` of gRPC. `connect` is `connect_matcher`, a path specifier too: it
    takes CONNECT requests, which no other does.
    """

    prefix: str | None = None
    path: str | None = None
    path_separated_prefix: str | None = None
    safe_regex: Regex | None = None
    case_sensitive: bool = True
    runtime_fraction: tuple[int, int] | None = None
    headers: Sequence[HeaderPredicate] = ()
    query_parameters: Sequence[QueryPredicate] = ()
    grpc: bool = False
    connect: bool = False

    def compile(self) -> Callable[[bytes, HeaderMap, int], bool]:
        """The conjunction as one function of `:path`, headers and the stream's random value."""
        path_matches = self._path()
        conditions = [each.matches for each in self.headers]
        if self.grpc:
            conditions.append(_is_grpc)
        query = self.query_parameters
        fraction = self.runtime_fraction
        if not conditions and not query and fraction is None:
            return lambda path, headers, random_value: path_matches(path)

        def matches(path: bytes, headers: HeaderMap, random_value: int) -> bool:
            if not path_matches(path):
                return False
            if fraction is not None and random_value % fraction[1] >= fraction[0]:
                return False
            if not all(condition(headers) for condition in conditions):
                return False
            if query:
                given = parse_query(path)
                return all(predicate(given) for predicate in query)
            return True

        return matches

    def deciding_headers(self) -> set[bytes]:
        """The headers that it looks at, beside the pseudo headers."""
        return {each.name for each in self.headers} | ({b"content-type"} if self.grpc else set())

    def _path(self) -> Callable[[bytes], bool]:
        """The path specifier alone. None of them looks at the query, as in Envoy."""
        if self.connect:
            return lambda path: not path
        fold = not self.case_sensitive
        if self.safe_regex is not None:
            fullmatch = self.safe_regex.fullmatch
            return lambda path: fullmatch(path.partition(b"?")[0])
        if self.prefix is not None:
            return _prefix(self.prefix.encode(), fold)
        wanted = (self.path if self.path is not None else self.path_separated_prefix or "").encode()
        wanted = wanted.lower() if fold else wanted
        separated = self.path is None
        size = len(wanted)

        def matches(path: bytes) -> bool:
            plain = path.partition(b"?")[0]
            if fold:
                plain = plain.lower()
            if plain == wanted:
                return True
            return separated and plain.startswith(wanted) and plain[size : size + 1] == b"/"

        return matches


def _prefix(start: bytes, fold: bool) -> Callable[[bytes], bool]:
    if b"?" in start or b"#" in start:
        return lambda path: False  # paths are compared without their query
    if start == b"/":
        return lambda path: path[:1] == b"/"
    if fold:
        lowered, size = start.lower(), len(start)
        return lambda path: path[:size].lower() == lowered
    return lambda path: path.startswith(start)


def _is_grpc(headers: HeaderMap) -> bool:
    value = headers.get(b"content-type") or b""
    return value == b"application/grpc" or value.startswith(b"application/grpc+")
