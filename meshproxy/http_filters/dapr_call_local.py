"""Calls between daprds on a stream: HTTP for everything behind these filters, gRPC on the wire.

`CallLocalServer` stands first on the listener for other sidecars, and makes the request that a
daprd sends into one over HTTP. `CallLocalClient` stands before a cluster of sidecars that may be
daprds, and does the opposite with each try. Both stream: at most a message of the peer is held.

Owns the turns of both translations. Refuses to know what is in a head (`dapr/call_local/`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn

import orjson

from meshproxy.dapr import invocation
from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.call_local.exchange import (
    Asked,
    request_asked,
    request_head,
    response_answered,
    response_head,
)
from meshproxy.dapr.call_local.messages import (
    CALL_LOCAL,
    CALL_LOCAL_STREAM,
    SERVICE,
    Request,
    RequestStream,
    ResponseStream,
)
from meshproxy.dapr.call_local.stream import CallError, Receiver, Sender
from meshproxy.dapr.http_api.messages import JSON, error_response
from meshproxy.dapr.tracing import context as trace
from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import (
    CONTINUE,
    STOP_ITERATION,
    STOP_ITERATION_NO_BUFFER,
    FilterFactory,
    StreamFilter,
)
from meshproxy.http.filter_chain import FilterChain
from meshproxy.http.grpc import CONTENT_TYPE, decode_text, encode_message, encode_text
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.status import is_grpc
from meshproxy.http_filters.dapr_attempts import DETAILS, ON_INVOKE
from meshproxy.http_filters.dapr_invoke import is_given, reply_of
from meshproxy.http_filters.dapr_metrics import GRPC_STATUS

SPEAKS_HTTP: Final = b"meshproxy-speaks-http"
"""In the answer to a call: this sidecar takes requests over HTTP, too, which cost less."""

_LIMIT: Final = 1024 * 1024  # bytes that may be held back
_OK: Final = (b"grpc-status", b"0")
_BAD: Final = "dapr_call_local"
_SHOWN: Final = "err: rpc error: code = "
_DESC: Final = " desc = "
_FAILURES: Final = (DETAILS, _BAD)
# What a daprd tells its caller, by the status that the same has on the HTTP API.
_CODES: Final = {400: Grpc.INVALID_ARGUMENT, 403: Grpc.PERMISSION_DENIED, 413: 8}
_UNREACHED: Final = (Grpc.UNAVAILABLE, Grpc.UNAUTHENTICATED)


def call_local_server(app_id: str, most: int) -> FilterFactory:
    """The filter of the listener for other sidecars; `most` is bytes of a body."""
    return lambda: CallLocalServer(app_id.encode(), most)


def call_local_chain(most: int, speaks_http: Callable[[Any], None]) -> FilterChain:
    """The filters of such a cluster; `speaks_http` is told each host that takes plain requests."""
    factories = [lambda: CallLocalClient(most, speaks_http)]
    chain = FilterChain(factories, _no_terminal, _LIMIT)
    chain.translates = True
    return chain


def _no_terminal(stream: Any) -> NoReturn:
    raise AssertionError("the filters of a cluster end in its connections")


class CallLocalServer(StreamFilter):
    """One call of another sidecar; what is no call of daprd's passes."""

    __slots__ = (
        "_answer", "_app_id", "_collected", "_headers", "_in", "_is_unary", "_left", "_most",
        "_out", "_receiver", "_released", "_sender", "_status", "_translates",
    )  # fmt: skip

    def __init__(self, app_id: bytes, most: int) -> None:
        self._app_id = app_id
        self._most = most
        self._receiver: Receiver | None = None  # None: this is no call of daprd's
        self._is_unary = False
        self._released = False  # the request has gone on
        self._left: int | None = None  # of the body that was announced
        self._headers = HeaderMap()
        self._answer: HeaderMap | None = None  # waits for the whole of its body
        self._collected: list[bytes] = []
        self._sender: Sender | None = None
        self._status = 0  # the app's
        self._in = self._out = 0  # bytes of bodies
        self._translates = False

    # -- the request -------------------------------------------------------------------------

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Take the calls that are daprd's own."""
        path = headers.get(b":path") or b""
        if not path.startswith(SERVICE) or not is_grpc(headers.get(b"content-type") or b""):
            return CONTINUE
        name = path[len(SERVICE) :]
        if name not in (CALL_LOCAL, CALL_LOCAL_STREAM):
            # Actors, of which there are none.
            text = f"unknown method {name.decode('latin-1')} for service {SERVICE[1:-1].decode()}"
            return self._refuse(Grpc.UNIMPLEMENTED, text)
        self._is_unary = name == CALL_LOCAL
        kind = Request if self._is_unary else RequestStream
        self._receiver = Receiver(kind, "request", self._most)
        self._headers = headers
        return STOP_ITERATION

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """Messages become the headers of a request and the pieces of its body."""
        receiver = self._receiver
        if receiver is None:
            return CONTINUE
        try:
            body = self._read(receiver, data.take())
        except CallError as error:
            return self._refuse(error.code, str(error))
        self._in += len(body)
        if self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (end_stream and self._left):
                return self._refuse(Grpc.INTERNAL, "the body is not as long as was announced")
        if end_stream and (receiver.head is None or receiver.partial):
            return self._refuse(Grpc.INVALID_ARGUMENT, "the call ends within a message")
        if self._released or body:
            self._released = True
            data.set(body)
            return CONTINUE
        if not end_stream:
            return STOP_ITERATION_NO_BUFFER  # whether there is a body shows with what comes next
        self._released = True
        self.callbacks.continue_decoding()  # by itself, so that the headers end the request
        return CONTINUE

    def _read(self, receiver: Receiver, data: bytes) -> bytes:
        begun = receiver.head is not None
        if self._is_unary:
            body = b""
            for message in receiver.messages(data):
                if receiver.head is not None:
                    raise CallError(Grpc.INTERNAL, "more than one message")
                receiver.head = message
                body = message.message.data.value
        else:
            body = receiver.feed(data)
        if not begun and receiver.head is not None:
            self._begin(request_asked(receiver.head, self._app_id), len(body))
        return body

    def _begin(self, asked: Asked, size: int) -> None:
        """From here on this is a request over HTTP."""
        if self._is_unary and asked.size not in (None, size):
            raise CallError(Grpc.INTERNAL, "the body is not as long as was announced")
        self._left = asked.size
        self._translates = True
        self._headers.pairs = asked.headers
        self.callbacks.clear_route_cache()
        self.callbacks.speak_http()

    def decode_trailers(self, trailers: HeaderMap) -> int:
        """They end the call; gRPC's clients send none."""
        if self._receiver is not None:
            if self._receiver.head is None:
                return self._refuse(Grpc.INVALID_ARGUMENT, "the call has no message")
            trailers.pairs = []
        return CONTINUE

    def _refuse(self, code: int, text: str) -> int:
        status = next((status for status, each in _CODES.items() if each == code), 500)
        reply = LocalReply(status, _BAD, text.encode(), grpc_status=code)
        self.callbacks.send_local_reply(reply)
        return STOP_ITERATION_NO_BUFFER

    # -- the response ------------------------------------------------------------------------

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """What the app answers becomes messages, what it cannot be asked the status of the call."""
        if not self._translates:
            return CONTINUE
        details = self.callbacks.info.response_code_details
        self._status = status = int(headers.get(b":status") or b"0")
        by_app = self._by_app
        if end_stream and not by_app:
            self._to_failure(headers, status, b"")
            return CONTINUE
        refused = headers.get(invocation.GRPC_STATUS) is not None
        if not by_app or ((refused or self._is_unary) and not end_stream):
            self._answer = headers
            return STOP_ITERATION
        if details == ON_INVOKE and status == 200:
            status = 0  # gRPC's, in which an app of gRPC answers
        head = response_head(status, headers)
        self._answer_with(headers, head)
        if end_stream:
            frame = _whole(head, b"") if self._is_unary else self._send(b"")
            self.callbacks.add_encoded_message(frame, HeaderMap([_OK]))
        return CONTINUE

    @property
    def _by_app(self) -> bool:
        """Whether the answer is the app's, or that of a middleware before it."""
        details = self.callbacks.info.response_code_details or ""
        return is_given(details) and details not in _FAILURES

    def _answer_with(self, headers: HeaderMap, head: Any) -> None:
        self._sender = Sender(ResponseStream, "response", head)
        headers.pairs = [
            (b":status", b"200"),
            (b"content-type", CONTENT_TYPE),
            (SPEAKS_HTTP, b"1"),
        ]

    def encode_data(self, data: Buffer, end_stream: bool) -> int:
        """A piece of the answer."""
        if self._answer is not None:
            self._collected.append(data.take())
            if not end_stream:
                return STOP_ITERATION_NO_BUFFER
            trailers = self.callbacks.add_encoded_trailers()
            data.set(self._complete(trailers))
        elif self._sender is not None:
            data.set(self._send(data.take()))
            if end_stream:
                self.callbacks.add_encoded_trailers().pairs.append(_OK)
        return CONTINUE

    def encode_trailers(self, trailers: HeaderMap) -> int:
        """The app's are not daprd's to pass on."""
        if self._answer is not None:
            trailers.pairs = []
            self.callbacks.add_encoded_data(self._complete(trailers))
        elif self._sender is not None:
            trailers.pairs = [_OK]
            if self._sender.is_due:
                self.callbacks.inject_encoded_data(self._send(b""))
        return CONTINUE

    def _send(self, data: bytes) -> bytes:
        sender = self._sender
        self._out += len(data)
        return sender.send(data) if sender is not None and (data or sender.is_due) else b""

    def _complete(self, trailers: HeaderMap) -> bytes:
        """The answer has come to its end: what goes out for its body."""
        headers, self._answer = self._answer, None
        body = b"".join(self._collected)
        assert headers is not None
        code = headers.get(invocation.GRPC_STATUS)
        if not self._by_app:
            self._to_failure(trailers, self._status, body)
            headers.pairs = [(b":status", b"200"), (b"content-type", CONTENT_TYPE)]
            return b""
        trailers.pairs.append(_OK)
        if code is not None:
            headers.remove(invocation.GRPC_STATUS)
            head = response_head(int(code), headers, _message_of(body))
            body = b""
        else:
            head = response_head(self._status, headers)
        self._answer_with(headers, head)
        return _whole(head, body) if self._is_unary else self._send(body)

    def _to_failure(self, headers: HeaderMap, status: int, body: bytes) -> None:
        code = _CODES.get(status, Grpc.INTERNAL)
        pairs = [(b"grpc-status", b"%d" % code), (b"grpc-message", encode_text(_message_of(body)))]
        if b":status" in headers:
            pairs = [(b":status", b"200"), (b"content-type", CONTENT_TYPE), *pairs]
        headers.pairs = pairs

    def on_stream_complete(self) -> None:
        """For logs and metrics the bodies and the answer are the app's."""
        if self._translates:
            info = self.callbacks.info
            info.response_code = self._status
            info.bytes_received, info.bytes_sent = self._in, self._out


