"""An app to be invoked: says what it was asked, streams, and fails on request."""

import json
import ssl
import threading
from collections.abc import Iterator
from typing import Any

from tests.support.http_server import Handler, HttpServer

_PATIENCE_S = 30


class EchoApp(HttpServer):
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
        super().__init__(_Echo, tls)


class _Echo(Handler):
    protocol_version = "HTTP/1.1"
    app: EchoApp

    def do(self) -> None:
        if self.path == "/gate":
            self.app.at_gate.release()
            self.app.gate.wait(_PATIENCE_S)
        if self.path == "/stream":
            self._stream()
            return
        body = b"".join(self._chunks())
        if self.path == "/healthz":
            self._reply(self.app.health, b"")
            return
        seen = {
            "method": self.command,
            "path": self.path,
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "body": body.decode("latin-1"),
        }
        self.app.requests.append(seen)
        if self.app.failures:
            self._reply(self.app.failures.pop(0), b"failure")
        elif self.path.startswith("/size/"):
            self._reply(200, b"x" * int(self.path.rpartition("/")[2]))
        elif self.path.startswith("/status/"):
            self._reply(int(self.path.rpartition("/")[2]), b"as you wish")
        else:
            self._reply(200, json.dumps(seen).encode())

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do

    def _reply(self, status: int, body: bytes) -> None:
        headers = [("x-app", "one"), ("x-app", "two")]
        if status // 100 == 3:
            headers.append(("location", "/elsewhere"))
        self.answer(status, body, headers)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for chunk in self._chunks():
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _chunks(self) -> Iterator[bytes]:
        if self.headers.get("transfer-encoding") != "chunked":
            yield self.body()
            return
        while size := int(self._line(), 16):
            yield self.rfile.read(size)
            self._line()
        self._line()

    def _line(self) -> bytes:
        if not (line := self.rfile.readline()):
            raise ConnectionResetError("gone in the middle of a body")
        return line
