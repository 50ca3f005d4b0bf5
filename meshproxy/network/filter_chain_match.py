"""Which filter chain a connection gets.

Owns the criteria and their order of precedence (Envoy's FilterChainManagerImpl): the most specific
match is taken at each step, and what fits worse at a step is out for good. Refuses to know sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Protocol, TypeVar

from meshproxy.network.address import Address, IpNetwork

# FilterChainMatch.ConnectionSourceType
ANY: Final = 0
SAME_IP_OR_LOOPBACK: Final = 1
EXTERNAL: Final = 2

RAW_BUFFER: Final = "raw_buffer"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterChainMatch:
    """`FilterChainMatch`; an empty criterion fits everything.

    `server_names` are lower case, exact or `.suffix` for `*.suffix`.
    """

    destination_port: int = 0
    prefix_ranges: tuple[IpNetwork, ...] = ()
    server_names: tuple[str, ...] = ()
    transport_protocol: str = ""
    application_protocols: tuple[str, ...] = ()
    direct_source_prefix_ranges: tuple[IpNetwork, ...] = ()
    source_type: int = ANY
    source_prefix_ranges: tuple[IpNetwork, ...] = ()
    source_ports: tuple[int, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it fits every connection."""
        return self == EVERYTHING


EVERYTHING: Final = FilterChainMatch()


@dataclass(slots=True)
class SocketFacts:
    """What is known of a connection before its filter chain is.

    `local`, `remote` and `direct_remote` are the ends; a listener filter may replace the former
    two. `server_name` and `application_protocols` are what the client asks for in its TLS greeting.
    """

    local: Address
    remote: Address
    direct_remote: Address
    server_name: str = ""
    transport_protocol: str = RAW_BUFFER
    application_protocols: tuple[str, ...] = ()


class Matched(Protocol):
    """Whatever has a match."""

    @property
    def match(self) -> FilterChainMatch:
        """The criteria."""


Chain = TypeVar("Chain", bound=Matched)


def find_filter_chain(chains: Sequence[Chain], facts: SocketFacts) -> Chain | None:
    """The chain of a connection, None where none fits."""
    left: Sequence[Chain] = chains
    for narrow in _STEPS:
        left = narrow(left, facts)
        if not left:
            return None
    return left[0]


def _fitting(
    chains: Sequence[Chain],
    criterion: Callable[[FilterChainMatch], Sequence[object]],
    wanted: Iterable[object],
) -> list[Chain]:
    """The chains of the first wanted value that any names; else those without the criterion."""
    for value in wanted:
        found = [each for each in chains if value in criterion(each.match)]
        if found:
            return found
    return [each for each in chains if not criterion(each.match)]


def _of_prefix(
    chains: Sequence[Chain],
    criterion: Callable[[FilterChainMatch], Sequence[IpNetwork]],
    address: Address,
) -> list[Chain]:
    """The chains of the longest prefix that holds the address; else those without the criterion."""
    if address.ip and any(criterion(each.match) for each in chains):
        ip = ip_address(address.ip)
        holding = {network for each in chains for network in criterion(each.match) if ip in network}
        if holding:
            longest = max(holding, key=lambda network: network.prefixlen)
            return [each for each in chains if longest in criterion(each.match)]
    return [each for each in chains if not criterion(each.match)]


def _destination_port(chains: Sequence[Chain], facts: SocketFacts) -> Sequence[Chain]:
    return _fitting(
        chains,
        lambda match: (match.destination_port,) if match.destination_port else (),
        (facts.local.port,),
    )


def _destination_ip(chains: Sequence[Chain], facts: SocketFacts) -> Sequence[Chain]:
    return _of_prefix(chains, lambda match: match.prefix_ranges, facts.local)


def _server_name(chains: Sequence[Chain], facts: SocketFacts) -> Sequence[Chain]:
    return _fitting(chains, lambda match: match.server_names, _names(facts.server_name))


def _names(name: str) -> Iterable[str]:
    """`a.b.c`, `.b.c`, `.c`: from exact to ever wider wildcards."""
    if name:
        yield name
        at = name.find(".", 1)
        while 0 < at < len(name) - 1:
            yield name[at:]
            at = name.find(".", at + 1)


def _transport_protocol(chains: Sequence[Chain], facts: SocketFacts) -> Sequence[Chain]:
    return _fitting(
        chains,
        lambda match: (match.transport_protocol,) if match.transport_protocol else (),
        (facts.transport_protocol,),
    )


def _application_protocols(chains: Sequence[Chain], facts: SocketFacts) -> Sequence[Chain]:
    return _fitting(chains, lambda match: match.application_protocols, facts.application_protocols)


def _direct_source_ip(chains: Sequence[Chain], facts: SocketFacts) -> Sequence[Chain]:
    return _of_prefix(chains, lambda match: match.direct_source_prefix_ranges, facts.direct_remote)


def _source_type(chains: Sequence[Chain], facts: SocketFacts) -> Sequence[Chain]:
    if not any(each.match.source_type for each in chains):
        return chains
    local = is_same_ip_or_loopback(facts)
    return _fitting(
        chains,
        lambda match: (match.source_type,) if match.source_type else (),
        (SAME_IP_OR_LOOPBACK if local else EXTERNAL,),
    )


def is_same_ip_or_loopback(facts: SocketFacts) -> bool:
    """Whether a connection comes from this machine."""
    if not facts.remote.ip:  # a Unix socket
        return True
    return facts.remote.ip == facts.local.ip or ip_address(facts.remote.ip).is_loopback


def _source_ip(chains: Sequence[Chain], facts: SocketFacts) -> Sequence[Chain]:
    return _of_prefix(chains, lambda match: match.source_prefix_ranges, facts.remote)


def _source_port(chains: Sequence[Chain], facts: SocketFacts) -> Sequence[Chain]:
    return _fitting(chains, lambda match: match.source_ports, (facts.remote.port,))


_STEPS: Final = (
    _destination_port,
    _destination_ip,
    _server_name,
    _transport_protocol,
    _application_protocols,
    _direct_source_ip,
    _source_type,
    _source_ip,
    _source_port,
)
