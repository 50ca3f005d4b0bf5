"""An app that answers by a table and keeps what it was asked; one for each sidecar of a pair."""

import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from tests.parity_daprd.differences import IGNORED_REQUEST_HEADERS
from tests.parity_daprd.observed import read_body, read_headers

WAIT_S = 20.0


class Reply(NamedTuple):
    """What the app answers."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


Answering = Reply | Callable[[dict[str, Any]], Reply]
"""An answer, or what makes one from the request."""


class Recorder:
    """An HTTP server on a free port of loopback. Use as a context manager.

    `replies`: by `METHOD /path`, without the query; what is not there is answered by `default`.
    """

    def __init__(self, replies: Mapping[str, Answering], default: Reply | None = None) -> None:
        self.replies = dict(replies)
        self.default = default or Reply()
        self._asked: list[dict[str, Any]] = []
        self._change = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join(WAIT_S)
        self._server.server_close()

    def take(self, path: str, count: int = 1) -> list[dict[str, Any]]:
        """The next requests for a path, each once; waits for so many of them."""
        deadline = time.monotonic() + WAIT_S
        with self._change:
            while True:
                taken = [each for each in self._asked if each["path"].partition("?")[0] == path]
                if len(taken) >= count:
                    self._asked = [each for each in self._asked if each not in taken[:count]]
                    return taken[:count]
                left = deadline - time.monotonic()
                assert left > 0, f"{len(taken)} of {count} for {path}; asked: {self._asked}"
                self._change.wait(left)

    def all_for(self, path: str) -> list[dict[str, Any]]:
        """The requests for a path until now, each once."""
        with self._change:
            taken = [each for each in self._asked if each["path"].partition("?")[0] == path]
            self._asked = [each for each in self._asked if each not in taken]
        return taken

    def paths(self) -> list[str]:
        """`METHOD /path?query` of all that was asked and not taken."""
        with self._change:
            return [f"{each['method']} {each['path']}" for each in self._asked]

    def asked(self, request: dict[str, Any]) -> Reply:
        """Keep a request; how to answer it."""
        with self._change:
            self._asked.append(request)
            self._change.notify_all()
        path = request["path"].partition("?")[0]
        reply = self.replies.get(f"{request['method']} {path}", self.default)
        return reply if isinstance(reply, Reply) else reply(request)


def _handler(app: Recorder) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def do(self) -> None:
            reply = app.asked(
                {
                    "method": self.command,
                    "path": self.path,
                    "headers": read_headers(self.headers.items(), IGNORED_REQUEST_HEADERS),
                    "body": read_body(self._body()),
                }
            )
            self.send_response(reply.status)
            for name, value in reply.headers:
                self.send_header(name, value)
            self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = do

        def _body(self) -> bytes:
            if self.headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("content-length", 0)))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler
