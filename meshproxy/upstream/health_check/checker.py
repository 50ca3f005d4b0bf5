"""The health checker of a cluster: a session for each host.

Owns which hosts are checked, the gauges and who hears that a host has changed: at once, where Envoy
gathers changes for a second. Refuses to know how a host is checked (`session.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from meshproxy.stats.health_metrics import HealthCheckStats
from meshproxy.upstream.health_check.config import HealthCheckConfig
from meshproxy.upstream.health_check.events import event_line
from meshproxy.upstream.health_check.session import Session
from meshproxy.upstream.host import (
    DEGRADED_ACTIVE_HC,
    FAILED_ACTIVE_HC,
    PENDING_ACTIVE_HC,
    Host,
)

if TYPE_CHECKING:
    from meshproxy.upstream.cluster import Cluster

logger = logging.getLogger("meshproxy.health_checker")

WriteEvent = Callable[[bytes], None]


class HealthChecker:
    """Checks the hosts of one cluster, which tells it of every change of them."""

    def __init__(
        self,
        cluster: Cluster,
        config: HealthCheckConfig,
        connector: Any,
        event_logs: Iterable[WriteEvent] = (),
    ) -> None:
        self.cluster = cluster
        self.config = config
        self.connector = connector
        self.dispatcher = connector.dispatcher
        self.stats = cluster.scope.scope("health_check.").block(HealthCheckStats)
        self._event_logs = tuple(event_logs)
        self._sessions: dict[Host, Session] = {}
        self._begun = False
        self._left = 0  # first checks that `_on_checked` waits for
        self._on_checked: Callable[[], None] | None = None

    # -- hosts -----------------------------------------------------------------------------------

    def prepare(self, hosts: Iterable[Host]) -> None:
        """Hosts are about to come: each is unhealthy until its first check says otherwise."""
        for host in hosts:
            if host.is_checked:
                pending = PENDING_ACTIVE_HC if self.cluster.config.warm_hosts else 0
                host.set_health_flags(host.health_flags | FAILED_ACTIVE_HC | pending)

    def begin(self) -> None:
        """Begin to check: until then hosts wait for it, so that a start that takes long, in which
        no answer could be read, is not taken for silence of theirs."""
        if not self._begun:
            self._begun = True
            self.start(self.cluster.hosts)

    def start(self, hosts: Iterable[Host]) -> None:
        """Begin to check hosts that have come."""
        if not self._begun:
            return
        for host in hosts:
            if host.is_checked:
                self._sessions[host] = session = Session(self, host)
                host.health_monitor = session
                session.start()
        self.count()

    def stop(self, hosts: Iterable[Host]) -> None:
        """Check hosts no more that have gone."""
        for host in hosts:
            if self._is_due(host):
                self.one_checked()
            session = self._sessions.pop(host, None)
            if session is not None:
                host.health_monitor = None
                session.stop()
        self.count()

    def close(self) -> None:
        """Check nothing any more."""
        self.stop(tuple(self._sessions))

    def when_checked(self, callback: Callable[[], None]) -> bool:
        """Call `callback` when every host of now has been checked once; False: they have been."""
        self._left = sum(self._is_due(host) for host in self.cluster.hosts)
        self._on_checked = callback if self._left else None
        return bool(self._left)

    def _is_due(self, host: Host) -> bool:
        """Whether a host's first check is still to come."""
        session = self._sessions.get(host)
        return session.health.first if session is not None else host.is_checked

    def one_checked(self) -> None:
        """A host has been checked for the first time, or never will be."""
        self._left -= 1
        if self._left == 0 and self._on_checked is not None:
            callback, self._on_checked = self._on_checked, None
            callback()

    # -- results ---------------------------------------------------------------------------------

    def count(self) -> None:
        """Set the gauges."""
        flags = [host.health_flags for host in self._sessions]
        self.stats.healthy.value = sum(not each & FAILED_ACTIVE_HC for each in flags)
        self.stats.degraded.value = sum(bool(each & DEGRADED_ACTIVE_HC) for each in flags)

    def on_changed(self, host: Host) -> None:
        """The flags of a host are others: choose among others, and close what leads to it."""
        self.count()
        self.cluster.rebuild()
        if host.health_flags & FAILED_ACTIVE_HC:
            self.cluster.on_host_health_failure(host)

    def tell(self, host: Host, event: dict[str, Any]) -> None:
        """Write an event into the logs."""
        if self._event_logs:
            line = event_line(self.cluster, host, self.dispatcher.time(), event)
            for write in self._event_logs:
                write(line)

    def has_traffic(self) -> bool:
        """Whether the cluster has ever been connected to for a request."""
        return self.cluster.stats.upstream_cx_total.used
