"""Envoy's log levels and components, and which stdlib logger each is. Writes no line itself.

The component `upstream` is the logger `meshproxy.upstream`; modules take theirs with
`logging.getLogger("meshproxy.upstream")`. `TRACE` is below DEBUG.
"""

from __future__ import annotations

import logging
from typing import Final

ROOT: Final = "meshproxy"
TRACE: Final = 5
OFF: Final = 100

LEVELS: Final = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": OFF,
}
"""Every name that Envoy takes for a level, with its number."""

LEVEL_NAMES: Final = {number: name for name, number in LEVELS.items() if name != "warn"}
"""The name that Envoy prints for a number."""

_COMPONENTS: Final = """
a2a admin ai_protocol_manager alternate_protocols_cache aws assert backtrace basic_auth cache_filter
client config connection conn_handler compression credential_injector decompression dns dubbo
envoy_bug ext_authz ext_proc rocketmq file filter forward_proxy geolocation grpc happy_eyeballs hc
health_checker http http2 hystrix init io jwt json_rpc kafka key_value_store lua local_rate_limit
main matcher mcp misc mongo multi_connection notification oauth2 quic quic_stream pool
rate_limit_quota rbac rds redis router runtime stats secret sse tap testing thrift tracing upstream
udp wasm websocket golang stats_sinks dynamic_modules ip_tagging
"""

COMPONENTS: Final = tuple(_COMPONENTS.split())
"""Envoy 1.40's components, in the order in which its admin lists them."""


def component_of(logger: str) -> str:
    """The component to print for the name of a logger; a foreign one keeps its name."""
    return logger.removeprefix(f"{ROOT}.") if logger != ROOT else "misc"


def level_of(component: str) -> str:
    """The name of the level at which a component logs now."""
    level = logging.getLogger(f"{ROOT}.{component}").getEffectiveLevel()
    return LEVEL_NAMES.get(level, "off" if level > logging.CRITICAL else "info")


def levels() -> dict[str, str]:
    """Component and level of all components, as `POST /logging` lists them."""
    return {component: level_of(component) for component in COMPONENTS}


def set_level(component: str, level: str) -> None:
    """Set one component's level by name. KeyError names an unknown component or level."""
    if component not in COMPONENTS:
        raise KeyError(component)
    logging.getLogger(f"{ROOT}.{component}").setLevel(LEVELS[level])


def set_all_levels(level: str) -> None:
    """Set every component's level by name. KeyError names an unknown level."""
    number = LEVELS[level]
    logging.getLogger(ROOT).setLevel(number)
    for component in COMPONENTS:
        logging.getLogger(f"{ROOT}.{component}").setLevel(number)
