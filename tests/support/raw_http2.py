"""Peers of HTTP/2 that send frames made by hand and write down the frames that they get."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

import hpack

from tests.support.http2_frames import (
    ACK,
    DATA,
    GOAWAY,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    START,
    Frame,
    block,
    frame,
    read_frames,
    settings,
)

METADATA: Final = 0x4D
END_METADATA: Final = 4
TIMEOUT_S: Final = 10.0
Fields = Sequence[tuple[str | bytes, str | bytes]]


def metadata(stream: int, fields: Fields, size: int = 16384) -> bytes:
    """METADATA, in as many frames as it needs."""
    octets = block(tuple(fields))
    pieces = [octets[at : at + size] for at in range(0, len(octets), size)] or [b""]
    return b"".join(
        frame(METADATA, END_METADATA if each is pieces[-1] else 0, stream, each) for each in pieces
    )


class RawPeer:
    """One connection. `events` is what has come of messages, octets decoded, in its order."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(TIMEOUT_S)
        self.sock = sock
        self.events: list[tuple[Any, ...]] = []
        self._held = b""
        self._decoder = hpack.Decoder()
        self._pieces: dict[int, bytes] = {}

    def send(self, *octets: bytes) -> None:
        """Send frames."""
        try:
            self.sock.sendall(b"".join(octets))
        except OSError:  # it has been closed; reading will tell
            pass

    def read(self, enough: Callable[[Frame], bool]) -> bool:
        """Read frames until one is enough; False where the connection ends before."""
        while True:
            while (each := self._next()) is not None:
                self._note(each)
                if enough(each):
                    return True
            try:
                data = self.sock.recv(65536)
            except OSError:
                data = b""
            if not data:
                self.events.append(("closed",))
                return False
            self._held += data

    def _next(self) -> Frame | None:
        size = 9 + int.from_bytes(self._held[:3], "big")
        if len(self._held) < max(9, size):
            return None
        octets, self._held = self._held[:size], self._held[size:]
        return read_frames(octets)[0]

    def _note(self, each: Frame) -> None:
        stream = each.stream
        if each.kind == SETTINGS and not each.flags & ACK:
            self.send(frame(SETTINGS, ACK, 0))
        elif each.kind == HEADERS:
            fields = [tuple(pair) for pair in self._decoder.decode(each.payload)]
            self.events.append(("headers", stream, fields, each.ends))
        elif each.kind == DATA:
            self.events.append(("data", stream, each.payload, each.ends))
        elif each.kind == METADATA:
            octets = self._pieces.pop(stream, b"") + each.payload
            if each.flags == END_METADATA:
                # In no order that counts: of Envoy it is that of a hash table.
                pairs = hpack.Decoder(max_header_list_size=1 << 24).decode(octets, raw=True)
                self.events.append(("metadata", stream, sorted(tuple(pair) for pair in pairs)))
            else:
                self._pieces[stream] = octets
        elif each.kind in (RST_STREAM, GOAWAY):
            self.events.append(("reset" if each.kind == RST_STREAM else "goaway", each.code))


class RawClient(RawPeer):
    """A client with prior knowledge."""

    def __init__(self, port: int) -> None:
        super().__init__(socket.create_connection(("127.0.0.1", port), TIMEOUT_S))
        self.send(START)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.sock.close()


class RawUpstream:
    """A server that sends `answer`, frames of whatever stream, when a request has ended.

    `requests` gets the events of each request that has ended.
    """

    def __init__(self) -> None:
        self.answer: bytes = b""
        self.requests: queue.Queue[list[tuple[Any, ...]]] = queue.Queue()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._peers: list[RawPeer] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for peer in self._peers:
            try:
                peer.sock.shutdown(socket.SHUT_RDWR)
            except OSError:  # closed already
                pass
        for thread in self._threads:
            thread.join(TIMEOUT_S)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        peer = RawPeer(sock)
        self._peers.append(peer)
        with sock:
            preface = b""
            while len(preface) < len(PREFACE):
                data = sock.recv(len(PREFACE) - len(preface))
                if not data:
                    return
                preface += data
            peer.send(settings())
            while peer.read(lambda each: each.ends):
                self.requests.put(peer.events)
                stream, peer.events = peer.events[-1][1], []
                for each in read_frames(self.answer):
                    peer.send(frame(each.kind, each.flags, stream, each.payload))
