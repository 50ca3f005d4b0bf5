"""Trees of nodes to Envoy's protobuf messages.

Owns the walk that fills a message and says of every part where it stands. Refuses to know which
values are allowed (`validate.py`) and which are supported (`support.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from meshproxy.config import type_names, values
from meshproxy.config.document import At, Spot
from meshproxy.config.nodes import Mapping, Node, Scalar, Sequence
from meshproxy.config.problems import Mark, Problems, is_secret, nearest
from meshproxy.errors import Code

BOOTSTRAP: Final = "envoy.config.bootstrap.v3.Bootstrap"

_WRAPPERS: Final = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
)
# Types whose JSON form is not an object of their fields; inside of an Any it is under `value`.
_SPECIAL: Final = _WRAPPERS | {
    f"google.protobuf.{name}"
    for name in ("Any", "Duration", "FieldMask", "ListValue", "Struct", "Timestamp", "Value")
}
_TYPED_STRUCTS: Final = frozenset({"xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"})


def to_protos(root: Mapping, problems: Problems, type_name: str = BOOTSTRAP) -> At:
    """The message of a document. What does not fit is left out and noted."""
    message_class = type_names.find_type(type_name)
    assert message_class is not None
    at = At(message_class(), Spot(root.mark))
    Walker(problems).fill(at, root)
    return at


class Walker:
    """Fills messages from nodes, and notes each part that does not fit, with its place."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def fill(self, at: At, node: Node, skip: str | None = None) -> None:
        """Fill a message from a mapping of its fields; `skip` is a key that is not a field."""
        if not isinstance(node, Mapping):
            self._misfit(at, node, f"the fields of {at.message.DESCRIPTOR.name}")
            return
        descriptor = at.message.DESCRIPTOR
        fields = _fields(descriptor)
        chosen: dict[str, str] = {}  # oneof to the field that was given for it
        for key, (mark, value) in node.entries.items():
            if key == skip:
                continue
            field = fields.get(key)
            if field is None:
                self._unknown(at, key, mark)
                continue
            if isinstance(value, Scalar) and value.value is None and not _takes_null(field):
                continue
            spot = Spot(value.mark)
            given = at.spot.children.get(field.name)
            if given is not None and not given.bad:
                self._note(
                    At(None, spot, at, f".{field.name}"),
                    Code.DUPLICATE_KEY,
                    f"'{key}' gives the field '{field.name}' a second time",
                )
                continue
            at.spot.children[field.name] = spot
            oneof = field.containing_oneof
            if oneof is not None and chosen.setdefault(oneof.name, field.name) != field.name:
                first = chosen[oneof.name]
                message = f"'{field.name}' and '{first}' cannot both be set ({oneof.name})"
                self._note(At(None, spot, at, f".{field.name}"), Code.ONEOF_TWICE, message)
                continue
            self._field(at, field, value)

    def _field(self, at: At, field: FieldDescriptor, node: Node) -> None:
        if not field.is_repeated:
            self._single(at, field, node)
            return
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            self._map(at, field, node)
            return
        # Envoy takes a single value for a list of one.
        items = node.items if isinstance(node, Sequence) else [node]
        list_spot = at.spot.children[field.name]
        spots = list_spot.children
        target = getattr(at.message, field.name)
        for item in items:
            # Indices count what was taken, so that they stay those of the message.
            index = len(target)
            spot = spots[index] = Spot(item.mark)
            if entry is not None:
                here = At(target.add(), spot, at, f".{field.name}[{index}]")
                if isinstance(item, Scalar) and item.value is None and not _takes_null(field):
                    self._misfit(here, item, "an element")
                else:
                    self.message(here, item)
            else:
                value = self._scalar(At(None, spot, at, f".{field.name}[{index}]"), field, item)
                if value is not None:
                    target.append(value)
            list_spot.bad = list_spot.bad or spot.bad

    def _single(self, at: At, field: FieldDescriptor, node: Node) -> None:
        spot = at.spot.children[field.name]
        if field.message_type is not None:
            submessage = getattr(at.message, field.name)
            submessage.SetInParent()
            self.message(At(submessage, spot, at, f".{field.name}"), node)
            return
        value = self._scalar(At(None, spot, at, f".{field.name}"), field, node)
        if value is not None:
            setattr(at.message, field.name, value)

    def _map(self, at: At, field: FieldDescriptor, node: Node) -> None:
        if not isinstance(node, Mapping):
            here = At(None, at.spot.children[field.name], at, f".{field.name}")
            self._misfit(here, node, "a mapping")
            return
        assert field.message_type is not None
        key_field = field.message_type.fields_by_name["key"]
        value_field = field.message_type.fields_by_name["value"]
        target = getattr(at.message, field.name)
        spots = at.spot.children[field.name].children
        for text, (mark, value) in node.entries.items():
            here = At(None, Spot(mark), at, f'.{field.name}["{text}"]')
            key = self._scalar(here, key_field, Scalar(mark, text, text))
            if key is None:
                continue
            here.spot.mark = value.mark
            spots[text] = here.spot
            if value_field.message_type is not None:
                here.message = target[key]
                self.message(here, value)
            else:
                scalar = self._scalar(here, value_field, value)
                if scalar is not None:
                    target[key] = scalar

    def _scalar(self, at: At, field: FieldDescriptor, node: Node) -> Any:
        """The value of a scalar field, or None with the reason noted."""
        try:
            if not isinstance(node, Scalar):
                raise values.BadValue(_found(node), "a single value", wrong_type=True)
            return values.read(field, node)
        except values.BadValue as bad:
            secret = is_secret(field.name) and isinstance(node, Scalar)
            self._note(
                at,
                Code.WRONG_TYPE if bad.wrong_type else Code.BAD_VALUE,
                "the value does not fit" if secret else bad.message,
                expected=bad.expected,
                suggestion="" if secret else bad.suggestion,
            )
            return None

    def message(self, at: At, node: Node) -> None:
        """Fill a message that may be one of those with a JSON form of their own."""
        name = at.type_name
        if name == "google.protobuf.Any":
            self._any(at, node)
        elif name == "google.protobuf.Struct" or name == "google.protobuf.ListValue":
            self._struct(at, node, Mapping if name.endswith("Struct") else Sequence)
        elif name == "google.protobuf.Value":
            _set_value(at.message, node)
        elif name in _WRAPPERS and not isinstance(node, Mapping):
            value = self._scalar(at, at.message.DESCRIPTOR.fields_by_name["value"], node)
            if value is not None:
                at.message.value = value
        elif name in _TEXT_FORMS and isinstance(node, Sequence):
            self._misfit(at, node, "a single value")
        elif name in _TEXT_FORMS and isinstance(node, Scalar):
            try:
                _TEXT_FORMS[name](at.message, node)
            except values.BadValue as bad:
                self._note(
                    at,
                    Code.WRONG_TYPE if bad.wrong_type else Code.BAD_VALUE,
                    bad.message,
                    expected=bad.expected,
                    suggestion=bad.suggestion,
                )
        else:
            self.fill(at, node)

    def _struct(self, at: At, node: Node, shape: type[Node]) -> None:
        if isinstance(node, shape):
            _SHAPES[shape](at.message, node)
        else:
            self._misfit(at, node, "a mapping" if shape is Mapping else "a list")

    def _any(self, at: At, node: Node) -> None:
        if not isinstance(node, Mapping):
            self._misfit(at, node, "a mapping with '@type'")
            return
        if not node.entries:
            return  # an empty Any, which is an error in almost every place: `support.py` knows
        url_entry = node.entries.get("@type")
        if url_entry is None:
            near = nearest("@type", node.entries)
            message = f"'@type' is missing; found '{near}'" if near else "'@type' is missing"
            self._note(at, Code.TYPE_MISSING, message, expected='"@type": type.googleapis.com/…')
            return
        url_node = url_entry[1]
        at.spot.children["@type"] = Spot(url_node.mark)
        url = url_node.value if isinstance(url_node, Scalar) else None
        message = self._new_message(at, url)
        if message is None:
            at.spot.bad = True
            return
        inside = At(message, at.spot, at)
        name = message.DESCRIPTOR.full_name
        if name in _SPECIAL:
            entry = node.entries.get("value")
            if entry is not None:
                self.message(inside, entry[1])
        else:
            self.fill(inside, node, skip="@type")
        at.message.type_url = url
        at.message.value = message.SerializeToString(deterministic=True)
        at.spot.unpacked = (message, at.spot, "")
        if name in _TYPED_STRUCTS:
            self._typed_struct(at, message, node)

    def _typed_struct(self, at: At, typed_struct: Any, node: Mapping) -> None:
        """A TypedStruct stands for the message its `type_url` names, given as JSON in `value`."""
        message_class = type_names.find_type(typed_struct.type_url.rpartition("/")[2])
        entry = node.entries.get("value")
        if message_class is None or not isinstance(entry[1] if entry else None, Mapping):
            return
        assert entry is not None
        inside = At(message_class(), Spot(entry[1].mark), at, ".value")
        self.message(inside, entry[1])
        at.spot.unpacked = (inside.message, inside.spot, ".value")

    def _new_message(self, at: At, url: Any) -> Any:
        """An empty message of the type that `@type` names, or None with the reason noted."""
        here = At(None, at.spot.children["@type"], at, ".@type")
        host, slash, name = url.rpartition("/") if isinstance(url, str) else ("", "", "")
        if not (host and slash and name):
            suggestion = f"type.googleapis.com/{url}" if type_names.find_type(str(url)) else ""
            self._note(
                here,
                Code.BAD_VALUE,
                f"'{url}' is not a type URL",
                expected="type.googleapis.com/ and the name of a message",
                suggestion=suggestion,
            )
            return None
        message_class = None if type_names.is_removed(name) else type_names.find_type(name)
        if message_class is None:
            code, message, suggestion = type_names.explain(name)
            self._note(here, code, message, suggestion=suggestion)
            return None
        return message_class()

    def _unknown(self, at: At, key: str, mark: Mark) -> None:
        if self._problems.full:
            return
        removed = type_names.REMOVED_FIELDS.get((at.type_name, key))
        here = At(None, Spot(mark), at)
        if removed is not None:
            self._note(here, Code.REMOVED, f"the field '{key}' was removed from Envoy; {removed}")
            return
        message = f"unknown field '{key}' in {at.message.DESCRIPTOR.name}"
        if key == "<<":
            message = "YAML merge keys ('<<') are not read, as in Envoy"
        known = nearest(key, _fields(at.message.DESCRIPTOR))
        if known:
            at.spot.children.setdefault(known, Spot(mark, bad=True))
        self._note(here, Code.UNKNOWN_FIELD, message, suggestion=known)

    def _misfit(self, at: At, node: Node, expected: str) -> None:
        self._note(at, Code.WRONG_TYPE, _found(node), expected=expected)

    def _note(
        self, at: At, code: Code, message: str, *, expected: str = "", suggestion: str = ""
    ) -> None:
        at.spot.bad = True
        at.error(self._problems, code, message, expected=expected, suggestion=suggestion)


