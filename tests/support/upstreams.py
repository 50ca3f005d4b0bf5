"""Upstream servers for tests: record the exact bytes and play scripted answers; know no proxy."""

import queue
import re
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

TIMEOUT_S: Final = 10.0
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE: Final = re.compile(rb"(" + _TOKEN + rb") ([!-~\x80-\xff]+) (HTTP/1\.[01])")
_FIELD_LINE: Final = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")


class MalformedRequestError(ValueError):
    """What the proxy sent is not exactly one well-formed request."""


class IncompleteRequestError(Exception):
    """The proxy has closed in the middle of a request, as it must when its client has gone."""


@dataclass(slots=True)
class Request:
    """One request as it arrived: `headers` keep order and spelling, `raw` is every byte of it."""

    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    chunked: bool = False
    raw: bytes = b""

    def values(self, name: str) -> list[str]:
        """All values of a header, in order; the name's case does not matter."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The first value of a header, or None."""
        return next(iter(self.values(name)), None)


class Peer:
    """The server's side of one connection, handed to a script; `received` keeps every byte."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.received = bytearray()
        self._buffer = bytearray()

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self.socket.sendall(data)

    def close(self) -> None:
        """Close in good order (FIN)."""
        self.socket.close()

    def hang_up(self) -> None:
        """Close, also while another thread waits for bytes (which a plain close leaves waiting)."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:  # closed already, by either side
            pass
        self.socket.close()

    def reset(self) -> None:
        """Close with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def half_close(self) -> None:
        """Send FIN and go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def read_some(self) -> bytes:
        """Whatever comes next; b"" when the peer has closed."""
        data = self._take(len(self._buffer))
        return data or self._receive()

    def read_head(self) -> bytes:
        """Everything up to and with the first empty line; b"" when the peer has closed."""
        while b"\r\n\r\n" not in self._buffer:
            if not (data := self._receive()):
                if self._buffer:
                    raise IncompleteRequestError(f"closed within a head: {bytes(self._buffer)!r}")
                return b""
            self._buffer += data
        return self._take(self._buffer.index(b"\r\n\r\n") + 4)

    def read_request(self) -> Request | None:
        """The next complete request, or None when the peer has closed between requests.

        Raises MalformedRequestError for anything that two servers could read differently.
        """
        start = len(self.received) - len(self._buffer)
        if not (head := self.read_head()):
            return None
        request = parse_head(head)
        if request.chunked:
            self._read_chunks(request)
        elif (length := request.get("content-length")) is not None:
            request.body = self._exactly(int(length))
        request.raw = bytes(self.received[start : len(self.received) - len(self._buffer)])
        return request

    def _receive(self) -> bytes:
        try:
            data = self.socket.recv(65536)
        except OSError:  # reset by the proxy, or closed by stop(): nothing more comes either way
            return b""
        self.received += data
        return data

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not (data := self._receive()):
                raise IncompleteRequestError("closed within a body")
            self._buffer += data
        return self._take(size)

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if not (data := self._receive()):
                raise IncompleteRequestError("closed within a chunked body")
            self._buffer += data
        return self._take(self._buffer.index(b"\r\n") + 2)[:-2]

    def _read_chunks(self, request: Request) -> None:
        parts: list[bytes] = []
        while True:
            line = self._line()
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", line):
                raise MalformedRequestError(f"chunk size line {line!r}")
            if not (size := int(line, 16)):
                break
            parts.append(self._exactly(size))
            if self._exactly(2) != b"\r\n":
                raise MalformedRequestError("a chunk does not end with CRLF")
        request.body = b"".join(parts)
        while line := self._line():
            request.trailers.append(_parse_field(line))


def parse_head(head: bytes) -> Request:
    """A request head, strictly: tokens, CRLF, one framing at most. Raises MalformedRequestError."""
    first, *lines = head[:-4].split(b"\r\n")
    if not (match := _REQUEST_LINE.fullmatch(first)):
        raise MalformedRequestError(f"request line {first!r}")
    method, target, version = (part.decode("latin-1") for part in match.groups())
    request = Request(method, target, version, [_parse_field(line) for line in lines])
    codings = request.values("transfer-encoding")
    lengths = request.values("content-length")
    if len(codings) + len(lengths) > 1:
        raise MalformedRequestError(f"two framings in {head!r}")
    if codings and codings != ["chunked"]:
        raise MalformedRequestError(f"transfer-encoding {codings!r}")
    if lengths and not re.fullmatch(r"0|[1-9][0-9]*", lengths[0]):
        raise MalformedRequestError(f"content-length {lengths!r}")
    if len(request.values("host")) != 1:
        raise MalformedRequestError(f"not exactly one host in {head!r}")
    request.chunked = bool(codings)
    return request


