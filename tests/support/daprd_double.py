"""A daprd as another sidecar sees it: `dapr.proto.internals.v1.ServiceInvocation`, by grpcio.

Its messages are described here once more, with the maps and texts that daprd's own have, so that
what meshproxy reads and writes is not checked against itself.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import grpc

from meshproxy.dapr.pluggable.messages import described

TIMEOUT_S: Final = 20.0
SERVICE: Final = "/dapr.proto.internals.v1.ServiceInvocation/"
MESSAGES: Final = described(
    "dapr.proto.internals.v1",
    {
        "ListStringValue": "values=1 *s",
        "Any": "type_url=1 s, value=2 b",
        "HTTPExtension": "verb=1 i, querystring=2 s",
        "InvokeRequest": "method=1 s, data=2 Any, content_type=3 s, http_extension=4 HTTPExtension",
        "InvokeResponse": "data=1 Any, content_type=2 s",
        "StreamPayload": "data=1 b, seq=2 i",
        "Status": "code=1 i, message=2 s",
        "InternalInvokeRequest": "ver=1 i, metadata=2 @ListStringValue, message=3 InvokeRequest",
        "InternalInvokeResponse": "status=1 Status, headers=2 @ListStringValue,"
        " message=4 InvokeResponse",
        "InternalInvokeRequestStream": "request=1 InternalInvokeRequest, payload=2 StreamPayload",
        "InternalInvokeResponseStream": "response=1 InternalInvokeResponse,"
        " payload=2 StreamPayload",
    },
)
Request: Final = MESSAGES["InternalInvokeRequest"]
Response: Final = MESSAGES["InternalInvokeResponse"]
RequestStream: Final = MESSAGES["InternalInvokeRequestStream"]
ResponseStream: Final = MESSAGES["InternalInvokeResponseStream"]
GET, POST = 1, 3


class Called(NamedTuple):
    """A call that the double has had: its head, the pieces of its body, gRPC's own metadata."""

    head: Any
    pieces: list[bytes]
    metadata: dict[str, Any]


def filled(entries: Any, headers: dict[str, Sequence[str]]) -> None:
    """Put headers into a map of a message."""
    for name, values in headers.items():
        entries[name].values.extend(values)


def answer(
    status: int = 200, body: Sequence[bytes] = (), headers: dict[str, Sequence[str]] | None = None
) -> Iterator[Any]:
    """The messages of an answer, a piece of the body in each."""
    head = Response(status={"code": status}, message={"content_type": "text/x"})
    filled(head.headers, headers or {})
    for seq, piece in enumerate(body or (None,)):
        message = ResponseStream()
        if seq == 0:
            message.response.CopyFrom(head)
        if piece is not None:
            message.payload.data, message.payload.seq = piece, seq
        yield message


class DaprdDouble:
    """A server of the calls between daprds on a free port. Use as a context manager.

    `act` answers each call: by messages, or it aborts.
    """

    def __init__(
        self, act: Callable[[Called, grpc.ServicerContext], Iterator[Any]], port: int = 0
    ) -> None:
        self.calls: list[Called] = []
        self._act = act
        self._server = grpc.server(ThreadPoolExecutor(4))
        handler = grpc.stream_stream_rpc_method_handler(
            self._serve, RequestStream.FromString, lambda message: message.SerializeToString()
        )
        service = SERVICE.strip("/")
        handlers = {"CallLocalStream": handler}
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(service, handlers)]
        )
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")

    def _serve(self, messages: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        first = next(messages)
        pieces = [first.payload.data] if first.HasField("payload") else []
        pieces += (each.payload.data for each in messages)
        called = Called(first.request, pieces, dict(context.invocation_metadata()))
        self.calls.append(called)
        yield from self._act(called, context)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.stop(0).wait(TIMEOUT_S)

    def register(self, names: Path, app_id: str) -> None:
        """Be found under this name, in the file of `nameresolution.sqlite`, from now on."""
        with sqlite3.connect(names, timeout=TIMEOUT_S) as connection:
            connection.execute(
                "REPLACE INTO hosts (registration_id, address, app_id, namespace, last_update) "
                "VALUES (?, ?, ?, '', ?)",
                (app_id, f"127.0.0.1:{self.port}", app_id, int(time.time()) + 3600),
            )
        connection.close()


def request(
    method: str,
    verb: int = GET,
    query: str = "",
    kind: str = "",
    headers: dict[str, Sequence[str]] | None = None,
) -> Any:
    """The head of a call."""
    head = Request(ver=1, message={"method": method, "content_type": kind})
    head.message.http_extension.verb, head.message.http_extension.querystring = verb, query
    filled(head.metadata, {"User-Agent": ["Go-http-client/1.1"], **(headers or {})})
    return head


def messages_of(head: Any, body: Sequence[bytes] = (), first_seq: int = 0) -> Iterator[Any]:
    """The messages of a call: the head with the first piece of the body, then the others."""
    for seq, piece in enumerate(body or (None,)):
        message = RequestStream()
        if seq == 0:
            message.request.CopyFrom(head)
        if piece is not None:
            message.payload.data, message.payload.seq = piece, seq + first_seq
        yield message


class Answered(NamedTuple):
    """What a call has come to: the head of the answer and its body, or the status of the call."""

    head: Any = None
    body: bytes = b""
    code: str = "OK"
    text: str = ""


def call(port: int, messages: Iterator[Any], metadata: Sequence[tuple[str, str]] = ()) -> Answered:
    """`CallLocalStream`, as a daprd calls another sidecar."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = channel.stream_stream(
            SERVICE + "CallLocalStream",
            lambda message: message.SerializeToString(),
            ResponseStream.FromString,
        )
        try:
            answers = list(stub(messages, timeout=TIMEOUT_S, metadata=metadata))
        except grpc.RpcError as error:
            return Answered(code=error.code().name, text=error.details())
    assert [each.HasField("response") for each in answers] == [True] + [False] * (len(answers) - 1)
    pieces = [each.payload for each in answers if each.HasField("payload")]
    assert [piece.seq for piece in pieces] == list(range(len(pieces)))
    return Answered(answers[0].response, b"".join(piece.data for piece in pieces))


def call_whole(port: int, head: Any, body: bytes = b"") -> Answered:
    """`CallLocal`, as older daprds call."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = channel.unary_unary(
            SERVICE + "CallLocal", lambda message: message.SerializeToString(), Response.FromString
        )
        head.message.data.value = body
        try:
            found = stub(head, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            return Answered(code=error.code().name, text=error.details())
    return Answered(found, found.message.data.value)
