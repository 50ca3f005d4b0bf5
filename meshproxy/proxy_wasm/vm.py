"""One VM: an instance with its memory, its contexts, and the ordered way into it.

Owns start-up, the table of callbacks, the deadline of each, deferred actions and failing. Refuses
to know what a hostcall means (`context.py`) and what happens after a failure (`plugin.py`).

Guest code is entered through `exports` only, never while it is running: what a hostcall sets off
(continue, local reply, close) is deferred until the callback has returned. A trap fails the VM: its
store is freed, nothing is called in it any more, and every stream in it is told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from meshproxy.proxy_wasm.abi import ALLOCATORS, MARKERS
from meshproxy.proxy_wasm.config import PluginConfig
from meshproxy.proxy_wasm.core.abi_core import AbiCore
from meshproxy.proxy_wasm.core.link import HOT, CoreLink
from meshproxy.proxy_wasm.exports import FAILED, Exports, bind_exports
from meshproxy.proxy_wasm.expressions import Expressions
from meshproxy.proxy_wasm.linking import Linking
from meshproxy.proxy_wasm.memory import Memory
from meshproxy.proxy_wasm.metrics import MetricTable
from meshproxy.proxy_wasm.services import Services
from meshproxy.proxy_wasm.trace import sink_of, traced_export
from meshproxy.proxy_wasm.wasi import ProcExit
from meshproxy.wasm.binary import START_EXPORT
from meshproxy.wasm.engine import CompiledModule
from meshproxy.wasm.errors import GuestTrap, ModuleError
from meshproxy.wasm.instance import Instance
from meshproxy.wasm.limits import MIB, TICK, ticks

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.context import Context
    from meshproxy.proxy_wasm.root_context import RootContext

LOGGER: Final = logging.getLogger("meshproxy.wasm")
INTERRUPT: Final = "interrupt"
"""The reason of a trap whose guest has had its time; wasmtime's word."""
NEARLY: Final = 0.75
"""The part of its limit above which a guest's memory may have been too small: languages that
collect garbage ask for large pieces."""
PIECE: Final = 1 << 17
"""Bytes that a hostcall works on in a few milliseconds, whatever it does with them."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The end of a VM: when (unix seconds), and in which plugin's callback."""

    when: float
    plugin: str
    callback: str
    trap: GuestTrap


