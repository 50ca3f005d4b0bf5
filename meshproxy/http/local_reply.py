"""Answers that the proxy gives itself.

Owns the values: status, body, response flag, details and headers of each local reply. Refuses to
know how a stream sends one (`http/stream.py`) and which statistics it moves.
"""

from __future__ import annotations

from collections.abc import Sequence

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

    def __repr__(self) -> str:
        return f"LocalReply({self.status}, {self.details!r}, {self.body!r})"


def render(
    reply: LocalReply, request: HeaderMap | None, *, is_head: bool = False
) -> tuple[HeaderMap, bytes]:
    """The reply as who made `request` expects it: plain, or as gRPC's trailers-only answer."""
    content_type = request.get(b"content-type") if request is not None else None
    if content_type is not None and is_grpc(content_type):
        code = grpc_status(reply.status) if reply.grpc_status is None else reply.grpc_status
        pairs = [
            (b":status", b"200"),
            (b"content-type", b"application/grpc"),
            (b"grpc-status", b"%d" % code),
        ]
        if reply.body:
            pairs.append((b"grpc-message", _percent_encode(reply.body)))
        return HeaderMap([*pairs, *reply.headers]), b""
    status = reply.status
    text = STATUS_TEXT[status] if 0 <= status < 1000 else b"%d" % status
    body = reply.body
    headers = HeaderMap([(b":status", text), *reply.headers])
    if body and status not in (204, 304):
        headers.pairs.append((b"content-length", b"%d" % len(body)))
        if b"content-type" not in headers:
            headers.pairs.append((b"content-type", b"text/plain"))
    return headers, b"" if is_head or status in (204, 304) else body


def _percent_encode(text: bytes) -> bytes:
    """`grpc-message` (gRPC over HTTP2, Responses): visible ASCII but `%` stays as it is."""
    return b"".join(
        b"%c" % byte if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in text
    )


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
