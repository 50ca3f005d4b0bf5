"""Addresses of peers and of our own ends, parsed once and printed as Envoy prints them.

Owns the forms an address is needed in: text, bytes, socket tuple, internal or not. Refuses to know
names: whatever has to be looked up is `upstream/dns.py`'s.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Final

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

# Network::Utility::isInternalAddress: RFC 1918, loopback, and RFC 4193 unique local addresses.
INTERNAL_NETWORKS: Final[tuple[IpNetwork, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "::1", "fd00::/8")
)


class Address:
    """One end of a connection: an IP address with a port, or the path of a Unix socket ("pipe").

    Immutable by convention; two are equal when their texts are. Attributes:

    family        socket.AF_INET, AF_INET6 or AF_UNIX
    ip            without brackets; empty for a pipe
    port          0 for a pipe
    text          what logs and headers show: `10.0.0.1:80`, `[::1]:80` or the path
    text_bytes    `text` for the data plane
    without_port  `10.0.0.1`, `::1` or the path
    sockaddr      what `socket.bind` and `socket.connect` take
    """

    __slots__ = (
        "_internal",
        "family",
        "ip",
        "port",
        "sockaddr",
        "text",
        "text_bytes",
        "without_port",
    )

    sockaddr: tuple[str, int] | tuple[str, int, int, int] | str

    def __init__(self, ip: str, port: int, scope_id: int = 0) -> None:
        """Build from a canonical IP address, as the kernel returns it; `parse` takes any text."""
        self.ip = ip
        self.port = port
        self.without_port = ip
        self._internal: bool | None = None
        if ":" in ip:
            self.family = socket.AF_INET6
            self.text = f"[{ip}]:{port}"
            self.sockaddr = (ip, port, 0, scope_id)
        else:
            self.family = socket.AF_INET
            self.text = f"{ip}:{port}"
            self.sockaddr = (ip, port)
        self.text_bytes = self.text.encode("ascii")

    @classmethod
    def pipe(cls, path: str) -> Address:
        """The address of a Unix socket; a leading `@` means Linux's abstract namespace."""
        self = cls.__new__(cls)
        self.family = socket.AF_UNIX
        self.ip = ""
        self.port = 0
        self.text = self.without_port = path
        self.text_bytes = path.encode()
        self.sockaddr = "\0" + path[1:] if path.startswith("@") else path
        # Network::Utility::isInternalAddress: whoever reaches the file is on this machine.
        self._internal = True
        return self

    @classmethod
    def parse(cls, ip: str, port: int) -> Address:
        """An address from configuration or a header; ValueError unless `ip` is an IP address."""
        parsed = ipaddress.ip_address(ip)
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.scope_id is not None:
            scope = parsed.scope_id
            index = int(scope) if scope.isdigit() else _interface_index(scope)
            return cls(str(parsed), port, index)
        return cls(str(parsed), port)

    @classmethod
    def from_sockaddr(cls, sockaddr: object) -> Address:
        """The address in a `getpeername`, `getsockname` or `getaddrinfo` result."""
        if isinstance(sockaddr, tuple):
            ip: str = sockaddr[0]
            if ip.startswith("::ffff:") and "." in ip:
                # An IPv4 peer of a dual-stack listener (ipv4_compat) is an IPv4 address to Envoy.
                return cls(ip[7:], sockaddr[1])
            return cls(ip, sockaddr[1], sockaddr[3] if len(sockaddr) == 4 else 0)
        if isinstance(sockaddr, bytes):
            sockaddr = sockaddr.decode(errors="replace")
        path = str(sockaddr or "")
        return cls.pipe("@" + path[1:] if path.startswith("\0") else path)

    def is_internal(self, networks: Iterable[IpNetwork] | None = None) -> bool:
        """Whether it is in `networks`; without an argument, in INTERNAL_NETWORKS or a pipe."""
        if networks is not None:
            return self.family != socket.AF_UNIX and _contains(networks, self.ip)
        if self._internal is None:
            self._internal = _contains(INTERNAL_NETWORKS, self.ip)
        return self._internal

    def with_port(self, port: int) -> Address:
        """The same IP address at another port."""
        if self.family == socket.AF_UNIX:
            return self
        scope = self.sockaddr[3] if len(self.sockaddr) == 4 else 0
        return Address(self.ip, port, int(scope))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Address({self.text!r})"


def _contains(networks: Iterable[IpNetwork], ip: str) -> bool:
    parsed = ipaddress.ip_address(ip)
    return any(parsed in network for network in networks)


def _interface_index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError as error:
        raise ValueError(f"no network interface {name!r}") from error
