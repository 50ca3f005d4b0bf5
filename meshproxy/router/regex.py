"""RE2 on bytes: the one door to `google-re2`.

Owns the engine's options and its rewrite syntax. Refuses to know what a pattern is matched against.

Patterns are bytes under RE2's Latin-1 encoding, so every byte of a header is a character: in UTF-8
mode an invalid sequence matches nothing, and a negated matcher fails open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import re2

Match = Callable[[object, bytes, int, int], list[tuple[int, int]]]

_FULL: Final = re2._re2.RE2.Anchor.ANCHOR_BOTH
_ANYWHERE: Final = re2._re2.RE2.Anchor.UNANCHORED
_NOWHERE: Final = (-1, -1)


class RegexError(ValueError):
    """A pattern or a rewrite that RE2 refuses; `column` counts its characters from 1."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.column = column


def _options() -> re2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    return options


class Regex:
    """A compiled pattern. `pattern` is its text."""

    __slots__ = ("_groups", "fullmatch", "match", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        # hot: the engine's own object matches in 0.5 us, the public `re2.fullmatch` in 1.5 us.
        compiled = re2._re2.RE2(pattern.encode(), _options())
        if not compiled.ok():
            raise _error(pattern, compiled.error().decode())
        self._groups = int(compiled.NumberOfCapturingGroups())
        self.match: Match = compiled.Match
        match = self.match

        def fullmatch(text: bytes) -> bool:
            """Whether the whole of `text` matches."""
            found: bool = match(_FULL, text, 0, len(text))[0] != _NOWHERE
            return found

        self.fullmatch = fullmatch

    def search(self, text: bytes) -> bool:
        """Whether some part of `text` matches."""
        return self.match(_ANYWHERE, text, 0, len(text))[0] != _NOWHERE

    def groups(self) -> int:
        """The number of capturing groups, the whole match not counted."""
        return self._groups

    def __repr__(self) -> str:
        return f"Regex({self.pattern!r})"


def compile_regex(pattern: str) -> Regex:
    """Compile `pattern` (RE2 syntax; its UTF-8 bytes are matched). RegexError with the column."""
    return Regex(pattern)


def _error(pattern: str, text: str) -> RegexError:
    """RE2 names the part it stumbled over; find that part's place in the pattern."""
    kind, _, part = text.partition(": ")
    if kind in ("missing )", "unexpected )"):
        at = _unbalanced(pattern)
    else:
        at = pattern.find(part) if part else len(pattern) - 1
    return RegexError(text, max(at, 0) + 1)


def _unbalanced(pattern: str) -> int:
    """The index of the first `)` without a `(`, else of the last `(` that is not closed."""
    opened: list[int] = []
    in_class = False
    index = 0
    while index < len(pattern):
        char = pattern[index]
        if char == "\\":
            index += 1
        elif in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
            # A ] that comes first in a class is a member of it.
            skip = 2 if pattern[index + 1 : index + 2] == "^" else 1
            index += skip if pattern[index + skip : index + skip + 1] == "]" else 0
        elif char == "(":
            opened.append(index)
        elif char == ")":
            if not opened:
                return index
            opened.pop()
        index += 1
    return opened[-1] if opened else 0


def compile_substitution(regex: Regex, substitution: str) -> Callable[[bytes], bytes]:
    """A function that replaces every match of `regex` in a text, as `RE2::GlobalReplace` does.

    In `substitution`, `\\0` is the match, `\\1` to `\\9` its groups, `\\\\` a backslash. RegexError
    for any other escape and for a group that the pattern does not have.
    """
    parts = _parse_substitution(regex, substitution)
    match = regex.match

    def replace(text: bytes) -> bytes:
        out: list[bytes] = []
        at, end, last = 0, len(text), -1
        while at <= end:
            spans = match(_ANYWHERE, text, at, end)
            start, stop = spans[0]
            if start < 0:
                break
            out.append(text[at:start])
            if start == stop == last:  # no empty match right after a match
                out.append(text[start : start + 1])
                at = start + 1
                continue
            for part in parts:
                if type(part) is int:
                    first, after = spans[part]
                    out.append(text[first:after] if first >= 0 else b"")
                else:
                    out.append(part)  # type: ignore[arg-type]
            at = last = stop
        out.append(text[at:])
        return b"".join(out)

    return replace


def _parse_substitution(regex: Regex, substitution: str) -> tuple[bytes | int, ...]:
    parts: list[bytes | int] = []
    index = 0
    while index < len(substitution):
        slash = substitution.find("\\", index)
        if slash < 0:
            slash = len(substitution)
        if slash > index:
            parts.append(substitution[index:slash].encode())
        index = slash + 2
        escaped = substitution[slash + 1 : index]
        if escaped == "\\":
            parts.append(b"\\")
        elif escaped.isdecimal() and escaped.isascii():
            if int(escaped) > regex.groups():
                message = f"group \\{escaped} is not one of the {regex.groups()} of the pattern"
                raise RegexError(message, slash + 1)
            parts.append(int(escaped))
        elif slash < len(substitution):
            raise RegexError("a backslash is followed by a digit or a backslash", slash + 1)
    return tuple(parts)
