"""Messages together with the places they came from.

Owns the tree of marks that runs beside a protobuf message, the cursor that walks both, and the
merge of one document over another. Refuses to know how either came about.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from google.protobuf.message import Message

from meshproxy.config.problems import Mark, Problems
from meshproxy.errors import Code

Label: TypeAlias = str | int


class Spot:
    """The mark of one value, and the spots of its parts: by field name, by index, by map key.

    `bad` says that an error of the value is noted already, so that no rule complains after it.
    """

    __slots__ = ("bad", "children", "mark", "unpacked")

    def __init__(self, mark: Mark, *, bad: bool = False) -> None:
        self.mark = mark
        self.bad = bad
        self.children: dict[Label, Spot] = {}
        # For a google.protobuf.Any whose type is known: its message, and the spot of that.
        self.unpacked: tuple[Message, Spot, str] | None = None


class At:
    """A cursor: a message, its spot, and how to say where it is.

    Reads like the message does (`at.message.connect_timeout`); `one`, `many`, `each` and `unpack`
    step into parts that are messages themselves.
    """

    __slots__ = ("_label", "_parent", "message", "spot")

    def __init__(self, message: Any, spot: Spot, parent: At | None = None, label: str = "") -> None:
        self.message = message
        self.spot = spot
        self._parent = parent
        self._label = label

    @property
    def type_name(self) -> str:
        """The full name of the message's type."""
        name: str = self.message.DESCRIPTOR.full_name
        return name

    def path(self, *labels: Label) -> str:
        """The path of this message, or of a part of it, as it is shown to people."""
        here = self._parent.path() + self._label if self._parent else self._label
        return (here + "".join(map(_step, labels))).removeprefix(".")

    def mark(self, *labels: Label) -> Mark:
        """The mark of a part; if the document does not have the part, of what would contain it."""
        spot = self.spot
        for label in labels:
            child = spot.children.get(label)
            if child is None:
                break
            spot = child
        return spot.mark

    def has(self, field: str) -> bool:
        """Whether a field with presence is set."""
        present: bool = self.message.HasField(field)
        return present

    def one(self, field: str) -> At | None:
        """The message in a singular field, or None if it is not set."""
        if not self.message.HasField(field):
            return None
        return self._step(getattr(self.message, field), (field,))

    def many(self, field: str) -> list[At]:
        """The messages of a repeated field."""
        return [
            self._step(message, (field, index))
            for index, message in enumerate(getattr(self.message, field))
        ]

    def each(self, field: str) -> Iterator[tuple[str, At]]:
        """Keys and messages of a map field, in the order of the document."""
        entries = getattr(self.message, field)
        spot = self.spot.children.get(field, self.spot)
        order = [k for k in spot.children if k in entries] or list(entries)
        for key in order:
            yield str(key), self._step(entries[key], (field, str(key)))

    def unpack(self, field: str) -> At | None:
        """The message inside of an Any field; None if it is not set, or of a type unknown."""
        packed = self.one(field)
        return packed.unpacked() if packed is not None else None

    def unpacked(self) -> At | None:
        """The message inside of this Any."""
        if self.spot.unpacked is None:
            return None
        message, spot, label = self.spot.unpacked
        return At(message, spot, self, label)

    def error(
        self,
        problems: Problems,
        code: Code,
        message: str,
        *labels: Label,
        expected: str = "",
        suggestion: str = "",
    ) -> None:
        """Note an error at this message, or at the part of it that the labels name."""
        problems.add(
            code,
            message,
            self.mark(*labels),
            self.path(*labels),
            expected=expected,
            suggestion=suggestion,
        )

    def error_inside(
        self, problems: Problems, code: Code, message: str, field: str, offset: int
    ) -> None:
        """Note an error at one character of a string field, counted from 0."""
        mark = self.mark(field).inside(getattr(self.message, field), offset)
        problems.add(code, message, mark, self.path(field))

    def _step(self, message: Any, labels: tuple[Label, ...]) -> At:
        spot = self.spot
        for label in labels:
            spot = spot.children.get(label, spot)
        return At(message, spot, self, "".join(map(_step, labels)))


def _step(label: Label) -> str:
    if isinstance(label, int):
        return f"[{label}]"
    return f".{label}" if label.isidentifier() or label == "@type" else f'["{label}"]'


def merge(base: At, over: At) -> None:
    """Merge `over` into `base` as protobuf does: lists grow, messages merge, the rest changes."""
    _merge_spots(base.message, over.message, base.spot, over.spot)
    base.message.MergeFrom(over.message)


def _merge_spots(base: Any, over: Any, base_spot: Spot, over_spot: Spot) -> None:
    for field, _ in over.ListFields():
        mine = base_spot.children.get(field.name)
        theirs = over_spot.children.get(field.name)
        if theirs is None:
            continue
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        if mine is None:
            base_spot.children[field.name] = theirs
        elif is_map:
            mine.children.update(theirs.children)
        elif field.is_repeated:
            offset = len(getattr(base, field.name))
            for index, spot in theirs.children.items():
                assert isinstance(index, int)
                mine.children[offset + index] = spot
        elif field.message_type is None or theirs.unpacked is not None or not mine.children:
            base_spot.children[field.name] = theirs
        else:
            _merge_spots(getattr(base, field.name), getattr(over, field.name), mine, theirs)
