"""Every call between host and guest, as it happens: what Envoy prints at `wasm:trace`.

Owns the steps and their text, and the wrapping of functions with them. Refuses to know who listens:
a `Sink` gets the steps of one VM. Where nobody listens nothing is wrapped, and it costs nothing.

A tracer is given with `Services.tracer`. Without one a VM that starts while the log component
`wasm` is at level trace writes its steps to that log, line for line as Envoy does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from meshproxy.wasm.errors import Refused
from meshproxy.wasm.raw_call import Call

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.vm import Vm

LOGGER: Final = logging.getLogger("meshproxy.wasm")
LEVEL: Final = 5

# What a step is: a call of a callback, its return, a hostcall, its return.
HOST_TO_VM: Final = "host->vm"
HOST_FROM_VM: Final = "host<-vm"
VM_TO_HOST: Final = "vm->host"
VM_FROM_HOST: Final = "vm<-host"


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `values`: the arguments of a call; of a return the result, or nothing.

    `name` is an export's (`proxy_on_log`), or an import's with its module (`env.proxy_log`). A call
    that traps has no return.
    """

    kind: str
    name: str
    values: tuple[int, ...]

    def __str__(self) -> str:
        if self.kind in (HOST_TO_VM, VM_TO_HOST):
            return f"[{self.kind}] {self.name}({', '.join(map(str, self.values))})"
        result = self.values[0] if self.values else "void"
        return f"[{self.kind}] {self.name} return: {result}"


Sink = Callable[[Step], None]
"""Told every step of one VM, in order. May read `vm.memory`; must not call into the VM."""

Tracer = Callable[["Vm"], Sink | None]
"""Makes the sink of a VM, before any of its code runs: `vm.memory` comes later. None: nobody is
told, not even the log."""


def sink_of(vm: Vm, tracer: Tracer | None) -> Sink | None:
    """Who is told the steps of a VM that is being made; None where nobody is."""
    if tracer is not None:
        return tracer(vm)
    return log_step if LOGGER.isEnabledFor(LEVEL) else None


def log_step(step: Step) -> None:
    """Write a step as Envoy writes it."""
    LOGGER.log(LEVEL, "%s", step)


def traced_export(sink: Sink | None, name: str, call: Call, *, returns: bool) -> Call:
    """A guest function whose calls are told. `returns`: it has a result by the ABI."""
    if sink is None:
        return call

    def traced(*arguments: int) -> int:
        sink(Step(HOST_TO_VM, name, tuple(map(int, arguments))))
        result = call(*arguments)
        sink(Step(HOST_FROM_VM, name, (result,) if returns else ()))
        return result

    return traced


def traced_import(
    sink: Sink | None, name: str, call: Callable[..., int], *, returns: bool
) -> Callable[..., int]:
    """A host function whose calls are told; a refusal is its result."""
    if sink is None:
        return call

    def traced(*arguments: int) -> int:
        sink(Step(VM_TO_HOST, name, arguments))
        try:
            result = call(*arguments)
        except Refused as refusal:
            sink(Step(VM_FROM_HOST, name, (refusal.status,) if returns else ()))
            raise
        sink(Step(VM_FROM_HOST, name, (result,) if returns else ()))
        return result

    return traced
