"""Headers as metadata of a call between daprds, and back. Knows no message's meaning.

What comes back is checked: a peer's bytes become lines of HTTP/1.1 here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from meshproxy.dapr.call_local.messages import Header, ListStringValue
from meshproxy.http.header_map import HeaderMap

Pairs = list[tuple[bytes, bytes]]

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_UNSAFE: Final = re.compile(rb"[\x00\r\n]")
SIDECARS: Final = frozenset(
    (b"dapr-caller-app-id", b"dapr-caller-namespace", b"dapr-callee-app-id", b"destination-app-id")
)
"""What sidecars tell each other, always in lower case."""
_MOST_NAMES: Final = 1024  # a client chooses them
_names: Final[dict[bytes, bytes]] = {}


def to_metadata(headers: HeaderMap) -> list[Any]:
    """Entries of a `metadata` or `headers`: all but the pseudo-headers, by Go's spelling, which is
    what daprd looks for: `Content-Length`, but `dapr-caller-app-id`.
    """
    grouped: dict[bytes, list[bytes]] = {}
    for name, value in headers.pairs:
        if not name.startswith(b":"):
            grouped.setdefault(name, []).append(value if value.isascii() else _utf8(value))
    return [
        Header(key=_names.get(name) or _spelled(name), value=ListStringValue(values=values))
        for name, values in grouped.items()
    ]


def _spelled(name: bytes) -> bytes:
    if name in SIDECARS:
        found = name
    else:
        found = b"-".join(part.capitalize() for part in name.split(b"-"))
    if len(_names) < _MOST_NAMES:
        _names[name] = found
    return found


def _utf8(value: bytes) -> bytes:
    """A text of protobuf is UTF-8: daprd reads no message with another one."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1").encode()
    return value


def is_value(value: bytes) -> bool:
    """Whether this can be the value of a header."""
    return _UNSAFE.search(value) is None


def to_pairs(entries: Iterable[Any], dropped: frozenset[bytes]) -> Pairs:
    """The headers of such entries, without those of `dropped` or that `Connection` names, and
    without what would be no header. `grpc-` is gRPC's own: such names get `dapr-` before them.
    """
    found: Pairs = []
    named: set[bytes] = set()
    for entry in entries:
        key: bytes = entry.key
        name = key.lower()
        if name in SIDECARS and name != key:
            continue  # what an app has claimed; daprd writes its own beside it
        if name == b"connection":
            for value in entry.value.values:
                named.update(each.strip().lower() for each in value.split(b","))
        if name in dropped or name.endswith(b"-bin") or not _TOKEN.fullmatch(name):
            continue
        if name.startswith(b"grpc-"):
            name = b"dapr-" + name
        found += ((name, value.strip(b" \t")) for value in entry.value.values if is_value(value))
    return [pair for pair in found if pair[0] not in named] if named else found
