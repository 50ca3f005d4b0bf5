"""A real gRPC server (grpcio) whose methods take and give bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import grpc

from tests.support.processes import STOP_TIMEOUT_S

SERVICE = "pkg.Greeter"


def hello(request: bytes, context: grpc.ServicerContext) -> bytes:
    """Greets, with metadata before and after; the caller's `x-who` comes back as well."""
    sent = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-initial", "1"),))
    context.set_trailing_metadata((("x-trailing", sent.get("x-who", "nobody")),))
    return b"hello " + request


def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
    """Fails with a status and a text that has to be encoded."""
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now, é%")
    raise AssertionError


def nothing(request: bytes, context: grpc.ServicerContext) -> bytes:
    """Succeeds later than anybody waits."""
    time.sleep(2)
    return b"late"


def chat(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """Echoes every message, and counts them at the end."""
    context.send_initial_metadata((("x-initial", "2"),))
    count = 0
    for request in requests:
        count += 1
        yield b"echo " + request
    context.set_trailing_metadata((("x-count", str(count)),))


class GrpcServer:
    """Listens on `port` of 127.0.0.1 until it is left."""

    def __init__(self) -> None:
        self._server = grpc.server(ThreadPoolExecutor(4))
        unary: dict[str, Callable[..., bytes]] = {
            "Hello": hello, "Refuse": refuse, "Nothing": nothing,
        }  # fmt: skip
        handlers: dict[str, Any] = {
            name: grpc.unary_unary_rpc_method_handler(method) for name, method in unary.items()
        }
        handlers["Chat"] = grpc.stream_stream_rpc_method_handler(chat)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),)
        )
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop(0).wait(STOP_TIMEOUT_S)
