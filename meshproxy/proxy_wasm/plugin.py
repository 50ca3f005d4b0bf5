"""A configured plugin: which root serves its new streams, and what they get while there is none.

Owns the failure policy at work. Refuses to know which VM a root lives in (`vm_pool.py`) and when a
restart is due (`restart.py`).

After a trap the interrupted VM is gone and every stream in it is answered with 503. Without a
policy the next stream gets a fresh VM at once; Envoy's answer to that, 503 until the process
restarts, is that of the strict profile and of FAIL_CLOSED.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from meshproxy.http.filter import NOT_SILENT, STOP_ITERATION, HttpFilter, StreamFilter
from meshproxy.http.header_map import HeaderMap
from meshproxy.proxy_wasm.config import FAIL_OPEN, PluginConfig
from meshproxy.proxy_wasm.guest_answers import FAIL_STREAM
from meshproxy.proxy_wasm.reload import Loaded, load
from meshproxy.proxy_wasm.restart import Restart, restart_policy
from meshproxy.proxy_wasm.root_context import RootContext
from meshproxy.proxy_wasm.stream_context import StreamContext
from meshproxy.proxy_wasm.stream_kinds import silent_phases
from meshproxy.proxy_wasm.vm import Failure, Vm
from meshproxy.proxy_wasm.vm_pool import VmPool
from meshproxy.stats.metrics import WasmPluginStats
from meshproxy.wasm.errors import FetchError, ModuleError

LOGGER: Final = logging.getLogger("meshproxy.wasm")


class Plugin:
    """A configured plugin. `new_filter` is the filter factory of its HTTP filter.

    Raises ModuleError where the module cannot be loaded, linked, started or configured. Code that
    has to be fetched first leaves the plugin `pending`: its streams get what the failure policy
    says without a VM, until the reloader has it.
    """

    def __init__(self, pool: VmPool, config: PluginConfig) -> None:
        self.config = config
        self._config_while_serving = while_serving(config)
        self._pool = pool
        self._dispatcher = pool.services.dispatcher
        self._loaded = loaded = self._load()
        self._vm_key = config.vm_key(loaded.code) if loaded is not None else ""
        scope = pool.services.store.scope(f"wasm.{config.name}.")
        self.stats = scope.block(WasmPluginStats)
        self._root: RootContext | None = None
        self._silent = NOT_SILENT
        self._closed = False
        self.last_failure: Failure | None = None
        self.on_failed: Callable[[], None] = _nothing
        self.pending = loaded is None
        if loaded is not None:
            self._serve(pool.root(config, loaded.module, self._vm_key))
        self._restart = restart_policy(config, self._dispatcher)
        pool.plugins.append(self)

    @property
    def vm(self) -> Vm | None:
        """The VM that serves new streams, None after a failure."""
        return self._root.vm if self._root is not None else None

    @property
    def root(self) -> RootContext | None:
        """The root that serves new streams, None after a failure."""
        return self._root

    @property
    def digest(self) -> str:
        """The SHA-256 of the code that serves, or would."""
        return self._loaded.module.digest if self._loaded is not None else ""

    @property
    def signature(self) -> object:
        """How the source of the code looked when it was loaded."""
        return self._loaded.signature if self._loaded is not None else None

    def new_filter(self) -> HttpFilter:
        """The filter of one stream: its context, or what the failure policy says without a VM."""
        root = self._root
        if root is None:
            return self._without_vm()
        return StreamContext(root, self._silent)

    def replace(self, loaded: Loaded, batch: int) -> None:
        """Serve new streams by this code; the old VM ends with its last stream.

        Raises ModuleError, and then nothing has changed: a VM that other plugins have moved to
        already is joined after a canary only. Plugins of one `batch` share VMs as those of the
        start do.
        """
        config = self.config if self.pending else self._config_while_serving
        key = f"{self.config.vm_key(loaded.code)} {batch}"
        if key in self._pool.vms:
            self._pool.canary(config, loaded.module)
        root = self._pool.root(config, loaded.module, key)
        old = self._root
        self._pool.spares.drop(self._vm_key)
        self._loaded, self._vm_key = loaded, key
        self.pending = False
        self._restart = restart_policy(self.config, self._dispatcher)
        self._serve(root)
        if old is not None:
            self._pool.release(old)

    def give_up(self, error: ModuleError) -> None:
        """A reload has failed. What came and cannot run is not tried again by itself."""
        if not isinstance(error, FetchError):
            self.pending = False

    def close(self) -> None:
        """The plugin is not configured any more; its streams may go on."""
        self._closed = True
        self._pool.plugins.remove(self)
        self._pool.spares.drop(self._vm_key)
        root, self._root = self._root, None
        if root is not None:
            self._pool.release(root)

    def _serve(self, root: RootContext) -> None:
        """New streams belong to this root, until its VM fails."""

        def failed() -> None:
            if self._root is root:
                self._root = None
                self.last_failure = root.vm.failure
                self._prepare()
                self.on_failed()

        root.vm.on_failed.append(failed)
        self._silent = silent_phases(root.vm.exports.present())
        self._root = root

    def _prepare(self) -> None:
        """What has failed may fail again: link the VM after the next one ahead."""
        restart, loaded = self._restart, self._loaded
        if restart is not None and restart.spares and loaded is not None and not self._closed:
            self._pool.spares.make(self._vm_key, self._config_while_serving, loaded.module)

    @property
    def restarts(self) -> bool:
        """Whether it would ever get a fresh VM after a failure."""
        return self._restart is not None and not self._closed

    def serving_root(self) -> RootContext | None:
        """The root that serves now; after a failure one in a fresh VM, None where it is not due."""
        if self._root is None and self._restart is not None and not self._closed:
            self._begin_again(self._restart)
        return self._root

    def _load(self) -> Loaded | None:
        """The code, None where it has to be fetched first."""
        source = self.config.vm.code
        try:
            return load(self._pool.services, source, wait=False)
        except FetchError:
            if getattr(source, "nack_on_miss", True):
                raise
            return None

    def _without_vm(self) -> HttpFilter:
        if self.config.failure_policy == FAIL_OPEN:
            return StreamFilter()
        root = self.serving_root()
        return FailedFilter() if root is None else StreamContext(root, self._silent)

    def _begin_again(self, restart: Restart) -> None:
        """Try to get a fresh VM. The counters move as Envoy's do: `vm_reload` never."""
        loaded = self._loaded
        if loaded is None:
            return
        if not restart.begin(linked=self._pool.spares.ready(self._vm_key)):
            self.stats.vm_reload_backoff.value += 1
            return
        clock = self._pool.services.monotonic
        began = clock()
        try:
            config = self._config_while_serving
            self._serve(self._pool.root(config, loaded.module, self._vm_key))
        except ModuleError as error:
            restart.failed()
            self.stats.vm_reload_failure.value += 1
            LOGGER.error("wasm log%s: reload failed: %s", self.config.log_prefix, error)
            return
        finally:
            restart.took((clock() - began) / 1e9)
        self.stats.vm_reload_success.value += 1


def while_serving(config: PluginConfig) -> PluginConfig:
    """The configuration for a VM that starts while others serve: everybody waits for it."""
    limits = config.vm.limits
    shorter = min(limits.start_timeout, limits.restart_timeout)
    return replace(config, vm=replace(config.vm, limits=replace(limits, start_timeout=shorter)))


def _nothing() -> None:
    """Nobody wants to know."""


class FailedFilter(StreamFilter):
    """Stands in for a plugin without a VM: every stream is answered with 503."""

    __slots__ = ()

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Answer."""
        self.callbacks.send_local_reply(FAIL_STREAM)
        return STOP_ITERATION
