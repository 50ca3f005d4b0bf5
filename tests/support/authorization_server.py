"""A real gRPC authorization server (grpcio): answers what it is told and keeps the questions."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import grpc
from envoy.service.auth.v3 import external_auth_pb2 as auth
from google.protobuf import text_format

STOP_S = 5.0


def answer(text: str) -> auth.CheckResponse:
    """A CheckResponse from protobuf's text format."""
    return text_format.Parse(text, auth.CheckResponse())


class AuthorizationServer:
    """Listens on `port` of 127.0.0.1 until it is left. `answer`: a CheckResponse; bytes to send as
    they are; None to fail.
    """

    def __init__(self) -> None:
        self.answer: auth.CheckResponse | bytes | None = auth.CheckResponse()
        self._seen: list[tuple[auth.CheckRequest, dict[str, str]]] = []
        self._lock = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(2))
        method = grpc.unary_unary_rpc_method_handler(
            self._check, auth.CheckRequest.FromString, lambda message: message
        )
        service = "envoy.service.auth.v3.Authorization"
        handler = grpc.method_handlers_generic_handler(service, {"Check": method})
        self._server.add_generic_rpc_handlers((handler,))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def _check(self, request: auth.CheckRequest, context: grpc.ServicerContext) -> bytes:
        with self._lock:
            metadata = {name: str(value) for name, value in context.invocation_metadata()}
            self._seen.append((request, metadata))
        if self.answer is None:
            context.abort(grpc.StatusCode.INTERNAL, "out of order")
        if isinstance(self.answer, bytes):
            return self.answer
        return self.answer.SerializeToString()

    def take_all(self) -> list[tuple[auth.CheckRequest, dict[str, str]]]:
        """What was asked since the last call: message and metadata."""
        with self._lock:
            seen, self._seen = self._seen, []
        return seen

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server.stop(0).wait(STOP_S), "the authorization server does not stop"
