"""InvokeService over gRPC. Knows the messages; the meaning is `api/invoke.py`'s.

Owns what a caller of gRPC is told of an answer over HTTP: the status in `dapr-http-status`, and of
a failure the code that daprd maps it to, with the HTTP status in its details.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import orjson

from meshproxy.dapr.api.invoke import ServiceCall
from meshproxy.dapr.api_error import ApiError, Grpc, error_info
from meshproxy.dapr.exchange import Answer
from meshproxy.dapr.grpc_api.method import Reply, informed_method
from meshproxy.dapr.grpc_api.protos import VERBS
from meshproxy.dapr.http_status import grpc_status
from meshproxy.dapr.invocation import FAILED, GRPC_STATUS, failed
from meshproxy.http.header_map import HeaderMap

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api

HTTP_STATUS: Final = b"dapr-http-status"
_GO: Final = {
    413: "Request Entity Too Large",
    414: "Request URI Too Long",
    416: "Requested Range Not Satisfiable",
    418: "I'm a teapot",
    422: "Unprocessable Entity",
}
"""Where Go's phrase is another one than that of some Python."""
_MOST: Final = 63  # characters of the body that the details have room for
_PERMANENT: Final = frozenset(
    b"accept accept-charset accept-language accept-ranges authorization cache-control cookie date "
    b"expect from host if-match if-modified-since if-none-match if-schedule-tag-match "
    b"if-unmodified-since max-forwards origin pragma referer user-agent via warning".split()
)
"""Headers of HTTP's own, which metadata have under `dapr-`."""
_DROPPED: Final = frozenset(
    (
        b"connection",
        b"content-length",
        b"content-type",
        b"transfer-encoding",
        b"x-envoy-upstream-service-time",
        FAILED,
        GRPC_STATUS,
    )
)


async def _invoke(api: Api, request: Any, metadata: HeaderMap) -> Reply:
    message = request.message
    if not request.HasField("message"):
        text = "invalid message: message is empty"
        raise ApiError("ERR_BAD_REQUEST", text, 400, Grpc.INVALID_ARGUMENT)
    extension = message.http_extension
    verb = VERBS[extension.verb] if 0 <= extension.verb < len(VERBS) else "NONE"
    call = ServiceCall(
        request.id,
        message.method,
        "POST" if verb == "NONE" else verb,
        extension.querystring,
        message.data.value,
        message.content_type,
        metadata,
    )
    if api.service is None:
        raise failed(request.id, "invocation is not initialized")
    answer = await api.service.invoke(call)
    if answer.headers.get(FAILED) is not None:
        raise ApiError("ERR_DIRECT_INVOKE", _message_of(answer), 500, Grpc.INTERNAL)
    shown = _metadata(answer)
    if answer.headers.get(GRPC_STATUS) is not None:
        raise _of_grpc(answer)
    if not 200 <= answer.status < 300:
        raise _of_http(answer, shown)
    kind = (answer.headers.get(b"content-type") or b"").decode("latin-1")
    return Reply({"data": {"value": answer.body}, "content_type": kind}, shown)


def _metadata(answer: Answer) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of the answer, as metadata."""
    shown = [(HTTP_STATUS, b"%d" % answer.status)]
    for name, value in answer.headers.pairs:
        if name.startswith(b":") or name in _DROPPED or name.endswith(b"-bin"):
            continue
        is_taken = name in _PERMANENT or name.startswith(b"grpc-")
        shown.append((b"dapr-" + name if is_taken else name, value))
    return tuple(shown)


def _of_grpc(answer: Answer) -> ApiError:
    """The app's own status, which had to pass HTTP on its way."""
    code = int(answer.headers.get(GRPC_STATUS) or b"2")
    return ApiError("ERR_DIRECT_INVOKE", _message_of(answer), answer.status, code)


def _message_of(answer: Answer) -> str:
    try:
        return str(orjson.loads(answer.body)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""


def _of_http(answer: Answer, metadata: tuple[tuple[bytes, bytes], ...]) -> ApiError:
    """A failure over HTTP."""
    try:
        phrase = _GO.get(answer.status) or HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = ""
    shown = answer.body.decode("utf-8", "replace")[:_MOST]
    details = {"http.code": str(answer.status), "http.error_message": shown}
    info = error_info(phrase, details)
    code = grpc_status(answer.status)
    return ApiError("ERR_DIRECT_INVOKE", phrase, answer.status, code, (info,), metadata)


METHODS: Final = (informed_method("InvokeService", _invoke),)
