"""Other protocols over HTTP/2 (RFC 8441): an extended CONNECT here is an upgrade everywhere else.

Owns the translation between the two, so that filters and the router know upgrades only, as in
Envoy. Refuses to know who lets them in.
"""

from __future__ import annotations

from typing import Final

from meshproxy.http.http2.hpack import Pair

PROTOCOL: Final = b":protocol"
_ASKING: Final = frozenset((b"upgrade", b"connection"))


def upgrade_of(pairs: list[Pair]) -> list[Pair] | None:
    """The upgrade that an extended CONNECT asks for, None where a request is no such thing."""
    protocol = next((value for name, value in pairs if name == PROTOCOL), None)
    if protocol is None:
        return None
    asked = [
        (name, b"GET" if name == b":method" else value) for name, value in pairs if name != PROTOCOL
    ]
    return [*asked, (b"upgrade", protocol), (b"connection", b"upgrade")]


def granted(pairs: list[Pair]) -> list[Pair]:
    """The answer to an extended CONNECT: what is 101 elsewhere is 200 here."""
    if pairs[0] != (b":status", b"101"):
        return pairs
    return [(b":status", b"200"), *(pair for pair in pairs[1:] if pair[0] not in _ASKING)]


def extended_connect_of(pairs: list[Pair]) -> tuple[list[Pair], bytes] | None:
    """The extended CONNECT that an upgrade becomes, with its protocol; None for no upgrade."""
    protocol = next((value for name, value in pairs if name == b"upgrade"), None)
    if protocol is None:
        return None
    head = [
        (name, b"CONNECT" if name == b":method" else value)
        for name, value in pairs
        if name[:1] == b":"
    ]
    fields = [pair for pair in pairs if pair[0][:1] != b":" and pair[0] not in _ASKING]
    return [*head, (PROTOCOL, protocol), *fields], protocol


def switched(pairs: list[Pair], protocol: bytes) -> list[Pair]:
    """The answer to an upgrade: what is 200 to an extended CONNECT is 101 elsewhere."""
    if pairs[0] != (b":status", b"200"):
        return pairs
    return [
        (b":status", b"101"), *pairs[1:], (b"upgrade", protocol), (b"connection", b"upgrade"),
    ]  # fmt: skip
