"""A cluster: its configuration, its hosts, its counters, and the choice of a host.

Owns the host set and the gauges that describe it. Refuses to know where hosts come from (`dns.py`,
the configuration), how one is reached (`conn_pool.py`), and who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from meshproxy.http.http2.settings import Http2Settings
from meshproxy.network.connector import ConnectOptions
from meshproxy.network.tls.config import UpstreamTlsConfig
from meshproxy.stats.metrics import ClusterStats, Http1CodecStats, Http2CodecStats
from meshproxy.stats.response_codes import ResponseCodeStats
from meshproxy.stats.store import Gauge, Store
from meshproxy.upstream.health_check.config import HealthCheckConfig
from meshproxy.upstream.host import Host, Locality, LocalityConfig, no_metadata
from meshproxy.upstream.load_balancer import (
    ChooseHost,
    LbPolicy,
    LeastRequestConfig,
    LoadBalancer,
    RandomBits,
    random_bits,
)
from meshproxy.upstream.priority_set import PrioritySettings, choose_host
from meshproxy.upstream.transport_sockets import (
    TransportSocketMatch,
    TransportSockets,
    make_tls,
)

if TYPE_CHECKING:
    from meshproxy.http.filter_chain import FilterChain
    from meshproxy.network.tls.upstream import UpstreamTls
    from meshproxy.upstream.health_check.checker import HealthChecker


class DiscoveryType(StrEnum):
    """`Cluster.DiscoveryType`, as far as it is supported."""

    STATIC = "STATIC"
    STRICT_DNS = "STRICT_DNS"
    LOGICAL_DNS = "LOGICAL_DNS"


class DnsLookupFamily(StrEnum):
    """`Cluster.DnsLookupFamily`. AUTO is IPv6 and, where there is none, IPv4."""

    AUTO = "AUTO"
    V4_ONLY = "V4_ONLY"
    V6_ONLY = "V6_ONLY"
    V4_PREFERRED = "V4_PREFERRED"
    ALL = "ALL"


@dataclass(frozen=True, slots=True)
class CircuitBreakers:
    """`CircuitBreakers.Thresholds` of one routing priority."""

    max_connections: int = 1024
    max_pending_requests: int = 1024
    max_requests: int = 1024
    max_retries: int = 3
    track_remaining: bool = False


@dataclass(frozen=True, slots=True)
class DnsConfig:
    """How a DNS cluster looks up its names. Times are seconds.

    `failure_refresh_rate` is (base, max) of the exponential backoff after a failure, None for
    `refresh_rate`; `jitter` is added to every refresh, a random part of it.
    """

    refresh_rate: float = 5.0
    failure_refresh_rate: tuple[float, float] | None = None
    jitter: float = 0.0
    respect_ttl: bool = False
    lookup_family: DnsLookupFamily = DnsLookupFamily.AUTO


class UpstreamProtocol(StrEnum):
    """What a cluster's hosts are spoken to in: fixed, as the client of each request does, or by
    ALPN.
    """

    HTTP1 = "HTTP1"
    HTTP2 = "HTTP2"
    DOWNSTREAM = "DOWNSTREAM"
    AUTO = "AUTO"


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """A `Cluster` of the configuration with Envoy's defaults. Times are seconds, sizes bytes.

    `auto_sni` is the request header whose host TLS asks for, empty for none.
    `idle_timeout` (of a connection without a request) None: never; `max_requests_per_connection`
    0: without limit. `http_filters`: `config.HttpFilterConfig` of the filters before the codec.

    `warm_hosts` (`ignore_new_hosts_until_first_hc`): health is judged without hosts that have not
    been checked. `ignore_health_on_host_removal`: a host that its name has lost goes at once, not
    only when a check fails as well. `wait_for_warm_on_init` False: names may be looked up later.
    """

    name: str
    type: DiscoveryType = DiscoveryType.STATIC
    endpoints: tuple[LocalityConfig, ...] = ()
    lb_policy: LbPolicy = LbPolicy.ROUND_ROBIN
    least_request: LeastRequestConfig = field(default_factory=LeastRequestConfig)
    alt_stat_name: str = ""
    connect_timeout: float = 5.0
    per_connection_buffer_limit_bytes: int = 1024 * 1024
    circuit_breakers: CircuitBreakers = field(default_factory=CircuitBreakers)
    high_circuit_breakers: CircuitBreakers = field(default_factory=CircuitBreakers)
    dns: DnsConfig = field(default_factory=DnsConfig)
    healthy_panic_threshold: float = 50.0
    overprovisioning_factor: int = 140
    fail_traffic_on_panic: bool = False
    locality_weighted: bool = False
    idle_timeout: float | None = 3600.0
    max_requests_per_connection: int = 0
    upstream_protocol: UpstreamProtocol = UpstreamProtocol.HTTP1
    http2: Http2Settings = field(default_factory=Http2Settings)
    max_response_headers_kb: int = 60
    max_response_headers_count: int = 100
    enable_trailers: bool = False
    metadata: MappingProxyType[str, Any] = field(default_factory=no_metadata)
    tls: UpstreamTlsConfig | None = None
    transport_socket_matches: tuple[TransportSocketMatch, ...] = ()
    auto_sni: str = ""
    http_filters: tuple[Any, ...] = ()
    health_check: HealthCheckConfig | None = None
    warm_hosts: bool = False
    ignore_health_on_host_removal: bool = False
    close_connections_on_host_health_failure: bool = False
    wait_for_warm_on_init: bool = True

    @property
    def observability_name(self) -> str:
        """The name in metrics: `alt_stat_name`, or the cluster's own."""
        return self.alt_stat_name or self.name

    def locality_weights(self) -> dict[tuple[int, Locality], int] | None:
        """`load_balancing_weight` of each (priority, locality); None unless they count."""
        if not self.locality_weighted:
            return None
        return {(each.priority, each.locality): each.weight or 0 for each in self.endpoints}