@cache
def _fields(descriptor: Descriptor) -> dict[str, FieldDescriptor]:
    """The fields of a message by their names, in snake_case and in camelCase."""
    return {
        name: field for field in descriptor.fields for name in (field.json_name, field.name) if name
    }


def _takes_null(field: FieldDescriptor) -> bool:
    return (
        field.message_type is not None and field.message_type.full_name == "google.protobuf.Value"
    )


def _found(node: Node) -> str:
    if isinstance(node, Scalar):
        return f"found {values.describe(node)}"
    return "found a list" if isinstance(node, Sequence) else "found a mapping"


def _set_value(message: Any, node: Node) -> None:
    """Fill a google.protobuf.Value."""
    if isinstance(node, Mapping):
        message.struct_value.SetInParent()
        _set_struct(message.struct_value, node)
    elif isinstance(node, Sequence):
        message.list_value.SetInParent()
        _set_list(message.list_value, node)
    elif isinstance(node, Scalar):
        value = node.value
        if value is None:
            message.null_value = 0
        elif isinstance(value, bool):
            message.bool_value = value
        elif isinstance(value, str):
            message.string_value = value
        else:
            message.number_value = value


def _set_struct(message: Any, node: Mapping) -> None:
    for key, (_, value) in node.entries.items():
        _set_value(message.fields[key], value)


def _set_list(message: Any, node: Sequence) -> None:
    for item in node.items:
        _set_value(message.values.add(), item)


def _set_duration(message: Any, node: Scalar) -> None:
    message.seconds, message.nanos = values.read_duration(node)


def _set_from_json(message: Any, node: Scalar) -> None:
    try:
        message.FromJsonString(values.read_string(node))
    except ValueError as error:
        name = message.DESCRIPTOR.name
        raise values.BadValue(f"{values.describe(node)}: {error}", f"a {name}") from None


_SHAPES: Final[dict[type[Node], Callable[[Any, Any], None]]] = {
    Mapping: _set_struct,
    Sequence: _set_list,
}
_TEXT_FORMS: Final[dict[str, Callable[[Any, Scalar], None]]] = {
    "google.protobuf.Duration": _set_duration,
    "google.protobuf.Timestamp": _set_from_json,
    "google.protobuf.FieldMask": _set_from_json,
}
