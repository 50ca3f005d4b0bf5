"""Whether a component would take its metadata, found out without starting it. Knows no component.

The components judge: each that can reads its metadata here as it does when it starts. What is only
known then, secrets and the environment, is not judged.
"""

from __future__ import annotations

from typing import Final

from meshproxy.config.problems import Problems, nearest
from meshproxy.dapr.common_metadata import check_metadata
from meshproxy.dapr.component import (
    Checkable,
    ComponentContext,
    ComponentError,
    ComponentSpec,
    Identity,
    Metadata,
    MetadataItem,
)
from meshproxy.dapr.components import COMPONENTS
from meshproxy.errors import Code

_APP: Final = Identity("app", "namespace")
_TEMPLATE: Final = "{"
"""Begins what daprd puts in its place when it starts, `{uuid}` for example."""


def note_metadata(spec: ComponentSpec, problems: Problems) -> None:
    """Note every entry that the component would refuse, at its place, and what is missing."""
    unknown = {item.name.lower() for item in spec.metadata if _is_unknown(item)}
    for _ in range(len(spec.metadata) + 1):
        reason = _refusal(spec, unknown)
        if not reason:
            return
        culprit = _culprit(spec, reason)
        if culprit is None:
            _note_whole(spec, reason, problems)
            return
        index, item = culprit
        if item.name.lower() in unknown:
            return  # without it the rest cannot be judged
        path = f"spec.metadata[{index}]"
        problems.add(Code.BAD_VALUE, f"{spec.name}: {reason}", item.place, path)
        unknown.add(item.name.lower())


def _note_whole(spec: ComponentSpec, reason: str, problems: Problems) -> None:
    """Note what is wrong with no entry, but with all of them: often one of them is misspelt."""
    code = Code.REQUIRED if reason.startswith("missing") else Code.BAD_VALUE
    text, words = f"{spec.name}: {reason}", reason.split()
    for index, item in enumerate(spec.metadata):
        near = nearest(item.name, words)
        if near:
            place, path = item.place, f"spec.metadata[{index}].name"
            problems.add(code, f"{text}; found '{item.name}'", place, path, suggestion=near)
            return
    place = spec.metadata[0].place if spec.metadata else spec.place
    problems.add(code, text, place, "spec.metadata")


def _refusal(spec: ComponentSpec, unknown: set[str]) -> str:
    """What the component says of the entries that are known; nothing where it takes them."""
    values = {
        item.name: "" if item.name.lower() in unknown else item.value for item in spec.metadata
    }
    metadata = Metadata(values)
    try:
        check_metadata(spec, metadata, _APP)
        if not COMPONENTS.knows(spec.type, spec.version):
            return ""
        constructor = COMPONENTS.constructor(spec.type, spec.version)
        component = constructor(ComponentContext(spec.name, _APP))
        if isinstance(component, Checkable):
            component.check_metadata(metadata)
    except ComponentError as error:
        return "" if isinstance(error.__cause__, ModuleNotFoundError) else str(error)
    return ""


def _is_unknown(item: MetadataItem) -> bool:
    return item.secret is not None or bool(item.env) or _TEMPLATE in item.value


def _culprit(spec: ComponentSpec, reason: str) -> tuple[int, MetadataItem] | None:
    """The entry that a refusal speaks of: the one whose name stands first in it."""
    words = reason.lower().replace(" ", "")
    found = [
        (words.find(item.name.lower()), -len(item.name), index)
        for index, item in enumerate(spec.metadata)
        if item.name.lower() in words
    ]
    if not found:
        return None
    index = min(found)[2]
    return index, spec.metadata[index]
