"""What meshproxy supports of Envoy's configuration: THE LIST, and the check against it.

Owns which fields of which messages, which values of which enums and which extensions in which
places have a meaning here. What is not in this list is valid to Envoy and refused by name, as a
kind of error of its own. Refuses to know what the supported fields do.

A message that a listed field leads to must be listed too; a test walks it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from meshproxy.config.document import At
from meshproxy.config.problems import Problems
from meshproxy.config.supported_fields import EMPTY, EXTENSIONS, FIELDS, VALUES
from meshproxy.errors import Code

_FIELDS: Final = {name: frozenset(fields.split()) for name, fields in FIELDS.items()}
_VALUES: Final = {name: frozenset(values.split()) for name, values in VALUES.items()}


def check_support(at: At, problems: Problems, place: str = "") -> None:
    """Note every field, value and extension that is set in a message and not supported.

    `place` is the field that holds the message, as `full.name.of.Message.field`.
    """
    supported = _FIELDS.get(place) or _FIELDS.get(at.type_name)
    for field, value in at.message.ListFields():
        if supported is None or field.name not in supported:
            text = f"the field '{field.name}' of {at.message.DESCRIPTOR.name} is not supported"
            at.error(problems, Code.UNSUPPORTED_FIELD, text, field.name)
        elif field.enum_type is not None:
            _check_value(at, field, value, problems)
        elif field.message_type is not None:
            for inside in _messages(at, field):
                _check_message(inside, field, problems, place)


def _check_message(at: At, field: FieldDescriptor, problems: Problems, around: str) -> None:
    name = at.type_name
    if name == "google.protobuf.Any":
        _check_extension(at, field, problems, around)
    elif not name.startswith("google.protobuf."):
        assert field.containing_type is not None
        check_support(at, problems, f"{field.containing_type.full_name}.{field.name}")


def _check_extension(at: At, field: FieldDescriptor, problems: Problems, around: str) -> None:
    """An Any: its type decides what it is, the name beside it does not."""
    packed = at.unpacked()
    assert field.containing_type is not None
    where = f"{field.containing_type.full_name}.{field.name}"
    if packed is None:
        if not at.spot.bad and where not in EMPTY:
            expected = '"@type": type.googleapis.com/…'
            at.error(problems, Code.TYPE_MISSING, "'@type' is missing", expected=expected)
        return
    place = EXTENSIONS.get(f"{around}.{field.name}") or EXTENSIONS.get(where)
    if place is None:
        return
    kind, types = place
    name = packed.type_name
    if name in types:
        check_support(packed, problems)
        return
    category, _, package = kind.partition(" in ")
    labels = ("@type",) if "@type" in at.spot.children else ()
    if name.startswith(package):
        text = f"the {category} '{name}' is known to Envoy and not supported"
        at.error(problems, Code.UNSUPPORTED_EXTENSION, text, *labels, expected=_one_of(types))
    else:
        article = "an" if category[0] in "aeiouH" else "a"
        text = f"'{name}' is not {article} {category}"
        at.error(problems, Code.EXTENSION_MISPLACED, text, *labels, expected=_one_of(types))


def _one_of(types: tuple[str, ...]) -> str:
    return types[0] if len(types) == 1 else "one of " + ", ".join(types)


def _check_value(at: At, field: FieldDescriptor, value: Any, problems: Problems) -> None:
    supported = _VALUES.get(f"{at.type_name}.{field.name}")
    if supported is None:
        return
    assert field.enum_type is not None
    numbers = enumerate(value) if field.is_repeated else [(None, value)]
    for index, number in numbers:
        known = field.enum_type.values_by_number.get(number)
        if known is None or known.name in supported:
            continue  # a number without a name breaks a rule already
        labels = (field.name,) if index is None else (field.name, index)
        text = f"the value {known.name} of '{field.name}' is not supported"
        expected = "one of " + ", ".join(sorted(supported)) if len(supported) > 1 else ""
        at.error(
            problems, Code.UNSUPPORTED_VALUE, text, *labels, expected=expected or min(supported)
        )


def _messages(at: At, field: FieldDescriptor) -> Iterator[At]:
    assert field.message_type is not None
    if field.message_type.GetOptions().map_entry:
        if field.message_type.fields_by_name["value"].message_type is not None:
            yield from (inside for _, inside in at.each(field.name))
    elif field.is_repeated:
        yield from at.many(field.name)
    else:
        one = at.one(field.name)
        if one is not None:
            yield one


def supported_fields() -> dict[str, tuple[str, ...]]:
    """Every supported field by its message's full name, for documentation."""
    return {name: tuple(sorted(fields)) for name, fields in sorted(_FIELDS.items())}
