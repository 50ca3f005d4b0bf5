"""gRPC calls that the proxy itself makes of a cluster: for filters, checks and exporters.

Owns one call from its headers to its status. Refuses to know messages' types, and who calls: each
gets messages as bytes, without their prefix. Connections, hosts and failures are the router's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from meshproxy.http import grpc
from meshproxy.http.header_map import HeaderMap
from meshproxy.router.async_client import AsyncClient, AsyncStream

MAX_MESSAGE: Final = 16 << 20
"""Bytes of a message that are taken, if the call does not say otherwise."""

Pairs = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class GrpcCall:
    """What a call is opened with. `path` is `/service/method`, `authority` empty for the cluster's
    name, `timeout` in seconds from the end of the request, 0 for none.
    """

    cluster: str
    path: str
    authority: str = ""
    metadata: Pairs = ()
    timeout: float = 0.0
    max_message: int = MAX_MESSAGE


class GrpcReceiver(Protocol):
    """Told what comes back, in this order; nothing before `open` has returned, nor after `reset`.

    A call that was opened always ends with `on_close`.
    """

    def on_initial_metadata(self, metadata: list[tuple[bytes, bytes]]) -> None:
        """The response's headers; empty for a trailers-only response."""

    def on_message(self, message: bytes) -> None:
        """One message."""

    def on_trailing_metadata(self, metadata: list[tuple[bytes, bytes]]) -> None:
        """The response's trailers; left out where there is no response."""

    def on_close(self, status: int, message: str) -> None:
        """The end: a gRPC status code and its text."""


class GrpcClient:
    """Opens calls to clusters."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    def knows(self, cluster: str) -> bool:
        """Whether there is such a cluster."""
        return self._client.knows(cluster)

    def open(self, call: GrpcCall, receiver: GrpcReceiver) -> GrpcStream | None:
        """Open a call; None where there is no such cluster."""
        stream = GrpcStream(call, receiver)
        requested = self._client.start(call.cluster, stream, call.timeout)
        if requested is None:
            return None
        stream.begin(requested)
        return stream

    def unary(
        self, call: GrpcCall, message: bytes, done: Callable[[int, str, bytes], None]
    ) -> GrpcStream | None:
        """One message out, one back: `done` gets status, text and, with OK, the message."""
        stream = self.open(call, _Unary(done))
        if stream is not None:
            stream.send(message, True)
        return stream


class _Unary:
    """Collects the one message of an answer."""

    __slots__ = ("_done", "_message")

    def __init__(self, done: Callable[[int, str, bytes], None]) -> None:
        self._done = done
        self._message: bytes | None = None

    def on_initial_metadata(self, metadata: list[tuple[bytes, bytes]]) -> None:
        """Nobody asked for it."""

    def on_message(self, message: bytes) -> None:
        """The answer."""
        if self._message is None:
            self._message = message

    def on_trailing_metadata(self, metadata: list[tuple[bytes, bytes]]) -> None:
        """Nobody asked for it."""

    def on_close(self, status: int, message: str) -> None:
        """The end."""
        if status == grpc.OK and self._message is None:
            status, message = grpc.INTERNAL, "an answer without a message"
        self._done(status, message, self._message or b"")


class GrpcStream:
    """One call. Implements `async_client.AsyncReceiver`."""

    __slots__ = ("_call", "_done", "_reader", "_receiver", "_stream")

    _stream: AsyncStream

    def __init__(self, call: GrpcCall, receiver: GrpcReceiver) -> None:
        self._call = call
        self._receiver = receiver
        self._reader = grpc.MessageReader(call.max_message)
        self._done = False

    def begin(self, stream: AsyncStream) -> None:
        """Send the headers."""
        self._stream = stream
        call = self._call
        headers = [
            (b":method", b"POST"),
            (b":path", call.path.encode()),
            (b":scheme", b"http"),
            (b":authority", (call.authority or call.cluster).encode()),
            (b"content-type", grpc.CONTENT_TYPE),
            (b"te", b"trailers"),
        ]
        if call.timeout:
            headers.append((b"grpc-timeout", grpc.format_timeout(call.timeout)))
        stream.send_headers(HeaderMap([*headers, *call.metadata]), False)

    # -- the caller's side -----------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether what is sent now waits here, because the server does not take it."""
        return self._stream.paused

    def send(self, message: bytes, end_stream: bool) -> None:
        """Send one message; `end_stream`: the last one."""
        if not self._done:
            self._stream.send_data(grpc.encode_message(message), end_stream)

    def close(self) -> None:
        """There are no more messages from here; the server may still send."""
        if not self._done:
            self._stream.send_data(b"", True)

    def hold(self, hold: bool) -> None:
        """Take no more for now, or more again; the server has to wait."""
        if not self._done:
            self._stream.hold_response(hold)

    def reset(self) -> None:
        """Give the call up; the receiver hears nothing more."""
        self._done = True
        self._stream.cancel()

    # -- what comes back -------------------------------------------------------------------------

    def on_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response's headers, or all of it."""
        status = grpc.status_of_response(headers)
        if end_stream:
            self._receiver.on_initial_metadata([])
            if not self._done:
                self._trailers(headers, grpc.UNKNOWN if status is None else status)
        elif status is not None and headers.get(b":status") != b"200":
            # Not gRPC's answer but somebody's in between: its body says nothing to us.
            self._stream.cancel()
            self._close(status, "")
        else:
            self._receiver.on_initial_metadata(headers.pairs)

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of the messages."""
        try:
            messages = self._reader.feed(data)
        except grpc.MessageError as error:
            self._stream.cancel()
            self._close(error.status, error.text)
            return
        for message in messages:
            if self._done:
                return
            self._receiver.on_message(message)
        if end_stream and not self._done:
            self._close(grpc.UNKNOWN, "an answer without a status")

    def on_trailers(self, trailers: HeaderMap) -> None:
        """The end, in good order."""
        if not self._done:
            status = grpc.status_of(trailers)
            self._trailers(trailers, grpc.UNKNOWN if status is None else status)

    def _trailers(self, trailers: HeaderMap, status: int) -> None:
        text = grpc.decode_text(trailers.get(b"grpc-message") or b"")
        if status == grpc.OK and self._reader.partial:
            status, text = grpc.INTERNAL, "the answer ends within a message"
        self._receiver.on_trailing_metadata(trailers.pairs)
        if not self._done:
            self._close(status, text)

    def on_reset(self, details: str) -> None:
        """The response that had begun will not be completed."""
        self._close(grpc.UNAVAILABLE, details)

    def _close(self, status: int, text: str) -> None:
        if not self._done:
            self._done = True
            self._receiver.on_close(status, text)
