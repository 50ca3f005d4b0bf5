"""Which host function answers which import of a module.

Owns the decision: hostcall, WASI, small run-time helpers, capability restriction, unknown imports.
Refuses to know what the functions do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from meshproxy.proxy_wasm.abi import (
    ERRNO_FAULT,
    ERRNO_NOTCAPABLE,
    HOSTCALLS,
    INTERNAL_FAILURE,
    UNIMPLEMENTED,
    WASI,
    WASI_MODULES,
)
from meshproxy.proxy_wasm.hostcalls import Hostcalls
from meshproxy.proxy_wasm.memory import Memory
from meshproxy.proxy_wasm.trace import traced_import
from meshproxy.proxy_wasm.wasi import Wasi
from meshproxy.wasm.instance import Instance
from meshproxy.wasm.signatures import Import, type_text

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.vm import Vm

LOGGER: Final = logging.getLogger("meshproxy.wasm")

HELPERS: Final = {
    "emscripten_notify_memory_growth": ("i32",),
    "pthread_equal": ("i32", "i32"),
    "abort": ("i32", "i32", "i32", "i32"),
}


# Who answers an import.
HOSTCALL: Final = "hostcall"
WASI_FUNCTION: Final = "WASI"
HELPER: Final = "helper"
UNKNOWN: Final = "unknown"


def answered_by(item: Import, *, strict: bool = False) -> str:
    """Who answers an import; UNKNOWN is answered with 12, and refused where that is `strict`.

    LookupError with the reason where the module cannot be loaded for it.
    """
    if item.module == "env":
        if item.name in HOSTCALLS:
            check_type(item, HOSTCALLS[item.name].types)
            return HOSTCALL
        if item.name in HELPERS:
            check_type(item, HELPERS[item.name])
            return HELPER
        if item.name.startswith("proxy_") and not strict:
            return UNKNOWN
    elif item.module in WASI_MODULES and item.name in WASI:
        check_type(item, WASI[item.name])
        return WASI_FUNCTION
    raise LookupError(f"Failed to load Wasm module due to a missing import: {item}")


class Linking:
    """The host side of one VM. The functions need its memory, which `attach` brings."""

    def __init__(self, vm: Vm, module: str) -> None:
        self._module = module
        self._allowed = vm.plugin.allowed_capabilities
        self._strict_imports = vm.plugin.vm.strict_imports
        self._hostcalls = Hostcalls(vm)
        self._wasi = Wasi(vm)
        self._prefix = vm.plugin.log_prefix
        self._trace = vm.trace
        self._core = vm.core

    def attach(self, instance: Instance, memory: Memory) -> None:
        """The instance exists: hostcalls may be called from here on."""
        self._hostcalls.memory = memory
        self._wasi.memory = Memory(instance.gate, instance.memory, ERRNO_FAULT)

    def resolve(self, item: Import) -> Callable[..., int]:
        """The host function for an import; LookupError with the reason where there is none."""
        name = f"{item.module}.{item.name}"
        return traced_import(self._trace, name, self._find(item), returns=bool(item.results))

    def _find(self, item: Import) -> Callable[..., int]:
        kind = answered_by(item, strict=self._strict_imports)
        if kind == HOSTCALL:
            return self._hostcall(item.name)
        if kind == UNKNOWN:
            return self._unknown(item)
        if kind == WASI_FUNCTION and self._forbids(item.name):
            return self._restricted(item.name, ERRNO_NOTCAPABLE)
        function: Callable[..., int] = getattr(self._wasi, item.name)
        return function

    def _hostcall(self, name: str) -> Callable[..., int]:
        if self._forbids(name):
            return self._restricted(name, INTERNAL_FAILURE)
        function: Callable[..., int] = getattr(self._hostcalls, name)
        return function if self._core is None else self._core.guard(name, function)

    def _forbids(self, name: str) -> bool:
        return self._allowed is not None and name not in self._allowed

    def _restricted(self, name: str, status: int) -> Callable[..., int]:
        prefix = self._prefix

        def restricted(*_: int) -> int:
            LOGGER.error(
                "wasm log%s: Attempted call to restricted proxy-wasm capability: %s", prefix, name
            )
            return status

        return restricted

    def _unknown(self, item: Import) -> Callable[..., int]:
        """A function that does nothing, and says so the first time."""
        warning = f"{item} is unknown, it answers {UNIMPLEMENTED}"
        pending = [f"wasm log{self._prefix}: {self._module}: {warning}"]

        def unknown(*_: int) -> int:
            if pending:
                LOGGER.warning("%s", pending.pop())
            return UNIMPLEMENTED

        return unknown


def check_type(item: Import, parameters: tuple[str, ...]) -> None:
    """LookupError unless an import has these parameters; the guest may ignore the status."""
    if item.parameters != parameters or item.results not in (("i32",), ()):
        raise LookupError(
            f"Failed to load Wasm module due to a bad import: {item}, "
            f"want {type_text(parameters, ('i32',))}"
        )
