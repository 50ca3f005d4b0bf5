"""Names and values of header fields as guests write them, made fit for a header map.

Owns what may stand in a map: lower case, `host` as `:authority`, no byte that could end a line.
"""

from __future__ import annotations

import re
from typing import Final

from meshproxy.proxy_wasm.pairs import Pair

REQUEST_PSEUDO: Final = frozenset((b":authority", b":path", b":method", b":scheme", b":protocol"))
RESPONSE_PSEUDO: Final = frozenset((b":status",))
NO_PSEUDO: Final[frozenset[bytes]] = frozenset()
_TOKEN: Final = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+")
_CACHE_SIZE: Final = 4096

# hot: guests ask for the same few names for ever; the table saves lowering and checking them.
_known: dict[bytes, bytes] = {}

known_name: Final = _known.get
"""The name as it stands in a map, None where `canonical` has to be asked."""


def canonical(name: bytes) -> bytes:
    """The name as it stands in a map; empty where it cannot stand in one."""
    found = _known.get(name)
    if found is None:
        found = name.lower()
        if _TOKEN.fullmatch(found) is None:
            found = b""
        elif found == b"host":
            found = b":authority"
        if len(_known) < _CACHE_SIZE and len(name) <= 64:
            _known[name] = found
    return found


def valid_value(value: bytes) -> bool:
    """Whether a value can be sent: no CR, LF or NUL."""
    # hot: looking for a number is 0.02 us each, for bytes of length one 0.14.
    return not (10 in value or 13 in value or 0 in value)


def clean(pairs: list[Pair], pseudo: frozenset[bytes]) -> tuple[list[Pair], int]:
    """A map that a guest wrote, pseudo headers first, and how many of its pairs had to go."""
    first: list[Pair] = []
    rest: list[Pair] = []
    for name, value in pairs:
        key = canonical(name)
        if not key or not valid_value(value):
            continue
        if key[0] != 58:  # a colon
            rest.append((key, value))
        elif key in pseudo:
            first.append((key, value))
    return first + rest, len(pairs) - len(first) - len(rest)
