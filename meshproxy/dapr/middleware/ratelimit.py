"""`middleware.http.ratelimit`: so many requests a second by one address for one path.

Owns the counting, in token buckets of which there is a bound. Refuses to know any call.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.http.filter import CONTINUE, STOP_ITERATION, StreamFilter
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply

DEFAULT: Final = 100.0
MAX_BUCKETS: Final = 10_000
"""Pairs of address and path that are remembered; the longest unused is forgotten first."""
_RATE: Final = "maxRequestsPerSecond"
_REFUSED: Final = LocalReply(
    429,
    "dapr_ratelimit",
    b"You have reached maximum request limit.",
    headers=((b"content-type", b"text/plain; charset=utf-8"),),
)

Key = tuple[str, bytes]


class RateLimit:
    """The buckets of one component. A bucket holds as many requests as come in a second."""

    def __init__(
        self, context: ComponentContext, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._rate = DEFAULT
        self._buckets: OrderedDict[Key, tuple[float, float]] = OrderedDict()

    async def init(self, metadata: Metadata) -> None:
        """Read the rate."""
        self.check_metadata(metadata)

    def check_metadata(self, metadata: Metadata) -> None:
        """The same: nothing outside is touched."""
        text = metadata.get(_RATE, "")
        try:
            self._rate = float(text) if text else DEFAULT
        except ValueError:
            self._rate = 0.0
        if not 0.0 < self._rate < float("inf"):
            raise ComponentError(f"metadata property {_RATE} must be a positive value")

    async def close(self) -> None:
        """Forget the buckets."""
        self._buckets.clear()

    def filter(self) -> StreamFilter:
        """The filter of one request."""
        return RateLimitFilter(self)

    def take(self, key: Key) -> bool:
        """Whether one more request may pass."""
        now, size = self._now(), max(1.0, self._rate)
        left, when = self._buckets.pop(key, (size, now))
        left = min(size, left + (now - when) * self._rate)
        passes = left >= 1.0
        self._buckets[key] = (left - 1.0 if passes else left, now)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return passes


class RateLimitFilter(StreamFilter):
    """One request."""

    __slots__ = ("_limit",)

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Count it."""
        address = self.callbacks.info.downstream_remote_address
        path = (headers.get(b":path") or b"").partition(b"?")[0]
        if self._limit.take((getattr(address, "ip", ""), path)):
            return CONTINUE
        self.callbacks.send_local_reply(_REFUSED)
        return STOP_ITERATION
