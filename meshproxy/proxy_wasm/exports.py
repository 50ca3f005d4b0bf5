"""The callbacks of a module, resolved once, each behind the guard that every entry needs.

Owns arity, results and absence: an absent callback is None and costs a look at a slot. Refuses to
know what a callback means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final, final

from meshproxy.proxy_wasm.abi import CALLBACKS, Callback
from meshproxy.proxy_wasm.core.abi_core import CALLBACK_MAPS
from meshproxy.proxy_wasm.trace import traced_export
from meshproxy.wasm.errors import ModuleError
from meshproxy.wasm.raw_call import Call
from meshproxy.wasm.signatures import type_text

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.context import Context
    from meshproxy.proxy_wasm.vm import Vm
    from meshproxy.wasm.instance import Instance

clock: Final = perf_counter_ns
FAILED: Final = -1
"""What an entry returns when the callback trapped: the VM has failed and has told everybody."""

CALLBACK_INDEX: Final = {name: index for index, name in enumerate(CALLBACKS)}
"""Where a callback's times are in `RootContext.times`."""

Entry = Callable[..., int] | None
"""Called with the context (not its id) and the further parameters."""


class Exports:
    """One slot per callback of the ABI; None where the module does not export it, or may not."""

    __slots__ = tuple(CALLBACKS)

    proxy_on_context_create: Entry
    proxy_on_vm_start: Entry
    proxy_on_configure: Entry
    proxy_on_tick: Entry
    proxy_on_new_connection: Entry
    proxy_on_downstream_data: Entry
    proxy_on_upstream_data: Entry
    proxy_on_downstream_connection_close: Entry
    proxy_on_upstream_connection_close: Entry
    proxy_on_request_headers: HeadersEntry | None
    proxy_on_request_metadata: Entry
    proxy_on_request_body: Entry
    proxy_on_request_trailers: Entry
    proxy_on_response_headers: HeadersEntry | None
    proxy_on_response_metadata: Entry
    proxy_on_response_body: Entry
    proxy_on_response_trailers: Entry
    proxy_on_http_call_response: Entry
    proxy_on_grpc_receive_initial_metadata: Entry
    proxy_on_grpc_receive: Entry
    proxy_on_grpc_receive_trailing_metadata: Entry
    proxy_on_grpc_close: Entry
    proxy_on_queue_ready: Entry
    proxy_on_foreign_function: Entry
    proxy_on_done: Entry
    proxy_on_log: Entry
    proxy_on_delete: Entry

    def __init__(self) -> None:
        for name in CALLBACKS:
            setattr(self, name, None)

    def present(self) -> frozenset[str]:
        """The names of the callbacks that will be called."""
        return frozenset(name for name in CALLBACKS if getattr(self, name) is not None)


def bind_exports(vm: Vm, instance: Instance, allowed: frozenset[str] | None) -> None:
    """Fill `vm.exports`. Raises ModuleError naming a callback whose type is not the ABI's."""
    for name, callback in CALLBACKS.items():
        found = instance.function_type(name)
        if found is None or (allowed is not None and name not in allowed):
            continue
        parameters, results = found
        wrong = misfit(callback, parameters, results)
        if wrong:
            raise ModuleError(instance.module.name, wrong)
        call = traced_export(
            vm.trace, name, instance.function(name), returns=callback.returns and bool(results)
        )
        if not results:
            call = always(callback.absent, call)
        if name in CALLBACK_MAPS:
            if len(parameters) == 2:
                call = without_end(call)
            setattr(vm.exports, name, HeadersEntry(vm, name, call))
        else:
            setattr(vm.exports, name, entry(vm, callback, len(parameters), call))


def misfit(callback: Callback, parameters: Sequence[str], results: Sequence[str]) -> str:
    """What is wrong with the type of an exported callback; empty where it can be called."""
    fits = set(parameters) <= {"i32"} and tuple(results) in ((), ("i32",))
    if fits and len(parameters) in callback.arities:
        return ""
    wanted = " or ".join(type_text(("i32",) * n, ("i32",)) for n in callback.arities)
    found = type_text(parameters, results)
    return f"Bad function signature for: {callback.name}, it is {found}, want {wanted}"


def always(result: int, call: Call) -> Call:
    """A callback without a result, with the one that is assumed for it."""

    def without_result(*arguments: int) -> int:
        call(*arguments)
        return result

    return without_result


def without_end(call: Call) -> Call:
    """A headers callback of ABI 0.1.0, which is not told whether the stream ends."""
    return lambda context_id, count, end_of_stream: call(context_id, count)


