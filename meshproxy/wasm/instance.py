"""One guest module with its host functions, in a store of its own.

Owns linking: it finds a host function for every import, builds the shim between them, and looks up
exports once. Refuses to know what the functions mean.

The shim is a small module, generated from the import types. Each of its functions stores its
arguments at offset 0 of the shim's own memory, calls a host function that takes nothing, and
returns the u32 at RESULT. Python reads prepared memory instead of converting C arguments: 0.2 us a
hostcall instead of 0.4, and the name of the hostcall stands in every backtrace.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import wasmtime
from wasmtime import Func, Memory, MemoryType, Module, Store, Trap, WasmtimeError

from meshproxy.wasm.engine import CompiledModule, Engine
from meshproxy.wasm.errors import ModuleError
from meshproxy.wasm.limits import Limits, ticks
from meshproxy.wasm.raw_call import Call, Gate, MemoryWindow, function_type, parse_trap
from meshproxy.wasm.signatures import Import, Signature

if TYPE_CHECKING:
    from wasmtime._exportable import AsExtern

RESULT: Final = 1024
FORMATS: Final = {"i32": "I", "i64": "q"}


Resolver = Callable[[Import], Callable[..., int]]
"""Gives the host function for an import: unsigned ints in (i64 signed), a u32 out.

Raises LookupError with the reason where there is none."""


class Inner(Protocol):
    """Something in the same store that answers some of the guest's imports without leaving Wasm."""

    def wants(self, imports: Sequence[Import]) -> Sequence[Import]:
        """What it wants from the shim itself, for a guest with these imports."""

    def replace(
        self,
        instance: Instance,
        imports: Sequence[Import],
        functions: Sequence[Func],
        own: Sequence[Func],
    ) -> Sequence[Func]:
        """The functions for the guest's imports; `own` are those that it `wants`."""


class Instance:
    """A linked and instantiated module. Its start function is the export START_EXPORT, not run yet.

    Raises ModuleError naming the import, export or limit that does not fit.
    """

    __slots__ = ("_exports", "gate", "memory", "module", "ticker")

    def __init__(
        self,
        engine: Engine,
        module: CompiledModule,
        resolve: Resolver,
        limits: Limits,
        inner: Inner | None = None,
    ) -> None:
        self.module = module
        self.ticker = engine.ticker
        self.ticker.start()
        store = Store(engine.wasmtime)
        store.set_limits(
            memory_size=limits.memory_size,
            memories=limits.memories,
            table_elements=limits.table_elements,
            tables=limits.tables,
        )
        self.gate = Gate(store)
        self.gate.set_deadline(ticks(limits.start_timeout))
        imports = module.function_imports
        extra = inner.wants(imports) if inner is not None else ()
        linked = self._link(engine, [*imports, *extra], resolve)
        functions: Sequence[Func] = linked[: len(imports)]
        if inner is not None:
            functions = inner.replace(self, imports, functions, linked[len(imports) :])
        self._exports = self.instantiate(module.module, functions).exports(store)
        memory = self._exports.get("memory")
        if not isinstance(memory, Memory):
            raise ModuleError(module.name, "exports no memory named 'memory'")
        self.memory = memory

    def function_type(self, name: str) -> Signature | None:
        """Parameter and result types of an exported function, None where there is none."""
        return self.module.function_types.get(name)

    def function(self, name: str) -> Call:
        """The raw call of an exported function; KeyError where there is none."""
        try:
            return self.gate.bind(self.exported(name), self.module.function_types[name])
        except TypeError as error:
            raise ModuleError(self.module.name, f"exports {name}, but {error}") from error

    def close(self) -> None:
        """Free the store. Its functions may not be called and its memory not be seen afterwards."""
        self.gate.close()

    def _link(self, engine: Engine, imports: Sequence[Import], resolve: Resolver) -> list[Func]:
        """A function of the shim for every import, in order."""
        targets: list[Callable[..., int]] = []
        for item in imports:
            try:
                targets.append(resolve(item))
            except LookupError as error:
                raise ModuleError(self.module.name, str(error.args[0])) from error
        if not imports:
            return []
        # The shim imports its memory, so that the host functions can hold on to it first.
        store = self.gate.store
        memory = Memory(store, MemoryType(wasmtime.Limits(1, 1)))
        block = MemoryWindow(self.gate, memory).view
        result = block[RESULT : RESULT + 4].cast("I")
        nothing = function_type()
        hosts = [
            self.gate.host_function(
                nothing, target, argument_reader(block, item.parameters), result
            )
            for target, item in zip(targets, imports, strict=True)
        ]
        shim = engine.compile(engine.assemble(shim_text(tuple(imports))), "shim")
        exports = self.instantiate(shim.module, [memory, *hosts]).exports(store)
        return [function for function in exports.by_index if isinstance(function, Func)]

    def exported(self, name: str) -> Func:
        """An exported function as it is; KeyError where there is none."""
        found = self._exports[name]
        if not isinstance(found, Func):
            raise KeyError(name)
        return found

    def instantiate(self, module: Module, imports: Sequence[AsExtern]) -> wasmtime.Instance:
        """Another module in the same store. Raises ModuleError with the trap or what is missing."""
        try:
            return wasmtime.Instance(self.gate.store, module, imports)
        except Trap as trap:
            raise ModuleError(self.module.name, parse_trap(trap.message).reason) from trap
        except WasmtimeError as error:
            raise ModuleError(self.module.name, parse_trap(str(error)).reason) from error


def argument_reader(block: memoryview, parameters: Sequence[str]) -> Callable[[], Sequence[int]]:
    """A function that reads the arguments the shim stored; others than i32 and i64 are left out."""
    if all(kind == "i32" for kind in parameters):
        return block[: 4 * len(parameters)].cast("I").tolist
    layout = struct.Struct("<" + "".join(FORMATS.get(kind, "") for kind in parameters))
    return functools.partial(layout.unpack, block[: layout.size])


@functools.lru_cache(maxsize=64)  # a VM that starts again has the same ones
def shim_text(imports: tuple[Import, ...]) -> str:
    """The shim for these imports as WAT; its exports are functions in the same order."""
    lines = ['(module $host (import "" "" (memory 1 1))']
    lines += [f'(import "" "{index}" (func $h{index}))' for index in range(len(imports))]
    lines += [shim_function(index, item) for index, item in enumerate(imports)]
    return "\n".join(lines) + ")"


def shim_function(index: int, item: Import) -> str:
    """The function of the shim that stands for import number `index`."""
    body, offset = [], 0
    for position, kind in enumerate(item.parameters):
        if kind in FORMATS:
            where = f"offset={offset} align=1 (i32.const 0)"
            body.append(f"({kind}.store {where} (local.get {position}))")
            offset += 4 if kind == "i32" else 8
    body.append(f"(call $h{index})")
    answer = f"(i32.load offset={RESULT} (i32.const 0))"
    body += [answer if kind == "i32" else f"({kind}.const 0)" for kind in item.results]
    signature = f"(param {' '.join(item.parameters)}) (result {' '.join(item.results)})"
    name = f'${identifier(item.name)}.{index} (export "{index}")'
    return f"(func {name} {signature} {' '.join(body)})"


def identifier(name: str) -> str:
    """`name` as a WAT identifier; only backtraces show it."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "_" for c in name)
