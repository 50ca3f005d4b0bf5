"""Which virtual host a request's authority belongs to.

Owns the order of domain forms: exact, longest suffix wildcard, longest prefix wildcard, `*`.
Refuses to know routes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshproxy.router.route import VirtualHost


class DomainTable:
    """The domains of a route configuration, compiled. ValueError where two are the same."""

    __slots__ = ("_any", "_exact", "_ignore_port", "_prefixes", "_suffixes")

    def __init__(self, hosts: Sequence[VirtualHost], *, ignore_port: bool = False) -> None:
        self._ignore_port = ignore_port
        self._any: VirtualHost | None = None
        self._exact: dict[bytes, VirtualHost] = {}
        suffixes: dict[bytes, VirtualHost] = {}
        prefixes: dict[bytes, VirtualHost] = {}
        for host in hosts:
            for domain in host.domains:
                name = domain.lower().encode()
                if name == b"*":
                    if self._any is not None:
                        raise ValueError("only a single wildcard domain is permitted")
                    self._any = host
                    continue
                table, key = self._exact, name
                if name.startswith(b"*"):
                    table, key = suffixes, name[1:]
                elif name.endswith(b"*"):
                    table, key = prefixes, name[:-1]
                if key in table:
                    raise ValueError(f"only unique values for domains are permitted: '{domain}'")
                table[key] = host
        self._suffixes = _longest_first(suffixes)
        self._prefixes = _longest_first(prefixes)

    def find(self, authority: bytes) -> VirtualHost | None:
        """The virtual host of an `:authority`; comparison ignores case."""
        if not self._exact and not self._suffixes and not self._prefixes:
            return self._any
        name = authority.lower()
        if self._ignore_port:
            at = name.rfind(b":")
            if at >= 0 and name[at + 1 :].isdigit() and not name.endswith(b"]"):
                name = name[:at]
        host = self._exact.get(name)
        if host is not None:
            return host
        # A wildcard stands for at least one character.
        for suffix, host in self._suffixes:
            if len(name) > len(suffix) and name.endswith(suffix):
                return host
        for prefix, host in self._prefixes:
            if len(name) > len(prefix) and name.startswith(prefix):
                return host
        return self._any


def _longest_first(table: dict[bytes, VirtualHost]) -> tuple[tuple[bytes, VirtualHost], ...]:
    return tuple(sorted(table.items(), key=lambda item: -len(item[0])))
