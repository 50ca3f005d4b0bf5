"""The contract of a configuration store. Knows no store and no API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from meshproxy.dapr.component import Component


@dataclass(frozen=True, slots=True)
class ConfigurationItem:
    """The value of one key."""

    value: str
    version: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


Items = Mapping[str, ConfigurationItem]
UpdateHandler = Callable[[Items], Awaitable[None]]
"""Takes what has changed; a key that was removed comes with an empty item."""
Unsubscribe = Callable[[], Awaitable[None]]


class ConfigurationStore(Component, Protocol):
    """A configuration store. Every method raises ComponentError."""

    async def get(self, keys: Sequence[str], metadata: Mapping[str, str]) -> Items:
        """The items of these keys, or of all where none is named; what is not there is left out."""

    async def subscribe(
        self, keys: Sequence[str], metadata: Mapping[str, str], handler: UpdateHandler
    ) -> Unsubscribe:
        """Tell `handler` of every change of these keys (of all, where none is named)."""