def _parse_field(line: bytes) -> tuple[str, str]:
    if not (match := _FIELD_LINE.fullmatch(line)):
        raise MalformedRequestError(f"field line {line!r}")
    return match[1].decode("latin-1"), match[2].decode("latin-1")


class ScriptedUpstream:
    """Runs `script(peer)` in a thread for every connection; keeps each connection's bytes.

    An exception in a script is kept in `errors` and the connection is closed; `stop` gives up on
    nothing silently: it raises the first of them.
    """

    def __init__(
        self, script: Callable[[Peer], None], *, port: int = 0, receive_buffer: int = 0
    ) -> None:
        self.script = script
        self.errors: list[BaseException] = []
        self.peers: list[Peer] = []
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(128)
        self.port = int(self._listener.getsockname()[1])
        self._acceptor = threading.Thread(target=self._accept, name="upstream", daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop(check=kind is None)

    def stop(self, *, check: bool = True) -> None:
        """Close the listener and every connection; raise the first error of a script."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(TIMEOUT_S)
        for peer in self.peers:
            peer.hang_up()
        if check and self.errors:
            raise self.errors[0]

    @property
    def received(self) -> list[bytes]:
        """The exact bytes of every connection so far, in the order of accepting."""
        return [bytes(peer.received) for peer in self.peers]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(connection)
            self.peers.append(peer)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: Peer) -> None:
        try:
            self.script(peer)
        except (BrokenPipeError, ConnectionResetError, IncompleteRequestError):
            pass  # the proxy has gone, which is its right; `received` has what came
        except BaseException as error:
            self.errors.append(error)
        finally:
            if peer.socket.fileno() >= 0:
                peer.close()


OK_ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

Play = Callable[[Peer, Request], None]


def answering(*answers: bytes) -> Play:
    """A play that sends these bytes, one write each, and keeps the connection."""

    def play(peer: Peer, _request: Request) -> None:
        for answer in answers:
            peer.send(answer)

    return play


answer_ok: Final = answering(OK_ANSWER)


def answering_then_close(*answers: bytes) -> Play:
    """A play that sends these bytes and closes in good order."""

    def play(peer: Peer, request: Request) -> None:
        answering(*answers)(peer, request)
        peer.close()

    return play


def answering_then_reset(*answers: bytes) -> Play:
    """A play that sends these bytes and resets the connection."""

    def play(peer: Peer, request: Request) -> None:
        answering(*answers)(peer, request)
        peer.reset()

    return play


def answering_then_wait(*answers: bytes) -> Play:
    """A play that sends these bytes and then nothing, until the proxy gives up."""

    def play(peer: Peer, request: Request) -> None:
        answering(*answers)(peer, request)
        while peer.read_some():
            pass

    return play


class RecordingUpstream(ScriptedUpstream):
    """Puts each well-formed request into `requests` and then plays `play(peer, request)`.

    `play` may be replaced between requests; it may close or reset the peer. Bytes that are not
    exactly one well-formed request after another end up in `errors`.
    """

    def __init__(self, play: Play = answer_ok, *, port: int = 0) -> None:
        self.play = play
        self.requests: queue.Queue[Request] = queue.Queue()
        super().__init__(self._play_all, port=port)

    def _play_all(self, peer: Peer) -> None:
        while request := peer.read_request():
            self.requests.put(request)
            self.play(peer, request)

    def take(self, timeout_s: float = TIMEOUT_S) -> Request:
        """The next request that arrived. Raises queue.Empty when none comes in time."""
        return self.requests.get(timeout=timeout_s)

    def take_all(self) -> list[Request]:
        """Every request that has arrived and was not taken."""
        taken: list[Request] = []
        while not self.requests.empty():
            taken.append(self.requests.get())
        return taken


class RefusingPort:
    """A port of 127.0.0.1 that refuses connections for as long as this object lives."""

    def __init__(self) -> None:
        # Bound but not listening: nobody else can get the port, and connect() is refused.
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()


class SilentPort:
    """A port of 127.0.0.1 on which connecting takes for ever, while this object lives."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port = int(self._listener.getsockname()[1])
        # Nobody accepts, so these fill the queue and the system leaves the next one waiting.
        self._queued = [socket.socket() for _ in range(4)]
        for one in self._queued:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", self.port))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for one in (*self._queued, self._listener):
            one.close()
