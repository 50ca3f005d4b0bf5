"""`envoy.filters.network.wasm`: a Proxy-Wasm plugin as a network filter.

Owns the door, and what a connection gets without a VM. The filter of a connection is the plugin's
own context (`proxy_wasm/network_context.py`).
"""

from __future__ import annotations

from dataclasses import replace

from meshproxy.errors import StartupError
from meshproxy.network_filters.filter import (
    STOP_ITERATION,
    NetworkFilter,
    NetworkFilterCallbacks,
    NetworkFilterFactory,
    PlainFactory,
)
from meshproxy.network_filters.registry import NETWORK_FILTERS, NetworkFactoryContext
from meshproxy.proxy_wasm.config import FAIL_OPEN, PluginConfig
from meshproxy.wasm.errors import ModuleError


@NETWORK_FILTERS.register("envoy.extensions.filters.network.wasm.v3.Wasm")
def wasm(config: PluginConfig, context: NetworkFactoryContext) -> NetworkFilterFactory:
    """Start the plugin. Raises StartupError naming the filter, the module, and what it lacks."""
    # Loads the engine, for which a proxy without a plugin need not wait.
    from meshproxy.proxy_wasm.network_context import NetworkContext
    from meshproxy.proxy_wasm.plugin import Plugin
    from meshproxy.proxy_wasm.vm_pool import pool_of

    class WasmFilter(NetworkContext, NetworkFilter):
        """The context of a connection, which is its filter."""

    try:
        plugin = Plugin(pool_of(context.services), replace(config, direction=context.direction))
    except ModuleError as error:
        raise StartupError(
            f"Unable to create Wasm network filter {context.name}: {error}"
        ) from error

    def make(callbacks: NetworkFilterCallbacks) -> NetworkFilter:
        root = plugin.serving_root()
        if root is not None:
            return WasmFilter(root, callbacks)
        return NetworkFilter() if config.failure_policy == FAIL_OPEN else Refusal(callbacks)

    return PlainFactory(make)


class Refusal(NetworkFilter):
    """Stands in for a plugin without a VM: every connection is closed."""

    __slots__ = ("_callbacks",)

    def __init__(self, callbacks: NetworkFilterCallbacks) -> None:
        self._callbacks = callbacks

    def on_new_connection(self) -> int:
        """Close."""
        self._callbacks.connection.close_after_flush(False)
        return STOP_ITERATION
