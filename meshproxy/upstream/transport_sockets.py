"""`transport_socket_matches`: which hosts of a cluster are reached by which transport socket.

Owns the choice, made once for a host, and its counters. Refuses to know TLS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from meshproxy.network.tls.config import UpstreamTlsConfig

if TYPE_CHECKING:
    from meshproxy.network.tls.upstream import UpstreamTls
    from meshproxy.stats.store import Counter, Scope
    from meshproxy.upstream.host import Host

METADATA: Final = "envoy.transport_socket_match"
_NO_LABELS: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class TransportSocketMatch:
    """One `Cluster.TransportSocketMatch`. `tls` None: plain bytes."""

    name: str
    match: Mapping[str, Any]
    tls: UpstreamTlsConfig | None = None


@dataclass(frozen=True, slots=True)
class TransportSocket:
    """One of them at run time; `chosen` counts the hosts that have it."""

    match: Mapping[str, Any]
    tls: UpstreamTls | None
    chosen: Counter


class TransportSockets:
    """The transport sockets of a cluster. `ends`: those that speak TLS."""

    __slots__ = ("_default", "_matches", "ends")

    def __init__(
        self, default: UpstreamTls | None, matches: tuple[TransportSocketMatch, ...], scope: Scope
    ) -> None:
        self._default = TransportSocket({}, default, scope.counter("default.total_match_count"))
        self._matches = [
            TransportSocket(
                each.match,
                make_tls(each.tls, scope),
                scope.counter(f"{each.name}.total_match_count"),
            )
            for each in matches
        ]
        self.ends = [one.tls for one in (self._default, *self._matches) if one.tls is not None]

    def find(self, labels: Mapping[str, Any]) -> TransportSocket:
        """The first whose match is among `labels`."""
        for each in self._matches:
            if all(_same(labels.get(key), value) for key, value in each.match.items()):
                return each
        return self._default

    def resolve(self, labels: Mapping[str, Any]) -> TransportSocket:
        """The same, counted."""
        found = self.find(labels)
        found.chosen.value += 1
        return found

    def choose(self, host: Host) -> None:
        """Give a host its transport socket, by its metadata."""
        labels = host.metadata.get(METADATA)
        host.transport_socket = self.resolve(labels if isinstance(labels, Mapping) else _NO_LABELS)


def make_tls(config: UpstreamTlsConfig | None, scope: Scope) -> UpstreamTls | None:
    """TLS at run time."""
    if config is None:
        return None
    from meshproxy.network.tls.upstream import UpstreamTls  # loads `cryptography`

    return UpstreamTls(config, scope)


def _same(one: object, other: object) -> bool:
    """As values of protobuf: true is not 1."""
    return type(one) is type(other) and one == other
