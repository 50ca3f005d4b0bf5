"""64-bit results between a guest and the engine's calls, which have 32 bits. Knows no function.

Owns two small modules: one between a guest and the host functions whose results have 64 bits (they
are fetched in two halves), one before `handle_request`, whose result comes in two halves as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from wasmtime import Func

from meshproxy.wasm.engine import Engine
from meshproxy.wasm.instance import Instance
from meshproxy.wasm.signatures import Import

if TYPE_CHECKING:
    from meshproxy.wasm.raw_call import Call

HIGH: Final = Import("adapter", "high", (), ("i32",))
"""The upper half of the last result."""
_TWO_HALVES: Final = """\
(module (import "" "0" (func $call (result i64))) (global $last (mut i64) (i64.const 0))
(func (export "low") (result i32)
  (global.set $last (call $call)) (i32.wrap_i64 (global.get $last)))
(func (export "high") (result i32)
  (i32.wrap_i64 (i64.shr_u (global.get $last) (i64.const 32)))))"""


def is_long(item: Import) -> bool:
    """Whether a function's result has 64 bits."""
    return item.results == ("i64",)


class LongResults:
    """Puts a function that joins two halves before each with a long result. An `Inner`."""

    def __init__(self, engine: Engine, imports: Sequence[Import]) -> None:
        self._engine = engine
        self._long = [item for item in imports if is_long(item)]
        halves = [Import(each.module, each.name, each.parameters, ("i32",)) for each in self._long]
        self._own: Sequence[Import] = [*halves, HIGH] if halves else []

    def wants(self, imports: Sequence[Import]) -> Sequence[Import]:
        """The halves of long results."""
        return self._own

    def replace(
        self,
        instance: Instance,
        imports: Sequence[Import],
        functions: Sequence[Func],
        own: Sequence[Func],
    ) -> Sequence[Func]:
        """The functions for the guest's imports."""
        if not self._long:
            return functions
        text = _joining(self._long)
        module = self._engine.compile(self._engine.assemble(text), "adapter")
        exports = instance.instantiate(module.module, own).exports(instance.gate.store)
        joined = iter([each for each in exports.by_index if isinstance(each, Func)])
        return [
            next(joined) if is_long(item) else function
            for item, function in zip(imports, functions, strict=True)
        ]


def in_two_halves(engine: Engine, instance: Instance, name: str) -> tuple[Call, Call]:
    """The calls for an exported `() -> i64`: one that runs it and gives the lower half, one for
    the upper half.
    """
    module = engine.compile(engine.assemble(_TWO_HALVES), "adapter")
    inner = instance.instantiate(module.module, [instance.exported(name)])
    exports = inner.exports(instance.gate.store)
    low, high = exports["low"], exports["high"]
    assert isinstance(low, Func)
    assert isinstance(high, Func)
    signature = ((), ("i32",))
    return instance.gate.bind(low, signature), instance.gate.bind(high, signature)


def _joining(items: Sequence[Import]) -> str:
    lines = ["(module"]
    for index, item in enumerate(items):
        parameters = f"(param {' '.join(item.parameters)})"
        lines.append(f'(import "" "{index}" (func $low{index} {parameters} (result i32)))')
    lines.append(f'(import "" "{len(items)}" (func $high (result i32)))')
    for index, item in enumerate(items):
        given = " ".join(f"(local.get {number})" for number in range(len(item.parameters)))
        lines.append(
            f'(func (export "{index}") (param {" ".join(item.parameters)}) (result i64)'
            f" (i64.or (i64.extend_i32_u (call $low{index} {given}))"
            " (i64.shl (i64.extend_i32_u (call $high)) (i64.const 32))))"
        )
    return "\n".join(lines) + ")"