@final
class HeadersEntry:
    """The guarded way into a headers callback; its map is in the ABI core meanwhile. `note` is
    told the nanoseconds of every call, those included that giving and taking back the map take.

    hot: a method, which compiled code calls as such, and not one closure around another: 0.5 us.
    """

    __slots__ = ("_call", "_core", "_index", "_map_type", "_name", "_ticker", "_vm", "note")

    def __init__(self, vm: Vm, name: str, call: Call) -> None:
        self._vm = vm
        self._core = vm.core
        self._ticker = vm.ticker
        self._name = name
        self._index = CALLBACK_INDEX[name]
        self._map_type = CALLBACK_MAPS[name]
        self._call = call
        self.note: Callable[[int], None] | None = None

    def enter(self, context: Context, count: int, end_of_stream: bool) -> int:
        """Call it; FAILED where it trapped."""
        vm = self._vm
        if vm.current is not None:
            raise RuntimeError(f"{self._name} while guest code is running")
        if self._ticker.epoch != vm.epoch:
            vm.rearm()
        vm.current = vm.context = context
        began = clock()
        try:
            core = self._core
            if core is None or not core.wanted[self._map_type]:
                result = self._call(context.id, count, end_of_stream)
            else:
                core.give(self._map_type, context)
                result = self._call(context.id, count, end_of_stream)
                core.take_back()
        except BaseException as error:
            return vm.fail(error, self._name)
        vm.current = None
        took = clock() - began
        context.root.times[self._index].record(took // 1000)
        if self.note is not None:
            self.note(took)
        if vm.deferred:
            vm.run_deferred()
        return result


def entry(vm: Vm, callback: Callback, arity: int, call: Call) -> Callable[..., int]:
    """The guarded way into one callback: context, deadline, failure, deferred actions."""
    if arity == callback.arities[0] <= 3:
        return _entry(vm, callback.name, arity, call)
    ticker, name, index = vm.ticker, callback.name, CALLBACK_INDEX[callback.name]

    def enter_any(context: Context, *arguments: int) -> int:
        if vm.current is not None:
            raise RuntimeError(f"{name} while guest code is running")
        if ticker.epoch != vm.epoch:
            vm.rearm()
        vm.current = vm.context = context
        began = clock()
        try:
            # ABI 0.1.0 knows fewer parameters of some callbacks than are offered.
            result = call(context.id, *arguments[: arity - 1])
        except BaseException as error:
            return vm.fail(error, name)
        vm.current = None
        context.root.times[index].record((clock() - began) // 1000)
        if vm.deferred:
            vm.run_deferred()
        return result

    return enter_any


def _entry(vm: Vm, name: str, arity: int, call: Call) -> Callable[..., int]:
    """The same, hot: written out for the three arities that requests use; *args costs 0.1 us.

    Of each entry, 0.2 us are the clock and the histogram of the callback's time.
    """
    ticker, index = vm.ticker, CALLBACK_INDEX[name]

    def enter1(context: Context) -> int:
        if vm.current is not None:
            raise RuntimeError(f"{name} while guest code is running")
        if ticker.epoch != vm.epoch:
            vm.rearm()
        vm.current = vm.context = context
        began = clock()
        try:
            result = call(context.id)
        except BaseException as error:
            return vm.fail(error, name)
        vm.current = None
        context.root.times[index].record((clock() - began) // 1000)
        if vm.deferred:
            vm.run_deferred()
        return result

    def enter2(context: Context, b: int) -> int:
        if vm.current is not None:
            raise RuntimeError(f"{name} while guest code is running")
        if ticker.epoch != vm.epoch:
            vm.rearm()
        vm.current = vm.context = context
        began = clock()
        try:
            result = call(context.id, b)
        except BaseException as error:
            return vm.fail(error, name)
        vm.current = None
        context.root.times[index].record((clock() - began) // 1000)
        if vm.deferred:
            vm.run_deferred()
        return result

    def enter3(context: Context, b: int, c: int) -> int:
        if vm.current is not None:
            raise RuntimeError(f"{name} while guest code is running")
        if ticker.epoch != vm.epoch:
            vm.rearm()
        vm.current = vm.context = context
        began = clock()
        try:
            result = call(context.id, b, c)
        except BaseException as error:
            return vm.fail(error, name)
        vm.current = None
        context.root.times[index].record((clock() - began) // 1000)
        if vm.deferred:
            vm.run_deferred()
        return result

    by_arity: dict[int, Callable[..., int]] = {1: enter1, 2: enter2, 3: enter3}
    return by_arity[arity]
