"""A request over HTTP for an app that speaks gRPC: it becomes its `OnInvoke`. Knows no stream.

Owns the way between the two forms; statuses are as daprd maps them.
"""

from __future__ import annotations

from typing import Final

import orjson

from meshproxy.dapr.app_channel import AppRefusal
from meshproxy.dapr.exchange import Answer
from meshproxy.dapr.grpc_api.app_channel import GrpcAppChannel, Invocation
from meshproxy.dapr.http_status import http_status
from meshproxy.dapr.invocation import GRPC_STATUS
from meshproxy.dapr.invoker import CLUSTER_HEADER
from meshproxy.http.header_map import HeaderMap

_JSON: Final = b"application/json"
_NOT_METADATA: Final = frozenset((b"host", CLUSTER_HEADER))
_PERMANENT: Final = frozenset(
    b"accept accept-charset accept-language accept-ranges cache-control content-type "
    b"content-length cookie date expect from if-match if-modified-since if-none-match "
    b"if-schedule-tag-match if-unmodified-since max-forwards origin pragma referer via "
    b"warning".split()
)
"""Headers of HTTP's own, which metadata have under `dapr-`."""


async def on_invoke(
    channel: GrpcAppChannel, headers: HeaderMap, body: bytes, *, has_place: bool = False
) -> Answer:
    """Ask the app; its refusal is an answer too. Raises ComponentError without one."""
    path, _, query = (headers.get(b":path") or b"").decode("latin-1").partition("?")
    call = Invocation(
        path.removeprefix("/"),
        body,
        (headers.get(b"content-type") or b"").decode("latin-1"),
        (headers.get(b":method") or b"").decode("latin-1"),
        query,
        tuple(
            (b"dapr-" + name if name in _PERMANENT else name, value)
            for name, value in headers.pairs
            if name not in _NOT_METADATA and not name.startswith((b":", b"grpc-"))
        ),
    )
    try:
        data, kind = await channel.on_invoke(call, has_place=has_place)
    except AppRefusal as refusal:
        return refused(refusal)
    content_type = kind.encode("latin-1", "replace") if kind.isprintable() else b""
    return Answer(200, HeaderMap([(b"content-type", content_type or _JSON)]), data)


def refused(refusal: AppRefusal) -> Answer:
    """The app's status as HTTP has it, and as JSON of `google.rpc.Status`."""
    body = orjson.dumps({"code": refusal.status, "message": str(refusal)})
    pairs = [(b"content-type", _JSON), (GRPC_STATUS, b"%d" % refusal.status)]
    return Answer(http_status(refusal.status), HeaderMap(pairs), body)
