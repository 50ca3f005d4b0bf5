"""Answers that the proxy gives itself.

Owns the values: status, body, response flag, details and headers of each local reply. Refuses to
know how a stream sends one (`http/stream.py`) and which statistics it moves.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshproxy.http.grpc import encode_text
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.status import STATUS_TEXT, grpc_status, is_grpc
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

    def with_header(self, name: bytes, value: bytes) -> LocalReply:
        """The same with one more header."""
        return LocalReply(
            self.status,
            self.details,
            self.body,
            flag=self.flag,
            headers=(*self.headers, (name, value)),
            grpc_status=self.grpc_status,
            close=self.close,
        )

    def __repr__(self) -> str:
        return f"LocalReply({self.status}, {self.details!r}, {self.body!r})"


def asks_for_grpc(request: HeaderMap | None) -> bool:
    """Whether who made `request` expects gRPC's answers."""
    content_type = request.get(b"content-type") if request is not None else None
    return content_type is not None and is_grpc(content_type)


def render(
    reply: LocalReply, *, grpc: bool = False, is_head: bool = False
) -> tuple[HeaderMap, bytes]:
    """The reply as its client expects it: plain, or as gRPC's trailers-only answer."""
    if grpc:
        code = grpc_status(reply.status) if reply.grpc_status is None else reply.grpc_status
        pairs = [
            (b":status", b"200"),
            (b"content-type", b"application/grpc"),
            (b"grpc-status", b"%d" % code),
        ]
        if reply.body:
            pairs.append((b"grpc-message", encode_text(reply.body)))
        return HeaderMap([*pairs, *reply.headers]), b""
    status = reply.status
    text = STATUS_TEXT[status] if 0 <= status < 1000 else b"%d" % status
    body = reply.body
    headers = HeaderMap([(b":status", text), *reply.headers])
    if body and status not in (204, 304):
        headers.pairs.append((b"content-length", b"%d" % len(body)))
        if b"content-type" not in headers:
            headers.pairs.append((b"content-type", b"text/plain"))
    elif reply.headers:
        headers.remove(b"content-type")  # of nothing
    return headers, b"" if is_head or status in (204, 304) else body


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
