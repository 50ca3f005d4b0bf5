"""The contract between a host's session and whatever asks the host.

Owns the seam, and how a check connects. Refuses to know protocols and results.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from meshproxy.stats.store import Counter
from meshproxy.upstream.health_check.host_health import Failure

if TYPE_CHECKING:
    from meshproxy.network.address import Address
    from meshproxy.network.tls.upstream import UpstreamTls
    from meshproxy.upstream.cluster import Cluster
    from meshproxy.upstream.health_check.config import HealthCheckConfig
    from meshproxy.upstream.host import Host


class Probe(Protocol):
    """Asks one host, one check at a time, on a connection that it may keep."""

    def start(self) -> None:
        """Make a check. The owner hears how it went, never at once."""

    def give_up(self) -> None:
        """It has taken too long: the owner shall hear nothing of it any more."""

    def close(self) -> None:
        """There will be no check any more."""


class ProbeOwner(Protocol):
    """Who hears how checks go (`checker.py`)."""

    def on_passed(self, degraded: bool) -> None:
        """The host is well."""

    def on_failed(self, failure: Failure, retriable: bool = False, status: int = 0) -> None:
        """It is not; `status` is what HTTP said."""

    def exclude(self) -> None:
        """It asks to be left out even where all hosts are tried (x-envoy-immediate-health-check-
        fail)."""

    def count_verified(self) -> None:
        """Its service's name has been looked at."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a session asks, and over what."""

    cluster: Cluster
    host: Host
    config: HealthCheckConfig
    connector: Any

    def connect(self, owner: Any) -> Any:
        """Begin to connect for a check; see `network/connector.py`.

        Nothing of it is counted on the cluster, and only the check's own timeout ends it. TLS is
        the cluster's, but offers no protocol that the configuration does not name, as in Envoy.
        """
        options = replace(
            self.cluster.connect_options(self.host),
            tls=self._tls(counted=True),
            timeout=None,
            received=Counter(),
            sent=Counter(),
            override_alpn=self.config.alpn,
        )
        return self.connector.connect(owner, self.address, options)

    @property
    def address(self) -> Address:
        """Where checks go."""
        return self.host.health_check_address

    def hostname(self, configured: bytes) -> bytes:
        """Whom a check asks for: the endpoint's own word, or the check's, or the cluster's name."""
        own = self.host.health_check_hostname
        return own.encode() if own else configured or self.cluster.name.encode()

    @property
    def scheme(self) -> bytes:
        """By the transport socket."""
        return b"http" if self._tls(counted=False) is None else b"https"

    def _tls(self, *, counted: bool) -> UpstreamTls | None:
        """TLS of the host, or of the transport socket that checks are to have."""
        labels = self.config.transport_socket_match
        if labels is None:
            return self.cluster.tls_of(self.host)
        sockets = self.cluster.transport_sockets
        return (sockets.resolve(labels) if counted else sockets.find(labels)).tls
