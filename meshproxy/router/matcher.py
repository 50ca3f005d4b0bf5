"""Predicates on bytes, headers and query parameters, compiled when the configuration is read.

Owns what Envoy's matchers mean. Refuses to know protos, routes and where a predicate is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from meshproxy.http.inline_headers import REQUEST_INLINE_HEADERS
from meshproxy.router.regex import Regex, RegexError, compile_regex

if TYPE_CHECKING:
    from meshproxy.http.header_map import HeaderMap

__all__ = [
    "Regex",
    "RegexError",
    "compile_regex",
    "header_matcher",
    "header_name",
    "query_parameter_matcher",
    "range_matcher",
    "string_matcher",
]

Predicate = Callable[[bytes], bool]
QueryPredicate = Callable[[dict[bytes, bytes]], bool]
"""Gets the first value of each query parameter, as `parse_query` returns them."""


@dataclass(frozen=True, slots=True)
class HeaderPredicate:
    """Whether a header matches. `name` is the only one that it looks at."""

    name: bytes
    matches: Callable[[HeaderMap], bool]

    def __call__(self, headers: HeaderMap) -> bool:
        return self.matches(headers)


_DIGITS: Final = frozenset(b"0123456789")
_INT64: Final = 1 << 63


def header_name(name: str) -> bytes:
    """The name under which a HeaderMap holds this header: lower case, `host` is `:authority`."""
    lowered = name.lower().encode()
    return b":authority" if lowered == b"host" else lowered


def string_matcher(kind: str, value: str | Regex, *, ignore_case: bool = False) -> Predicate:
    """Compile a StringMatcher; `kind` is its field name, ValueError for one that is not known.

    `value` is a compiled `Regex` for `safe_regex`, a str for `exact prefix suffix contains`.
    `ignore_case` folds ASCII only, and is ignored by `safe_regex`: both as Envoy.
    """
    if isinstance(value, Regex):
        if kind != "safe_regex":
            raise ValueError(f"{kind} takes a string, not a regex")
        return value.fullmatch
    wanted = value.encode()
    if ignore_case:
        return _ignoring_case(kind, wanted.lower())
    match kind:
        case "exact":
            return wanted.__eq__
        case "prefix":
            return lambda text: text.startswith(wanted)
        case "suffix":
            return lambda text: text.endswith(wanted)
        case "contains":
            return lambda text: wanted in text
    raise ValueError(f"{kind} is not a kind of string matcher")


def _ignoring_case(kind: str, wanted: bytes) -> Predicate:
    match kind:
        case "exact":
            return lambda text: text.lower() == wanted
        case "prefix":
            return lambda text: text.lower().startswith(wanted)
        case "suffix":
            return lambda text: text.lower().endswith(wanted)
        case "contains":
            return lambda text: wanted in text.lower()
    raise ValueError(f"{kind} is not a kind of string matcher")


def range_matcher(start: int, end: int) -> Predicate:
    """Compile an Int64Range: a decimal integer in `[start, end)`; anything else does not match."""

    def matches(text: bytes) -> bool:
        number = parse_int64(text)
        return number is not None and start <= number < end

    return matches


def parse_integer(text: bytes) -> int | None:
    """A decimal integer as `absl::SimpleAtoi` takes it: a sign and blanks around are allowed."""
    stripped = text.strip(b" \t")
    digits = stripped[1:] if stripped[:1] in (b"-", b"+") else stripped
    # The check keeps int() linear, and away from underscores and blanks inside.
    if not digits or len(digits) > 32 or not _DIGITS.issuperset(digits):
        return None
    return int(stripped)


def parse_int64(text: bytes) -> int | None:
    """`parse_integer` within 64 bits, else None."""
    number = parse_integer(text)
    return number if number is not None and -_INT64 <= number < _INT64 else None


def header_matcher(
    name: str,
    match: Predicate | None = None,
    *,
    present_match: bool = True,
    invert_match: bool = False,
    treat_missing_header_as_empty: bool = False,
) -> HeaderPredicate:
    """Compile a HeaderMatcher on the header `name`: one of its values matches.

    `match` is None for `present_match` and for a matcher without a specifier. The deprecated
    `exact_match`, `prefix_match`, … are `string_matcher("exact", …)`; `range_match` is
    `range_matcher`. A missing header makes a `match` false even with `invert_match`. The headers
    of REQUEST_INLINE_HEADERS have one value, joined with commas.
    """
    key = header_name(name)
    if match is None:
        wanted = present_match != invert_match
        if treat_missing_header_as_empty:  # then it is always there
            return HeaderPredicate(key, lambda headers: wanted)
        return HeaderPredicate(key, lambda headers: (key in headers) == wanted)
    inline = key in REQUEST_INLINE_HEADERS

    def matches(headers: HeaderMap) -> bool:
        values = [value for each, value in headers.pairs if each == key]
        if not values:
            if not treat_missing_header_as_empty:
                return False
            values = [b""]
        elif len(values) > 1 and inline:
            values = [b",".join(values)]
        return any(map(match, values)) != invert_match

    return HeaderPredicate(key, matches)


def query_parameter_matcher(
    name: str, match: Predicate | None = None, *, present_match: bool = True
) -> QueryPredicate:
    """Compile a QueryParameterMatcher: the first value of `name` matches, or it is (not) there."""
    key = name.encode()
    if match is None:
        return lambda query: (key in query) == present_match

    def matches(query: dict[bytes, bytes]) -> bool:
        value = query.get(key)
        return value is not None and match(value)

    return matches


def parse_query(path: bytes) -> dict[bytes, bytes]:
    """The first value of each query parameter of a `:path`, not percent-decoded, as in Envoy."""
    query: dict[bytes, bytes] = {}
    start = path.find(b"?")
    if start >= 0:
        for field in path[start + 1 :].split(b"&"):
            name, _, value = field.partition(b"=")
            query.setdefault(name, value)
    return query
