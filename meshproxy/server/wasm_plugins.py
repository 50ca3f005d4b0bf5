"""Plugins that are not HTTP filters: Wasm access loggers and Wasm services.

Owns their start, and how a failure of it is said. Imported where a configuration has one: loading
the engine takes time that no other proxy should wait for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshproxy.errors import StartupError
from meshproxy.proxy_wasm.access_log import WasmAccessLog
from meshproxy.proxy_wasm.plugin import Plugin
from meshproxy.proxy_wasm.service import WasmService
from meshproxy.proxy_wasm.vm_pool import pool_of
from meshproxy.wasm.errors import ModuleError

if TYPE_CHECKING:
    from meshproxy.config.access_log import WasmAccessLogConfig
    from meshproxy.proxy_wasm.config import WasmServiceConfig
    from meshproxy.proxy_wasm.services import Services


def start_access_log(config: WasmAccessLogConfig, services: Services) -> WasmAccessLog:
    """Start a plugin that logs. Raises StartupError naming it and the reason."""
    try:
        plugin = Plugin(pool_of(services), config.plugin)
    except ModuleError as error:
        raise StartupError(f"Unable to create Wasm access log {config.name}: {error}") from error
    return WasmAccessLog(plugin, config.passes)


def start_service(config: WasmServiceConfig, services: Services) -> WasmService:
    """Start a plugin that serves no stream. Raises StartupError naming it and the reason."""
    try:
        return WasmService(pool_of(services), config)
    except ModuleError as error:
        raise StartupError(f"Unable to create Wasm service {config.name}: {error}") from error
