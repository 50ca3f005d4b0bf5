"""A gRPC server and client of the library grpcio, for the public interoperability cases.

Messages are bytes: what is proved is the way, not the coding.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self

import grpc
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

SERVICE: Final = "test.Interop"
TIMEOUT_S: Final = 20.0
OPTIONS: Final = (
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.max_send_message_length", 16 << 20),
    ("grpc.use_local_subchannel_pool", 1),
)


class GrpcServer:
    """The server. `cancelled` is set when a call ended because its client gave it up."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self._server = grpc.server(ThreadPoolExecutor(8), options=OPTIONS)
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(self._unary),
            "ServerStream": grpc.unary_stream_rpc_method_handler(self._server_stream),
            "ClientStream": grpc.stream_unary_rpc_method_handler(self._client_stream),
            "Chat": grpc.stream_stream_rpc_method_handler(self._chat),
            "Fail": grpc.unary_unary_rpc_method_handler(self._fail),
            "Sleep": grpc.unary_unary_rpc_method_handler(self._sleep),
        }
        generic = grpc.method_handlers_generic_handler(SERVICE, handlers)
        self._server.add_generic_rpc_handlers((generic,))
        self.health = HealthServicer()
        add_HealthServicer_to_server(self.health, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop(None).wait(TIMEOUT_S)

    def _note(self, method: str, context: Any) -> None:
        metadata = dict(context.invocation_metadata())
        self.seen.append((method, metadata))
        echo = [(k, v) for k, v in metadata.items() if k.startswith("x-echo-initial")]
        if echo:
            context.send_initial_metadata(echo)
        context.set_trailing_metadata(
            [(k, v) for k, v in metadata.items() if k.startswith("x-echo-trailing")]
        )

    def _unary(self, request: bytes, context: Any) -> bytes:
        self._note("Unary", context)
        return request

    def _server_stream(self, request: bytes, context: Any) -> Iterator[bytes]:
        """The request says the sizes of the answers, separated by commas."""
        self._note("ServerStream", context)
        for size in request.decode().split(","):
            yield b"x" * int(size)

    def _client_stream(self, requests: Iterator[bytes], context: Any) -> bytes:
        self._note("ClientStream", context)
        return str(sum(len(each) for each in requests)).encode()

    def _chat(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        self._note("Chat", context)
        context.add_callback(lambda: None if context.code() else self.cancelled.set())
        yield from requests

    def _fail(self, request: bytes, context: Any) -> bytes:
        """The request is the code, a space, and the text."""
        self._note("Fail", context)
        code, _, text = request.decode().partition(" ")
        context.set_trailing_metadata([("grpc-status-details-bin", b"\x08\x05\xff")])
        by_number = {each.value[0]: each for each in grpc.StatusCode}
        context.abort(by_number[int(code)], text)
        raise AssertionError("abort raises")

    def _sleep(self, request: bytes, context: Any) -> bytes:
        self._note("Sleep", context)
        gone = threading.Event()
        if not context.add_callback(gone.set):
            gone.set()
        gone.wait(TIMEOUT_S)
        self.cancelled.set()
        return b""


class GrpcChannel:
    """A client's channel to a port."""

    def __init__(self, port: int) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.channel.close()

    def unary(self, method: str, service: str = SERVICE) -> Any:
        """Call it with bytes."""
        return self.channel.unary_unary(f"/{service}/{method}")

    def server_stream(self) -> Any:
        """Call it with bytes, iterate."""
        return self.channel.unary_stream(f"/{SERVICE}/ServerStream")

    def client_stream(self) -> Any:
        """Call it with an iterator."""
        return self.channel.stream_unary(f"/{SERVICE}/ClientStream")

    def chat(self) -> Any:
        """Call it with an iterator, iterate."""
        return self.channel.stream_stream(f"/{SERVICE}/Chat")
