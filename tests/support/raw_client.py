"""A client that sends exact bytes and parses answers without mercy; knows nothing of proxies."""

import socket
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

TIMEOUT_S: Final = 10.0
_BODYLESS: Final = frozenset({204, 304})


class ConnectionEndedError(Exception):
    """The peer closed or reset the connection in the middle of (or before) an answer."""


def http_request(
    target: str = "/",
    *fields: str,
    method: str = "GET",
    host: str = "h.example",
    version: str = "1.1",
    body: bytes = b"",
) -> bytes:
    """The bytes of one request: host first, then `fields` as they are, then the body."""
    lines = [f"{method} {target} HTTP/{version}", f"host: {host}", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@dataclass(slots=True)
class Answer:
    """One HTTP/1 answer as it was on the wire; `headers` keep order and spelling."""

    version: str
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    chunked: bool = False

    def values(self, name: str) -> list[str]:
        """All values of a header, in order; the name's case does not matter."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The first value of a header, or None."""
        return next(iter(self.values(name)), None)


class RawClient:
    """One TCP connection to 127.0.0.1."""

    def __init__(self, port: int, *, timeout_s: float = TIMEOUT_S, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout_s)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def half_close(self) -> None:
        """Say that nothing more will be sent; answers can still be read."""
        self.socket.shutdown(socket.SHUT_WR)

    def send(self, data: bytes) -> None:
        """Send all of `data`. A peer that has closed already is not an error: its answer counts."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def request(self, data: bytes) -> Answer:
        """Send one request and read its final answer (1xx answers are skipped)."""
        self.send(data)
        return self.read_final(head=data.startswith(b"HEAD "))

    def read_final(self, *, head: bool = False) -> Answer:
        """The next answer that is not 1xx."""
        while True:
            answer = self.read_answer(head=head)
            if answer.status >= 200 or answer.status == 101:
                return answer

    def read_answer(self, *, head: bool = False) -> Answer:
        """The next answer, 1xx included. Raises ConnectionEndedError when there is none."""
        answer = _parse_head(self._until(b"\r\n\r\n"))
        if head or answer.status < 200 or answer.status in _BODYLESS:
            return answer
        length = answer.get("content-length")
        if "chunked" in (answer.get("transfer-encoding") or ""):
            answer.chunked = True
            self._read_chunks(answer)
        elif length is not None:
            answer.body = self.read_exactly(int(length))
        else:
            answer.body = self.read_rest()
        return answer

    def read_head(self) -> Answer:
        """Only the head of the next answer; its body is left to `read_chunk` or `read_exactly`."""
        return _parse_head(self._until(b"\r\n\r\n"))

    def read_chunk(self) -> bytes:
        """The next chunk of a chunked body; b"" for the last one (trailers are not expected)."""
        data = self.read_exactly(int(self._until(b"\r\n"), 16))
        if self.read_exactly(2) != b"\r\n":
            raise ValueError("a chunk does not end with CRLF")
        return data

    def read_exactly(self, size: int) -> bytes:
        """Exactly `size` bytes. Raises ConnectionEndedError when the peer ends before."""
        while len(self._buffer) < size:
            self._more()
        return self._take(size)

    def read_rest(self) -> bytes:
        """Everything until the peer closes (a reset counts as a close)."""
        parts = [self._take(len(self._buffer))]
        try:
            while data := self.socket.recv(65536):
                parts.append(data)
        except ConnectionResetError:
            pass
        return b"".join(parts)

    def read_until_quiet(self, quiet_s: float = 0.3) -> tuple[bytes, bool]:
        """What arrives until `quiet_s` seconds were quiet, and whether the peer has closed."""
        data = self._take(len(self._buffer))
        before = self.socket.gettimeout()
        self.socket.settimeout(quiet_s)
        try:
            while more := self.socket.recv(65536):
                data += more
        except TimeoutError:
            return data, False
        except ConnectionResetError:
            pass
        finally:
            self.socket.settimeout(before)
        return data, True

    def is_closed(self, wait_s: float = 1.0) -> bool:
        """Whether the peer closes within `wait_s` seconds without sending anything more."""
        data, closed = self.read_until_quiet(wait_s)
        return closed and not data

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        return self._take(self._buffer.index(mark) + len(mark))

    def _more(self) -> None:
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise ConnectionEndedError(f"closed after {bytes(self._buffer[:200])!r}")
        self._buffer += data

    def _read_chunks(self, answer: Answer) -> None:
        parts: list[bytes] = []
        while size := int(self._until(b"\r\n"), 16):
            parts.append(self.read_exactly(size))
            if self.read_exactly(2) != b"\r\n":
                raise ValueError("a chunk does not end with CRLF")
        answer.body = b"".join(parts)
        while (line := self._until(b"\r\n")) != b"\r\n":
            answer.trailers.append(_parse_field(line[:-2]))


def _parse_head(head: bytes) -> Answer:
    first, *lines = head[:-4].split(b"\r\n")
    version, status, *reason = first.decode("latin-1").split(" ", 2)
    return Answer(version, int(status), "".join(reason), [_parse_field(line) for line in lines])


def _parse_field(line: bytes) -> tuple[str, str]:
    name, colon, value = line.decode("latin-1").partition(":")
    if not colon or not name or name != name.strip():
        raise ValueError(f"malformed field line {line!r}")
    return name, value.strip(" \t")