# Gauge of `circuit_breakers.<priority>.`: (name, count on the cluster, limit in the thresholds).
_BREAKERS: Final = (
    ("cx_open", "connections_active", "max_connections"),
    ("rq_pending_open", "pending_active", "max_pending_requests"),
    ("rq_open", "requests_active", "max_requests"),
    ("rq_retry_open", "retries_active", "max_retries"),
)
_REMAINING: Final = {
    "cx_open": "remaining_cx",
    "rq_pending_open": "remaining_pending",
    "rq_open": "remaining_rq",
    "rq_retry_open": "remaining_retries",
}

# The counter that tells whether something was ever held against the limit.
_MOVES_WITH: Final = {
    "cx_open": "upstream_cx_total",
    "rq_open": "upstream_rq_total",
    "rq_pending_open": "upstream_rq_pending_total",
    "rq_retry_open": "upstream_rq_retry",
}


class Cluster:
    """A cluster at run time.

    choose_host         `(headers, random_value) -> Host | None`; replaced with every change of
                        hosts, so that the call goes straight to the picker
    hosts               every host, also the unhealthy ones, in the order of the configuration
    initialized         hosts are known, or were looked up once in vain; with active health checks,
                        each has been checked once
    requests_active, pending_active, connections_active, retries_active
                        what circuit breakers count; kept by the pool and the router
    health_checker      what checks the hosts, None for nothing
    filter_chain        what every request passes after its host has been chosen, None for nothing
    """

    __slots__ = (
        "_breaker_gauges",
        "_counts_http1",
        "_http2_stats",
        "_on_initialized",
        "balancer",
        "choose_host",
        "config",
        "connections_active",
        "filter_chain",
        "health_checker",
        "hosts",
        "initialized",
        "name",
        "pending_active",
        "requests_active",
        "response_stats",
        "retries_active",
        "scope",
        "settings",
        "stats",
        "tls",
        "transport_sockets",
    )

    choose_host: ChooseHost

    def __init__(
        self, config: ClusterConfig, store: Store, random: RandomBits = random_bits
    ) -> None:
        self.name = config.name
        self.filter_chain: FilterChain | None = None  # of `config.http_filters`
        self.health_checker: HealthChecker | None = None  # of `config.health_check`
        self.config = config
        self.scope = store.scope(f"cluster.{config.observability_name}.")
        self.stats = self.scope.block(ClusterStats)
        self.response_stats = ResponseCodeStats(self.scope)
        self.tls = make_tls(config.tls, self.scope)
        self.transport_sockets = TransportSockets(
            self.tls, config.transport_socket_matches, self.scope
        )
        self._counts_http1 = False
        self._http2_stats: Http2CodecStats | None = None
        self.balancer = LoadBalancer(config.lb_policy, config.least_request, random)
        self.settings = PrioritySettings(
            panic_threshold=config.healthy_panic_threshold,
            overprovisioning=config.overprovisioning_factor,
            fail_traffic_on_panic=config.fail_traffic_on_panic,
            locality_weights=config.locality_weights(),
        )
        self.requests_active = 0
        self.pending_active = 0
        self.connections_active = 0
        self.retries_active = 0
        self.hosts: tuple[Host, ...] = ()
        self.initialized = False
        self._on_initialized: list[Callable[[], None]] = []
        self._breaker_gauges = self._make_breaker_gauges()
        self.rebuild()

    def set_hosts(self, hosts: Iterable[Host]) -> bool:
        """Replace the hosts; a host that stays is the same object. Returns whether any changed."""
        hosts = tuple(hosts)
        known, wanted = set(self.hosts), set(hosts)
        removed = [host for host in self.hosts if host not in wanted]
        added = [host for host in hosts if host not in known]
        if not removed and not added:
            return False
        self.hosts = hosts
        self.stats.membership_change.value += 1
        for host in added:
            host.gone = False
            self.transport_sockets.choose(host)
        checker = self.health_checker
        if checker is not None:
            checker.prepare(added)
        self.rebuild()
        if checker is not None:
            checker.stop(removed)
            checker.start(added)
        leave(removed)
        return True

    def rebuild(self) -> None:
        """Recompute the choice and the gauges after hosts or their health have changed."""
        hosts = self.hosts
        stats = self.stats
        self.choose_host = choose_host(hosts, self.balancer, self.settings, stats.lb_healthy_panic)
        stats.membership_total.value = len(hosts)
        stats.membership_healthy.value = sum(host.healthy for host in hosts)
        stats.membership_degraded.value = sum(host.degraded for host in hosts)
        stats.membership_excluded.value = sum(host.excluded for host in hosts)

    def on_host_health_failure(self, host: Host) -> None:
        """An active health check has found it ill: leave its connections, as Envoy does.

        Those that carry requests end with them; those that are one client's alone, only where the
        configuration says so.
        """
        if host.pool is not None:
            host.pool.drain()
        if self.config.close_connections_on_host_health_failure:
            for client in tuple(host.tcp_clients):
                client.leave()

    def finish_initialization(self) -> None:
        """The hosts are known, or could not be found: when they are checked, traffic may come."""
        checker = self.health_checker
        if checker is None or not checker.when_checked(self._initialize):
            self._initialize()

    def _initialize(self) -> None:
        if self.initialized:
            return
        self.initialized = True
        for callback in self._on_initialized:
            callback()
        self._on_initialized.clear()

    def when_initialized(self, callback: Callable[[], None]) -> None:
        """Call `callback` as soon as `initialized`, at once if it is already."""
        if self.initialized:
            callback()
        else:
            self._on_initialized.append(callback)

    def tls_of(self, host: Host) -> UpstreamTls | None:
        """TLS to a host, None where it is reached without."""
        socket = host.transport_socket
        return self.tls if socket is None else socket.tls

    def connect_options(
        self, host: Host, server_name: str = "", alpn: tuple[str, ...] = ()
    ) -> ConnectOptions:
        """How to connect to a host.

        `server_name` is whom TLS asks for instead of its own, `alpn` what it offers where the
        configuration does not say.
        """
        config, stats = self.config, self.stats
        tls = self.tls_of(host)
        if tls is not None and tls.config.auto_host_sni and not server_name:
            server_name = host.hostname
        return ConnectOptions(
            config.connect_timeout,
            config.per_connection_buffer_limit_bytes,
            stats.upstream_cx_rx_bytes_total,
            stats.upstream_cx_tx_bytes_total,
            tls,
            server_name,
            alpn,
        )

    def count_http1(self) -> None:
        """Show the codec's statistics from the first connection on, as Envoy does."""
        if not self._counts_http1:
            self._counts_http1 = True
            self.scope.scope("http1.").block(Http1CodecStats)

    def count_lost_metadata(self) -> None:
        """METADATA cannot go to a host that speaks HTTP/1."""
        self.scope.scope("http1.").block(Http1CodecStats).metadata_not_supported_error.value += 1

    def http2_stats(self) -> Http2CodecStats:
        """`http2.`, shown from the first connection on, as Envoy does."""
        stats = self._http2_stats
        if stats is None:
            self._http2_stats = stats = self.scope.scope("http2.").block(Http2CodecStats)
        return stats

    def refresh_stats(self) -> None:
        """Set the circuit breakers' gauges from the counts; done when somebody looks."""
        for gauge, count, limit, remaining in self._breaker_gauges:
            left = max(0, limit - getattr(self, count))
            used = gauge.moves_with is not None and gauge.moves_with.used
            gauge.value = left == 0 and used
            if remaining is not None:
                remaining.value = left

    def _make_breaker_gauges(self) -> list[tuple[Gauge, str, int, Gauge | None]]:
        made: list[tuple[Gauge, str, int, Gauge | None]] = []
        for priority, breakers in (
            ("default", self.config.circuit_breakers),
            ("high", self.config.high_circuit_breakers),
        ):
            scope = self.scope.scope(f"circuit_breakers.{priority}.")
            pool_gauge = scope.gauge("cx_pool_open")
            for name, count, limit in _BREAKERS:
                gauge = scope.gauge(name)
                # Every request has the default priority until routes can say otherwise.
                if priority == "default":
                    gauge.moves_with = self.scope.counter(_MOVES_WITH[name])
                    pool_gauge.moves_with = self.stats.upstream_cx_total
                    remaining = scope.gauge(_REMAINING[name]) if breakers.track_remaining else None
                    made.append((gauge, count, getattr(breakers, limit), remaining))
        return made

    def __repr__(self) -> str:
        return f"Cluster({self.name!r}, {len(self.hosts)} hosts)"


def leave(hosts: Iterable[Host]) -> None:
    """A cluster has these hosts no more: idle connections end now, others with their requests."""
    for host in hosts:
        host.gone = True
        if host.pool is not None:
            host.pool.drain()
