"""A request and its answer over HTTP as the heads of a call between daprds, and back.

Owns which parts of a head say what. Refuses to know bodies (`stream.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from meshproxy.dapr import invocation
from meshproxy.dapr.api_error import Grpc
from meshproxy.dapr.call_local.headers import is_value, to_metadata, to_pairs
from meshproxy.dapr.call_local.messages import VERSION, Request, Response
from meshproxy.dapr.call_local.stream import CallError
from meshproxy.dapr.http_status import http_status
from meshproxy.dapr.method_path import BadMethod, method_of, path_of
from meshproxy.http.header_map import HeaderMap

VERBS: Final = (
    b"NONE", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE",
    b"PATCH",
)  # fmt: skip
"""HTTPExtension.Verb, by number."""
_NOT_INVOKED: Final = (b"NONE", b"CONNECT")
_PROTOBUF: Final = b"application/x-protobuf"
DESTINATION: Final = b"destination-app-id"
_UNSAFE_QUERY: Final = re.compile(rb"[\x00-\x20\x7f-\xff#]")
_NOT_HEADERS: Final = invocation.HOP_BY_HOP | {
    b"transfer-encoding",
    b"content-type",
    b"content-length",
    b"host",
    DESTINATION,
    invocation.API_TOKEN,
    b"x-dapr-cluster",
}
_NOT_OF_ANSWER: Final = invocation.HOP_BY_HOP | {
    b"transfer-encoding",
    b"content-type",
    b"content-length",
}


# ---- requests ----------------------------------------------------------------------------------


def request_head(headers: HeaderMap) -> Any:
    """The head of a request that `Invoker.prepare` has made ready for another sidecar."""
    path, _, query = (headers.get(b":path") or b"/").partition(b"?")
    method = headers.get(b":method") or b""
    kind = headers.get(b"content-type") or b""
    callee = headers.get(invocation.CALLEE_APP_ID) or b""
    metadata = to_metadata(HeaderMap([*headers.pairs, (DESTINATION, callee)]))
    return Request(
        ver=VERSION,
        metadata=metadata,
        message={
            "method": method_of(path),
            "content_type": kind,
            # An extension of HTTP's verbs is POST, as in daprd.
            "http_extension": {
                "verb": VERBS.index(method if method in VERBS else b"POST"),
                "querystring": query,
            },
        },
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came: its headers for the app; `size` of its body in bytes, None: unknown."""

    headers: list[tuple[bytes, bytes]]
    size: int | None


def request_asked(head: Any, app_id: bytes) -> Asked:
    """The request of a head, for the app `app_id`, where it names none. Raises CallError."""
    if not head.metadata or not head.HasField("message"):
        text = "parsing InternalInvokeRequest error: "
        text += "request does not contain the required fields in the leading chunk"
        raise CallError(Grpc.INVALID_ARGUMENT, text)
    message = head.message
    extension = message.http_extension
    number = extension.verb if message.HasField("http_extension") else 0
    verb = VERBS[number] if 0 <= number < len(VERBS) else b"NONE"
    if verb in _NOT_INVOKED:
        raise CallError(Grpc.INTERNAL, invocation.NO_VERB)
    query = extension.querystring
    try:
        path = path_of(message.method.decode("latin-1"))
    except BadMethod as error:
        raise CallError(Grpc.INVALID_ARGUMENT, str(error)) from None
    if _UNSAFE_QUERY.search(query):
        raise CallError(Grpc.INVALID_ARGUMENT, f"invalid query: {query!r}")
    found = to_pairs(head.metadata, _NOT_HEADERS)
    names = {name for name, _ in found}
    if invocation.CALLEE_APP_ID not in names:
        found.append((invocation.CALLEE_APP_ID, app_id))
    kind = _PROTOBUF if message.data.type_url else message.content_type
    if kind and is_value(kind):
        found.append((b"content-type", kind))
    size = _size(head.metadata)
    if size is not None:
        found.append((b"content-length", b"%d" % size))
    target = path + b"?" + query if query else path
    pseudo = [
        (b":method", verb),
        (b":scheme", b"http"),
        (b":authority", app_id),
        (b":path", target),
    ]
    return Asked([*pseudo, *found], size)


def _size(metadata: Any) -> int | None:
    """The `Content-Length` that the caller was told. Raises CallError where it is none."""
    for entry in metadata:
        if entry.key.lower() == b"content-length" and entry.value.values:
            value = entry.value.values[0]
            if not value.isdigit():
                raise CallError(Grpc.INVALID_ARGUMENT, f"invalid content-length: {value!r}")
            return int(value)
    return None


# ---- answers -----------------------------------------------------------------------------------


def response_head(status: int, headers: HeaderMap, text: bytes = b"") -> Any:
    """The head of an app's answer: of HTTP's status, or of gRPC's (below 100) and its text."""
    kind = headers.get(b"content-type") or b""
    passed = HeaderMap([pair for pair in headers.pairs if pair[0] not in _NOT_OF_ANSWER])
    return Response(
        status={"code": status, "message": text},
        headers=to_metadata(passed),
        message={"content_type": kind},
    )


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as it came. `refused`: the code and text of an app that speaks gRPC."""

    headers: list[tuple[bytes, bytes]]
    refused: tuple[int, bytes] | None = None


def response_answered(head: Any) -> Answered:
    """The answer of a head. Raises CallError."""
    if not head.HasField("status"):
        text = "response does not contain the required fields in the leading chunk"
        raise CallError(Grpc.INTERNAL, text)
    code = head.status.code
    refused = None
    if not 100 <= code <= 999:
        refused = (code, head.status.message) if code else None
        code = http_status(code)
    found = to_pairs(head.headers, _NOT_OF_ANSWER)
    message = head.message
    kind = _PROTOBUF if message.data.type_url else message.content_type
    if not kind:  # an event stream's, which has no message
        kind = _first(head.headers, b"content-type")
    if kind and is_value(kind):
        found.append((b"content-type", kind))
    return Answered([(b":status", b"%d" % code), *found], refused)


def _first(entries: Any, name: bytes) -> bytes:
    for entry in entries:
        if entry.key.lower() == name and entry.value.values:
            value: bytes = entry.value.values[0]
            return value
    return b""
