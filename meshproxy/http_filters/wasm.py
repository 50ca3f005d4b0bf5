"""`envoy.filters.http.wasm`: a Proxy-Wasm plugin as an HTTP filter.

Owns the door: a plugin that cannot be started stops the start, named. The filter of a stream is the
plugin's own context (`proxy_wasm/stream_context.py`).

Beyond Envoy: a whole `Wasm` message in `typed_per_filter_config` is another plugin there, in the
same VM where code and `vm_config` are the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from meshproxy.errors import StartupError
from meshproxy.http.filter import FactoryByScope, FilterFactory
from meshproxy.http_filters.registry import HTTP_FILTERS, FactoryContext
from meshproxy.proxy_wasm.config import PluginConfig
from meshproxy.wasm.errors import ModuleError

TYPE: Final = "envoy.extensions.filters.http.wasm.v3.Wasm"


@HTTP_FILTERS.register(TYPE, per_route=TYPE)
def wasm(config: PluginConfig, context: FactoryContext) -> FilterFactory | FactoryByScope:
    """Start the plugin; the VM is shared with every other plugin of the same VM key.

    Raises StartupError naming the filter, the module, and what it lacks or did.
    """
    default = _started(config, context)
    if not context.overrides:
        return default
    # One entry may count in many scopes.
    others = {
        id(each): _started(each, context)
        for each in {id(each): each for each in context.overrides.values()}.values()
    }
    return FactoryByScope(
        default, {scope: others[id(each)] for scope, each in context.overrides.items()}
    )


def _started(config: PluginConfig, context: FactoryContext) -> FilterFactory:
    # Loads the engine, for which a proxy without a plugin need not wait.
    from meshproxy.proxy_wasm.plugin import Plugin
    from meshproxy.proxy_wasm.vm_pool import pool_of

    try:
        plugin = Plugin(pool_of(context.services), replace(config, direction=context.direction))
    except ModuleError as error:
        raise StartupError(f"Unable to create Wasm HTTP filter {context.name}: {error}") from error
    return plugin.new_filter
