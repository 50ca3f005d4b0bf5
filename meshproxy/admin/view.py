"""What the admin interface needs to know and may do: the contract that a server fulfils.

Owns the protocols. Refuses to know who implements them (`server/`) and which endpoint asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from meshproxy.network.address import Address
    from meshproxy.proxy_wasm.vm_pool import VmPool
    from meshproxy.stats.store import Store
    from meshproxy.upstream.cluster import Cluster


class CommandLine(Protocol):
    """The flags that `/server_info` shows (`server.options.Options` is one)."""

    @property
    def config_path(self) -> str: ...  # noqa: D102
    @property
    def config_yaml(self) -> str: ...  # noqa: D102
    @property
    def mode(self) -> str: ...  # noqa: D102
    @property
    def concurrency(self) -> int: ...  # noqa: D102
    @property
    def admin_address_path(self) -> str: ...  # noqa: D102
    @property
    def drain_time_s(self) -> int: ...  # noqa: D102
    @property
    def drain_strategy(self) -> str: ...  # noqa: D102
    @property
    def parent_shutdown_time_s(self) -> int: ...  # noqa: D102
    @property
    def log_level(self) -> str: ...  # noqa: D102
    @property
    def component_log_level(self) -> Sequence[tuple[str, str]]: ...  # noqa: D102
    @property
    def log_path(self) -> str: ...  # noqa: D102
    @property
    def log_format(self) -> str: ...  # noqa: D102
    @property
    def log_format_escaped(self) -> bool: ...  # noqa: D102
    @property
    def file_flush_interval_msec(self) -> int: ...  # noqa: D102
    @property
    def file_flush_min_size_kb(self) -> int: ...  # noqa: D102
    @property
    def service_cluster(self) -> str: ...  # noqa: D102
    @property
    def service_node(self) -> str: ...  # noqa: D102
    @property
    def service_zone(self) -> str: ...  # noqa: D102


class LogLevels(Protocol):
    """Reading and changing log levels; the module `server.log_levels` is one."""

    def levels(self) -> Mapping[str, str]:
        """Level by component."""

    def set_level(self, component: str, level: str) -> None:
        """Set one component's level; KeyError for an unknown component or level."""

    def set_all_levels(self, level: str) -> None:
        """Set every component's level; KeyError for an unknown level."""


class ListenerView(Protocol):
    """A listener as `/listeners` shows it; TCP or pipe."""

    @property
    def name(self) -> str:
        """Its configured name."""

    @property
    def local_address(self) -> Address:
        """Where it is bound, with the port that the system chose."""


class ServerView(Protocol):
    """The running server."""

    @property
    def store(self) -> Store:
        """Every metric."""

    @property
    def clusters(self) -> Mapping[str, Cluster]:
        """The clusters by name, in the order of the configuration."""

    @property
    def listeners(self) -> Sequence[ListenerView]:
        """The listeners that are bound."""

    @property
    def tls_ends(self) -> Sequence[Any]:
        """Each TLS context in use, a `network.tls.DownstreamTls` or `UpstreamTls`."""

    @property
    def options(self) -> CommandLine:
        """The flags it was started with."""

    @property
    def log_levels(self) -> LogLevels:
        """The levels of the components."""

    @property
    def bootstrap(self) -> Mapping[str, Any]:
        """The configuration: `Bootstrap` as proto JSON, named as in YAML, secrets and all."""

    @property
    def extensions(self) -> Sequence[tuple[str, str, str]]:
        """(name, category, message) of each extension: `envoy.filters.http.router`,
        `envoy.filters.http`, `envoy.extensions.filters.http.router.v3.Router`.
        """

    @property
    def runtime_layers(self) -> Sequence[tuple[str, Mapping[str, str]]]:
        """(name, values) of each runtime layer, the strongest last."""

    @property
    def admin_layer(self) -> dict[str, str] | None:
        """The values of the layer that `/runtime_modify` changes; None where there is none."""

    @property
    def state(self) -> str:
        """LIVE, DRAINING, PRE_INITIALIZING or INITIALIZING."""

    @property
    def uptime(self) -> float:
        """Seconds since the start."""

    @property
    def loaded_at(self) -> float:
        """When the configuration was loaded, in unix seconds."""

    @property
    def wasm(self) -> VmPool | None:
        """The Wasm plugins and their VMs; None where there is no plugin."""

    def fail_health_checks(self, failed: bool) -> None:
        """Make the server unfit for traffic, or fit again: state, `server.live`, health checks."""

    def drain_listeners(self, *, graceful: bool, inbound_only: bool, skip_exit: bool) -> None:
        """Begin to stop listening, after a drain period if `graceful`; never with `skip_exit`."""

    def reopen_logs(self) -> None:
        """Open every log file again."""

    def quit(self) -> None:
        """Begin to end the process."""
