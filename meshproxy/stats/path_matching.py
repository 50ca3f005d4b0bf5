"""`pathMatching`: which of a few patterns a path fits, so that a label has few values.

Owns the patterns, which are those of Go's `http.ServeMux`: `{name}` is one part of a path,
`{name...}` its rest, and a slash at the end stands for everything below. The most exact one counts.

Source: https://pkg.go.dev/net/http#hdr-Patterns-ServeMux.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_PART: Final = re.compile(r"\{(\w+)(\.\.\.)?\}")
_LITERAL, _ONE, _REST = range(3)


class PatternError(ValueError):
    """The text is no pattern of a path."""


class PathMatcher:
    """Some patterns. Raises PatternError for one that is none."""

    def __init__(self, patterns: Iterable[str]) -> None:
        compiled = sorted((_compile(each) for each in patterns), key=lambda one: one[0])
        self._patterns = [(regex, text) for _, regex, text in compiled]

    def match(self, path: str) -> str:
        """The pattern that a path fits, empty where it fits none."""
        for regex, text in self._patterns:
            if regex.fullmatch(path):
                return text
        return ""


def _compile(pattern: str) -> tuple[tuple[int, ...], re.Pattern[str], str]:
    """How exact it is (what sorts first is more so), its regular expression, and itself."""
    if not pattern.startswith("/"):
        raise PatternError(f"'{pattern}' does not begin with a slash")
    ranks: list[int] = []
    regex = ""
    for part in pattern[1:].split("/"):
        found = _PART.fullmatch(part)
        if found is None and ("{" in part or "}" in part):
            raise PatternError(f"'{part}' of '{pattern}' is no name in braces")
        if ranks and ranks[-1] == _REST:
            raise PatternError(f"'{pattern}' goes on after its rest")
        if found is None:
            ranks.append(_LITERAL)
            regex += "/" + re.escape(part)
        else:
            ranks.append(_REST if found[2] else _ONE)
            regex += "/.*" if found[2] else "/[^/]+"
    if pattern.endswith("/"):
        ranks[-1] = _REST
        regex += ".*"
    return tuple(ranks), re.compile(regex), pattern
