"""What is seen of a sidecar, in a form that can be compared; knows no process."""

import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, Final

from tests.parity_daprd.differences import (
    DIFFERENCES,
    IGNORED_HEADERS,
    IGNORED_VALUES,
    TEXTS,
    UNCLAIMED,
)

_VOLATILE: Final = (
    (re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"), "<trace>"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (
        re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"),
        "<time>",
    ),
)


def masked(value: Any) -> Any:
    """The same value, with ids, traces and times by their kind."""
    if isinstance(value, str):
        for pattern, word in _VOLATILE:
            value = pattern.sub(word, value)
        return value
    if isinstance(value, Mapping):
        return {masked(key): masked(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [masked(each) for each in value]
    return value


def read_body(body: bytes) -> Any:
    """A JSON value where it is one, else text, else Latin-1 text."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("latin-1")


def read_headers(
    headers: Iterable[tuple[str, str]], ignored: Container[str] = ()
) -> dict[str, list[str]]:
    """Values by the name in lower case, without those that are not compared."""
    read: dict[str, list[str]] = {}
    for name, value in headers:
        if (
            name.lower() not in IGNORED_HEADERS
            and name.lower() not in ignored
            and value not in IGNORED_VALUES
        ):
            read.setdefault(name.lower(), []).append(value)
    return read


def differences(expected: Any, measured: Any, place: str = "") -> Iterator[str]:
    """One line for each place where two values differ: `place: expected, not measured`."""
    if isinstance(expected, dict) and isinstance(measured, dict):
        for key in [*expected, *(key for key in measured if key not in expected)]:
            one, other = expected.get(key, "<nothing>"), measured.get(key, "<nothing>")
            if other == "<nothing>" and isinstance(one, list) and one and not claimed(one):
                continue
            yield from differences(one, other, f"{place}.{key}")
    elif isinstance(expected, list) and isinstance(measured, list):
        expected = claimed(expected)
        if len(expected) == len(measured):
            for index, (one, other) in enumerate(zip(expected, measured, strict=True)):
                yield from differences(one, other, f"{place}[{index}]")
        else:
            yield f"{place}: {expected!r}, not {measured!r}"
    elif (expected != measured or type(expected) is not type(measured)) and not (
        _other_words(expected, measured)
    ):
        yield f"{place}: {expected!r}, not {measured!r}"


def claimed(values: list[Any]) -> list[Any]:
    """Without the words that daprd alone has."""
    return [each for each in values if not (isinstance(each, str) and each in UNCLAIMED)]


def _other_words(expected: Any, measured: Any) -> bool:
    """Whether the list lets ours say this in its own words."""
    return (isinstance(expected, str) and isinstance(measured, str)) and any(
        re.fullmatch(theirs, expected) and re.fullmatch(ours, measured) for theirs, ours, _ in TEXTS
    )


def compared(name: str, expected: Any, measured: Any) -> list[str]:
    """Where daprd's value and meshproxy's differ, but for what the list forgives this name."""
    found = list(differences(masked(expected), masked(measured)))
    forgiven = DIFFERENCES.get(name)
    if forgiven is not None:
        if not found:
            return [f"{name}: no longer differs, strike it off the list"]
        found = [each for each in found if not re.match(forgiven.places, each)]
    return [f"{name}: {each}" for each in found]
