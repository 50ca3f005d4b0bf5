"""The rules in Envoy's protos (protoc-gen-validate), compiled to functions.

Owns the meaning of every kind of rule that Envoy's protos use; a kind without a meaning here is a
crash at the first look at the message, never a rule passed over. Refuses to know where a value is.

A check takes a value and returns what is wrong with it in words, or an empty string.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from validate import validate_pb2

Check: TypeAlias = Callable[[Any], str]

_NO_CONTROL: Final = re.compile("[^\x00\n\r]*")
_HEADER_NAME: Final = re.compile(r":?[0-9a-zA-Z!#$%&'*+\-.^_|~`]+")
_HEADER_VALUE: Final = re.compile("[^\x00-\x08\n-\x1f\x7f]*")
_NUMBERS: Final = frozenset(
    {"float", "double", "fixed32", "fixed64", "sfixed32", "sfixed64"}
    | {"int32", "int64", "uint32", "uint64", "sint32", "sint64"}
)


class FieldRules(NamedTuple):
    """What is asked of one field."""

    required: bool  # a message that must be there
    skip: bool  # the message inside is not looked at
    value: Check | None  # of the field as a whole
    items: Check | None  # of each element, or of each value of a map
    keys: Check | None  # of each key of a map


class MessageRules(NamedTuple):
    """What is asked of a message."""

    fields: tuple[tuple[FieldDescriptor, FieldRules], ...]
    required_oneofs: tuple[tuple[str, tuple[str, ...]], ...]  # name, and the fields to choose from


@cache
def of_message(descriptor: Descriptor) -> MessageRules:
    """The rules of a message type."""
    options = descriptor.GetOptions()
    if options.Extensions[validate_pb2.disabled] or options.Extensions[validate_pb2.ignored]:
        return MessageRules((), ())
    fields = [(field, _of_field(field)) for field in descriptor.fields]
    oneofs = [
        (oneof.name, tuple(field.name for field in oneof.fields))
        for oneof in descriptor.oneofs
        if oneof.GetOptions().Extensions[validate_pb2.required]
    ]
    return MessageRules(
        tuple((field, rules) for field, rules in fields if rules is not None), tuple(oneofs)
    )


def _of_field(field: FieldDescriptor) -> FieldRules | None:
    options = field.GetOptions()
    if not options.HasExtension(validate_pb2.rules):
        return None
    rules = options.Extensions[validate_pb2.rules]
    kind = rules.WhichOneof("type")
    rule: Any = getattr(rules, kind) if kind else None
    items = keys = None
    if kind == "repeated":
        items = _check_of(rule.items, field.enum_type)
    elif kind == "map":
        assert field.message_type is not None
        by_name = field.message_type.fields_by_name
        keys = _check_of(rule.keys, by_name["key"].enum_type)
        items = _check_of(rule.values, by_name["value"].enum_type)
    required = rules.message.required or (
        kind in {"any", "duration", "timestamp"} and rule.required
    )
    value = _check_of(rules, field.enum_type)
    return FieldRules(required, rules.message.skip, value, items, keys)


def _check_of(rules: Any, enum: Any) -> Check | None:
    """The check for a `FieldRules` message of validate.proto."""
    kind = rules.WhichOneof("type")
    if kind is None:
        return None
    rule = getattr(rules, kind)
    if kind in _NUMBERS:
        checks = _comparisons(rule, lambda value: value, str)
    elif kind == "duration":
        checks = _comparisons(rule, _nanoseconds, _duration_text)
    elif kind == "enum":
        checks = _enum(rule, enum)
    else:
        checks = _KINDS[kind](rule)
    given = {field.name for field, _ in rule.ListFields()} - _HANDLED[kind]
    if given:
        raise NotImplementedError(f"the rules {given} of {kind} have no meaning here")
    check = _all(list(checks))
    if check is not None and "ignore_empty" in _HANDLED[kind] and rule.ignore_empty:
        return _unless_empty(check)
    return check


def _all(checks: list[Check]) -> Check | None:
    if len(checks) <= 1:
        return checks[0] if checks else None
    return lambda value: next(filter(None, [check(value) for check in checks]), "")


def _unless_empty(check: Check) -> Check:
    return lambda value: check(value) if value else ""


def _must(holds: Callable[[Any], bool], words: str) -> Check:
    return lambda value: "" if holds(value) else words


def _comparisons(
    rule: Any, convert: Callable[[Any], Any], show: Callable[[Any], str]
) -> Iterable[Check]:
    """const, lt, lte, gt, gte, in, not_in of a number or duration."""

    def bound(name: str) -> Any:
        return convert(getattr(rule, name)) if rule.HasField(name) else None

    if (const := bound("const")) is not None:
        yield _must(lambda v: convert(v) == const, f"must be {show(const)}")
    if (limit := bound("lt")) is not None:
        yield _must(lambda v: convert(v) < limit, f"must be < {show(limit)}")
    if (most := bound("lte")) is not None:
        yield _must(lambda v: convert(v) <= most, f"must be <= {show(most)}")
    if (floor := bound("gt")) is not None:
        yield _must(lambda v: convert(v) > floor, f"must be > {show(floor)}")
    if (least := bound("gte")) is not None:
        yield _must(lambda v: convert(v) >= least, f"must be >= {show(least)}")
    yield from _membership(rule)


def _membership(rule: Any, show: Callable[[Any], str] = str) -> Iterable[Check]:
    allowed: Collection[Any] = tuple(getattr(rule, "in"))
    refused: Collection[Any] = tuple(rule.not_in)
    if allowed:
        words = "must be one of " + ", ".join(map(show, allowed))
        yield _must(lambda v: v in allowed, words)
    if refused:
        words = "must not be " + " or ".join(map(show, refused))
        yield _must(lambda v: v not in refused, words)


def _enum(rule: Any, enum: Any) -> Iterable[Check]:
    names = enum.values_by_number

    def show(number: int) -> str:
        return names[number].name if number in names else str(number)

    if rule.HasField("const"):
        yield _must(lambda v: v == rule.const, f"must be {show(rule.const)}")
    if rule.defined_only:
        yield _must(lambda v: v in names, "must be one of the values of " + enum.name)
    yield from _membership(rule, show)


def _bool(rule: Any) -> Iterable[Check]:
    if rule.HasField("const"):
        yield _must(lambda v: v is rule.const, f"must be {str(rule.const).lower()}")


def _lengths(rule: Any, least: str, most: str, unit: str, measure: Callable[[Any], int]) -> Any:
    if rule.HasField(least):
        low = getattr(rule, least)
        words = "must not be empty" if low == 1 else f"must have at least {low} {unit}"
        yield _must(lambda v: measure(v) >= low, words)
    if rule.HasField(most):
        high = getattr(rule, most)
        yield _must(lambda v: measure(v) <= high, f"must have at most {high} {unit}")


def _string(rule: Any) -> Iterable[Check]:
    yield from _lengths(rule, "min_len", "max_len", "characters", len)
    yield from _lengths(rule, "min_bytes", "max_bytes", "bytes", lambda v: len(v.encode()))
    if rule.HasField("pattern"):
        pattern = re.compile(rule.pattern)
        yield _must(lambda v: pattern.fullmatch(v) is not None, f"must match {rule.pattern}")
    if rule.HasField("prefix"):
        yield _must(lambda v: v.startswith(rule.prefix), f"must begin with '{rule.prefix}'")
    if rule.HasField("suffix"):
        yield _must(lambda v: v.endswith(rule.suffix), f"must end with '{rule.suffix}'")
    known = rule.well_known_regex
    if known and not rule.strict:
        words = "must not contain NUL, CR or LF"
        yield _must(lambda v: _NO_CONTROL.fullmatch(v) is not None, words)
    elif known == validate_pb2.HTTP_HEADER_NAME:
        yield _must(lambda v: _HEADER_NAME.fullmatch(v) is not None, "must be a header name")
    elif known:
        yield _must(lambda v: _HEADER_VALUE.fullmatch(v) is not None, "must be a header value")
    yield from _membership(rule)


def _bytes(rule: Any) -> Iterable[Check]:
    yield from _lengths(rule, "min_len", "max_len", "bytes", len)


def _repeated(rule: Any) -> Iterable[Check]:
    yield from _lengths(rule, "min_items", "max_items", "elements", len)
    if rule.unique:
        yield _must(lambda v: len(set(v)) == len(v), "must not hold an element twice")


def _map(rule: Any) -> Iterable[Check]:
    yield from _lengths(rule, "min_pairs", "max_pairs", "entries", len)


def _nothing(rule: Any) -> Iterable[Check]:
    return ()


def _nanoseconds(duration: Any) -> int:
    nanoseconds: int = duration.seconds * 1_000_000_000 + duration.nanos
    return nanoseconds


def _duration_text(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e9:g}s"


_KINDS: Final[dict[str, Callable[[Any], Iterable[Check]]]] = {
    "bool": _bool,
    "string": _string,
    "bytes": _bytes,
    "repeated": _repeated,
    "map": _map,
    "any": _nothing,
    "timestamp": _nothing,
}
_COMPARED: Final = frozenset({"const", "lt", "lte", "gt", "gte", "in", "not_in"})
_HANDLED: Final[dict[str, frozenset[str]]] = {
    **dict.fromkeys(_NUMBERS, _COMPARED),
    "duration": frozenset({"required", "const", "lt", "lte", "gt", "gte"}),
    "enum": frozenset({"const", "defined_only", "in", "not_in"}),
    "bool": frozenset({"const"}),
    "string": frozenset(
        {"min_len", "max_len", "min_bytes", "max_bytes", "pattern", "prefix", "suffix", "in"}
        | {"not_in", "well_known_regex", "strict", "ignore_empty"}
    ),
    "bytes": frozenset({"min_len", "max_len"}),
    "repeated": frozenset({"min_items", "max_items", "unique", "items", "ignore_empty"}),
    "map": frozenset({"min_pairs", "max_pairs", "keys", "values", "ignore_empty"}),
    "any": frozenset({"required"}),
    "timestamp": frozenset({"required"}),
}
