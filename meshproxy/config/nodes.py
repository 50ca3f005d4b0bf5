"""The tree that a document becomes, and the composer that builds it from a parser's events.

Owns the limits on depth and aliases, the refusal of duplicate keys and custom tags, and what plain
scalars mean: as in Envoy (yaml-cpp, then protobuf JSON), not as in YAML 1.1. Refuses to know files,
parsers and the fields of messages.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from meshproxy.config.problems import Mark, Problems
from meshproxy.errors import Code

MAX_DEPTH: Final = 100
MAX_NODES: Final = 1_000_000

_STANDARD_TAG: Final = re.compile(r"tag:yaml\.org,2002:(str|int|float|bool|null|map|seq)")
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS: Final = {
    form: truth
    for truth, words in ((True, ("y", "yes", "true", "on")), (False, ("n", "no", "false", "off")))
    for word in words
    for form in (word, word.upper(), word.capitalize())
}
_INTEGER: Final = re.compile(r"([+-]?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))")
_INT32: Final = range(-(2**31), 2**31)
_INT64: Final = range(-(2**63), 2**63)

TOO_DEEP: Final = f"nested deeper than {MAX_DEPTH} levels"
_TOO_MANY: Final = f"more than {MAX_NODES} nodes, counting what aliases stand for"

ScalarValue: TypeAlias = bool | int | float | str | None


class Node:
    """What every node has: its mark, and its size and height after the expansion of aliases."""

    __slots__ = ("height", "mark", "size")

    def __init__(self, mark: Mark) -> None:
        self.mark = mark
        self.size = 1
        self.height = 0  # levels of collections from here down


class Scalar(Node):
    """A single value. `text` is as written in the document; `value` is what it means to Envoy."""

    __slots__ = ("text", "value")

    def __init__(self, mark: Mark, text: str, value: ScalarValue) -> None:
        super().__init__(mark)
        self.text = text
        self.value = value


class Sequence(Node):
    """A list of nodes."""

    __slots__ = ("items",)

    def __init__(self, mark: Mark) -> None:
        super().__init__(mark)
        self.items: list[Node] = []


class Mapping(Node):
    """Keys with their marks and values, in document order, each key once."""

    __slots__ = ("entries",)

    def __init__(self, mark: Mark) -> None:
        super().__init__(mark)
        self.entries: dict[str, tuple[Mark, Node]] = {}


Plain: TypeAlias = ScalarValue | list["Plain"] | dict[str, "Plain"]


def plain(node: Node) -> Plain:
    """What a tree says, without its places; two that are equal mean the same."""
    if isinstance(node, Mapping):
        return {key: plain(value) for key, (_, value) in node.entries.items()}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    assert isinstance(node, Scalar)
    return node.value


class TreeError(Exception):
    """The document cannot become a tree; says why (`code`, `message`) and where (`mark`)."""

    def __init__(self, code: Code, mark: Mark, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.mark = mark
        self.message = message


class Composer:
    """Builds the tree from a parser's events, and counts what aliases would expand to."""

    def __init__(self, problems: Problems) -> None:
        self.root: Node | None = None
        self._problems = problems
        self._anchors: dict[str, Node] = {}
        self._open: list[Sequence | Mapping] = []
        # For each open mapping the key that waits for its value; None: the next node is a key.
        self._keys: list[tuple[str, Mark, bool] | None] = []
        self._nodes = 0

    def scalar(
        self,
        mark: Mark,
        text: str,
        value: ScalarValue,
        tag: str | None = None,
        anchor: str | None = None,
    ) -> None:
        """Take a scalar, which is a key or a value by where it stands."""
        is_key = self._expects_key()
        self._check_tag(tag, mark, key=is_key)
        node = Scalar(mark, text, value)
        if anchor is not None:
            self._anchors[anchor] = node
        self._count(1, mark)
        if is_key:
            self._key(mark, "null" if value is None else text, ignored=tag == "!ignore")
        else:
            self._attach(node)

    def start(
        self, node: Sequence | Mapping, tag: str | None = None, anchor: str | None = None
    ) -> None:
        """Open a collection; what comes until `end` belongs to it."""
        self._check_tag(tag, node.mark, key=False)
        if anchor is not None:
            self._anchors[anchor] = node
        if self._expects_key():
            raise TreeError(Code.SYNTAX, node.mark, "a key must be a single word")
        if len(self._open) >= MAX_DEPTH:
            raise TreeError(Code.LIMIT, node.mark, TOO_DEEP)
        self._count(1, node.mark)
        self._open.append(node)
        self._keys.append(None)

    def end(self) -> None:
        """Close the innermost collection."""
        node = self._open.pop()
        self._keys.pop()
        if isinstance(node, Mapping):
            children = [value for _, value in node.entries.values()]
        else:
            children = node.items
        node.size = 1 + sum([child.size for child in children])
        node.height = 1 + max([child.height for child in children], default=0)
        self._attach(node)

    def alias(self, mark: Mark, anchor: str) -> None:
        """Take a reference to an earlier node; the node itself is shared, its size is counted."""
        node = self._anchors.get(anchor)
        if node is None:
            self._problems.add(Code.SYNTAX, f"undefined alias '*{anchor}'", mark)
            node = Scalar(mark, "", None)
        elif any(node is parent for parent in self._open):
            raise TreeError(
                Code.LIMIT, mark, f"alias '*{anchor}' refers to a node that contains it"
            )
        elif len(self._open) + node.height > MAX_DEPTH:
            raise TreeError(Code.LIMIT, mark, TOO_DEEP)
        if self._expects_key():
            if not isinstance(node, Scalar):
                raise TreeError(Code.SYNTAX, mark, "a key must be a single word")
            self._key(mark, node.text, ignored=False)
        else:
            self._count(node.size, mark)
            self._attach(node)

    def _check_tag(self, tag: str | None, mark: Mark, *, key: bool) -> None:
        """Envoy ignores the standard tags, and leaves out a field whose key is tagged `!ignore`."""
        if tag is None or tag == "!" or _STANDARD_TAG.fullmatch(tag):
            return
        if tag != "!ignore" or not key:
            self._problems.add(Code.TAG, f"the tag '{tag}' is not supported", mark)

    def _expects_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1], Mapping) and self._keys[-1] is None

    def _key(self, mark: Mark, text: str, *, ignored: bool) -> None:
        mapping = self._open[-1]
        assert isinstance(mapping, Mapping)
        first = mapping.entries.get(text)
        if first is not None and not ignored:
            line = first[0].line
            self._problems.add(
                Code.DUPLICATE_KEY, f"duplicate key '{text}', first given in line {line}", mark
            )
            ignored = True
        self._keys[-1] = (text, mark, ignored)

    def _attach(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
            return
        key = self._keys[-1]
        assert key is not None
        text, mark, ignored = key
        self._keys[-1] = None
        if not ignored:
            parent.entries[text] = (mark, node)

    def _count(self, nodes: int, mark: Mark) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise TreeError(Code.LIMIT, mark, _TOO_MANY)


def plain_value(text: str) -> ScalarValue:
    """What an unquoted YAML scalar means to Envoy: null, bool, an int of 32 bits, or its own text.

    Larger integers become decimal text, as protobuf JSON writes them; fractions stay text, and the
    type of the field decides. So a fraction inside of a `google.protobuf.Struct` is a string.
    """
    if text in _NULLS:
        return None
    truth = _BOOLS.get(text)
    if truth is not None:
        return truth
    match = _INTEGER.fullmatch(text)
    if match is None or len(text) > 24:  # 64 bits in octal take 23 characters
        return text
    sign, hexadecimal, octal, decimal = match.groups()
    number = int(hexadecimal, 16) if hexadecimal else int(octal, 8) if octal else int(decimal)
    number = -number if sign == "-" else number
    if number in _INT32:
        return number
    return str(number) if number in _INT64 else text
