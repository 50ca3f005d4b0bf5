"""Stand-ins for the two ends of a codec: a wire that records, and a stream that records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from meshproxy.http.codec import ResponseEncoder
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply


class FakeWire:
    """Records what a codec does to its transport."""

    def __init__(self) -> None:
        self.sent = b""
        self.closed: str | None = None
        self.disabled = 0
        self.put_off: list[Callable[[], None]] = []
        self.ended = False
        self.closing = False
        self.above_high = False
        self.local_address: Any = None
        self.connection_id = 1
        self.tls: Any = None

    def write(self, data: bytes) -> None:
        self.sent += data

    def writelines(self, pieces: Sequence[bytes]) -> None:
        self.sent += b"".join(pieces)

    @property
    def unsent(self) -> int:
        return len(self.sent)

    def write_eof(self) -> None:
        self.ended = True

    def read_disable(self, disable: bool) -> None:
        self.disabled += 1 if disable else -1

    def next_turn(self, work: Callable[[], None]) -> None:
        self.put_off.append(work)

    def later(self, work: Callable[[], None]) -> None:
        self.put_off.append(work)

    def take_turns(self) -> int:
        """Do what was put off; how many turns it took."""
        turns = 0
        while self.put_off:
            self.put_off.pop(0)()
            turns += 1
        return turns

    def close_after_flush(self, linger: bool) -> None:
        self.closed = "linger" if linger else "flush"
        self.closing = True

    def abort(self) -> None:
        self.closed = "abort"
        self.closing = True

    def take(self) -> bytes:
        sent, self.sent = self.sent, b""
        return sent


class RecordedRequest:
    """A stream that writes down its request; `answer` is called when the request has ended."""

    def __init__(
        self, encoder: ResponseEncoder, answer: Callable[[RecordedRequest], None] | None
    ) -> None:
        self.encoder = encoder
        self.answer = answer
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.trailers: list[tuple[bytes, bytes]] | None = None
        self.ended = False
        self.metadata: list[dict[bytes, bytes]] = []
        self.error: LocalReply | None = None
        self.reset: str | None = None
        self.watermarks: list[bool] = []

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        self.headers = headers.pairs
        self._end(end_stream)

    def decode_data(self, data: bytes, end_stream: bool) -> None:
        self.body += data
        self._end(end_stream)

    def decode_trailers(self, trailers: HeaderMap) -> None:
        self.trailers = trailers.pairs
        self._end(True)

    def decode_metadata(self, metadata: dict[bytes, bytes]) -> None:
        self.metadata.append(metadata)

    def on_codec_error(self, reply: LocalReply) -> None:
        self.error = reply
        self.encoder.encode_headers(HeaderMap([(b":status", b"%d" % reply.status)]), True)

    def on_reset(self, details: str, flag: int = 0) -> None:
        self.reset = details

    def on_watermark(self, high: bool) -> None:
        self.watermarks.append(high)

    def _end(self, end_stream: bool) -> None:
        if end_stream:
            self.ended = True
            if self.answer is not None:
                self.answer(self)


class RecordingManager:
    """Makes a RecordedRequest for every request of a connection."""

    def __init__(self, answer: Callable[[RecordedRequest], None] | None = None) -> None:
        self.answer = answer
        self.requests: list[RecordedRequest] = []
        self.protocol_errors = 0

    def new_stream(self, encoder: ResponseEncoder) -> RecordedRequest:
        request = RecordedRequest(encoder, self.answer)
        self.requests.append(request)
        return request

    def on_protocol_error(self) -> None:
        self.protocol_errors += 1


class RecordedResponse:
    """A response decoder that writes down what it is told."""

    def __init__(self) -> None:
        self.informational: list[list[tuple[bytes, bytes]]] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.trailers: list[tuple[bytes, bytes]] | None = None
        self.metadata: list[dict[bytes, bytes]] = []
        self.ended = False
        self.reset: str | None = None

    def on_1xx(self, headers: HeaderMap) -> None:
        self.informational.append(headers.pairs)

    def on_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        self.headers = headers.pairs
        self.ended = end_stream

    def on_data(self, data: bytes, end_stream: bool) -> None:
        self.body += data
        self.ended = end_stream

    def on_trailers(self, trailers: HeaderMap) -> None:
        self.trailers = trailers.pairs
        self.ended = True

    def on_metadata(self, metadata: dict[bytes, bytes]) -> None:
        self.metadata.append(metadata)

    def on_reset(self, reason: str, details: str) -> None:
        self.reset = reason


def cuts(data: bytes) -> list[list[bytes]]:
    """`data` in one piece, byte by byte, and in two pieces cut at every place."""
    whole = [[data], [data[at : at + 1] for at in range(len(data))]]
    return whole + [[data[:at], data[at:]] for at in range(1, len(data))]
