"""A binding that is plugged in, in, out or both. Knows no other kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from meshproxy.dapr.bindings.binding import (
    INPUT_BINDING,
    OUTPUT_BINDING,
    BindingData,
    EventHandler,
    Stop,
)
from meshproxy.dapr.component import ComponentContext, ComponentError
from meshproxy.dapr.pluggable.component import Find, PluggableComponent
from meshproxy.dapr.pluggable.messages import message
from meshproxy.dapr.pluggable.process import MessageStream
from meshproxy.dapr.pluggable.pull import Pull

_INPUT: Final = "InputBinding"
_OUTPUT: Final = "OutputBinding"


class PluggableBinding(PluggableComponent):
    """See `InputBinding` and `OutputBinding`."""

    def __init__(self, find: Find, context: ComponentContext) -> None:
        super().__init__(find, context)
        self.operations: tuple[str, ...] = ()

    @property
    def service(self) -> str:  # type: ignore[override]
        """Either is enough."""
        return _OUTPUT if _OUTPUT in self.services else _INPUT

    async def start(self) -> None:
        """Begin with each that the process has."""
        features = set()
        if _INPUT in self.services:
            await self.process.init(_INPUT, self.metadata)
            features.add(INPUT_BINDING)
        if _OUTPUT in self.services:
            await self.process.init(_OUTPUT, self.metadata)
            features.add(OUTPUT_BINDING)
            answer = await self.process.call(
                _OUTPUT, "ListOperations", message("Empty")(), "ListOperationsResponse"
            )
            self.operations = tuple(answer.operations)
        self.features = frozenset(features)

    async def invoke(self, operation: str, request: BindingData) -> BindingData | None:
        """Do an operation."""
        wanted = message("InvokeRequest")(
            data=request.data, metadata=request.metadata, operation=operation
        )
        answer = await self.call(_OUTPUT, "Invoke", wanted, "InvokeResponse")
        return BindingData(answer.data, dict(answer.metadata), answer.content_type)

    async def read(self, handler: EventHandler) -> Stop:
        """Pull events."""
        acknowledge, refused = message("ReadRequest"), message("AckResponseError")
        opened = False

        async def open_stream(take: Callable[[Any], None]) -> MessageStream:
            nonlocal opened
            if opened:
                await self.start()  # the process may be a new one
            opened = True
            return self.process.stream(_INPUT, "Read", "ReadResponse", take)

        async def work(event: Any) -> Any:
            try:
                answer = await handler(
                    BindingData(event.data, dict(event.metadata), event.content_type)
                )
            except ComponentError as error:
                return acknowledge(
                    message_id=event.message_id, response_error=refused(message=str(error))
                )
            return acknowledge(message_id=event.message_id, response_data=answer)

        pull = Pull(f"events of {self.name}", open_stream, work)
        await pull.begin()
        return pull.stop
