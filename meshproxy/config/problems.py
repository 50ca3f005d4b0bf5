"""The documents being read, and the list of what is wrong with them.

Owns the way from a mark in a text to a `Place`, the blanking of secrets in quoted lines, and the
search for the nearest known name. Refuses to know which rules there are.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

from meshproxy.errors import Code, ConfigError, ErrorKind, Place

MAX_FOUND: Final = 1000
_EXCERPT_LENGTH: Final = 160
_SENSITIVE: Final = (
    "password|passwd|secret|token|api_?key|private_key|credential|authorization"
    "|inline_string|inline_bytes"
)
_SENSITIVE_NAME: Final = re.compile(_SENSITIVE, re.IGNORECASE)
_SENSITIVE_KEY: Final = re.compile(
    # Where a secret lies is none: its file, or its place in a store of secrets.
    rf"""^(.*?(?:{_SENSITIVE})(?!_?(?:key_?ref|store)\b)[\w-]*["']?\s*:\s*)"""
    r"""(?!\{\s*["']?filename["']?\s*:)(\S.*)$""",
    re.IGNORECASE,
)
# A field of the Envoy API whose inline text is a template.
_TEMPLATES: Final = re.compile(r"\.text_format_source\.inline_string$")
# A line of a key in PEM or base64 has no blank and no punctuation of YAML.
_BASE64_LINE: Final = re.compile(r"^\s*[A-Za-z0-9+/_-]{40,}=*\s*$|-----(BEGIN|END) ")


class Source:
    """One document: its name as the user gave it, and its text, for excerpts."""

    __slots__ = ("_lines", "name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._lines: list[str] | None = None

    def place(self, line: int, column: int, path: str = "") -> Place:
        """The place of a 1-based line and column, with its line of text.

        `path`: of the field that is there, where that is known.
        """
        # A mark beyond the part that is quoted would point at nothing.
        excerpt = self.line(line)[:_EXCERPT_LENGTH] if column <= _EXCERPT_LENGTH else ""
        shown = excerpt if _TEMPLATES.search(path) else redact(excerpt)
        return Place(self.name, line, column, shown)

    def line(self, number: int) -> str:
        """A line of the text by its 1-based number, empty if there is none."""
        if self._lines is None:
            self._lines = self.text.split("\n")
        return self._lines[number - 1] if 0 < number <= len(self._lines) else ""


class Mark:
    """A position in a document, kept small: one for each node. Line and column count from 1."""

    __slots__ = ("column", "line", "source")

    def __init__(self, source: Source, line: int, column: int) -> None:
        self.source = source
        self.line = line
        self.column = column

    def place(self, path: str = "") -> Place:
        """The position as a value, with its line of text; `path`: of the field that is there."""
        return self.source.place(self.line, self.column, path)

    def inside(self, text: str, offset: int) -> Mark:
        """The mark of a character of the scalar `text` that begins here.

        It is the scalar's own mark if the document does not spell `text` as it is: with escapes,
        over several lines, through an alias.
        """
        line = self.source.line(self.line)
        start = line.find(text, self.column - 1, self.column + len(text))
        return Mark(self.source, self.line, start + 1 + offset) if start >= 0 else self


class Problems:
    """What was found so far. Every stage adds to one of these, so that all errors come at once.

    All of them up to MAX_FOUND: whoever has more is not helped by more, and each costs time.
    """

    def __init__(self) -> None:
        self.found: list[ConfigError] = []

    @property
    def full(self) -> bool:
        """Whether nothing more is noted."""
        return len(self.found) >= MAX_FOUND

    def add(
        self,
        code: Code,
        message: str,
        mark: Mark | Place,
        path: str = "",
        *,
        expected: str = "",
        suggestion: str = "",
    ) -> None:
        """Note one error."""
        if self.full:
            return
        if len(self.found) == MAX_FOUND - 1:
            code, expected, suggestion = Code.LIMIT, "", ""
            message = "there are more errors than these; they are not shown"
        place = mark.place(path) if isinstance(mark, Mark) else mark
        self.found.append(ConfigError(code, message, place, path, expected, suggestion))

    def split(self, *, allow_unsupported: bool) -> tuple[list[ConfigError], list[ConfigError]]:
        """(errors, warnings), each in document order and without repetitions.

        What is valid and not supported is an error, or a warning if `allow_unsupported`.
        """
        ordered = sorted(
            dict.fromkeys(self.found), key=lambda e: (e.place.file, e.place.line, e.place.column)
        )
        if not allow_unsupported:
            return ordered, []
        errors = [e for e in ordered if e.kind is not ErrorKind.UNSUPPORTED]
        return errors, [e for e in ordered if e.kind is ErrorKind.UNSUPPORTED]


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that `name` was probably meant to be, or an empty string."""
    lowered = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.7)
    return lowered[close[0]] if close else ""


def redact(line: str) -> str:
    """A line of a document that can be shown: values of keys that hold secrets are blanked out."""
    line = line.replace("\t", " ")
    if _BASE64_LINE.search(line):
        return "[redacted]"
    return _SENSITIVE_KEY.sub(r"\1[redacted]", line)


def is_secret(field: str) -> bool:
    """Whether the value of a field of this name is never shown."""
    return _SENSITIVE_NAME.search(field) is not None
