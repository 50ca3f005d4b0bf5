"""Plugins and the VMs they share: who gets which, what happens after a failure, and the end.

Owns the pool of VMs by key and each plugin's failure policy. Refuses to know what a VM does.

After a trap the interrupted VM is gone and every stream in it is answered with 503; the next stream
gets a fresh VM at once. Envoy's answer to an unspecified policy, 503 until the process restarts, is
that of the strict profile and of FAIL_CLOSED.
"""

from __future__ import annotations

import logging
from typing import Final

from meshproxy.http.filter import STOP_ITERATION, StreamFilter
from meshproxy.http.header_map import HeaderMap
from meshproxy.proxy_wasm.config import FAIL_CLOSED, FAIL_OPEN, UNSPECIFIED, PluginConfig
from meshproxy.proxy_wasm.guest_answers import FAIL_STREAM
from meshproxy.proxy_wasm.root_context import RootContext
from meshproxy.proxy_wasm.services import Services
from meshproxy.proxy_wasm.stream_context import StreamContext
from meshproxy.proxy_wasm.stream_kinds import stream_context_class
from meshproxy.proxy_wasm.vm import Vm
from meshproxy.stats.metrics import WasmPluginStats, WasmRuntimeStats, WasmStats
from meshproxy.wasm.engine import CompiledModule
from meshproxy.wasm.errors import ModuleError

LOGGER: Final = logging.getLogger("meshproxy.wasm")
MAX_RELOADS: Final = 10
"""Fresh VMs per `reload_interval`: beyond them requests are refused, or a request that traps would
make the proxy do nothing but start VMs."""


class VmPool:
    """The VMs of one worker, by key."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._vms: dict[str, Vm] = {}
        wasm = services.store.scope("wasm.")
        self._stats = wasm.scope("envoy.wasm.runtime.wasmtime.").block(WasmRuntimeStats)
        self._all = wasm.block(WasmStats)

    def root(self, plugin: PluginConfig, module: CompiledModule, key: str) -> RootContext:
        """The root context of a plugin, in the VM of that key; both are made where there is none.

        Raises ModuleError with module, callback and reason.
        """
        vm = self._vms.get(key)
        if vm is None or vm.failed is not None:
            root = self.fresh(plugin, module)
            self._vms[key] = root.vm
        else:
            found = vm.roots.get(plugin.key)
            if found is None:
                found = RootContext(vm, plugin)
                found.configure()
                vm.roots[plugin.key] = found
            root = found
        root.users += 1
        return root

    def fresh(self, plugin: PluginConfig, module: CompiledModule) -> RootContext:
        """A root context in a VM of its own, not in the pool: also a canary of a new one."""
        vm = Vm(self.services, module, plugin, lambda made: RootContext(made, plugin))
        root = vm.context.root
        try:
            root.configure()
        except ModuleError:
            vm.stop()
            raise
        vm.roots[plugin.key] = root
        self._stats.created.value += 1
        self._stats.active.value += 1
        self._all.wasm_vm_count.value += 1
        vm.on_failed.append(self._one_less)
        return root

    def release(self, root: RootContext) -> None:
        """One plugin fewer needs this root; the last one ends it, and the VM's last root the VM."""
        root.users -= 1
        vm = root.vm
        if root.users > 0 or vm.failed is not None:
            return

        def finished() -> None:
            vm.roots.pop(root.plugin.key, None)
            if not vm.roots and vm.failed is None:
                vm.stop()
                self._one_less()
                self._vms = {key: other for key, other in self._vms.items() if other is not vm}

        root.shut_down(finished)

    def _one_less(self) -> None:
        self._stats.active.value -= 1
        self._all.wasm_vm_count.value -= 1


def pool_of(services: Services) -> VmPool:
    """The pool that all plugins with these services share."""
    if services.pool is None:
        services.pool = VmPool(services)
    return services.pool


class Plugin:
    """A configured plugin. `new_filter` is the filter factory of its HTTP filter.

    Raises ModuleError where the module cannot be loaded, linked, started or configured.
    """

    def __init__(self, pool: VmPool, config: PluginConfig) -> None:
        self.config = config
        self._pool = pool
        self._dispatcher = pool.services.dispatcher
        code = config.vm.code.load()
        self._module = pool.services.engine.compile(code, config.vm.code.name)
        self._vm_key = config.vm_key(code)
        scope = pool.services.store.scope(f"wasm.{config.name}.")
        self._stats = scope.block(WasmPluginStats)
        self._root: RootContext | None = None
        self._kind: type[StreamContext] = StreamContext
        self._reloads = 0
        self._window = 0.0  # monotonic seconds: when reloads are counted from 0 again
        self._closed = False
        self._start()

    @property
    def vm(self) -> Vm | None:
        """The VM that serves new streams, None after a failure."""
        return self._root.vm if self._root is not None else None

    def new_filter(self) -> StreamFilter:
        """The filter of one stream: its context, or what the failure policy says without a VM."""
        root = self._root
        if root is None:
            return self._without_vm()
        return self._kind(root)

    def canary(self) -> None:
        """Start and configure a throw-away VM. Raises ModuleError as the real one would."""
        root = self._pool.fresh(self.config, self._module)
        root.users = 1
        self._pool.release(root)

    def close(self) -> None:
        """The plugin is not configured any more; its streams may go on."""
        self._closed = True
        root, self._root = self._root, None
        if root is not None:
            self._pool.release(root)

    def _start(self) -> None:
        root = self._pool.root(self.config, self._module, self._vm_key)
        root.vm.on_failed.append(self._on_failed)
        self._kind = stream_context_class(root.vm.exports.present())
        self._root = root

    def _on_failed(self) -> None:
        self._root = None

    def _without_vm(self) -> StreamFilter:
        policy = self.config.failure_policy
        if policy == FAIL_OPEN:
            return StreamFilter()
        closed = policy == FAIL_CLOSED or (policy == UNSPECIFIED and self.config.vm.strict)
        if closed or self._closed or not self._reload():
            return FailedFilter()
        assert self._root is not None
        return self._kind(self._root)

    def _reload(self) -> bool:
        """Try to get a fresh VM."""
        now = self._dispatcher.now()
        if now >= self._window:
            self._window = now + self.config.reload_interval
            self._reloads = 0
        if self._reloads >= MAX_RELOADS:
            self._stats.vm_reload_backoff.value += 1
            return False
        self._reloads += 1
        self._stats.vm_reload.value += 1
        try:
            self._start()
        except ModuleError as error:
            self._reloads = MAX_RELOADS  # it will not get better within the interval
            self._stats.vm_reload_failure.value += 1
            LOGGER.error("wasm log%s: reload failed: %s", self.config.log_prefix, error)
            return False
        self._stats.vm_reload_success.value += 1
        return True


class FailedFilter(StreamFilter):
    """Stands in for a plugin without a VM: every stream is answered with 503."""

    __slots__ = ()

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Answer."""
        self.callbacks.send_local_reply(FAIL_STREAM)
        return STOP_ITERATION
