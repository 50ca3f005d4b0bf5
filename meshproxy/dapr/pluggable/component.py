"""What every pluggable component does: it is there if its process has it. Knows no kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.pluggable.messages import message
from meshproxy.dapr.pluggable.process import CallError, Process

UNAVAILABLE: Final = 14
"""gRPC's status of a process that cannot be reached."""

Find = Callable[[str], Process]
"""The process of a type, for the component of a name."""


class PluggableComponent:
    """A component over its process. `service` is the one that it cannot do without."""

    service: str

    def __init__(self, find: Find, context: ComponentContext) -> None:
        self.name: Final = context.name
        self.process: Final = find(context.name)
        self.services: frozenset[str] = frozenset()
        self.features: frozenset[str] = frozenset()
        self.metadata: dict[str, str] = {}
        self._lost = False

    async def init(self, metadata: Metadata) -> None:
        """Ask what the process has, and give it the metadata. Raises ComponentError."""
        self.services = await self.process.services()
        if self.service not in self.services:
            has = ", ".join(sorted(self.services)) or "no component"
            raise ComponentError(f"its process has {has}; expected {self.service}")
        self.metadata = dict(metadata)
        await self.start()

    async def start(self) -> None:
        """Begin, also anew with a process that has come back. Raises ComponentError."""
        await self.process.init(self.service, self.metadata)
        answer = await self.process.call(
            self.service, "Features", message("Empty")(), "FeaturesResponse"
        )
        self.features = frozenset(answer.feature)

    async def call(self, service: str, method: str, request: Any, answer: str = "Empty") -> Any:
        """One call; a process that was gone is begun with again before. Raises CallError."""
        if self._lost:
            await self.start()
            self._lost = False
        try:
            return await self.process.call(service, method, request, answer)
        except CallError as error:
            self._lost = error.status == UNAVAILABLE
            raise

    async def close(self) -> None:
        """The process lives on: it is not ours."""
