"""How long a request may take where a route lets gRPC clients say so themselves.

Owns Envoy's two ways: `max_grpc_timeout` of the route's own timeout, and `max_stream_duration`,
which replaces it. Refuses to know timers and clocks. All times are seconds; 0.0 is no limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from meshproxy.http.grpc import parse_timeout
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.status import is_grpc


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDuration:
    """`RouteAction.MaxStreamDuration`; None: not set."""

    duration: float | None = None
    grpc_header_max: float | None = None
    grpc_header_offset: float = 0.0

    def of(self, headers: HeaderMap) -> float | None:
        """How long the stream of this request may live; None: as its listener says."""
        if self.grpc_header_max is not None:
            asked = header_timeout(headers)
            if asked is not None:
                if self.grpc_header_max and (not asked or asked > self.grpc_header_max):
                    asked = self.grpc_header_max
                if self.grpc_header_offset < asked:
                    asked -= self.grpc_header_offset
                return asked
        return self.duration


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTimes:
    """What a route says of time beyond `timeout`."""

    max_grpc_timeout: float | None = None
    grpc_timeout_offset: float = 0.0
    stream: StreamDuration | None = None

    def timeout(self, headers: HeaderMap, route_timeout: float) -> tuple[float, bool]:
        """The request's timeout, and whether `grpc-timeout` is to tell the upstream of it."""
        if self.stream is not None:
            return 0.0, False
        longest = self.max_grpc_timeout
        content_type = headers.get(b"content-type")
        if longest is None or content_type is None or not is_grpc(content_type):
            return route_timeout, False
        asked = header_timeout(headers) or 0.0
        if self.grpc_timeout_offset < asked:
            asked -= self.grpc_timeout_offset
        if longest and (not asked or asked > longest):
            asked = longest
        return asked, True


def header_timeout(headers: HeaderMap) -> float | None:
    """`grpc-timeout` in whole milliseconds, rounded up as Envoy does; None where there is none."""
    value = headers.get(b"grpc-timeout")
    seconds = parse_timeout(value) if value is not None else None
    return None if seconds is None else math.ceil(round(seconds * 1000, 6)) / 1000
