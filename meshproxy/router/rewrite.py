"""Rewriting `:path` and `:authority`, and the Location of a redirect.

Owns the arithmetic on strings. Refuses to know which route asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshproxy.http.header_map import HeaderMap
    from meshproxy.router.regex import Regex

PathRewrite = Callable[[bytes], bytes]
"""Gets the whole `:path`, query included, and returns the new one."""


class RegexRewrite:
    """A RegexMatchAndSubstitute; RegexError where `substitution` is not one for `pattern`."""

    __slots__ = ("pattern", "substitution")

    def __init__(self, pattern: Regex, substitution: str) -> None:
        self.pattern = pattern
        self.substitution = substitution.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRewrite:
    """The host rewrite of a RouteAction; at most one of the first three is set."""

    host_rewrite_literal: str = ""
    host_rewrite_header: str = ""
    host_rewrite_path_regex: RegexRewrite | None = None
    append_x_forwarded_host: bool = False


Rewrite = Callable[["HeaderMap"], None]
