"""Answers that the proxy gives itself.

Owns the values: status, body, response flag, details and headers of each local reply. Refuses to
know how a stream sends one (`http/stream.py`) and which statistics it moves.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshproxy.http.stream_info import ResponseFlag

Headers = Sequence[tuple[bytes, bytes]]


class LocalReply:
    """One answer. `details` is what `%RESPONSE_CODE_DETAILS%` shows; no spaces in it.

    `grpc_status` is the status given to gRPC clients; None derives it from the HTTP status.
    `close` ends the downstream connection after the answer.
    """

    __slots__ = ("body", "close", "details", "flag", "grpc_status", "headers", "status")

    def __init__(
        self,
        status: int,
        details: str,
        body: bytes = b"",
        *,
        flag: int = 0,
        headers: Headers = (),
        grpc_status: int | None = None,
        close: bool = False,
    ) -> None:
        self.status = status
        self.details = details
        self.body = body
        self.flag = int(flag)
        self.headers = headers
        self.grpc_status = grpc_status
        self.close = close

    def __repr__(self) -> str:
        return f"LocalReply({self.status}, {self.details!r}, {self.body!r})"


NO_ROUTE = LocalReply(404, "route_not_found", flag=ResponseFlag.NoRouteFound)
NO_CLUSTER = LocalReply(503, "cluster_not_found", flag=ResponseFlag.NoClusterFound)
NO_HEALTHY_UPSTREAM = LocalReply(
    503, "no_healthy_upstream", b"no healthy upstream", flag=ResponseFlag.NoHealthyUpstream
)
PER_TRY_TIMEOUT = LocalReply(
    504,
    "upstream_per_try_timeout",
    b"upstream request timeout",
    flag=ResponseFlag.UpstreamRequestTimeout,
)
REQUEST_TIMEOUT = LocalReply(
    504,
    "response_timeout",
    b"upstream request timeout",
    flag=ResponseFlag.UpstreamRequestTimeout,
)
