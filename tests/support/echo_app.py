"""An app to be invoked: says what it was asked, streams, and fails on request."""

import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class EchoApp:
    """An HTTP server on a free port of loopback. Use as a context manager.

    `failures` are the statuses of the next answers; `/status/N` answers N; `/size/N` answers N
    bytes; `/gate` tells `at_gate` and waits for `gate`; `/healthz` answers `health`; `/stream`
    sends back each chunk as it comes; everything else answers method, path, headers and body as
    JSON.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.health = 200
        self.failures: list[int] = []
        self.requests: list[dict[str, Any]] = []
        self.gate = threading.Event()
        self.at_gate = threading.Semaphore(0)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

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
            self._thread.join()
            self._server.server_close()


def _handler(app: EchoApp) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            if self.path == "/gate":
                app.at_gate.release()
                app.gate.wait(30)
            if self.path == "/stream":
                self._stream()
                return
            body = b"".join(self._chunks())
            if self.path == "/healthz":
                self._answer(app.health, b"")
                return
            seen = {
                "method": self.command,
                "path": self.path,
                "headers": [[name.lower(), value] for name, value in self.headers.items()],
                "body": body.decode("latin-1"),
            }
            app.requests.append(seen)
            if app.failures:
                self._answer(app.failures.pop(0), b"failure")
                return
            if self.path.startswith("/size/"):
                self._answer(200, b"x" * int(self.path.rpartition("/")[2]))
            elif self.path.startswith("/status/"):
                self._answer(int(self.path.rpartition("/")[2]), b"as you wish")
            else:
                self._answer(200, json.dumps(seen).encode())

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("x-app", "one")
            self.send_header("x-app", "two")
            if status // 100 == 3:
                self.send_header("location", "/elsewhere")
            if status not in (204, 304):
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD" and status not in (204, 304):
                self.wfile.write(body)

        def _stream(self) -> None:
            self.send_response(200)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for chunk in self._chunks():
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")

        def _chunks(self):
            if self.headers.get("transfer-encoding") != "chunked":
                yield self.rfile.read(int(self.headers.get("content-length", 0)))
                return
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler
