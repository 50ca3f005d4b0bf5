"""Every cluster by name, and how one comes, changes and goes.

Owns the table and the sources of hosts. Refuses to know who routes to a cluster.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from meshproxy.network.address import Address
from meshproxy.network.connector import Connector
from meshproxy.stats.metrics import ClusterManagerStats
from meshproxy.upstream.cluster import Cluster, ClusterConfig, DiscoveryType, leave
from meshproxy.upstream.dns import DnsDiscovery, Resolver
from meshproxy.upstream.host import EndpointConfig, Host
from meshproxy.upstream.pools import load

if TYPE_CHECKING:
    from meshproxy.http.dispatcher import Dispatcher
    from meshproxy.http.log_file import AccessLogManager
    from meshproxy.stats.store import Store

logger = logging.getLogger("meshproxy.upstream")


class ClusterManager:
    """The clusters of the process.

    A cluster is in `clusters` as soon as it is known at start; one that comes or changes later is
    warmed first, so that a request never meets a cluster whose names have not been looked up.
    """

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        resolver: Resolver,
        logs: AccessLogManager | None = None,
    ) -> None:
        """`logs` has the files of health check events; without it there are none."""
        self.clusters: dict[str, Cluster] = {}
        self.stats = store.scope("cluster_manager.").block(ClusterManagerStats)
        self._store = store
        self._dispatcher = dispatcher
        self._resolver = resolver
        self._logs = logs
        self._warming: dict[str, Cluster] = {}
        self._discoveries: dict[Cluster, DnsDiscovery] = {}
        store.refreshers.append(self._refresh)

    def get(self, name: str) -> Cluster | None:
        """The cluster of this name, None where there is none (yet)."""
        return self.clusters.get(name)

    def add(self, config: ClusterConfig) -> Cluster:
        """Make a cluster of the bootstrap known at once. Raises ValueError if the name is taken."""
        if config.name in self.clusters:
            raise ValueError(f"cluster manager: duplicate cluster '{config.name}'")
        cluster = self._make(config)
        self.clusters[config.name] = cluster
        self.stats.cluster_added.value += 1
        self._count()
        self._start_discovery(cluster)
        return cluster

    def replace(self, config: ClusterConfig) -> Cluster:
        """Add a cluster or change one while serving: it takes its place when it is warm."""
        cluster = self._make(config)
        if (superseded := self._warming.pop(config.name, None)) is not None:
            self._stop(superseded)
        self._warming[config.name] = cluster
        if config.name in self.clusters:
            self.stats.cluster_modified.value += 1
        else:
            self.stats.cluster_added.value += 1
        self._count()
        cluster.when_initialized(lambda: self._activate(cluster))
        self._begin_checks(cluster)
        self._start_discovery(cluster)
        return cluster

    def remove(self, name: str) -> bool:
        """Forget a cluster; requests under way end on the connections they have."""
        found = [table.pop(name, None) for table in (self._warming, self.clusters)]
        gone = [cluster for cluster in found if cluster is not None]
        for cluster in gone:
            self._stop(cluster)
        if gone:
            self.stats.cluster_removed.value += 1
            self._count()
        return bool(gone)

    async def initialize(self) -> None:
        """Return when every cluster knows its hosts, or has once failed to find them; where they
        are checked, each has been once."""
        for cluster in self.clusters.values():
            self._begin_checks(cluster)
        waiting = [cluster for cluster in self.clusters.values() if not cluster.initialized]
        if waiting:
            names = ", ".join(cluster.name for cluster in waiting)
            logger.info("cm init: waiting for the first DNS resolution or check of %s", names)
            done = asyncio.Event()
            left = set(waiting)

            def ready(cluster: Cluster) -> None:
                left.discard(cluster)
                if not left:
                    done.set()

            for cluster in waiting:
                cluster.when_initialized(lambda cluster=cluster: ready(cluster))  # type: ignore[misc]
            await done.wait()
        logger.info("cm init: all clusters initialized")

    def close(self) -> None:
        """Look up and check nothing any more."""
        for discovery in self._discoveries.values():
            discovery.stop()
        self._discoveries.clear()
        for cluster in (*self.clusters.values(), *self._warming.values()):
            if cluster.health_checker is not None:
                cluster.health_checker.close()

    def _begin_checks(self, cluster: Cluster) -> None:
        if cluster.health_checker is not None:
            cluster.health_checker.begin()

    def _make(self, config: ClusterConfig) -> Cluster:
        load(config.upstream_protocol)
        cluster = Cluster(config, self._store, self._dispatcher.random)
        check = config.health_check
        if check is not None:
            # Not at the top: few clusters are checked.
            from meshproxy.upstream.health_check.checker import HealthChecker

            logs = self._logs
            writers = [] if logs is None else [logs.file(p).write for p in check.event_log_paths]
            cluster.health_checker = HealthChecker(
                cluster, check, Connector(self._dispatcher), writers
            )
        return cluster

    def _activate(self, cluster: Cluster) -> None:
        del self._warming[cluster.name]
        old = self.clusters.get(cluster.name)
        self.clusters[cluster.name] = cluster
        if old is not None:
            self._stop(old)
        self._count()
        # The two shared the gauges of their name while one was warming.
        cluster.rebuild()

    def _start_discovery(self, cluster: Cluster) -> None:
        if cluster.config.type is DiscoveryType.STATIC:
            cluster.set_hosts(static_hosts(cluster.config))
            cluster.finish_initialization()
            return
        discovery = DnsDiscovery(cluster, self._resolver, self._dispatcher)
        self._discoveries[cluster] = discovery
        discovery.start()

    def _stop(self, cluster: Cluster) -> None:
        if (discovery := self._discoveries.pop(cluster, None)) is not None:
            discovery.stop()
        if cluster.health_checker is not None:
            cluster.health_checker.close()
        leave(cluster.hosts)

    def _count(self) -> None:
        self.stats.active_clusters.value = len(self.clusters)
        self.stats.warming_clusters.value = len(self._warming)

    def _refresh(self) -> None:
        for cluster in self.clusters.values():
            cluster.refresh_stats()


def static_hosts(config: ClusterConfig) -> list[Host]:
    """The hosts of a STATIC cluster, each address of a priority once."""
    hosts: dict[tuple[int, str], Host] = {}
    for locality in config.endpoints:
        for endpoint in locality.endpoints:
            host = Host(_address(endpoint), endpoint, locality.locality, locality.priority)
            hosts.setdefault((host.priority, host.address.text), host)
    return list(hosts.values())


def _address(endpoint: EndpointConfig) -> Address:
    if endpoint.pipe:
        return Address.pipe(endpoint.pipe)
    return Address.parse(endpoint.address, endpoint.port)
