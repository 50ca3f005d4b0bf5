"""Dapr's gRPC API as an HTTP filter: the seam between a stream and `dapr/grpc_api/`.

Owns the token, the cutting of messages, and the way from an answer or an error to the client.
Refuses to know any call: the table does.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from meshproxy.dapr import invocation
from meshproxy.dapr.api import Api
from meshproxy.dapr.api_error import ApiError, Grpc, error_info
from meshproxy.dapr.grpc_api import perform
from meshproxy.dapr.grpc_api.method import Method
from meshproxy.dapr.grpc_api.status import details_bin
from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import STOP_ITERATION, STOP_ITERATION_NO_BUFFER, StreamFilter
from meshproxy.http.grpc import CONTENT_TYPE, MessageError, MessageReader, encode_message
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.status import is_grpc
from meshproxy.http_filters.dapr_attempts import DETAILS

logger: Final = logging.getLogger("meshproxy.dapr.runtime.grpc.api-info")

_NOT_GRPC: Final = LocalReply(415, "dapr_not_grpc", b"this port speaks gRPC")
_BAD_TOKEN: Final = ApiError(
    "ERR_UNAUTHENTICATED",
    "invalid api token",
    401,
    Grpc.UNAUTHENTICATED,
    (error_info("DAPR_API_TOKEN_INVALID", {}),),
)


@dataclass(frozen=True, slots=True)
class DaprGrpcConfig:
    """One API listener. `token` empty: none is asked for; `max_message` is bytes."""

    api: Api
    methods: Mapping[str, Method]
    token: str = ""
    max_message: int = 4 * 1024 * 1024
    log_calls: bool = False


class DaprGrpcFilter(StreamFilter):
    """One call: its message is read, then the operation runs as a task."""

    __slots__ = ("_answered", "_config", "_message", "_method", "_reader")

    def __init__(self, config: DaprGrpcConfig) -> None:
        self._config = config
        self._method: Method | None = None
        self._reader = MessageReader(config.max_message)
        self._message: bytes | None = None
        self._answered = False

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Find the call; refuse what may not go on."""
        if not is_grpc(headers.get(b"content-type") or b""):
            self._answered = True
            self.callbacks.send_local_reply(_NOT_GRPC)
            return STOP_ITERATION
        token = self._config.token
        given = headers.get(invocation.API_TOKEN) or b""
        if token and not hmac.compare_digest(given, token.encode()):
            return self._fail(_BAD_TOKEN)
        path = (headers.get(b":path") or b"").decode("latin-1")
        if self._config.log_calls:
            agent = (headers.get(b"user-agent") or b"").decode("latin-1")
            fields = {"method": path, "useragent": agent}
            logger.info("gRPC API Called", extra={"dapr": fields})
        self._method = self._config.methods.get(path)
        if self._method is None:
            text = f"unknown method {path}"
            return self._fail(ApiError("ERR_API_UNIMPLEMENTED", text, 501, Grpc.UNIMPLEMENTED))
        if end_stream:
            self._run()
        return STOP_ITERATION

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """A piece of the body: of one message, and of no second one."""
        if self._answered:
            data.clear()
            return STOP_ITERATION_NO_BUFFER
        try:
            found = self._reader.feed(data.take())
        except MessageError as error:
            code = Grpc.RESOURCE_EXHAUSTED if error.status == Grpc.RESOURCE_EXHAUSTED else None
            return self._fail(ApiError("ERR_BODY_READ", error.text, 413, code or Grpc.INTERNAL))
        if len(found) + (self._message is not None) > 1:
            return self._fail(ApiError("ERR_BAD_REQUEST", "more than one message", 400))
        if found:
            self._message = found[0]
        if end_stream:
            self._run()
        return STOP_ITERATION_NO_BUFFER

    def decode_trailers(self, trailers: HeaderMap) -> int:
        """The request is complete."""
        if not self._answered:
            self._run()
        return STOP_ITERATION

    def _run(self) -> None:
        method, message = self._method, self._message
        if method is None or message is None or self._reader.partial:
            self._fail(ApiError("ERR_BAD_REQUEST", "the request has no complete message", 400))
            return
        self.callbacks.spawn(self._answer(method, message), f"dapr {method.name}")

    async def _answer(self, method: Method, message: bytes) -> None:
        try:
            answer = await perform(self._config.api, method, message)
        except ApiError as error:
            self._fail(error)
            return
        self._answered = True
        callbacks = self.callbacks
        callbacks.info.response_code_details = DETAILS
        callbacks.encode_headers(
            HeaderMap([(b":status", b"200"), (b"content-type", CONTENT_TYPE)]), False
        )
        callbacks.encode_data(encode_message(answer), False)
        callbacks.encode_trailers(HeaderMap([(b"grpc-status", b"0")]))

    def _fail(self, error: ApiError) -> int:
        """Answer with trailers only (gRPC over HTTP2, Responses)."""
        self._answered = True
        pairs = [
            (b":status", b"200"),
            (b"content-type", CONTENT_TYPE),
            (b"grpc-status", b"%d" % error.grpc),
            (
                b"grpc-message",
                quote(error.message, safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}~").encode(),
            ),
        ]
        details = details_bin(error)
        if details:
            pairs.append((b"grpc-status-details-bin", details))
        self.callbacks.info.response_code_details = DETAILS
        self.callbacks.encode_headers(HeaderMap(pairs), True)
        return STOP_ITERATION
