"""What a harness can drive of an Envoy configuration: a listener's Wasm plugins, and its routes.

Owns the choice of the listener. Refuses to start anything, and to know the filters of other kinds:
their names are told, and requests go past them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from meshproxy.config import load_config
from meshproxy.proxy_wasm.config import PluginConfig
from meshproxy.router.route import RouteConfiguration


@dataclass(frozen=True, slots=True)
class Configured:
    """The plugins in their order, the route table, and the names of filters that are left out."""

    plugins: tuple[PluginConfig, ...]
    routes: RouteConfiguration
    left_out: tuple[str, ...]


def read_configuration(path: str) -> Configured | None:
    """The first listener with a Wasm HTTP filter; None where there is none.

    Raises ConfigErrors with everything that is wrong in the file.
    """
    for listener in load_config(path).listeners:
        filters: list[Any] = list(getattr(listener.manager, "filters", ()))[:-1]
        plugins = [each.config for each in filters if isinstance(each.config, PluginConfig)]
        if plugins:
            others = [each.name for each in filters if not isinstance(each.config, PluginConfig)]
            return Configured(tuple(plugins), listener.manager.route_config, tuple(others))
    return None
