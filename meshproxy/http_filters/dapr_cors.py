"""CORS on Dapr's HTTP API: preflights answered, answers marked. Knows no call of the API.

Owns which origins may read answers. It stands before the API token, as in daprd: a browser sends a
preflight without one. Source: https://fetch.spec.whatwg.org/#http-cors-protocol.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from meshproxy.http.filter import CONTINUE, STOP_ITERATION, FilterFactory, StreamFilter
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply

METHODS: Final = frozenset((b"HEAD", b"GET", b"POST", b"PUT", b"PATCH", b"DELETE"))
_ORIGIN: Final = b"access-control-allow-origin"
_ASKED: Final = b"access-control-request-method"
_ASKED_HEADERS: Final = b"access-control-request-headers"
_VARY_PREFLIGHT: Final = (
    (b"vary", b"Origin"),
    (b"vary", b"Access-Control-Request-Method"),
    (b"vary", b"Access-Control-Request-Headers"),
)


class Origins:
    """The list of `--allowed-origins`: `*` is every one; one `*` inside of an entry, anything."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self.all: Final = "*" in allowed
        parts = ("[^/]*".join(map(re.escape, each.lower().split("*"))) for each in allowed)
        self._pattern = re.compile("|".join(parts).encode())

    def allow(self, origin: bytes) -> bool:
        """Whether pages of this origin may read answers."""
        return self.all or self._pattern.fullmatch(origin.lower()) is not None

    def header(self, origin: bytes) -> tuple[bytes, bytes]:
        """What an answer for an allowed origin says."""
        return _ORIGIN, b"*" if self.all else origin


def cors(allowed: Sequence[str]) -> FilterFactory:
    """The filter for `--allowed-origins`, which has at least one."""
    origins = Origins(allowed)
    return lambda: CorsFilter(origins)


class CorsFilter(StreamFilter):
    """One request, which may be a preflight."""

    __slots__ = ("_mark", "_origins", "_preflight")

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._mark: tuple[bytes, bytes] | None = None
        self._preflight = False

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Answer a preflight; let everything else pass."""
        origin = headers.get(b"origin") or b""
        asked = headers.get(_ASKED)
        if asked is not None and headers.get(b":method") == b"OPTIONS":
            self._preflight = True
            pairs = [*_VARY_PREFLIGHT, *self._permission(headers, origin, asked.upper())]
            self.callbacks.send_local_reply(LocalReply(200, "dapr_cors", headers=pairs))
            return STOP_ITERATION
        method = headers.get(b":method") or b""
        if origin and (method in METHODS or method == b"OPTIONS") and self._origins.allow(origin):
            self._mark = self._origins.header(origin)
        return CONTINUE

    def _permission(
        self, headers: HeaderMap, origin: bytes, asked: bytes
    ) -> list[tuple[bytes, bytes]]:
        if not origin or asked not in METHODS or not self._origins.allow(origin):
            return []
        pairs = [self._origins.header(origin), (b"access-control-allow-methods", asked)]
        wanted = headers.joined(_ASKED_HEADERS)
        if wanted:
            names = (name.strip().title() for name in wanted.split(b","))
            pairs.append((b"access-control-allow-headers", b", ".join(names)))
        return pairs

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Say whose pages may read the answer."""
        if not self._preflight:
            headers.add(b"vary", b"Origin")
            if self._mark is not None:
                headers.replace(*self._mark)
        return CONTINUE
