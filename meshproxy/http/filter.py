"""The contract between a stream and its HTTP filters: Envoy's, status for status.

Owns the words (statuses, filter base class, callbacks). Refuses to know any filter, and how a
stream iterates them (`http/stream.py`).

A filter sees the request through `decode_*` and the response through `encode_*`. It answers with a
status: *continue*, or *stop* and later `callbacks.continue_decoding()` / `continue_encoding()`. The
statuses are plain module constants: an `IntEnum` member costs 0.14 us an access, these cost 0.03.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from mypy_extensions import mypyc_attr

if TYPE_CHECKING:
    from meshproxy.http.buffer import Buffer
    from meshproxy.http.header_map import HeaderMap
    from meshproxy.http.local_reply import LocalReply
    from meshproxy.http.metadata import MetadataMap
    from meshproxy.http.stream_info import StreamInfo

# FilterHeadersStatus
CONTINUE: Final = 0
STOP_ITERATION: Final = 1
CONTINUE_AND_DONT_END_STREAM: Final = 2
STOP_ALL_ITERATION_AND_BUFFER: Final = 3
STOP_ALL_ITERATION_AND_WATERMARK: Final = 4

# FilterDataStatus; 0 is CONTINUE here too
STOP_ITERATION_AND_BUFFER: Final = 1
STOP_ITERATION_AND_WATERMARK: Final = 2
STOP_ITERATION_NO_BUFFER: Final = 3

# FilterTrailersStatus: CONTINUE or STOP_ITERATION


class FilterCallbacks(Protocol):
    """What a filter may ask of its stream. One object per filter and stream."""

    @property
    def info(self) -> StreamInfo:
        """The facts of the stream, which also hold its four header maps."""

    @property
    def route(self) -> Any:
        """The matched route (`router.route.Route`) or None; matched on first use."""

    @property
    def decoding_buffer(self) -> Buffer | None:
        """The request body held back so far, None where nothing is; may be changed in place."""

    @property
    def encoding_buffer(self) -> Buffer | None:
        """The response body held back so far, None where nothing is; may be changed in place."""

    @property
    def buffer_limit(self) -> int:
        """How many body bytes may be held back (per_connection_buffer_limit_bytes)."""

    def set_decoding_buffer_limit(self, limit: int) -> None:
        """Let so many bytes of the request's body be held back before it is refused (413)."""

    def continue_decoding(self) -> None:
        """Go on with the request where this filter stopped it; nothing if it did not."""

    def continue_encoding(self) -> None:
        """Go on with the response where this filter stopped it; nothing if it did not."""

    def send_local_reply(self, reply: LocalReply) -> None:
        """Answer the request from here; the answer passes through the encode chain."""

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Begin a response from here; what follows it comes by the next two."""

    def encode_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of the body of that response."""

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """The trailers of that response, which end it."""

    def reset_stream(self, details: str) -> None:
        """End the stream without (the rest of) an answer."""

    def add_decoded_trailers(self) -> HeaderMap:
        """Create request trailers; only while the last body bytes are being decoded."""

    def add_decoded_data(self, data: bytes) -> None:
        """Hold back more request body: also a body for a request that has none."""

    def add_encoded_data(self, data: bytes) -> None:
        """Hold back more response body: also a body for a response that has none."""

    def add_encoded_message(self, data: bytes, trailers: HeaderMap) -> None:
        """A body and trailers for a response that has neither, while its headers are shown."""

    def inject_decoded_data(self, data: bytes) -> None:
        """Send more request body before the trailers that are being shown."""

    def inject_encoded_data(self, data: bytes) -> None:
        """Send more response body before the trailers that are being shown."""

    def add_encoded_trailers(self) -> HeaderMap:
        """Create response trailers; only while the last body bytes are being encoded."""

    def clear_route_cache(self) -> None:
        """Match the route again on next use: a header that decides it has changed."""

    def speak_http(self) -> None:
        """This filter has made HTTP of gRPC, and makes gRPC of the answer: also of local ones."""

    def request_headers_changed(self, names: Iterable[bytes]) -> None:
        """The same, if one of these headers decides it; all that have changed are among them."""

    def watch_downstream(self, listener: Callable[[bool], None]) -> None:
        """Tell `listener` when downstream cannot keep up with this filter's own response (True),
        and when it can again (False).
        """

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
        """Run `callback` once; the result has `cancel()`."""

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """Run a coroutine that is cancelled when the stream ends."""


