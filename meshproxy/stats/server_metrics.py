"""The metrics that belong to no listener and no cluster: `server.`, watchdogs, runtime, codec.

Owns those blocks together, so that every name exists from the start. Refuses to know the server:
what it is doing is told, what can be looked up is looked up when somebody reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from meshproxy.stats.memory import memory
from meshproxy.stats.metrics import (
    Http1CodecStats,
    RouterStats,
    RuntimeStats,
    ServerStats,
    WatchdogStats,
)
from meshproxy.stats.store import Gauge

if TYPE_CHECKING:
    from meshproxy.stats.store import Store

STATES: Final = ("LIVE", "DRAINING", "PRE_INITIALIZING", "INITIALIZING")
"""`envoy.admin.v3.ServerInfo.State`; `server.state` is the index."""

NO_CERTIFICATE: Final = 4294967295
"""`server.days_until_first_cert_expiring` where there is none to expire."""


class ServerMetrics:
    """The blocks of one process. `uptime` gives seconds since the start.

    `codec` is what every HTTP/1 server codec counts into.
    """

    def __init__(
        self, store: Store, uptime: Callable[[], float], version: str, concurrency: int = 1
    ) -> None:
        self._store = store
        self._uptime = uptime
        self.certificates: Callable[[], int | None] = lambda: None  # days until one expires
        self.server = store.scope("server.").block(ServerStats)
        self.runtime = store.scope("runtime.").block(RuntimeStats)
        self.codec = store.scope("http1.").block(Http1CodecStats)
        scopes = ["main_thread.", "workers.", "server.main_thread."]
        scopes += [f"server.worker_{number}." for number in range(concurrency)]
        for prefix in scopes:
            store.scope(prefix).block(WatchdogStats)
        store.scope("server.compilation_settings.").gauge("fips_mode")
        store.scope("overload.").histogram("refresh_interval_delay")
        store.scope("envoy.overload_actions.").counter("reset_high_memory_stream.count")
        store.scope("http.async-client.").block(RouterStats)
        self._clusters = store.scope("cluster_manager.").gauge("active_clusters")
        threads = store.scope("thread_local_cluster_manager.")
        names = ["main_thread", *(f"worker_{number}" for number in range(concurrency))]
        self._inflated = [threads.gauge(f"{name}.clusters_inflated") for name in names]
        self.server.concurrency.value = concurrency
        self.server.days_until_first_cert_expiring.value = NO_CERTIFICATE
        self.server.version.value = version_number(version)
        self.set_state("PRE_INITIALIZING")
        store.refreshers.append(self.refresh)

    def runtime_loaded(self, layers: Sequence[tuple[str, Mapping[str, str]]]) -> None:
        """Take note of the runtime: its layers by name, each from key to value."""
        self.runtime.load_success.value += 1
        self.runtime.num_layers.value = len(layers)
        self.runtime.num_keys.value = len({key for _, values in layers for key in values})

    def set_state(self, state: str) -> None:
        """Show one of STATES; only a LIVE server is live."""
        self.server.state.value = STATES.index(state)
        self.server.live.value = int(state == "LIVE")

    def initialized(self, milliseconds: int) -> None:
        """Record how long it took from the start until traffic was taken."""
        self.server.initialization_time_ms.record(milliseconds)

    def refresh(self) -> None:
        """Look up what is not counted: memory, uptime, connections."""
        server = self.server
        server.memory_allocated.value, server.memory_heap_size.value, physical = memory()
        server.memory_physical_size.value = physical
        server.uptime.value = int(self._uptime())
        days = self.certificates()
        server.days_until_first_cert_expiring.value = NO_CERTIFICATE if days is None else days
        for gauge in self._inflated:
            gauge.value = self._clusters.value
        # Connections are counted per listener; the admin interface's are not traffic.
        server.total_connections.value = sum(
            metric.value
            for metric in self._store
            if type(metric) is Gauge and metric.tagged_name == "listener.downstream_cx_active"
        )


def version_number(version: str) -> int:
    """`1.40.2` as 14002: Envoy shows the first digits of its commit, which say even less."""
    parts = [int(part) if part.isdecimal() else 0 for part in version.split(".")[:3]]
    major, minor, patch = (*parts, 0, 0, 0)[:3]
    return major * 10000 + minor * 100 + patch
