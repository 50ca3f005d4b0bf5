"""JSON to events with positions.

Owns the grammar of RFC 8259, read strictly and without recursion, so that depth costs nothing.
Refuses to know what a document is about; `nodes.py` builds the tree and holds the limits.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final, TypeAlias

from meshproxy.config.problems import Mark, Source

START_MAP: Final = 0
START_LIST: Final = 1
SCALAR: Final = 2
END: Final = 3

Event: TypeAlias = tuple[int, Mark, str, bool | int | float | str | None]

_TOKEN: Final = re.compile(
    r"""[ \t\r\n]*(?:
      (?P<punctuation>[][{},:])
    | (?P<string>"(?:[^"\\\x00-\x1f]|\\.)*")
    | (?P<number>-?(?:0|[1-9][0-9]*)(?P<fraction>\.[0-9]+)?(?P<exponent>[eE][+-]?[0-9]+)?)
      (?![\w.+-])
    | (?P<word>true|false|null)(?!\w)
    | (?P<end>\Z))""",
    re.VERBOSE,
)
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_WORDS: Final = {"true": True, "false": False, "null": None}
# What may stand next: after what was read, the punctuation or value that continues the document.
_VALUE, _KEY, _KEY_OR_END, _VALUE_OR_END, _COLON, _COMMA_OR_END, _NOTHING = range(7)
_EXPECTED: Final = (
    "a value",
    "a key in double quotes",
    "a key in double quotes or '}'",
    "a value or ']'",
    "':'",
    "',' or the end of the collection",
    "the end of the document",
)
_TAKES_VALUE: Final = (_VALUE, _VALUE_OR_END)
_TAKES_KEY: Final = (_KEY, _KEY_OR_END)
_TAKES_END: Final = (_KEY_OR_END, _VALUE_OR_END, _COMMA_OR_END)


class JsonError(Exception):
    """The text is not JSON; says where and what was expected."""

    def __init__(self, mark: Mark, message: str) -> None:
        super().__init__(message)
        self.mark = mark
        self.message = message


def parse(source: Source) -> Iterator[Event]:
    """The events of a JSON document: starts and ends of collections, keys and values as scalars."""
    text = source.text
    newlines = [m.start() for m in re.finditer("\n", text)]

    def mark(position: int) -> Mark:
        line = bisect_right(newlines, position - 1)
        return Mark(source, line + 1, position - (newlines[line - 1] if line else -1))

    closers: list[str] = []  # the bracket that closes each open collection
    state = _VALUE
    position = 0
    while True:
        match = _TOKEN.match(text, position)
        begin = _SPACE.match(text, position).end()  # type: ignore[union-attr]  # matches the empty text
        if match is None:
            raise JsonError(mark(begin), f"not valid JSON; expected {_EXPECTED[state]}")
        position = match.end()
        lexeme = text[begin:position]
        if lexeme in ("{", "[") and state in _TAKES_VALUE:
            closers.append("}" if lexeme == "{" else "]")
            yield (START_MAP if lexeme == "{" else START_LIST), mark(begin), "", None
            state = _KEY_OR_END if lexeme == "{" else _VALUE_OR_END
        elif (
            closers
            and lexeme == closers[-1]
            and state in (_KEY_OR_END, _VALUE_OR_END, _COMMA_OR_END)
        ):
            closers.pop()
            yield END, mark(begin), "", None
            state = _COMMA_OR_END if closers else _NOTHING
        elif lexeme == "," and state == _COMMA_OR_END:
            state = _KEY if closers[-1] == "}" else _VALUE
        elif lexeme == ":" and state == _COLON:
            state = _VALUE
        elif match["string"] is not None and state in _TAKES_KEY:
            yield SCALAR, mark(begin), *_string(lexeme, mark(begin))
            state = _COLON
        elif state in _TAKES_VALUE and (match["string"] or match["number"] or match["word"]):
            yield _value(match, lexeme, mark(begin))
            state = _COMMA_OR_END if closers else _NOTHING
        elif match["end"] is not None and state == _NOTHING:
            return
        else:
            found = f"found '{lexeme[:20]}'" if lexeme else "the document ends"
            raise JsonError(mark(begin), f"{found}; expected {_EXPECTED[state]}")


def _string(lexeme: str, mark: Mark) -> tuple[str, str]:
    try:
        text: str = json.loads(lexeme)
        text.encode()
    except ValueError as error:  # a bad escape, or half of a surrogate pair
        raise JsonError(mark, f"not a valid string: {error}") from None
    return text, text


def _value(match: re.Match[str], lexeme: str, mark: Mark) -> Event:
    if match["string"]:
        return SCALAR, mark, *_string(lexeme, mark)
    if match["word"]:
        return SCALAR, mark, lexeme, _WORDS[lexeme]
    if match["fraction"] or match["exponent"]:
        return SCALAR, mark, lexeme, float(lexeme)
    # Nobody needs more digits than 64 bits have, and reading a million of them takes a minute.
    return SCALAR, mark, lexeme, int(lexeme) if len(lexeme) < 40 else float(lexeme)
