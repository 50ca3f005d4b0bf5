"""`envoy.bootstrap.wasm`: a plugin that serves no stream, but has timers, queues and calls.

Owns that it lives. A filter whose VM has failed is restarted by the next request; here no request
comes, so a timer does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from meshproxy.proxy_wasm.plugin import Plugin

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.config import WasmServiceConfig
    from meshproxy.proxy_wasm.vm_pool import VmPool

_MORE: Final = 1.5
"""FAIL_RELOAD waits up to half an interval longer than the interval."""


class WasmService:
    """A running service. Raises ModuleError where its plugin cannot be started."""

    def __init__(self, pool: VmPool, config: WasmServiceConfig) -> None:
        self.plugin = Plugin(pool, config.plugin)
        self._dispatcher = pool.services.dispatcher
        self._wait = config.plugin.reload_interval * _MORE
        self.plugin.on_failed = self._failed

    def _failed(self) -> None:
        if self.plugin.restarts:
            self._dispatcher.call_later(self._wait, self._again)

    def _again(self) -> None:
        if self.plugin.restarts and self.plugin.serving_root() is None:
            self._failed()
