"""The input bindings of one app: which are read, from when to when, and what follows an event.

Owns the question to the app, the life with its health and with changing resources, and what the
app's answer asks for. Refuses to know any binding.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, cast

from meshproxy.dapr.api.bindings import BindingsApi
from meshproxy.dapr.api.state import StateApi
from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.app_channel import BindingAnswer, BindingEvent
from meshproxy.dapr.bindings.binding import INPUT_BINDING, BindingData, Stop
from meshproxy.dapr.bindings.direction import Direction
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.resiliency import BINDING
from meshproxy.dapr.runtime import LoadedComponent, State
from meshproxy.dapr.sidecar import Sidecar

if TYPE_CHECKING:
    from meshproxy.dapr.bindings.binding import InputBinding

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

ATTEMPTS: Final = 3
"""At reading, after the first."""
_FIRST_WAIT: Final = 0.5  # seconds
_CREATE: Final = "create"


class InputBindings:
    """Those of one sidecar. An observer of the runtime."""

    def __init__(
        self, sidecar: Sidecar, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        self._sidecar = sidecar
        self._sleep = sleep
        self._bindings = BindingsApi(sidecar)
        self._state = StateApi(sidecar)
        self._lock = asyncio.Lock()
        self._app_is_well = False
        self._reading: dict[str, Stop] = {}
        sidecar.runtime.observers.append(self)

    async def begin(self) -> None:
        """The app is there and well: read every binding that it wants."""
        async with self._lock:
            self._app_is_well = True
            loaded = self._sidecar.runtime.components.values()
            await asyncio.gather(*map(self._read, tuple(loaded)))

    async def end(self) -> None:
        """The app is not well, or the sidecar ends: read nothing more; what runs, ends first."""
        async with self._lock:
            self._app_is_well = False
            stops = list(self._reading.values())
            self._reading.clear()
            await asyncio.gather(*(stop() for stop in stops))

    async def component_ready(self, loaded: LoadedComponent) -> None:
        """Read one that has come late, or come back."""
        async with self._lock:
            await self._read(loaded)

    async def component_closing(self, loaded: LoadedComponent) -> None:
        """Read it no more."""
        async with self._lock:
            stop = self._reading.pop(loaded.spec.name, None)
            if stop is not None:
                await stop()

    # -- parts -------------------------------------------------------------------------------

    async def _read(self, loaded: LoadedComponent) -> None:
        name = loaded.spec.name
        if loaded.spec.category != "bindings" or loaded.state is not State.READY:
            return
        if INPUT_BINDING not in getattr(loaded.instance, "features", ()):
            return
        if not self._app_is_well or name in self._reading or not await self._is_wanted(loaded):
            return
        binding = cast("InputBinding", loaded.instance)
        wait = _FIRST_WAIT
        for attempt in range(ATTEMPTS + 1):
            try:
                self._reading[name] = await binding.read(self._handler(loaded))
            except ComponentError as error:
                logger.error("error reading from input binding %s: %s", name, error)
                if attempt < ATTEMPTS:
                    await self._sleep(wait)
                    wait *= 2
            else:
                logger.info("reading from input binding %s", name)
                return

    async def _is_wanted(self, loaded: LoadedComponent) -> bool:
        """By its metadata `direction`, else by what the app says."""
        channel, name = self._sidecar.channel, loaded.spec.name
        if channel is None:
            return False
        direction = Direction(loaded.metadata)
        if direction.given:
            return direction.input
        limit = self._sidecar.app.binding_options_timeout
        try:
            async with asyncio.timeout(limit):
                wanted = await channel.has_input_binding(name, _route(loaded))
        except TimeoutError:
            text = "the app has not said within %gs whether it takes the events of binding %s"
            logger.error(text, limit, name)
            return False
        except ComponentError as error:
            logger.error("error asking the app for the binding %s: %s", name, error)
            return False
        if not wanted:
            logger.info("app has not subscribed to binding %s.", name)
        return wanted

    def _handler(self, loaded: LoadedComponent) -> Callable[[BindingData], Awaitable[bytes]]:
        channel, name, route = self._sidecar.channel, loaded.spec.name, _route(loaded)
        assert channel is not None

        async def handle(event: BindingData) -> bytes:
            told = BindingEvent(name, route, event.data, event.metadata)
            policy = self._sidecar.resiliency.inbound(name, BINDING)
            answer = await policy.run(lambda: channel.on_binding_event(told))
            await self._do(name, answer)
            return answer.data

        return handle

    # -- what the app's answer asks for: that it fails does not undo the event -------------------

    async def _do(self, name: str, answer: BindingAnswer) -> None:
        """One output binding after the other up to the first that fails, or all at once."""
        if answer.states:
            await self._save(name, answer)
        if answer.parallel:
            await asyncio.gather(*(self._send(name, each, answer.data) for each in answer.to))
            return
        for each in answer.to:
            if not await self._send(name, each, answer.data):
                return

    async def _save(self, name: str, answer: BindingAnswer) -> None:
        try:
            await self._state.save(answer.store, answer.states)
        except ApiError as error:
            logger.error("error saving the state that binding %s has brought: %s", name, error)

    async def _send(self, name: str, other: str, data: bytes) -> bool:
        try:
            await self._bindings.invoke(other, _CREATE, BindingData(data))
        except ApiError as error:
            logger.error("error executing the app's response to binding %s: %s", name, error)
            return False
        return True


def _route(loaded: LoadedComponent) -> str:
    return loaded.metadata.get("route", "") or loaded.spec.name
