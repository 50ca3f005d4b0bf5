"""What is wrong with a configuration, as values, and the two exceptions that stop a start.

Owns the codes, the place of an error in its document, and the exceptions that carry them to the
command line. Refuses to know how a document is read and how an error is printed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ErrorKind(StrEnum):
    """What sort of mistake it is; the words are part of the JSON output."""

    SYNTAX = "syntax"
    LIMIT = "limit"
    DUPLICATE_KEY = "duplicate_key"
    UNKNOWN_FIELD = "unknown_field"
    WRONG_TYPE = "wrong_type"
    RULE = "rule"
    REFERENCE = "reference"
    UNSUPPORTED = "unsupported"


class Code(StrEnum):
    """Stable names of the errors. A code never gets a second meaning; each group has room."""

    UNREADABLE = "MP0001"
    SYNTAX = "MP0002"
    ENCODING = "MP0003"
    NOT_A_MAPPING = "MP0004"
    TAG = "MP0005"
    LIMIT = "MP0006"
    DUPLICATE_KEY = "MP0007"
    UNKNOWN_FIELD = "MP0010"
    WRONG_TYPE = "MP0011"
    BAD_VALUE = "MP0012"
    ONEOF_TWICE = "MP0013"
    TYPE_MISSING = "MP0014"
    TYPE_UNKNOWN = "MP0015"
    REMOVED = "MP0016"
    RULE = "MP0020"
    REQUIRED = "MP0021"
    EXTENSION_MISPLACED = "MP0022"
    BAD_REGEX = "MP0023"
    BAD_FORMAT = "MP0024"
    INVALID = "MP0025"
    DUPLICATE_NAME = "MP0026"
    UNKNOWN_REFERENCE = "MP0030"
    UNSUPPORTED_FIELD = "MP0040"
    UNSUPPORTED_VALUE = "MP0041"
    UNSUPPORTED_EXTENSION = "MP0042"


KINDS: Final[dict[Code, ErrorKind]] = {
    Code.UNREADABLE: ErrorKind.SYNTAX,
    Code.SYNTAX: ErrorKind.SYNTAX,
    Code.ENCODING: ErrorKind.SYNTAX,
    Code.NOT_A_MAPPING: ErrorKind.SYNTAX,
    Code.TAG: ErrorKind.SYNTAX,
    Code.LIMIT: ErrorKind.LIMIT,
    Code.DUPLICATE_KEY: ErrorKind.DUPLICATE_KEY,
    Code.UNKNOWN_FIELD: ErrorKind.UNKNOWN_FIELD,
    Code.WRONG_TYPE: ErrorKind.WRONG_TYPE,
    Code.BAD_VALUE: ErrorKind.WRONG_TYPE,
    Code.ONEOF_TWICE: ErrorKind.RULE,
    Code.TYPE_MISSING: ErrorKind.RULE,
    Code.TYPE_UNKNOWN: ErrorKind.UNKNOWN_FIELD,
    Code.REMOVED: ErrorKind.UNKNOWN_FIELD,
    Code.RULE: ErrorKind.RULE,
    Code.REQUIRED: ErrorKind.RULE,
    Code.EXTENSION_MISPLACED: ErrorKind.RULE,
    Code.BAD_REGEX: ErrorKind.RULE,
    Code.BAD_FORMAT: ErrorKind.RULE,
    Code.INVALID: ErrorKind.RULE,
    Code.DUPLICATE_NAME: ErrorKind.RULE,
    Code.UNKNOWN_REFERENCE: ErrorKind.REFERENCE,
    Code.UNSUPPORTED_FIELD: ErrorKind.UNSUPPORTED,
    Code.UNSUPPORTED_VALUE: ErrorKind.UNSUPPORTED,
    Code.UNSUPPORTED_EXTENSION: ErrorKind.UNSUPPORTED,
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a document. `line` and `column` count from 1; 0 means the document as a whole.

    `excerpt` is that line of the document with secrets blanked out, or empty.
    """

    file: str
    line: int = 0
    column: int = 0
    excerpt: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class ConfigError:
    """One thing that is wrong: what, where, what was expected, and what was probably meant.

    `path` is the place in words of the configuration, for example
    `static_resources.clusters[0].connect_timeout`. `expected` and `suggestion` may be empty.
    """

    code: Code
    message: str
    place: Place
    path: str = ""
    expected: str = ""
    suggestion: str = ""

    @property
    def kind(self) -> ErrorKind:
        """The sort of mistake, which follows from the code."""
        return KINDS[self.code]

    def __str__(self) -> str:
        text = f"{self.place}: {self.path}: " if self.path else f"{self.place}: "
        text += self.message
        if self.expected:
            text += f"; expected {self.expected}"
        if self.suggestion:
            text += f" (did you mean '{self.suggestion}'?)"
        return text


class ConfigErrors(Exception):
    """A configuration cannot be used. `errors` holds all that was found, in document order."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors: Final = tuple(errors)
        super().__init__("\n".join(map(str, self.errors)))


class StartupError(Exception):
    """The process cannot start for a reason outside of the configuration's text: a port in use."""
