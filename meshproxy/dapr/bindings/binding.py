"""The contracts of bindings, in and out; a component may fulfil both. Knows none, and no API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from meshproxy.dapr.component import Component, ComponentError

INPUT_BINDING: Final = "INPUT_BINDING"
OUTPUT_BINDING: Final = "OUTPUT_BINDING"


@dataclass(frozen=True, slots=True)
class BindingData:
    """What goes into or comes out of a binding."""

    data: bytes = b""
    metadata: Mapping[str, str] = field(default_factory=dict)
    content_type: str = ""


class Answered(ComponentError):
    """The other side has answered, and its answer is a failure; `metadata` say more of it."""

    def __init__(self, text: str, metadata: Mapping[str, str]) -> None:
        super().__init__(text)
        self.metadata: Final = metadata


def metadata_headers(metadata: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that tell an answer's metadata to the app, in either protocol."""
    return tuple(
        (
            f"metadata.{name}".lower().encode("latin-1", "replace"),
            value.encode("latin-1", "replace"),
        )
        for name, value in metadata.items()
        if value.isprintable()
    )


EventHandler = Callable[[BindingData], Awaitable[bytes]]
"""Takes an event and returns the app's answer; raises ComponentError where the app refuses it."""

Stop = Callable[[], Awaitable[None]]
"""Ends the reading: no event is taken any more; returns when its handlers have ended."""


class OutputBinding(Component, Protocol):
    """A binding that is invoked. Raises ComponentError."""

    operations: tuple[str, ...]

    async def invoke(self, operation: str, request: BindingData) -> BindingData | None:
        """Do one of `operations`; None where it has no answer, which is not an empty one."""


class InputBinding(Component, Protocol):
    """A binding that has events. Raises ComponentError."""

    async def read(self, handler: EventHandler) -> Stop:
        """Begin to deliver events; returns at once, with what ends it."""
