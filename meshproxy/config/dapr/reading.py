"""Reads mappings of a resource field by field. Owns the errors; knows no kind of resource.

Every reader notes what is wrong, with its place, and returns a usable value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from meshproxy.config.nodes import Mapping, Node, Scalar, Sequence
from meshproxy.config.problems import Mark, Problems, nearest
from meshproxy.dapr.duration import DurationError, seconds_of
from meshproxy.errors import Code, Place


class Fields:
    """The fields of one mapping, and where it stands; what nobody asked for is noted at `end`."""

    def __init__(self, node: Mapping, path: str, problems: Problems) -> None:
        self.node = node
        self.path = path
        self.problems = problems
        self._asked: set[str] = set()

    @property
    def place(self) -> Place:
        """Where the mapping begins."""
        return self.node.mark.place()

    def place_of(self, name: str) -> Place:
        """Where a field begins; where it is not there, the mapping."""
        entry = self.node.entries.get(name)
        return entry[0].place() if entry is not None else self.place

    def error(
        self, code: Code, message: str, name: str = "", *, expected: str = "", suggestion: str = ""
    ) -> None:
        """Note an error at a field's value, or at the mapping."""
        entry = self.node.entries.get(name)
        mark: Mark = entry[1].mark if entry is not None else self.node.mark
        self.problems.add(
            code, message, mark, self._path(name), expected=expected, suggestion=suggestion
        )

    def _path(self, name: str) -> str:
        return f"{self.path}.{name}".strip(".")

    def get(self, name: str, *, required: bool = False) -> Node | None:
        """The node of a field, None where it is not there or null."""
        self._asked.add(name)
        entry = self.node.entries.get(name)
        node = entry[1] if entry is not None else None
        if node is None or (isinstance(node, Scalar) and node.value is None):
            if required:
                self.error(Code.REQUIRED, f"'{name}' is missing")
            return None
        return node

    def text(self, name: str, default: str = "", *, required: bool = False) -> str:
        """A scalar as text."""
        node = self.get(name, required=required)
        if node is None:
            return default
        if not isinstance(node, Scalar):
            self.error(Code.WRONG_TYPE, "is not a text", name, expected="a single value")
            return default
        text = scalar_text(node)
        if required and not text:
            self.error(Code.REQUIRED, f"'{name}' is empty", name)
        return text

    def boolean(self, name: str, default: bool = False) -> bool:
        """A truth value."""
        node = self.get(name)
        if node is None:
            return default
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        self.error(Code.WRONG_TYPE, "is not a truth value", name, expected="true or false")
        return default

    def integer(self, name: str, default: int = 0, *, minimum: int = 0) -> int:
        """A whole number."""
        node = self.get(name)
        if node is None:
            return default
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, int) and not isinstance(value, bool) and value >= minimum:
            return value
        self.error(Code.WRONG_TYPE, "is not a whole number", name, expected=f"{minimum} or more")
        return default

    def seconds(self, name: str, default: float) -> float:
        """A Go duration, in seconds."""
        text = self.text(name)
        if not text:
            return default
        try:
            return seconds_of(text)
        except DurationError as error:
            self.error(Code.BAD_VALUE, str(error), name)
            return default

    def choice(
        self, name: str, choices: Iterable[str], default: str = "", *, required: bool = False
    ) -> str:
        """One of several words."""
        text = self.text(name, default, required=required)
        known = list(choices)
        if text in known or text == default:
            return text
        self.error(
            Code.BAD_VALUE,
            f"'{text}' is not known",
            name,
            expected=", ".join(known),
            suggestion=nearest(text, known),
        )
        return default

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(
            scalar_text(item) if isinstance(item, Scalar) else self._not_a_text(name, index)
            for index, item in enumerate(self._items(name))
        )

    def _not_a_text(self, name: str, index: int) -> str:
        self.error(Code.WRONG_TYPE, f"item {index} is not a text", name)
        return ""

    def _items(self, name: str) -> list[Node]:
        node = self.get(name)
        if node is None:
            return []
        if isinstance(node, Sequence):
            return node.items
        self.error(Code.WRONG_TYPE, "is not a list", name)
        return []

    def one(self, name: str, *, required: bool = False) -> Fields | None:
        """A field that is a mapping itself."""
        node = self.get(name, required=required)
        if node is None:
            return None
        if isinstance(node, Mapping):
            return Fields(node, self._path(name), self.problems)
        self.error(Code.WRONG_TYPE, "is not a mapping of fields", name)
        return None

    def many(self, name: str) -> list[Fields]:
        """A list of mappings."""
        found = []
        for index, item in enumerate(self._items(name)):
            path = f"{self._path(name)}[{index}]"
            if isinstance(item, Mapping):
                found.append(Fields(item, path, self.problems))
            else:
                text = "is not a mapping of fields"
                self.problems.add(Code.WRONG_TYPE, text, item.mark, path)
        return found

    def entries(self, name: str) -> dict[str, str]:
        """A mapping of free names to texts."""
        inner = self.one(name)
        return {key: inner.text(key) for key in inner.node.entries} if inner is not None else {}

    def named(self, name: str) -> dict[str, Fields]:
        """A mapping of free names to mappings."""
        inner = self.one(name)
        if inner is None:
            return {}
        found = {key: inner.one(key) for key in inner.node.entries}
        return {key: fields for key, fields in found.items() if fields is not None}

    def ignore(self, *names: str) -> None:
        """Fields that say nothing to a sidecar, such as labels."""
        self._asked.update(names)

    def unsupported(self, *names: str) -> None:
        """Fields that Dapr has, and that do nothing here: each that is set is an error."""
        for name in names:
            if self.get(name) is not None:
                self.error(Code.UNSUPPORTED_FIELD, "is not supported", name)

    def end(self) -> None:
        """Note every field that nobody has asked for."""
        for name, (mark, _) in self.node.entries.items():
            if name not in self._asked:
                self.problems.add(
                    Code.UNKNOWN_FIELD,
                    f"'{name}' is no field here",
                    mark,
                    self._path(name),
                    expected=", ".join(sorted(self._asked)),
                    suggestion=nearest(name, self._asked),
                )


Builder = Callable[[Fields], None]
"""Reads one resource and keeps what it made."""


def scalar_text(node: Scalar) -> str:
    """A scalar as Dapr has it: any JSON scalar, turned into text."""
    value = node.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
