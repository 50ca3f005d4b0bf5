"""The VMs of one worker, and the plugins that share them by key.

Owns which root context lives in which VM, and the end of both. Refuses to know what follows a
failure (`plugin.py`) and what a VM does (`vm.py`).
"""

from __future__ import annotations

from meshproxy.proxy_wasm.config import PluginConfig
from meshproxy.proxy_wasm.root_context import RootContext
from meshproxy.proxy_wasm.services import Services
from meshproxy.proxy_wasm.vm import Vm
from meshproxy.stats.metrics import WasmRuntimeStats, WasmStats
from meshproxy.wasm.engine import CompiledModule
from meshproxy.wasm.errors import ModuleError


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
