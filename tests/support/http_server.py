"""An HTTP server in threads of this process, for tests; knows no path and no app."""

import ssl
import sys
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.support.processes import STOP_TIMEOUT_S


class Handler(BaseHTTPRequestHandler):
    """One request at a time of one connection; `app` is the server that it belongs to."""

    disable_nagle_algorithm = True  # head and body are two writes

    app: Any

    def body(self) -> bytes:
        """The request's, by its length."""
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def lower_headers(self) -> dict[str, str]:
        """The request's, with names in lower case."""
        return {name.lower(): value for name, value in self.headers.items()}

    def answer(
        self, status: int, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """The whole answer, with what its status and the method allow it."""
        bodyless = status in (204, 304)
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if not bodyless:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if not bodyless and self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class HttpServer:
    """Listens on a free port of loopback. Use as a context manager; base class of apps."""

    def __init__(self, handler: type[Handler], tls: ssl.SSLContext | None = None) -> None:
        own = type(handler.__name__, (handler,), {"app": self})
        self._server = _Server(("127.0.0.1", 0), own)
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        # Daemons: what a client keeps open holds up neither the test nor the end of the run.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), name="http server", daemon=True
        )

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more; a second time does no harm."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(STOP_TIMEOUT_S)
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        # Whoever asked may go whenever they like, and may dislike our certificate.
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)
