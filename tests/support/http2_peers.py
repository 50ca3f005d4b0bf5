"""Real HTTP/2 peers over the library h2: an upstream that records and plays, and a client."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

TIMEOUT_S: Final = 10.0
Pairs = list[tuple[str, str]]


@dataclass(slots=True)
class Message:
    """A request or a response as it arrived; `reset` is the code of an RST_STREAM or GOAWAY."""

    headers: Pairs = field(default_factory=list)
    body: bytes = b""
    trailers: Pairs = field(default_factory=list)
    informational: list[Pairs] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    def get(self, name: str) -> str | None:
        """The first value of a header, or None."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def status(self) -> str | None:
        """`:status`."""
        return self.get(":status")


class Link:
    """One side of one connection: the socket, the library's state, and the messages."""

    def __init__(self, sock: socket.socket, *, client: bool) -> None:
        config = h2.config.H2Configuration(
            client_side=client, header_encoding="latin-1", validate_outbound_headers=False,
            normalize_outbound_headers=False, validate_inbound_headers=False,
        )  # fmt: skip
        self.sock = sock
        self.h2 = h2.connection.H2Connection(config)
        self.messages: dict[int, Message] = {}
        self.goaway: int | None = None
        self.pings = 0
        self.auto_window = True
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        """Send what the library has to say."""
        try:
            self.sock.sendall(self.h2.data_to_send())
        except OSError:  # the other side has closed; reading will tell
            pass

    def receive(self) -> bool:
        """Read once. False: the connection is over."""
        try:
            data = self.sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            return False
        for event in self.h2.receive_data(data):
            self._on_event(event)
        self.flush()
        return True

    def _on_event(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = int(event.error_code)
            return
        if isinstance(event, h2.events.PingReceived):
            self.pings += 1
            return
        stream = getattr(event, "stream_id", None)
        if not stream:
            return
        message = self.messages.setdefault(stream, Message())
        if isinstance(event, h2.events.RequestReceived | h2.events.ResponseReceived):
            message.headers = [tuple(pair) for pair in event.headers or ()]
        elif isinstance(event, h2.events.InformationalResponseReceived):
            message.informational.append([tuple(pair) for pair in event.headers or ()])
        elif isinstance(event, h2.events.TrailersReceived):
            message.trailers = [tuple(pair) for pair in event.headers or ()]
        elif isinstance(event, h2.events.DataReceived):
            message.body += event.data or b""
            if self.auto_window and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
        elif isinstance(event, h2.events.StreamEnded):
            message.ended = True
        elif isinstance(event, h2.events.StreamReset):
            message.reset = int(event.error_code)

    def send_body(self, stream: int, body: bytes, *, end: bool = True) -> None:
        """Send a body as the windows allow, reading meanwhile.

        Its last piece ends the stream: with an end of its own, a host that counts could answer
        before it has come.
        """
        at = 0
        while at < len(body):
            window = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if not window:
                if not self.receive():
                    return
                continue
            piece = body[at : at + window]
            at += len(piece)
            self.h2.send_data(stream, piece, end_stream=end and at == len(body))
            self.flush()
        if end and not body:
            self.h2.end_stream(stream)
            self.flush()


class Http2Client(Link):
    """A client with prior knowledge."""

    def __init__(self, port: int) -> None:
        super().__init__(socket.create_connection(("127.0.0.1", port), TIMEOUT_S), client=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.sock.close()

    def start(self, headers: Pairs, *, end: bool = True) -> int:
        """Begin a request; its stream."""
        stream: int = self.h2.get_next_available_stream_id()
        self.messages[stream] = Message()
        self.h2.send_headers(stream, headers, end_stream=end)
        self.flush()
        return stream

    def finish(self, stream: int) -> Message:
        """Read until the response has ended, one way or another."""
        message = self.messages[stream]
        while not message.ended and message.reset is None and self.receive():
            pass
        return message

    def request(self, headers: Pairs, body: bytes = b"", trailers: Pairs | None = None) -> Message:
        """One exchange."""
        stream = self.start(headers, end=not body and trailers is None)
        if body:
            self.send_body(stream, body, end=trailers is None)
        if trailers is not None:
            self.h2.send_headers(stream, trailers, end_stream=True)
            self.flush()
        return self.finish(stream)


class Http2Upstream:
    """A server; `play(link, stream, request)` answers each request when it has ended.

    `on_headers`: `play` is called as soon as the headers are there.
    """

    def __init__(
        self, play: Callable[[Link, int, Message], None] | None = None, *, on_headers: bool = False
    ) -> None:
        self.play = play or ok
        self.on_headers = on_headers
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.requests: queue.Queue[Message] = queue.Queue()
        self.links: list[Link] = []
        self.errors: list[BaseException] = []
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
        for link in self.links:
            try:
                link.sock.shutdown(socket.SHUT_RDWR)
            except OSError:  # closed already
                pass
            link.sock.close()
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
        link = Link(sock, client=False)
        self.links.append(link)
        answered: set[int] = set()
        try:
            while link.receive():
                for stream, message in tuple(link.messages.items()):
                    ready = message.ended or (self.on_headers and message.headers)
                    if ready and stream not in answered:
                        answered.add(stream)
                        self.requests.put(message)
                        self.play(link, stream, message)
                        link.flush()
        except (OSError, h2.exceptions.ProtocolError) as error:
            self.errors.append(error)
        sock.close()

    def take(self) -> Message:
        """The next request."""
        return self.requests.get(timeout=TIMEOUT_S)


def ok(link: Link, stream: int, request: Message) -> None:
    """Answer 200 with two bytes."""
    link.h2.send_headers(stream, [(":status", "200"), ("content-length", "2")])
    link.h2.send_data(stream, b"ok", end_stream=True)


def echo(link: Link, stream: int, request: Message) -> None:
    """Answer with the request's body and trailers."""
    link.h2.send_headers(stream, [(":status", "200"), ("x-echo", "1")])
    if request.trailers:
        link.send_body(stream, request.body, end=False)
        link.h2.send_headers(stream, request.trailers, end_stream=True)
    else:
        link.send_body(stream, request.body)
