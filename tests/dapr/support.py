"""Components that do as they are told, and the running of coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, ClassVar

from meshproxy.dapr.component import (
    ComponentContext,
    ComponentError,
    ComponentSpec,
    Identity,
    Metadata,
    MetadataItem,
)
from meshproxy.dapr.registry import Registry
from meshproxy.dapr.runtime import Runtime, Settings

APP = Identity("app", "")


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


def component(
    name: str, type_name: str, metadata: Mapping[str, str] | None = None, **more: Any
) -> ComponentSpec:
    items = tuple(MetadataItem(key, value) for key, value in (metadata or {}).items())
    return ComponentSpec(name, type_name, metadata=items, **more)


def runtime(specs: Iterable[ComponentSpec], **settings: Any) -> Runtime:
    return Runtime(APP, specs, Settings(**settings))


class Scripted:
    """Fails as often as it is told, and writes down what happens to it."""

    events: ClassVar[list[str]] = []
    failures: ClassVar[dict[str, int]] = {}
    hang: ClassVar[set[str]] = set()

    def __init__(self, context: ComponentContext) -> None:
        self.name = context.name
        self.metadata: Metadata | None = None
        self.events.append(f"{self.name} made")

    async def init(self, metadata: Metadata) -> None:
        self.events.append(f"{self.name} init")
        if self.name in self.hang:
            await asyncio.Event().wait()
        if self.failures.get(self.name, 0) > 0:
            self.failures[self.name] -= 1
            raise ComponentError("missing connection string")
        self.metadata = metadata

    async def close(self) -> None:
        self.events.append(f"{self.name} close")

    async def get_secret(self, name: str, metadata: Mapping[str, str]) -> Mapping[str, str]:
        return {"user": "alice", "pass": "secret"}


class FakeRegistry(Registry):
    """Knows one class under every type."""

    def constructor(self, type_name: str, version: str) -> Any:
        if type_name.endswith(".unknown"):
            return super().constructor(type_name, version)
        return Scripted
