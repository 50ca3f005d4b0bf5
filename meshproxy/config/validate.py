"""The check of a message and of all that is in it against the rules of its protos.

Owns the walk and the words of the errors. Refuses to know what a rule means (`rules.py`), what is
supported (`support.py`), and what names refer to (the builders).
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from meshproxy.config import rules
from meshproxy.config.document import At
from meshproxy.config.problems import Problems, is_secret
from meshproxy.errors import Code

_SHOWN: Final = 40


def check_rules(at: At, problems: Problems) -> None:
    """Note every rule that the message, or a message inside of it, breaks."""
    if at.spot.bad and not at.spot.children:
        return
    message_rules = rules.of_message(at.message.DESCRIPTOR)
    for name, choices in message_rules.required_oneofs:
        if at.message.WhichOneof(name) is None and not _any_bad(at, choices):
            text = f"one of {_choices(choices)} is required"
            at.error(problems, Code.REQUIRED, text)
    skipped = set()
    for field, field_rules in message_rules.fields:
        if field_rules.skip:
            skipped.add(field.name)
        _check_field(at, field, field_rules, problems)
    for field, _ in at.message.ListFields():
        if field.message_type is not None and field.name not in skipped:
            _descend(at, field, problems)


def _check_field(
    at: At, field: FieldDescriptor, field_rules: rules.FieldRules, problems: Problems
) -> None:
    name = field.name
    if _any_bad(at, (name,)):
        return
    if field.has_presence and not at.message.HasField(name):
        if field_rules.required and field.containing_oneof is None:
            at.error(problems, Code.REQUIRED, f"the field '{name}' is required", name)
        return
    value = getattr(at.message, name)
    if field_rules.value is not None:
        shown = value.value if _is_wrapper(field) else value
        _report(at, field, field_rules.value(shown), problems, (name,), shown)
    if field_rules.keys is None and field_rules.items is None:
        return
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        for key in value:
            if field_rules.keys is not None:
                _report(at, field, field_rules.keys(key), problems, (name, key), key)
            if field_rules.items is not None:
                _report(at, field, field_rules.items(value[key]), problems, (name, key), value[key])
    elif field_rules.items is not None:
        for index, item in enumerate(value):
            _report(at, field, field_rules.items(item), problems, (name, index), item)


def _report(
    at: At,
    field: FieldDescriptor,
    wrong: str,
    problems: Problems,
    labels: tuple[Any, ...],
    value: Any,
) -> None:
    """Note a broken rule with the value, if it is one that can be shown in a line."""
    if not wrong:
        return
    if isinstance(value, bool | int | float) and field.enum_type is None:
        wrong += f", is {str(value).lower()}"
    elif isinstance(value, str) and 0 < len(value) <= _SHOWN and not is_secret(field.name):
        wrong += f", is {value!r}"
    present = labels[0] in at.spot.children
    text = wrong if present else f"'{labels[0]}' {wrong}"
    at.error(problems, Code.RULE, text, *(labels if present else ()))


def _descend(at: At, field: FieldDescriptor, problems: Problems) -> None:
    assert field.message_type is not None
    if field.message_type.GetOptions().map_entry:
        if field.message_type.fields_by_name["value"].message_type is not None:
            for _, inside in at.each(field.name):
                _check_inside(inside, problems)
    elif field.is_repeated:
        for inside in at.many(field.name):
            _check_inside(inside, problems)
    else:
        one = at.one(field.name)
        assert one is not None
        _check_inside(one, problems)


def _check_inside(at: At, problems: Problems) -> None:
    name = at.type_name
    if name == "google.protobuf.Any":
        packed = at.unpacked()
        if packed is not None:
            _check_inside(packed, problems)
    elif name == "google.protobuf.Duration":
        if at.message.seconds < 0 or at.message.nanos < 0:
            at.error(problems, Code.RULE, "a duration must not be negative")
    elif not name.startswith("google.protobuf."):
        check_rules(at, problems)


def _any_bad(at: At, names: tuple[str, ...]) -> bool:
    """Whether an error of one of these fields is noted already."""
    return any(name in at.spot.children and at.spot.children[name].bad for name in names)


def _choices(names: tuple[str, ...]) -> str:
    shown = [f"'{name}'" for name in names]
    return ", ".join(shown) if len(shown) <= 12 else ", ".join(shown[:12]) + ", …"


def _is_wrapper(field: FieldDescriptor) -> bool:
    if field.message_type is None or field.is_repeated:
        return False
    name: str = field.message_type.full_name
    return name.startswith("google.protobuf.") and name.endswith("Value") and name.count(".") == 2
