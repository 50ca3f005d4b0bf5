"""What the numbers of a hostcall point at: `message = "hello"` below `env.proxy_log(2, 1040, 5)`.

Owns the reading of a guest's memory by the ABI's own parameter names. Refuses to call into the VM.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from meshproxy.filter_tools.table import printable
from meshproxy.proxy_wasm import pairs
from meshproxy.proxy_wasm.abi import HOSTCALLS, OK
from meshproxy.proxy_wasm.trace import VM_FROM_HOST, VM_TO_HOST, Step
from meshproxy.proxy_wasm.vm import Vm
from meshproxy.wasm.errors import Refused

MAPS: Final = frozenset({"map", "headers", "trailers", "metadata"})
"""Parameters that hold a serialised header map."""
MAX_TEXT: Final = 200


class StepTexts:
    """Keeps the arguments of the hostcall under way: its results lie where they point."""

    def __init__(self) -> None:
        self._arguments: tuple[int, ...] = ()

    def of(self, vm: Vm, step: Step) -> Iterator[str]:
        """Lines for one step; none for callbacks and WASI."""
        module, _, name = step.name.partition(".")
        spec = HOSTCALLS.get(name) if module == "env" else None
        if spec is None:
            return
        if step.kind == VM_TO_HOST:
            self._arguments = step.values
            for what, address, size in _areas(spec.parameters, step.values):
                yield from _shown(vm, what, address, size)
        elif step.kind == VM_FROM_HOST and step.values in ((OK,), ()):
            for what, address_at, size_at in _areas(spec.parameters, self._arguments, "*"):
                at, size = _u32(vm, address_at), _u32(vm, size_at)
                yield from _shown(vm, what, at, size)
            for parameter, address in zip(spec.parameters, self._arguments, strict=True):
                if parameter[0] == "*" and not parameter.endswith(("data", "size")):
                    yield f"{parameter[1:]} = {_u32(vm, address)}"


def _areas(
    parameters: tuple[str, ...], values: tuple[int, ...], star: str = ""
) -> Iterator[tuple[str, int, int]]:
    """(name, address, size) of every pair `x_data x_size` that goes in; with a star, of the pairs
    that come back.
    """
    for index, parameter in enumerate(parameters[:-1]):
        if parameter.startswith("*") != bool(star):
            continue
        name, following = parameter.removeprefix(star), parameters[index + 1].removeprefix(star)
        if name.endswith("data") and following.endswith("size"):
            yield name.removesuffix("data").rstrip("_") or "data", values[index], values[index + 1]


def _shown(vm: Vm, what: str, address: int, size: int) -> Iterator[str]:
    try:
        data = vm.memory.read(address, size) if size else b""
    except Refused:
        yield f"{what} is outside of the memory"
        return
    decoded = pairs.decode(data) if what in MAPS and data else None
    if decoded is None:
        yield f"{what} = {_quoted(data)}"
        return
    yield f"{what}:"
    for name, value in decoded:
        yield f"  {_quoted(name)}: {_quoted(value)}"


def _quoted(data: bytes) -> str:
    text = data[:MAX_TEXT].decode("utf-8", "backslashreplace")
    more = f" … {len(data) - MAX_TEXT} more bytes" if len(data) > MAX_TEXT else ""
    escaped = printable(text.replace("\\", "\\\\").replace('"', '\\"'))
    return f'"{escaped}"{more}'


def _u32(vm: Vm, address: int) -> int:
    try:
        return int.from_bytes(vm.memory.read(address, 4), "little")
    except Refused:
        return 0
