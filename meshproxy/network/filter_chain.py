"""Filter chains of a listener: their configuration, and what a connection gets at run time.

Owns the words. Refuses to know which filters there are (`network_filters/`) and what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from meshproxy.network.connection import ConnectionOwner
from meshproxy.stats.store import Counter


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
    """A `FilterChain`."""

    filters: Sequence[NetworkFilterConfig]
    name: str = ""


class Drainable(Protocol):
    """What has to end when a listener drains: the connection managers and proxies of its chains."""

    draining: bool

    @property
    def requests_active(self) -> int:
        """How much is under way that a drain waits for."""

    def drain(self) -> None:
        """Close what is idle, and let the rest end with what it is doing."""


@dataclass(frozen=True, slots=True)
class FilterChain:
    """A filter chain at run time.

    make_owner      builds the filters of one connection
    received, sent  what the terminal filter counts bytes on
    drainables      what the filters keep beyond one connection
    """

    config: FilterChainConfig
    make_owner: Callable[[], ConnectionOwner]
    received: Counter
    sent: Counter
    drainables: Sequence[Drainable]
