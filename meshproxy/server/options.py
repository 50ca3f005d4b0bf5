"""What the command line has said, as one frozen value. Knows neither flags nor files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from meshproxy.server.dapr.options import DaprOptions

DEFAULT_LOG_FORMAT: Final = "[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v"


@dataclass(frozen=True, slots=True)
class Options:
    """The fields have the names, units and defaults of Envoy's flags (`envoy --help`).

    `component_log_level` holds pairs of component and level. `ignored_flags` names the flags that
    were given and have no meaning here; whoever starts the server warns about them. `dapr` is what
    daprd's flags have said, None where there is none.
    """

    config_path: str = ""
    config_yaml: str = ""
    mode: Literal["serve", "validate"] = "serve"
    concurrency: int = 1
    admin_address_path: str = ""
    drain_time_s: int = 600
    drain_strategy: Literal["gradual", "immediate"] = "gradual"
    parent_shutdown_time_s: int = 900
    log_level: str = "info"
    component_log_level: tuple[tuple[str, str], ...] = ()
    log_path: str = ""
    log_format: str = DEFAULT_LOG_FORMAT
    log_format_escaped: bool = False
    file_flush_interval_msec: int = 1_000  # Envoy waits 10 s; who follows a log does not like to
    file_flush_min_size_kb: int = 64
    service_cluster: str = ""
    service_node: str = ""
    service_zone: str = ""
    allow_unsupported: bool = False
    ignored_flags: tuple[str, ...] = ()
    dapr: DaprOptions | None = None
