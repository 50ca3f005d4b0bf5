"""The contract between codecs and everything above and below them, the same for HTTP/1 and HTTP/2.

Owns the seams: bytes below (`Wire`), streams above (`RequestDecoder`, `ResponseDecoder`), and
what a stream may tell its codec (`ResponseEncoder`, `RequestEncoder`). Refuses to know any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from meshproxy.http.header_map import HeaderMap
    from meshproxy.http.local_reply import LocalReply
    from meshproxy.http.metadata import MetadataMap


class Wire(Protocol):
    """What a codec may do to the bytes' transport (`network/connection.py`)."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def writelines(self, pieces: Sequence[bytes]) -> None:
        """Send pieces without joining them first."""

    @property
    def unsent(self) -> int:
        """Bytes that were written and that the system has not taken yet."""

    def write_eof(self) -> None:
        """Send what is queued, then the end of our side."""

    def read_disable(self, disable: bool) -> None:
        """Stop or go on reading; calls nest, reading goes on when as many ended as began."""

    def next_turn(self, work: Callable[[], None]) -> None:
        """Call `work` soon, unless the connection closes: after others had their turns."""

    def later(self, work: Callable[[], None]) -> None:
        """The same for what must be done even where the connection has closed meanwhile."""

    def close_after_flush(self, linger: bool) -> None:
        """Send what is queued, then close. `linger`: the peer may still be sending; give it time to
        read the answer first (delayed_close_timeout), because closing now would reset it away."""

    def abort(self) -> None:
        """Close at once."""


class RequestDecoder(Protocol):
    """A stream, seen by the server codec that reads its request."""

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The request's headers, pseudo headers first."""

    def decode_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of its body; empty only at the end."""

    def decode_trailers(self, trailers: HeaderMap) -> None:
        """Its trailers, which end it."""

    def decode_metadata(self, metadata: MetadataMap) -> None:
        """Metadata beside it, at any time before its end."""

    def on_codec_error(self, reply: LocalReply) -> None:
        """The rest of the request cannot be read: answer with `reply`, if there is still time."""

    def send_local_reply(self, reply: LocalReply) -> None:
        """Answer with `reply`; the rest of the request does not matter any more."""

    def on_reset(self, details: str, flag: int = 0) -> None:
        """The peer went away before the stream had ended. `flag`: the ResponseFlag, where it is
        another than that its connection ended."""

    def on_watermark(self, high: bool) -> None:
        """The response is made faster than it can be sent, or no more."""


class ResponseEncoder(Protocol):
    """The server codec, seen by the stream whose response it writes.

    `protocol` is the request's, in the words of `%PROTOCOL%`.
    """

    @property
    def protocol(self) -> str:
        """Of the request."""

    def encode_1xx(self, headers: HeaderMap) -> None:
        """An informational response; the final one is still to come."""

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response's headers, `:status` first. The map belongs to the encoder afterwards."""

    def encode_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of its body."""

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Its trailers, which end it."""

    def encode_metadata(self, metadata: MetadataMap) -> bool:
        """Metadata beside it, also before its headers. False: this protocol has none."""

    def reset_stream(self) -> None:
        """Give the stream up: the peer must see that it is not complete."""

    def read_disable(self, disable: bool) -> None:
        """Stop or go on reading the request's body."""

    def close_when_done(self) -> None:
        """This response is the connection's last."""


class ServerConnectionCallbacks(Protocol):
    """Who makes streams for a server codec (`http/conn_manager.py`)."""

    def new_stream(self, encoder: ResponseEncoder) -> RequestDecoder:
        """A request begins."""

    def switch_to_http2(
        self, settings: bytes, pairs: list[tuple[bytes, bytes]]
    ) -> Callable[[bytes], None]:
        """The client goes on in HTTP/2 with these SETTINGS, and `pairs` as its first request.
        Returns who takes its bytes."""

    def on_protocol_error(self) -> None:
        """The connection, not one request, broke the protocol's rules."""


class ResponseDecoder(Protocol):
    """Who reads a response from a client codec (`router/upstream_request.py`)."""

    def on_1xx(self, headers: HeaderMap) -> None:
        """An informational response."""

    def on_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response's headers, `:status` first."""

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of its body."""

    def on_trailers(self, trailers: HeaderMap) -> None:
        """Its trailers, which end it."""

    def on_metadata(self, metadata: MetadataMap) -> None:
        """Metadata beside it, at any time before its end."""

    def on_reset(self, reason: str, details: str) -> None:
        """There will be no (more) response. `reason` is one of Envoy's stream reset reasons."""
