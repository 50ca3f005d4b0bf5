"""Hosts that are well or ill as a test says: over HTTP, TCP and gRPC."""

from __future__ import annotations

import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

import grpc

from tests.support.processes import STOP_TIMEOUT_S
from tests.support.upstreams import Peer, ScriptedUpstream

WELL: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SERVING: Final = b"\x08\x01"

Seen = tuple[str, tuple[tuple[str, str], ...], bytes]


class HealthApp(ScriptedUpstream):
    """Answers each path as `answers` says, else WELL; None: not at all.

    `seen`: what has come, by path: method, headers and body.
    """

    def __init__(self) -> None:
        self.answers: dict[str, bytes | None] = {}
        self.seen: dict[str, set[Seen]] = {}
        super().__init__(self._play)

    def _play(self, peer: Peer) -> None:
        while request := peer.read_request():
            path = request.target
            seen = (request.method, tuple(request.headers), request.body)
            self.seen.setdefault(path, set()).add(seen)
            answer = self.answers.get(path, WELL)
            if answer is None:
                while peer.read_some():
                    pass
                return
            peer.send(answer)


class TcpHealthApp(ScriptedUpstream):
    """Answers what it hears with itself, or `answer`."""

    def __init__(self) -> None:
        self.answer: bytes | None = None
        super().__init__(self._play)

    def _play(self, peer: Peer) -> None:
        while data := peer.read_some():
            peer.send(data if self.answer is None else self.answer)


class TlsHealthApp(ScriptedUpstream):
    """WELL, over TLS with this context, to whoever may connect."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(self._play)

    def _play(self, peer: Peer) -> None:
        try:
            secure = self._context.wrap_socket(peer.socket.dup(), server_side=True)
        except OSError:
            return  # whoever came has no certificate
        with secure:
            while secure.recv(4096):
                secure.sendall(WELL)


class GrpcHealthApp:
    """`grpc.health.v1.Health/Check`: `answer`, or the status `fails`, for every service."""

    def __init__(self) -> None:
        self.answer = SERVING
        self.fails: grpc.StatusCode | None = None
        self.requests: list[bytes] = []
        self.lock = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(2))
        handlers = {"Check": grpc.unary_unary_rpc_method_handler(self._check)}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),)
        )
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def _check(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        with self.lock:
            self.requests.append(request)
        if self.fails is not None:
            context.abort(self.fails, "as the test wants it")
        return self.answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop(0).wait(STOP_TIMEOUT_S)
