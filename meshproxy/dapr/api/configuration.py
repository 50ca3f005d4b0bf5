"""Configuration: read it, and have the app told of changes. Knows no protocol."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.configuration.configuration_store import Items, Unsubscribe, UpdateHandler
from meshproxy.dapr.resiliency import CONFIGURATION
from meshproxy.dapr.sidecar import Sidecar

if TYPE_CHECKING:
    from meshproxy.dapr.configuration.configuration_store import ConfigurationStore


UNSUBSCRIBE: Final = "ERR_CONFIGURATION_UNSUBSCRIBE"


@dataclass(slots=True)
class _Watch:
    """A subscription: how it is ended, and whether it is."""

    end: Unsubscribe
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class ConfigurationApi:
    """GetConfiguration, SubscribeConfiguration and UnsubscribeConfiguration."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        self._subscriptions: dict[str, _Watch] = {}

    async def get(self, store: str, keys: Sequence[str], metadata: Mapping[str, str]) -> Items:
        """The items of these keys, or of all where none is named."""
        found = self._find(store)
        try:
            policy = self._sidecar.resiliency.outbound(store, CONFIGURATION)
            return await policy.run(lambda: found.get(keys, metadata))
        except ComponentError as error:
            named = " ".join(keys)
            text = f"failed to get [{named}] from Configuration store {store}: {error}"
            raise ApiError("ERR_CONFIGURATION_GET", text) from error

    async def subscribe(
        self,
        store: str,
        keys: Sequence[str],
        metadata: Mapping[str, str],
        handler: Callable[[str], UpdateHandler],
    ) -> str:
        """Returns the subscription's id, which `handler` is made with."""
        found = self._find(store)
        name = str(uuid.uuid4())
        try:
            policy = self._sidecar.resiliency.outbound(store, CONFIGURATION)
            end = await policy.run(lambda: found.subscribe(keys, metadata, handler(name)))
        except ComponentError as error:
            named = " ".join(keys)
            text = f"failed to subscribe [{named}] from Configuration store {store}: {error}"
            code = "ERR_CONFIGURATION_SUBSCRIBE"
            raise ApiError(code, text, 500, Grpc.INVALID_ARGUMENT) from error
        self._subscriptions[name] = _Watch(end)
        return name

    async def until_ended(self, name: str) -> None:
        """Return when the subscription has ended, by its id or with the sidecar."""
        watch = self._subscriptions.get(name)
        if watch is not None:
            await watch.ended.wait()

    def require(self, store: str) -> None:
        """Raises ApiError where the store is not there."""
        self._find(store)

    async def unsubscribe(self, name: str) -> None:
        """End a subscription by its id."""
        watch = self._subscriptions.pop(name, None)
        if watch is None:
            reason = f"subscription with id {name} does not exist"
            text = f"failed to unsubscribe to configuration request {name}: {reason}"
            raise ApiError(UNSUBSCRIBE, text)
        watch.ended.set()
        await watch.end()

    def close(self) -> None:
        """The sidecar ends: nobody waits for a change any more."""
        for watch in self._subscriptions.values():
            watch.ended.set()

    def _find(self, name: str) -> ConfigurationStore:
        runtime = self._sidecar.runtime
        found = runtime.find("configuration", name)
        if found is not None:
            return cast("ConfigurationStore", found)
        if not runtime.ready("configuration"):
            code, text = (
                "ERR_CONFIGURATION_STORE_NOT_CONFIGURED",
                "configuration stores not configured",
            )
            raise ApiError(code, text, 500, Grpc.FAILED_PRECONDITION)
        text = f"configuration store {name} not found"
        raise ApiError("ERR_CONFIGURATION_STORE_NOT_FOUND", text, 400, Grpc.INVALID_ARGUMENT)
