"""Filter chains of a listener: their configuration, and what a connection gets at run time.

Owns the words. Refuses to know which filters there are (`network_filters/`) and what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from meshproxy.network.connection import Connection, ConnectionOwner
from meshproxy.network.filter_chain_match import EVERYTHING, FilterChainMatch
from meshproxy.network.tls.config import DownstreamTlsConfig
from meshproxy.stats.store import Counter

if TYPE_CHECKING:
    from meshproxy.network.tls.downstream import DownstreamTls


@dataclass(frozen=True, slots=True)
class NetworkFilterConfig:
    """One filter of a chain.

    `type_name` is the full name of its message, which decides the filter; `config` is what the
    filter's factory takes. The last one is terminal: it takes the bytes and passes nothing on.
    """

    name: str
    type_name: str
    config: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterChainConfig:
    """A `FilterChain`. `transport_socket_connect_timeout` is in seconds, None: never."""

    filters: Sequence[NetworkFilterConfig]
    name: str = ""
    match: FilterChainMatch = EVERYTHING
    tls: DownstreamTlsConfig | None = None
    transport_socket_connect_timeout: float | None = None


class Drainable(Protocol):
    """What has to end when a listener drains: the connection managers and proxies of its chains."""

    draining: bool

    @property
    def requests_active(self) -> int:
        """How much is under way that a drain waits for."""

    def drain(self) -> None:
        """Close what is idle, and let the rest end with what it is doing."""


def _ignore() -> None:
    """Nobody counts."""


@dataclass(frozen=True, slots=True)
class FilterChain:
    """A filter chain at run time.

    make_owner      builds the filters of one connection
    received, sent  what the terminal filter counts bytes on
    drainables      what the filters keep beyond one connection
    tls             the transport socket, None for plain bytes
    on_rejected     called when a connection has failed before its owner has heard of it
    """

    config: FilterChainConfig
    make_owner: Callable[[], ConnectionOwner]
    received: Counter
    sent: Counter
    drainables: Sequence[Drainable]
    tls: DownstreamTls | None = None
    on_rejected: Callable[[], None] = _ignore

    @property
    def match(self) -> FilterChainMatch:
        """Which connections it is for."""
        return self.config.match

    def take(self, connection: Connection) -> Callable[[bytes], None]:
        """Give a connection to an owner of its own; returns who takes its bytes."""
        connection.filter_chain_name = self.config.name
        if self.tls is None:
            return connection.hand_over(self.make_owner(), self.received, self.sent)
        timeout = self.config.transport_socket_connect_timeout
        return self.tls.start(connection, self.make_owner(), self, timeout)
