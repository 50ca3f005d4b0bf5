"""What daprd's flags and environment have said, as one frozen value. Knows neither."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from meshproxy.dapr.app_settings import AppSettings

if TYPE_CHECKING:
    from meshproxy.server.dapr.mtls import Mtls

ALL_ADDRESSES: Final = "0.0.0.0"  # noqa: S104 (daprd's default: a pod's other containers may call)

RECONCILE_INTERVAL: Final = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Edges:
    """What stands around the APIs; times are seconds, a port of None is not opened.

    `metrics_port_given`: that it cannot be had is an error. `block_shutdown` None: a signal ends
    the sidecar at once. `h2c`: the HTTP API speaks HTTP/2 too. `unasked`: what the app is not asked
    for at its start (`config`, `subscribe`).
    """

    metrics_port: int | None = 9090
    metrics_port_given: bool = False
    metrics_listen_address: str = ALL_ADDRESSES
    public_port: int | None = None
    public_listen_address: str = ALL_ADDRESSES
    allowed_origins: tuple[str, ...] = ()
    block_shutdown: float | None = None
    h2c: bool = True
    unasked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DaprOptions:
    """The fields have the names and defaults of daprd's flags; sizes are bytes, times seconds.

    A port of 0 is any free one. `internal_grpc_port` None: one that stays the same for this app.
    `notes` are warnings: flags that were given and have no meaning here.
    """

    app_id: str
    namespace: str = ""
    app: AppSettings = field(default_factory=AppSettings)
    dapr_http_port: int = 3500
    dapr_grpc_port: int = 50001
    dapr_internal_grpc_port: int | None = None
    dapr_internal_grpc_listen_address: str = ""
    dapr_listen_addresses: tuple[str, ...] = ()
    resources_path: tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    max_body_size: int = 4 * 1024 * 1024
    read_buffer_size: int = 4 * 1024
    unix_domain_socket: str = ""
    graceful_shutdown_seconds: int = 5
    hot_reload_reconcile_interval: float = RECONCILE_INTERVAL
    enable_api_logging: bool = False
    log_as_json: bool = False
    api_token: str = ""
    mtls: Mtls | None = None
    edges: Edges = field(default_factory=Edges)
    notes: tuple[str, ...] = ()
