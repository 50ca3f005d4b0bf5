"""`envoy.filters.listener.proxy_protocol`: who the client is, said by a proxy before us.

Owns both versions of the header (HAProxy's proxy-protocol.txt, 2.1 and 2.2). Refuses to know who
may be believed: whoever configures it says that all who connect may.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from meshproxy.network.address import Address
from meshproxy.network.filter_chain_match import SocketFacts
from meshproxy.network.listener_filters.base import CLOSE, WAIT
from meshproxy.stats.connection_metrics import ProxyProtocolStats, ProxyProtocolVersionStats
from meshproxy.stats.store import Store

V1_SIGNATURE: Final = b"PROXY "
V2_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_MAX: Final = 108  # with CRLF; the text says 107, Envoy takes one more
_V2_HEAD: Final = 16
_LOCAL, _PROXY = 0, 1  # commands
_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")
# Address family and protocol -> size of one address. Envoy takes datagrams for streams.
_V2_SIZES: Final = {0x11: 4, 0x12: 4, 0x21: 16, 0x22: 16}


@dataclass(frozen=True, slots=True)
class ProxyProtocolConfig:
    """`ProxyProtocol`. `disallowed_versions` are of 1 and 2."""

    allow_requests_without_proxy_protocol: bool = False
    disallowed_versions: frozenset[int] = frozenset()
    stat_prefix: str = ""


class ProxyProtocolFactory:
    """Makes the filter of each connection."""

    __slots__ = ("config", "errors", "stats", "versions")

    def __init__(self, config: ProxyProtocolConfig, store: Store) -> None:
        self.config = config
        infix = f"{config.stat_prefix}." if config.stat_prefix else ""
        scope = store.scope(f"proxy_proto.{infix}")
        self.stats = scope.block(ProxyProtocolStats)
        self.versions = {
            version: scope.scope(f"versions.v{version}.").block(ProxyProtocolVersionStats)
            for version in (1, 2)
        }
        self.errors = store.scope("").counter("downstream_cx_proxy_proto_error")

    def __call__(self) -> ProxyProtocol:
        """The filter of one connection."""
        return ProxyProtocol(self)


class HeaderError(ValueError):
    """A header that is none."""


class ProxyProtocol:
    """The filter of one connection."""

    __slots__ = ("_factory",)

    def __init__(self, factory: ProxyProtocolFactory) -> None:
        self._factory = factory

    def on_data(self, data: bytes, facts: SocketFacts) -> int:
        """Look at the header so far."""
        factory = self._factory
        version = _version(data)
        if version is None:
            return WAIT
        if version == 0:
            if factory.config.allow_requests_without_proxy_protocol:
                factory.stats.not_found_allowed.value += 1
                return 0
            factory.stats.not_found_disallowed.value += 1
            factory.errors.value += 1
            return CLOSE
        stats = factory.versions[version]
        if version in factory.config.disallowed_versions:
            stats.disallowed.value += 1
            factory.errors.value += 1
            return CLOSE
        try:
            header = _parse_v1(data) if version == 1 else _parse_v2(data)
        except HeaderError:
            stats.error.value += 1
            factory.errors.value += 1
            return CLOSE
        if header is None:
            return WAIT
        stats.found.value += 1
        size, addresses = header
        if addresses is not None:
            facts.remote, facts.local = addresses
        return size

    def on_eof(self) -> None:
        """The peer has gone: there is nothing to count."""


def _version(data: bytes) -> int | None:
    """1, 2, 0 where it is neither, None where that cannot be said yet."""
    for version, signature in ((1, V1_SIGNATURE), (2, V2_SIGNATURE)):
        if data.startswith(signature):
            return version
        if signature.startswith(data):
            return None
    return 0


Header = tuple[int, tuple[Address, Address] | None]
"""Bytes that it takes, and (source, destination); None where it does not say."""


def _parse_v1(data: bytes) -> Header | None:
    end = data.find(b"\r\n", 0, _V1_MAX)
    if end < 0:
        if len(data) >= _V1_MAX:
            raise HeaderError
        return None
    words = data[:end].rstrip().split(b" ")
    if len(words) >= 2 and words[1] == b"UNKNOWN":
        return end + 2, None
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise HeaderError
    family = ipaddress.IPv4Address if words[1] == b"TCP4" else ipaddress.IPv6Address
    try:
        source, destination = (family(word.decode("ascii")) for word in words[2:4])
    except ValueError:
        raise HeaderError from None
    ports = [_port(word) for word in words[4:6]]
    return end + 2, (_unicast(source, ports[0]), _unicast(destination, ports[1]))


def _port(word: bytes) -> int:
    if not word.isdigit() or len(word) > 5 or int(word) > 0xFFFF:
        raise HeaderError
    return int(word)


def _parse_v2(data: bytes) -> Header | None:
    if len(data) < _V2_HEAD:
        return None
    version, command = data[12] >> 4, data[12] & 0xF
    if version != 2 or command not in (_LOCAL, _PROXY):
        raise HeaderError
    length = int.from_bytes(data[14:16], "big")
    size = _V2_SIZES.get(data[13])
    if command == _PROXY and (size is None or length < 2 * size + 4):
        raise HeaderError
    end = _V2_HEAD + length
    if len(data) < end:
        return None
    if command == _LOCAL or size is None:
        return end, None
    at = _V2_HEAD
    ips = [ipaddress.ip_address(data[at + n * size : at + (n + 1) * size]) for n in (0, 1)]
    at += 2 * size
    ports = [int.from_bytes(data[at + n : at + n + 2], "big") for n in (0, 2)]
    _check_vectors(data, at + 4, end)
    return end, (_unicast(ips[0], ports[0]), _unicast(ips[1], ports[1]))


def _check_vectors(data: bytes, at: int, end: int) -> None:
    """What follows the addresses: type, length in two bytes, value, and so on to the very end."""
    while at < end:
        at += 3 + int.from_bytes(data[at + 1 : at + 3], "big")
    if at > end:
        raise HeaderError


def _unicast(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> Address:
    """TCP has two ends, and each is one host."""
    if ip.is_unspecified or ip.is_multicast or ip == _BROADCAST:
        raise HeaderError
    return Address(str(ip), port)
