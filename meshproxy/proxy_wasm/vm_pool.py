"""The VMs of one worker, and the plugins that share them by key.

Owns which root context lives in which VM, and the end of both. Refuses to know what follows a
failure (`plugin.py`) and what a VM does (`vm.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from meshproxy.proxy_wasm.config import PluginConfig
from meshproxy.proxy_wasm.reload import Reloader
from meshproxy.proxy_wasm.root_context import RootContext
from meshproxy.proxy_wasm.services import Services
from meshproxy.proxy_wasm.spares import Spares
from meshproxy.proxy_wasm.vm import Vm
from meshproxy.stats.metrics import WasmRuntimeStats, WasmStats
from meshproxy.wasm.engine import CompiledModule
from meshproxy.wasm.errors import ModuleError

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.plugin import Plugin


class VmPool:
    """The VMs of one worker, by key."""

    def __init__(self, services: Services) -> None:
        self.services = services
        services.store.refreshers.append(self._refresh)
        self.plugins: list[Plugin] = []
        self.reloader = Reloader(self)
        self.spares = Spares(services)
        self._vms: dict[str, Vm] = {}
        self._batch = 0
        self._digests: set[str] = set()  # of compiled code that is kept
        self._all = services.store.scope("wasm.").block(WasmStats)

    @property
    def vms(self) -> Mapping[str, Vm]:
        """The VMs that live, by key; also those that only wait for their last streams."""
        return self._vms

    def root(self, plugin: PluginConfig, module: CompiledModule, key: str) -> RootContext:
        """The root context of a plugin, in the VM of that key; both are made where there is none.

        Raises ModuleError with module, callback and reason.
        """
        self._digests.add(module.digest)
        vm = self._vms.get(key)
        if vm is None or vm.failed is not None:
            root = self.fresh(plugin, module, self.spares.take(key))
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

    def fresh(
        self, plugin: PluginConfig, module: CompiledModule, linked: Vm | None = None
    ) -> RootContext:
        """A root context in a VM of its own, not in the pool. `linked`: one that was made ahead."""
        vm = linked or Vm(self.services, module, plugin)
        root = RootContext(vm, plugin)
        vm.start(root)
        try:
            root.configure()
        except ModuleError:
            vm.stop()
            raise
        vm.roots[plugin.key] = root
        stats = self._runtime_stats(vm)
        stats.created.value += 1
        stats.active.value += 1
        self._all.wasm_vm_count.value += 1
        vm.on_failed.append(lambda: self._gone(vm))
        return root

    def canary(self, plugin: PluginConfig, module: CompiledModule) -> None:
        """Start and configure a throw-away VM. Raises ModuleError as the real one would.

        It is for code that shall join others in their VM: a new VM is its own canary.
        """
        self._digests.add(module.digest)
        root = self.fresh(plugin, module)
        root.users = 1
        self.release(root)

    def new_batch(self) -> int:
        """A number that no VM key has yet, for plugins that are reloaded together."""
        self._batch += 1
        return self._batch

    def forget_unused_modules(self) -> None:
        """Let go of compiled code that no plugin would start again."""
        used = {each.digest for each in self.plugins}
        for digest in self._digests - used:
            self.services.engine.forget(digest)
        self._digests = used

    def release(self, root: RootContext) -> None:
        """One plugin fewer needs this root; the last one ends it, and the VM's last root the VM."""
        root.users -= 1
        vm = root.vm
        if root.users > 0 or vm.failed is not None:
            return
        # Whoever wants such a root from now on gets a new one.
        if vm.roots.get(root.plugin.key) is root:
            del vm.roots[root.plugin.key]
        vm.retiring += 1

        def finished() -> None:
            vm.retiring -= 1
            if not vm.roots and not vm.retiring:
                vm.stop()
                self._gone(vm)

        root.retire(finished)

    def close(self) -> None:
        """End every plugin, and with the last one every VM."""
        for plugin in list(self.plugins):
            plugin.close()

    def _refresh(self) -> None:
        """Look up what is not counted. A plugin's memory is that of its VM, shared or not."""
        roots = [root for vm in self._vms.values() for root in vm.all_roots]
        for plugin in self.plugins:
            mine = [each for each in roots if each.plugin.name == plugin.config.name]
            stats = plugin.stats
            stats.memory_bytes.value = plugin.vm.memory_size if plugin.vm is not None else 0
            stats.streams_active.value = sum(each.streams for each in mine)
            stats.streams_paused.value = sum(len(each.paused) for each in mine)

    def _runtime_stats(self, vm: Vm) -> WasmRuntimeStats:
        """The statistics of VMs with the same runtime, named as the configuration names it."""
        return self.services.store.scope(f"wasm.{vm.plugin.vm.runtime}.").block(WasmRuntimeStats)

    def _gone(self, vm: Vm) -> None:
        self._runtime_stats(vm).active.value -= 1
        self._all.wasm_vm_count.value -= 1
        self._vms = {key: other for key, other in self._vms.items() if other is not vm}


def pool_of(services: Services) -> VmPool:
    """The pool that all plugins with these services share."""
    if services.pool is None:
        services.pool = VmPool(services)
    return services.pool