def _whole(head: Any, body: bytes) -> bytes:
    """The only message of the answer to `CallLocal`."""
    head.message.data.value = body
    return encode_message(head.SerializeToString())


def _message_of(body: bytes) -> bytes:
    """The text of an error, whose body may be JSON: what the callee says, not how it is shown."""
    try:
        text = str(orjson.loads(body)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return body
    return (
        text.partition(_SHOWN)[2].partition(_DESC)[2].encode() if _SHOWN in text else text.encode()
    )


class CallLocalClient(StreamFilter):
    """One try of an invocation, at a sidecar that may be a daprd; gRPC of apps does not come here.

    `_held`: the headers of the response until there are messages.
    """

    __slots__ = ("_app_id", "_drop", "_held", "_most", "_receiver", "_sender", "_speaks_http")

    def __init__(self, most: int, speaks_http: Callable[[Any], None]) -> None:
        self._most = most
        self._speaks_http = speaks_http
        self._receiver = Receiver(ResponseStream, "response", most)
        self._app_id = ""
        self._sender: Sender | None = None
        self._held: HeaderMap | None = None
        self._drop = False  # the answer has its body already

    # -- the request -------------------------------------------------------------------------

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """The request becomes the head of the first message."""
        self._app_id = (headers.get(invocation.CALLEE_APP_ID) or b"").decode("latin-1")
        self._sender = Sender(RequestStream, "request", request_head(headers))
        headers.pairs = [
            (b":method", b"POST"),
            (b":scheme", headers.get(b":scheme") or b"http"),
            (b":path", SERVICE + CALL_LOCAL_STREAM),
            (b":authority", headers.get(b":authority") or b""),
            (b"content-type", CONTENT_TYPE),
            (b"te", b"trailers"),
            *_trace(headers),
        ]
        if end_stream:
            self.callbacks.add_decoded_data(self._sender.send(b""))
        return CONTINUE

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """A piece of the body."""
        sender = self._sender
        if sender is not None and (data.length or (end_stream and sender.is_due)):
            data.set(sender.send(data.take()))
        return CONTINUE

    def decode_trailers(self, trailers: HeaderMap) -> int:
        """Nothing is said by them: a client of gRPC has none."""
        trailers.pairs = []
        sender = self._sender
        if sender is not None and sender.is_due:
            self.callbacks.inject_decoded_data(sender.send(b""))
        return CONTINUE

    # -- the response ------------------------------------------------------------------------

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """They wait for the first message, which has those of the app."""
        if SPEAKS_HTTP in headers:
            self._speaks_http(self.callbacks.info.upstream_host)
        self._held = headers
        status = headers.get(b":status") or b""
        if status != b"200":
            return self._fail(Grpc.UNAVAILABLE, f"unexpected HTTP status {status.decode()}")
        if not end_stream:
            return STOP_ITERATION
        return self._fail(*_status_of(headers))

    def encode_data(self, data: Buffer, end_stream: bool) -> int:
        """Messages become the app's headers and the pieces of its body."""
        if self._drop:
            data.clear()
            return CONTINUE
        try:
            body = self._receiver.feed(data.take())
            head = self._receiver.head
            if end_stream:
                raise CallError(Grpc.INTERNAL, "server closed the stream without sending trailers")
            if head is None:
                return STOP_ITERATION_NO_BUFFER
            data.set(body if self._held is None else self._begin(self._held, head, body))
        except CallError as error:
            return self._break(error)
        return CONTINUE

    def _begin(self, held: HeaderMap, head: Any, body: bytes) -> bytes:
        answered = response_answered(head)
        held.pairs = answered.headers
        self._held = None
        if answered.refused is None:
            return body
        code, text = answered.refused
        held.replace(b"content-type", JSON)
        held.replace(invocation.GRPC_STATUS, b"%d" % code)
        self._drop = True
        return orjson.dumps({"code": code, "message": text.decode("utf-8", "replace")})

    def encode_trailers(self, trailers: HeaderMap) -> int:
        """How the call went; where that is well they have nothing to say over HTTP."""
        code, text = _status_of(trailers)
        if self._held is not None:
            # Not even the head of an answer has come.
            trailers.pairs = []
            return self._fail(code, text)
        if code or self._receiver.partial:
            self.callbacks.reset_stream("dapr_call_local_broken")
            return STOP_ITERATION
        trailers.pairs = []
        return CONTINUE

    def _break(self, error: CallError) -> int:
        if self._held is None:
            self.callbacks.reset_stream("dapr_call_local_broken")
        else:
            self._unreached(error.code, str(error))
        return STOP_ITERATION_NO_BUFFER

    def _fail(self, code: int, text: str) -> int:
        """There is no answer of the app: say it as Dapr does."""
        headers = self._held
        if not code:
            code, text = Grpc.INTERNAL, "the answer has no message"
        if headers is None or code in _UNREACHED:
            return self._unreached(code, text)
        error = self._error(code, text)
        body = error.body()
        headers.pairs = [
            (b":status", b"%d" % error.status),
            (invocation.FAILED, b"1"),
            (b"content-type", JSON),
            (b"content-length", b"%d" % len(body)),
        ]
        self.callbacks.add_encoded_data(body)
        self._held, self._drop = None, True
        return CONTINUE

    def _unreached(self, code: int, text: str) -> int:
        """As if there had been no connection, for policies that try again then."""
        self.callbacks.send_local_reply(reply_of(error_response(self._error(code, text))))
        return STOP_ITERATION

    def _error(self, code: int, text: str) -> ApiError:
        name = GRPC_STATUS[code] if code < len(GRPC_STATUS) else f"Code({code})"
        status = 403 if code == Grpc.PERMISSION_DENIED else 500
        reason = f"rpc error: code = {name} desc = {text}"
        return invocation.failed(self._app_id, reason, status)


def _status_of(headers: HeaderMap) -> tuple[int, str]:
    value = headers.get(b"grpc-status") or b""
    text = decode_text(headers.get(b"grpc-message") or b"")
    return (int(value) if value.isdigit() and len(value) < 4 else 2), text


def _trace(headers: HeaderMap) -> list[tuple[bytes, bytes]]:
    """The span of the request, which is to be the parent of the callee's."""
    return [pair for pair in headers.pairs if pair[0] in (trace.TRACEPARENT, trace.TRACESTATE)]
