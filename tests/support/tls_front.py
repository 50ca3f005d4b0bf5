"""TLS before a server that has none of its own; knows what is asked of it, and no protocol behind.

What comes in is decrypted and handed on. A client of PostgreSQL asks for TLS before; it gets a yes.
"""

import socket
import ssl
import threading
from contextlib import suppress
from typing import Self

from tests.support.processes import STOP_TIMEOUT_S

_TIMEOUT_S = 30
_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


class TlsFront:
    """On a free port of loopback. Use as a context manager."""

    def __init__(self, context: ssl.SSLContext, port: int, *, postgres: bool = False) -> None:
        """`port`: of the server, on loopback."""
        self._context = context
        self._target = port
        self._postgres = postgres
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(STOP_TIMEOUT_S)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(_TIMEOUT_S)
        with suppress(OSError), client:
            if self._postgres:
                if client.recv(8, socket.MSG_WAITALL) != _SSL_REQUEST:
                    return
                client.sendall(b"S")
            with (
                self._context.wrap_socket(client, server_side=True) as secure,
                socket.create_connection(("127.0.0.1", self._target), _TIMEOUT_S) as server,
            ):
                back = threading.Thread(target=_hand_on, args=(server, secure), daemon=True)
                back.start()
                _hand_on(secure, server)
                back.join(STOP_TIMEOUT_S)


def _hand_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
