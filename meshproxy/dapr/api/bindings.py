"""Output bindings: do one operation of one of them. Knows no protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.bindings.binding import OUTPUT_BINDING, BindingData
from meshproxy.dapr.bindings.direction import Direction
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.resiliency import BINDING
from meshproxy.dapr.sidecar import Sidecar

if TYPE_CHECKING:
    from meshproxy.dapr.bindings.binding import OutputBinding

_CODE: Final = "ERR_INVOKE_OUTPUT_BINDING"


class BindingsApi:
    """InvokeBinding."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar

    async def invoke(self, name: str, operation: str, request: BindingData) -> BindingData | None:
        """The answer of an operation, None where it has none."""
        try:
            return await self._invoke(name, operation, request)
        except ComponentError as error:
            text = f"error invoking output binding {name}: {error}"
            raise ApiError(_CODE, text) from error

    def _is_output(self, name: str) -> bool:
        loaded = self._sidecar.runtime.loaded("bindings", name)
        if loaded is None or OUTPUT_BINDING not in getattr(loaded.instance, "features", ()):
            return False
        direction = Direction(loaded.metadata)
        return direction.output or not direction.given

    async def _invoke(self, name: str, operation: str, request: BindingData) -> BindingData | None:
        if not operation:
            raise ComponentError("operation field is missing from request")
        found = self._sidecar.runtime.find("bindings", name)
        if found is None or not self._is_output(name):
            raise ComponentError(f"couldn't find output binding {name}")
        binding = cast("OutputBinding", found)
        if operation not in binding.operations:
            supported = " ".join(binding.operations)
            text = f"binding {name} does not support operation {operation}. supported operations:"
            raise ComponentError(f"{text}{supported}")
        policy = self._sidecar.resiliency.outbound(name, BINDING)
        return await policy.run(lambda: binding.invoke(operation, request))
