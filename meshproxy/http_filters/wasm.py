"""`envoy.filters.http.wasm`: a Proxy-Wasm plugin as an HTTP filter.

Owns the door: a plugin that cannot be started stops the start, named. The filter of a stream is the
plugin's own context (`proxy_wasm/stream_context.py`).
"""

from __future__ import annotations

from dataclasses import replace

from meshproxy.errors import StartupError
from meshproxy.http.filter import FilterFactory
from meshproxy.http_filters.registry import HTTP_FILTERS, FactoryContext
from meshproxy.proxy_wasm.config import PluginConfig
from meshproxy.proxy_wasm.plugin import Plugin
from meshproxy.proxy_wasm.vm_pool import pool_of
from meshproxy.wasm.errors import ModuleError


@HTTP_FILTERS.register("envoy.extensions.filters.http.wasm.v3.Wasm")
def wasm(config: PluginConfig, context: FactoryContext) -> FilterFactory:
    """Start the plugin; the VM is shared with every other plugin of the same VM key.

    Raises StartupError naming the filter, the module, and what it lacks or did.
    """
    try:
        plugin = Plugin(pool_of(context.services), replace(config, direction=context.direction))
    except ModuleError as error:
        raise StartupError(f"Unable to create Wasm HTTP filter {context.name}: {error}") from error
    return plugin.new_filter
