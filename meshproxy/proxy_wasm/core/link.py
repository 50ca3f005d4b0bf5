"""Links the ABI core into a guest's store.

Owns the two small modules around `core.c`. Refuses to know what the core does with its map.

    guest        imports the core's hostcalls, and the shim's for all others
    core         imports the shim's as its fallbacks, and the trampoline's functions
    trampoline   a call_indirect for each of them, into a table that is still empty
    glue         has the guest's memory and the core's, and fills the table

The trampoline is needed because the core must exist before the guest does, whose memory and
allocator it uses. Until the table is filled (guests run their start function later) it traps.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import wasmtime
from wasmtime import Func, Memory, MemoryType, Table

from meshproxy.proxy_wasm.abi import HOSTCALLS
from meshproxy.resources import abi_core_file
from meshproxy.wasm.engine import Engine
from meshproxy.wasm.instance import Instance
from meshproxy.wasm.raw_call import MemoryWindow
from meshproxy.wasm.signatures import Import

if TYPE_CHECKING:
    from wasmtime._exportable import AsExtern
    from wasmtime._instance import InstanceExports

HOT: Final = (
    "proxy_get_header_map_value",
    "proxy_add_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_remove_header_map_value",
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_size",
)
FALLBACKS: Final = tuple(Import("env", name, HOSTCALLS[name].types, ("i32",)) for name in HOT)
CORE_PAGES: Final = 4
GLUE_TYPES: Final = {"read": 3, "write": 3, "point": 4, "allocate": 1}
BY_HAND: Final = 64
"""Up to so many bytes are copied one by one, or eight by eight."""


def trampoline_text() -> str:
    """The trampoline as WAT."""
    lines = [f'(module (table (export "table") {len(GLUE_TYPES)} funcref)']
    for slot, (name, count) in enumerate(GLUE_TYPES.items()):
        signature = f"(param{' i32' * count}) (result i32)"
        arguments = " ".join(f"(local.get {index})" for index in range(count))
        lines.append(
            f'(func (export "{name}") {signature}'
            f" (call_indirect {signature} {arguments} (i32.const {slot})))"
        )
    return "\n".join(lines) + ")"


def copying(name: str, *, to: str, source: str) -> str:
    """A function of the glue: `$size` bytes from one memory's `$from` to the other's `$to`.

    hot: few bytes go by hand; `memory.copy` leaves Wasm for 0.05 us, twenty times in a request.
    """
    of_guest = "$from" if source == "guest" else "$to"
    step = "".join(
        f"(local.set ${local} (i32.{sign} (local.get ${local}) (i32.const %d)))"
        for local, sign in (("to", "add"), ("from", "add"), ("size", "sub"))
    )
    return f"""(func ${name} (param $to i32) (param $from i32) (param $size i32) (result i32)
  (if (i32.eqz (call $fits (local.get {of_guest}) (local.get $size)))
   (then (return (i32.const 0))))
  (if (i32.gt_u (local.get $size) (i32.const {BY_HAND}))
   (then (memory.copy ${to} ${source} (local.get $to) (local.get $from) (local.get $size))
    (return (i32.const 1))))
  (block $short (loop $eights
   (br_if $short (i32.lt_u (local.get $size) (i32.const 8)))
   (i64.store ${to} align=1 (local.get $to) (i64.load ${source} align=1 (local.get $from)))
   {step % (8, 8, 8)} (br $eights)))
  (block $done (loop $ones
   (br_if $done (i32.eqz (local.get $size)))
   (i32.store8 ${to} (local.get $to) (i32.load8_u ${source} (local.get $from)))
   {step % (1, 1, 1)} (br $ones)))
  (i32.const 1))"""


# `$fits` compares in 64 bits: address and size together may be more than 32 hold.
GLUE_TEXT: Final = f"""(module
 (import "guest" "memory" (memory $guest 0))
 (import "core" "memory" (memory $core {CORE_PAGES}))
 (import "trampoline" "table" (table $table {len(GLUE_TYPES)} funcref))
 (import "guest" "allocate" (func $allocate (param i32) (result i32)))
 (elem (table $table) (i32.const 0) func $read $write $point $allocate)
 (func $fits (param $at i32) (param $size i32) (result i32)
  (i64.le_u
   (i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $size)))
   (i64.shl (i64.extend_i32_u (memory.size $guest)) (i64.const 16))))
 {copying("read", to="core", source="guest")}
 {copying("write", to="guest", source="core")}
 (func $point (param $data_at i32) (param $data i32) (param $size_at i32) (param $size i32)
  (result i32)
  (if (i32.eqz (call $fits (local.get $data_at) (i32.const 4))) (then (return (i32.const 0))))
  (i32.store $guest align=1 (local.get $data_at) (local.get $data))
  (if (i32.eqz (call $fits (local.get $size_at) (i32.const 4))) (then (return (i32.const 0))))
  (i32.store $guest align=1 (local.get $size_at) (local.get $size))
  (i32.const 1)))"""


@functools.cache
def core_code(path: Path) -> bytes | None:
    """The compiled core; None where the package was not built (hostcalls are Python's then)."""
    return path.read_bytes() if path.is_file() else None


class CoreLink:
    """The core in one store, for the hostcalls in `names`. Implements `wasm.instance.Inner`.

    `memory` and `exports` are None until a guest has come that imports one of them.
    """

    __slots__ = ("_engine", "_memory", "_names", "_table", "exports", "memory")

    def __init__(self, engine: Engine, names: Collection[str]) -> None:
        self._engine = engine
        self._names = names
        self._memory: Memory | None = None
        self._table: Table | None = None
        self.memory: MemoryWindow | None = None
        self.exports: InstanceExports | None = None

    def wants(self, imports: Sequence[Import]) -> Sequence[Import]:
        """Where the guest imports one of its hostcalls, all of them to fall back on. None of them
        otherwise: a function of the shim takes a tenth of the time that a VM is made in."""
        if core_code(abi_core_file()) is None or not any(map(self._answers, imports)):
            return ()
        return FALLBACKS

    def _answers(self, item: Import) -> bool:
        return item.module == "env" and item.name in self._names

    def replace(
        self,
        instance: Instance,
        imports: Sequence[Import],
        functions: Sequence[Func],
        own: Sequence[Func],
    ) -> Sequence[Func]:
        """The functions for the guest's imports, some of them the core's; `own` are for it."""
        mine = [self._answers(item) for item in imports]
        code = core_code(abi_core_file())
        if code is None or not any(mine):
            return functions
        core = self._engine.compile(code, "abi_core")
        store = instance.gate.store
        self._memory = memory = Memory(store, MemoryType(wasmtime.Limits(CORE_PAGES, CORE_PAGES)))
        offers = self._instantiate(instance, trampoline_text(), [])
        self._table = cast("Table", offers["table"])
        needs: dict[str, AsExtern] = {"memory": memory}
        needs |= {name: cast("Func", offers[name]) for name in GLUE_TYPES}
        needs |= zip(HOT, own, strict=True)
        made = instance.instantiate(core.module, [needs[item.name or ""] for item in core.imports])
        self.memory = MemoryWindow(instance.gate, memory)
        self.exports = exports = made.exports(store)
        return [
            cast("Func", exports[item.name]) if hot else function
            for item, function, hot in zip(imports, functions, mine, strict=True)
        ]

    def connect(self, instance: Instance, allocator: str) -> None:
        """The guest is there: give the core its memory and its allocator."""
        assert self._memory is not None
        assert self._table is not None
        guest = instance.exported(allocator)
        self._instantiate(instance, GLUE_TEXT, [instance.memory, self._memory, self._table, guest])

    def _instantiate(
        self, instance: Instance, text: str, needs: Sequence[AsExtern]
    ) -> InstanceExports:
        module = self._engine.compile(self._engine.assemble(text), "glue").module
        return instance.instantiate(module, needs).exports(instance.gate.store)