class HttpFilter(Protocol):
    """What a stream asks its filters. `silent`: phases in which this one need not be asked, beside
    those that its class leaves to StreamFilter.
    """

    silent: frozenset[str]
    callbacks: FilterCallbacks

    def set_callbacks(self, callbacks: FilterCallbacks) -> None:
        """Called once, before any phase."""

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """The request's headers. Returns a FilterHeadersStatus."""

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """A piece of the request's body, which may be changed in place. Returns a FilterDataStatus.

        After STOP_ITERATION_AND_BUFFER the next call has everything held back so far in
        `callbacks.decoding_buffer` and the new bytes in `data`.
        """

    def decode_trailers(self, trailers: HeaderMap) -> int:
        """The request's trailers; they end the stream. Returns a FilterTrailersStatus."""

    def decode_metadata(self, metadata: MetadataMap) -> None:
        """METADATA beside the request, after its headers; it stops nothing."""

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """The response's headers. Returns a FilterHeadersStatus."""

    def encode_data(self, data: Buffer, end_stream: bool) -> int:
        """A piece of the response's body. Returns a FilterDataStatus."""

    def encode_trailers(self, trailers: HeaderMap) -> int:
        """The response's trailers. Returns a FilterTrailersStatus."""

    def encode_metadata(self, metadata: MetadataMap) -> None:
        """METADATA beside the response, after its headers; it stops nothing."""

    def on_stream_complete(self) -> None:
        """The stream has ended and its facts are final; the access log is written just after."""

    def on_destroy(self) -> None:
        """Nothing is called on this filter any more; let go of everything."""


NOT_SILENT: Final[frozenset[str]] = frozenset()


@mypyc_attr(allow_interpreted_subclasses=True)
class StreamFilter:
    """A filter that lets everything pass. Subclasses override the phases they care about.

    Which phases a class overrides is looked at once, when the chain is configured; the others cost
    nothing per request.
    """

    __slots__ = ("callbacks",)

    silent = NOT_SILENT
    callbacks: FilterCallbacks

    def set_callbacks(self, callbacks: FilterCallbacks) -> None:
        """Called once, before any phase."""
        self.callbacks = callbacks

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """The request's headers. Returns a FilterHeadersStatus."""
        return CONTINUE

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """A piece of the request's body, which may be changed in place. Returns a FilterDataStatus.

        After STOP_ITERATION_AND_BUFFER the next call has everything held back so far in
        `callbacks.decoding_buffer` and the new bytes in `data`.
        """
        return CONTINUE

    def decode_trailers(self, trailers: HeaderMap) -> int:
        """The request's trailers; they end the stream. Returns a FilterTrailersStatus."""
        return CONTINUE

    def decode_metadata(self, metadata: MetadataMap) -> None:
        """METADATA beside the request, after its headers; it stops nothing."""

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """The response's headers. Returns a FilterHeadersStatus."""
        return CONTINUE

    def encode_data(self, data: Buffer, end_stream: bool) -> int:
        """A piece of the response's body. Returns a FilterDataStatus."""
        return CONTINUE

    def encode_trailers(self, trailers: HeaderMap) -> int:
        """The response's trailers. Returns a FilterTrailersStatus."""
        return CONTINUE

    def encode_metadata(self, metadata: MetadataMap) -> None:
        """METADATA beside the response, after its headers; it stops nothing."""

    def on_stream_complete(self) -> None:
        """The stream has ended and its facts are final; the access log is written just after."""

    def on_destroy(self) -> None:
        """Nothing is called on this filter any more; let go of everything."""


FilterFactory = Callable[[], HttpFilter]
"""Makes the filter of one stream; configured once, called per stream."""


@dataclass(frozen=True, slots=True)
class FactoryByScope:
    """Factories of one filter that differ by the scope a request is routed to: an object of the
    route table (`router/filter_scope.py`), compared by identity.
    """

    default: FilterFactory
    by_scope: Mapping[object, FilterFactory]

    def at(self, scope: object) -> FilterFactory:
        """The factory in this scope."""
        return self.by_scope.get(scope, self.default)


DECODING: Final = ("decode_headers", "decode_data", "decode_trailers", "decode_metadata")
ENCODING: Final = ("encode_headers", "encode_data", "encode_trailers", "encode_metadata")
