"""A host: one address of a cluster, with its health and its own counters.

Owns what `/clusters` prints for a host. Refuses to know who picks it (`load_balancer.py`) and how
it is reached (`conn_pool.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from meshproxy.network.address import Address

# core.HealthStatus as endpoints carry it in `health_status`.
UNKNOWN: Final = 0
HEALTHY: Final = 1
UNHEALTHY: Final = 2
DRAINING: Final = 3
TIMEOUT: Final = 4
DEGRADED: Final = 5

# Host::HealthFlag; the texts are Envoy's, in the order in which it prints them.
FAILED_ACTIVE_HC: Final = 0x01
FAILED_OUTLIER_CHECK: Final = 0x02
FAILED_EDS_HEALTH: Final = 0x04
DEGRADED_ACTIVE_HC: Final = 0x08
DEGRADED_EDS_HEALTH: Final = 0x10
PENDING_DYNAMIC_REMOVAL: Final = 0x20
PENDING_ACTIVE_HC: Final = 0x40
EXCLUDED_VIA_IMMEDIATE_HC_FAIL: Final = 0x80
ACTIVE_HC_TIMEOUT: Final = 0x100
EDS_STATUS_DRAINING: Final = 0x200

HEALTH_FLAG_TEXTS: Final = (
    (FAILED_ACTIVE_HC, "/failed_active_hc"),
    (FAILED_OUTLIER_CHECK, "/failed_outlier_check"),
    (FAILED_EDS_HEALTH, "/failed_eds_health"),
    (DEGRADED_ACTIVE_HC, "/degraded_active_hc"),
    (DEGRADED_EDS_HEALTH, "/degraded_eds_health"),
    (PENDING_DYNAMIC_REMOVAL, "/pending_dynamic_removal"),
    (PENDING_ACTIVE_HC, "/pending_active_hc"),
    (EXCLUDED_VIA_IMMEDIATE_HC_FAIL, "/excluded_via_immediate_hc_fail"),
    (ACTIVE_HC_TIMEOUT, "/active_hc_timeout"),
    (EDS_STATUS_DRAINING, "/eds_status_draining"),
)

_FLAGS_OF_STATUS: Final = {
    UNKNOWN: 0,
    HEALTHY: 0,
    UNHEALTHY: FAILED_EDS_HEALTH,
    DRAINING: EDS_STATUS_DRAINING,
    TIMEOUT: FAILED_EDS_HEALTH,
    DEGRADED: DEGRADED_EDS_HEALTH,
}
_UNHEALTHY_FLAGS: Final = (
    FAILED_ACTIVE_HC | FAILED_OUTLIER_CHECK | FAILED_EDS_HEALTH | EDS_STATUS_DRAINING
)
_DEGRADED_FLAGS: Final = DEGRADED_ACTIVE_HC | DEGRADED_EDS_HEALTH
_EXCLUDED_FLAGS: Final = PENDING_ACTIVE_HC | EXCLUDED_VIA_IMMEDIATE_HC_FAIL | EDS_STATUS_DRAINING


@dataclass(frozen=True, slots=True)
class Locality:
    """Where a host stands: `core.Locality`."""

    region: str = ""
    zone: str = ""
    sub_zone: str = ""


NOWHERE: Final = Locality()
NO_METADATA: Final[MappingProxyType[str, Any]] = MappingProxyType({})


def no_metadata() -> MappingProxyType[str, Any]:
    """The metadata of whatever has none."""
    return NO_METADATA


@dataclass(frozen=True, slots=True)
class EndpointHealthCheck:
    """`Endpoint.HealthCheckConfig`: where active checks go instead, and whom they ask for.

    `address` None: the endpoint's own; `port` 0: that of the address. `disabled`: no checks.
    """

    port: int = 0
    hostname: str = ""
    address: Address | None = None
    disabled: bool = False


_NO_CHECK_CONFIG: Final = EndpointHealthCheck()


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """One `LbEndpoint`: where to connect, or the name to look up for it.

    `address` is an IP address or, in a DNS cluster, a host name; `hostname` is what
    `auto_host_rewrite` sends, empty where the configuration gives none. `pipe` is the path of a
    Unix socket and excludes `address` and `port`. `weight` is at least 1.
    """

    address: str
    port: int
    hostname: str = ""
    weight: int = 1
    health_status: int = UNKNOWN
    metadata: MappingProxyType[str, Any] = field(default_factory=no_metadata)
    pipe: str = ""
    health_check: EndpointHealthCheck = _NO_CHECK_CONFIG


@dataclass(frozen=True, slots=True)
class LocalityConfig:
    """One `LocalityLbEndpoints`. `weight` is its `load_balancing_weight`, None where not set."""

    endpoints: tuple[EndpointConfig, ...]
    locality: Locality = NOWHERE
    priority: int = 0
    weight: int | None = None


class HostStats:
    """What a host counts for itself. Plain integers: Envoy shows them in `/clusters` only."""

    __slots__ = (
        "cx_active",
        "cx_connect_fail",
        "cx_total",
        "rq_error",
        "rq_success",
        "rq_timeout",
        "rq_total",
    )

    def __init__(self) -> None:
        self.cx_active = 0
        self.cx_connect_fail = 0
        self.cx_total = 0
        self.rq_error = 0
        self.rq_success = 0
        self.rq_timeout = 0
        self.rq_total = 0


class Host:
    """One upstream host.

    address          where to connect; LOGICAL_DNS replaces it in place
    hostname         the name behind it, empty in a STATIC cluster unless configured
    weight           at least 1
    locality, priority, metadata    from the configuration
    canary           by its metadata; its answers are counted once more, apart
    healthy          may be picked; `degraded` hosts are picked when too few are healthy
    active_requests  `rq_active`; the pool keeps it, LEAST_REQUEST reads it
    stats            HostStats
    pool             the connection pool, made by `upstream/conn_pool.py` on first use
    tcp_clients      connections that are one client's alone (`upstream/tcp_client.py`)
    health_monitor   the session of active health checks, None without
    is_checked       active health checks may be made of it
    gone             the cluster has it no more: no connection to it is kept
    transport_socket  how it is reached (`transport_sockets.py`), None before it is of a cluster
    """

    __slots__ = (
        "_check_address",
        "_check_port",
        "active_requests",
        "address",
        "canary",
        "degraded",
        "gone",
        "health_check_hostname",
        "health_flags",
        "health_monitor",
        "healthy",
        "hostname",
        "is_checked",
        "locality",
        "metadata",
        "pool",
        "priority",
        "stats",
        "tcp_clients",
        "transport_socket",
        "weight",
    )

    def __init__(
        self,
        address: Address,
        endpoint: EndpointConfig,
        locality: Locality = NOWHERE,
        priority: int = 0,
        hostname: str | None = None,
    ) -> None:
        self.address = address
        self.hostname = endpoint.hostname if hostname is None else hostname
        self.weight = endpoint.weight
        self.locality = locality
        self.priority = priority
        self.metadata = endpoint.metadata
        lb = endpoint.metadata.get("envoy.lb")
        self.canary = isinstance(lb, Mapping) and lb.get("canary") is True
        self.active_requests = 0
        self.stats = HostStats()
        self.pool: Any = None
        self.gone = False
        self.tcp_clients: set[Any] = set()
        check = endpoint.health_check
        self._check_address = check.address
        self._check_port = check.port
        self.health_check_hostname = check.hostname
        self.is_checked = not check.disabled
        self.health_monitor: Any = None
        self.transport_socket: Any = None
        self.health_flags = 0
        self.healthy = True
        self.degraded = False
        self.set_health_status(endpoint.health_status)

    def set_health_status(self, status: int) -> None:
        """Take over a `health_status` from the configuration."""
        self.set_health_flags(_FLAGS_OF_STATUS[status])

    def set_health_flags(self, flags: int) -> None:
        """Replace the flags; the owner of the host set has to rebuild it afterwards."""
        self.health_flags = flags
        self.healthy = not flags & (_UNHEALTHY_FLAGS | _DEGRADED_FLAGS)
        self.degraded = bool(flags & _DEGRADED_FLAGS) and not flags & _UNHEALTHY_FLAGS

    @property
    def health_check_address(self) -> Address:
        """Where active checks go."""
        address = self._check_address or self.address
        return address.with_port(self._check_port) if self._check_port else address

    @property
    def excluded(self) -> bool:
        """Not counted when health is judged: it is leaving, or its first probe is still out."""
        return bool(self.health_flags & _EXCLUDED_FLAGS)

    def health_flags_text(self) -> str:
        """`healthy`, or the flags as `/clusters` prints them: `/failed_eds_health`."""
        return "".join(text for flag, text in HEALTH_FLAG_TEXTS if self.health_flags & flag) or (
            "healthy"
        )

    def __repr__(self) -> str:
        return f"Host({self.address.text}, {self.health_flags_text()})"
