"""Dapr's gRPC API as an HTTP filter: the seam between a stream and `dapr/grpc_api/`.

Owns the token, the cutting of messages, and the way from an answer or an error to the client.
Refuses to know any call: the table does.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from meshproxy.dapr import invocation
from meshproxy.dapr.api import Api
from meshproxy.dapr.api_error import ApiError, Grpc, by_status
from meshproxy.dapr.grpc_api import Pairs, perform, perform_stream
from meshproxy.dapr.grpc_api.message_stream import MessageStream
from meshproxy.dapr.grpc_api.method import Method
from meshproxy.dapr.grpc_api.status import details_bin
from meshproxy.dapr.tracing.context import BAGGAGE, is_baggage
from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import CONTINUE, STOP_ITERATION, STOP_ITERATION_NO_BUFFER, StreamFilter
from meshproxy.http.grpc import (
    CONTENT_TYPE,
    MessageError,
    MessageReader,
    encode_message,
    encode_text,
)
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.status import is_grpc
from meshproxy.http_filters.dapr_attempts import DETAILS

_NOT_GRPC: Final = LocalReply(415, "dapr_not_grpc", b"this port speaks gRPC")
_NO_TOKEN: Final = by_status(401, "Unauthorized", "missing api token in request metadata")
_BAD_TOKEN: Final = by_status(401, "Unauthorized", "authentication error: api token mismatch")
_BAD_BAGGAGE: Final = ApiError(
    "ERR_BAD_REQUEST", "invalid baggage header", 400, Grpc.INVALID_ARGUMENT
)
_HEADERS: Final = ((b":status", b"200"), (b"content-type", CONTENT_TYPE))
_OK: Final = ((b"grpc-status", b"0"),)


@dataclass(frozen=True, slots=True)
class DaprGrpcConfig:
    """One API listener. `token` empty: none is asked for; `max_message` is bytes."""

    api: Api
    methods: Mapping[str, Method]
    token: str = ""
    max_message: int = 4 * 1024 * 1024


class DaprGrpcFilter(StreamFilter):
    """One call: its message is read, then the operation runs as a task.

    The operation of a call of many messages runs from its headers on.
    """

    __slots__ = (
        "_answered",
        "_baggage",
        "_begun",
        "_config",
        "_message",
        "_method",
        "_passes",
        "_reader",
        "_stream",
    )

    def __init__(self, config: DaprGrpcConfig) -> None:
        self._config = config
        self._method: Method | None = None
        self._reader = MessageReader(config.max_message)
        self._message: bytes | None = None
        self._stream: MessageStream | None = None  # of a call that has many
        self._baggage: bytes | None = None
        self._passes = False  # it is no call of the API: an app's, perhaps
        self._begun = False  # the response's headers are sent
        self._answered = False  # the response is complete

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Find the call; refuse what may not go on."""
        if not is_grpc(headers.get(b"content-type") or b""):
            self._answered = True
            self.callbacks.send_local_reply(_NOT_GRPC)
            return STOP_ITERATION
        path = (headers.get(b":path") or b"").decode("latin-1")
        method = self._config.methods.get(path)
        if method is not None and method.foreign and _names_app(headers):
            method = None
        refusal = self._refusal(method, headers)
        if refusal is not None:
            return self._fail(refusal)
        if method is None:
            self._passes = True
            return CONTINUE
        self._method = method
        if method.stream is not None:
            self._stream = stream = MessageStream(method, self._send)
            self.callbacks.watch_downstream(stream.set_full)
            self.callbacks.spawn(self._serve(method, stream), f"dapr {method.name}")
        if end_stream:
            self._finish()
        return STOP_ITERATION

    def _refusal(self, method: Method | None, headers: HeaderMap) -> ApiError | None:
        """Why the call may not be; that it is not allowed counts more than a token."""
        if method is not None and method.refusal is not None:
            return method.refusal
        token = self._config.token
        if token and (method is None or not method.public):
            given: bytes | None = headers.get(invocation.API_TOKEN)
            if given is None:
                return _NO_TOKEN
            if not hmac.compare_digest(given, token.encode()):
                return _BAD_TOKEN
        self._baggage = headers.joined(BAGGAGE)
        if self._baggage is not None and not is_baggage(self._baggage):
            self._baggage = None
            return _BAD_BAGGAGE
        return None

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """A piece of the body: of one message, and of no second one."""
        if self._passes:
            return CONTINUE
        if self._answered:
            data.clear()
            return STOP_ITERATION_NO_BUFFER
        try:
            found = self._reader.feed(data.take())
        except MessageError as error:
            code = Grpc.RESOURCE_EXHAUSTED if error.status == Grpc.RESOURCE_EXHAUSTED else None
            return self._fail(ApiError("ERR_BODY_READ", error.text, 413, code or Grpc.INTERNAL))
        refusal = self._take(found)
        if refusal is not None:
            return self._fail(refusal)
        if end_stream:
            self._finish()
        return STOP_ITERATION_NO_BUFFER

    def _take(self, messages: list[bytes]) -> ApiError | None:
        stream = self._stream
        if stream is not None:
            try:
                for message in messages:
                    stream.feed(message)
            except ApiError as error:
                return error
            return None
        if len(messages) + (self._message is not None) > 1:
            return ApiError("ERR_BAD_REQUEST", "more than one message", 400)
        if messages:
            self._message = messages[0]
        return None

    def decode_trailers(self, trailers: HeaderMap) -> int:
        """The request is complete."""
        if self._passes:
            return CONTINUE
        if not self._answered:
            self._finish()
        return STOP_ITERATION

    def _finish(self) -> None:
        """The client sends no more."""
        if self._stream is None:
            self._run()
        elif self._reader.partial:
            self._fail(ApiError("ERR_BAD_REQUEST", "the request ends within a message", 400))
        else:
            self._stream.finish()

    def _run(self) -> None:
        method, message = self._method, self._message
        if method is None or message is None or self._reader.partial:
            self._fail(ApiError("ERR_BAD_REQUEST", "the request has no complete message", 400))
            return
        self.callbacks.spawn(self._answer(method, message), f"dapr {method.name}")

    async def _answer(self, method: Method, message: bytes) -> None:
        headers = self.callbacks.info.request_headers
        assert headers is not None
        try:
            answer, metadata = await perform(self._config.api, method, message, headers)
        except ApiError as error:
            self._fail(error)
            return
        if len(answer) > self._config.max_message:
            self._fail(self._too_large(answer))
            return
        self._begin(metadata)
        self.callbacks.encode_data(encode_message(answer), False)
        self._end(_OK)

    def _too_large(self, message: bytes) -> ApiError:
        """What is sent has the same limit as what is received, as in daprd."""
        most = self._config.max_message
        text = f"grpc: trying to send message larger than max ({len(message)} vs. {most})"
        return ApiError("ERR_BODY_READ", text, 413, Grpc.RESOURCE_EXHAUSTED)

    async def _serve(self, method: Method, stream: MessageStream) -> None:
        try:
            await perform_stream(self._config.api, method, stream)
        except ApiError as error:
            self._fail(error)
        else:
            self._begin()
            self._end(_OK)

    # -- the response ------------------------------------------------------------------------

    def _send(self, message: bytes) -> None:
        """One message of a stream."""
        if self._answered:
            return
        if len(message) > self._config.max_message:
            self._fail(self._too_large(message))
            return
        self._begin()
        self.callbacks.encode_data(encode_message(message), False)

    def _begin(self, metadata: Pairs = ()) -> None:
        if not self._begun:
            self._begun = True
            self.callbacks.info.response_code_details = DETAILS
            pairs = [*_HEADERS, *metadata]
            if self._baggage is not None:
                pairs.append((BAGGAGE, self._baggage))
            self.callbacks.encode_headers(HeaderMap(pairs), False)

    def _end(self, trailers: Pairs) -> None:
        if not self._answered:
            self._answered = True
            self.callbacks.encode_trailers(HeaderMap(list(trailers)))

    def _fail(self, error: ApiError) -> int:
        """Say why there is no (further) answer; before one has begun, with trailers only."""
        if self._answered:
            return STOP_ITERATION
        pairs = failure_trailers(error)
        if error.metadata:
            self._begin(error.metadata)
        if self._begun:
            self._end(pairs)
            return STOP_ITERATION
        self._answered = True
        self.callbacks.info.response_code_details = DETAILS
        self.callbacks.encode_headers(HeaderMap([*_HEADERS, *pairs]), True)
        return STOP_ITERATION


def _names_app(headers: HeaderMap) -> bool:
    return invocation.APP_ID in headers or invocation.CALLEE_APP_ID in headers


def failure_trailers(error: ApiError) -> Pairs:
    """The trailers of a call that has failed (gRPC over HTTP2, Responses)."""
    pairs = [
        (b"grpc-status", b"%d" % error.grpc),
        (b"grpc-message", encode_text(error.message.encode())),
    ]
    details = details_bin(error)
    if details:
        pairs.append((b"grpc-status-details-bin", details))
    return tuple(pairs)