class Vm:
    """A VM: linked when it is made, which any thread may do; ready for roots and streams when it
    has been started. Both raise ModuleError where it cannot be.

    `context` is whom a hostcall acts on; `current` whose callback runs, None while no guest code
    does. `plugin` is the first plugin: it lends its name to messages before there is a root.
    `epoch` is the one for which the deadline was set.
    """

    __slots__ = (
        "_deadline",
        "_instance",
        "_last_tokens",
        "_next_id",
        "abi_version",
        "call_data",
        "context",
        "contexts",
        "core",
        "current",
        "deferred",
        "epoch",
        "exports",
        "expressions",
        "failed",
        "failure",
        "memory",
        "metrics",
        "on_failed",
        "plugin",
        "retiring",
        "roots",
        "services",
        "strict",
        "ticker",
        "trace",
        "vm_id",
    )

    context: Context

    def __init__(self, services: Services, module: CompiledModule, plugin: PluginConfig) -> None:
        self.services = services
        self.plugin = plugin
        self.vm_id = plugin.vm.vm_id
        self.strict = plugin.vm.strict
        self.trace = sink_of(self, services.tracer)
        self.contexts: dict[int, Context] = {}
        self.roots: dict[str, RootContext] = {}
        self.retiring = 0  # roots that wait for their streams, or to be done
        self.deferred: list[Callable[[], None]] = []
        self.expressions = Expressions(services.expressions)
        self.metrics = MetricTable(services.store.scope("wasmcustom."))
        self.failed: GuestTrap | None = None
        self.failure: Failure | None = None
        self.on_failed: list[Callable[[], None]] = []
        self.call_data = b""
        self.current: Context | None = None
        self._next_id = 1
        self._last_tokens = [0, 0, 0]
        self.abi_version = abi_version(module)
        self.core = self._make_core()
        linking = Linking(self, module.name)
        self._instance = instance = Instance(
            services.engine, module, linking.resolve, plugin.vm.limits,
            self.core.link if self.core is not None else None,
        )  # fmt: skip
        self.ticker = instance.ticker
        self._deadline = ticks(plugin.vm.limits.start_timeout)
        self.epoch = self.ticker.epoch
        self.memory = Memory(instance.gate, instance.memory)
        allocator = self._allocator()
        self.memory.allocate = traced_export(
            self.trace, allocator, instance.function(allocator), returns=True
        )
        if self.core is not None:
            self.core.connect(instance, allocator)
        linking.attach(instance, self.memory)
        self.exports = Exports()
        try:
            bind_exports(self, instance, plugin.allowed_capabilities)
        except BaseException:
            self.close()
            raise

    def start(self, root: RootContext) -> None:
        """Run what guests run before any callback, on behalf of their first root."""
        self.context = root
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        self.services.shared_data.acquire(self.vm_id)

    @property
    def digest(self) -> str:
        """The SHA-256 of its code."""
        return self._instance.module.digest

    @property
    def memory_size(self) -> int:
        """Bytes of linear memory that it has now."""
        if self.failed is None:
            self.memory.refresh()
        return self.memory.size

    @property
    def all_roots(self) -> list[RootContext]:
        """Its root contexts, those included that only wait for their streams."""
        return [each.root for each in self.contexts.values() if each.root is each]

    @property
    def name(self) -> str:
        """The module's name, for messages."""
        return self._instance.module.name

    # -- hot: once per callback ----------------------------------------------------------------

    def rearm(self) -> None:
        """Give the callback that begins now its full time; needed once per epoch at most."""
        self.epoch = self.ticker.epoch
        self._instance.gate.set_deadline(self._deadline)

    def check_time(self) -> None:
        """For hostcalls that take long. Raises GuestTrap where the callback has had its time: guest
        code would be interrupted only once it runs again."""
        if self.current is not None and self.ticker.epoch - self.epoch > self._deadline:
            raise GuestTrap(INTERRUPT)

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Cut what a hostcall works on; each piece takes a few milliseconds, and between them
        `check_time`."""
        for at in range(0, len(data), PIECE):
            self.check_time()
            yield data[at : at + PIECE]

    def run_deferred(self) -> None:
        """Do what hostcalls asked for, now that no guest code runs."""
        while self.deferred:
            actions, self.deferred = self.deferred, []
            for action in actions:
                action()

    def new_id(self) -> int:
        """A context id that no living context has."""
        number = self._next_id
        self._next_id = number + 1 if number < 0xFFFFFFFF else 1
        while self._next_id in self.contexts:
            self._next_id += 1
        return number

    def new_token(self, kind: int = 0) -> int:
        """A number for a call: 4, 8, 12 … plus the kind, which is in the two lowest bits."""
        number = (self._last_tokens[kind] + 4) & 0xFFFFFFFC or 4
        self._last_tokens[kind] = number
        return number | kind

    # -- start ---------------------------------------------------------------------------------

    def _make_core(self) -> AbiCore | None:
        """The ABI core, unless every hostcall is to be seen, or Python's are asked for."""
        if self.trace is not None or not self.plugin.vm.abi_core:
            return None
        allowed = self.plugin.allowed_capabilities
        names = [name for name in HOT if allowed is None or name in allowed]
        return AbiCore(self, CoreLink(self.services.engine, names))

    def _allocator(self) -> str:
        for name in ALLOCATORS:
            if self._instance.function_type(name) == (("i32",), ("i32",)):
                return name
        names = " nor ".join(ALLOCATORS)
        raise ModuleError(self.name, f"exports no allocator: neither {names} (i32) -> i32")

    def _start(self) -> None:
        """The start function, then `_initialize` and `main`, or `_start`."""
        self._boot(START_EXPORT.decode())
        if self._instance.function_type("_initialize") is not None:
            self._boot("_initialize")
            if self._instance.function_type("main") is not None:
                self._boot("main", 0, 0)
            else:
                self._boot("__main_void")
        else:
            self._boot("_start")

    def _boot(self, name: str, *arguments: int) -> None:
        found = self._instance.function_type(name)
        if found is None:
            return
        if len(found[0]) != len(arguments):
            raise ModuleError(self.name, f"exports {name} with {len(found[0])} parameters")
        self.rearm()
        self.current = self.context
        call = self._instance.function(name)
        if name != START_EXPORT.decode():  # which is a name of ours
            call = traced_export(self.trace, name, call, returns=bool(found[1]))
        try:
            call(*arguments)
        except GuestTrap as trap:
            if not (isinstance(trap.__cause__, ProcExit) and trap.__cause__.code == 0):
                self._explain(trap)
                raise ModuleError(self.name, f"{name} failed: {trap}") from trap
        finally:
            self.current = None
        self.run_deferred()

    def started(self) -> None:
        """A root has been configured: callbacks have their usual time from now on."""
        self._deadline = ticks(self.plugin.vm.limits.callback_timeout)
        self.rearm()

    def starting(self) -> None:
        """Another root is to be configured: it has the time for starting."""
        self._deadline = ticks(self.plugin.vm.limits.start_timeout)
        self.rearm()

    # -- end -----------------------------------------------------------------------------------

    def fail(self, error: BaseException, callback: str) -> int:
        """The callback did not return: nothing is called in this VM any more. Returns FAILED."""
        if self.failed is None:
            trap = error if isinstance(error, GuestTrap) else GuestTrap(repr(error))
            self._explain(trap)
            self.failed = trap
            now = self.services.dispatcher.time()
            self.failure = Failure(now, self.context.root.plugin.name, callback, trap)
            self.context.root.stats.traps.value += 1
            self.deferred = []
            self.current = None
            LOGGER.error(
                "wasm log%s: %s", self.context.log_prefix, failure_text(callback, trap),
                exc_info=trap.__cause__ if not isinstance(trap.__cause__, ProcExit) else None,
            )  # fmt: skip
            self.close()
            self.services.shared_data.release(self.vm_id)
            # Plugins first: the answer to a failed stream may let the next request in.
            for told in self.on_failed:
                told()
            contexts, self.contexts = self.contexts, {}
            for context in contexts.values():
                context.on_vm_failed()
        if not isinstance(error, Exception):
            raise error
        return FAILED

    def _explain(self, trap: GuestTrap) -> None:
        """Say which limit may be behind a trap, and how it is raised: a guest that gets no more
        memory ends itself, in words of its own or none."""
        limits = self.plugin.vm.limits
        if trap.reason == INTERRUPT:
            usual = self._deadline == ticks(limits.callback_timeout)
            option = "CALLBACK_TIMEOUT" if usual else "START_TIMEOUT, ..._RESTART_TIMEOUT"
            spent = f"{(self._deadline - 1) * TICK:g} s of the processor's time"
            trap.reason += f" after {spent} (MESHPROXY_{option})"
        self.memory.refresh()
        if self.memory.size > limits.memory_size * NEARLY:
            had, may = self.memory.size / MIB, limits.memory_size / MIB
            trap.reason += (
                f" (with {had:g} of at most {may:g} MiB of memory: MESHPROXY_MEMORY_LIMIT)"
            )

    def stop(self) -> None:
        """No root is left: free everything."""
        if self.failed is None:
            self.failed = GuestTrap("the VM was stopped")
            self.services.shared_data.release(self.vm_id)
            self.close()

    def close(self) -> None:
        """Free the store; every callback is absent from now on."""
        self.exports = Exports()
        self.memory.close()
        if self.core is not None:
            self.core.close()
        self._instance.close()


def abi_version(module: CompiledModule) -> int:
    """The version whose marker the module exports. Raises ModuleError where it has none."""
    exports = module.exports
    for marker, version in MARKERS.items():
        if marker in exports:
            return version
    raise ModuleError(
        module.name,
        f"Missing or unknown Proxy-Wasm ABI version: it exports none of {', '.join(MARKERS)}",
    )


def failure_text(callback: str, trap: GuestTrap) -> str:
    """What the log says about a trap, in Envoy's form."""
    lines = [f"Function: {callback} failed: {trap.reason}"]
    if trap.backtrace:
        lines.append("Proxy-Wasm plugin in-VM backtrace:")
        lines += [f"  {index}:  {frame}" for index, frame in enumerate(trap.backtrace)]
    return "\n".join(lines)
