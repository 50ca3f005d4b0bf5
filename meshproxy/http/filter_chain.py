"""The HTTP filter chain: what is known about it at configuration time, and one stream's instance.

Owns which filter takes part in which phase, and what a filter may ask of its stream. Refuses to
know how a path is iterated (`filter_path.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import DECODING, ENCODING, FilterFactory, HttpFilter, StreamFilter
from meshproxy.http.filter_path import FilterKind, FilterPath, PathCalls, PathEnd
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.metadata import MetadataMap

if TYPE_CHECKING:
    from meshproxy.http.stream import Stream, TerminalFilter
    from meshproxy.http.stream_info import StreamInfo

TerminalFactory = Callable[["Stream"], "TerminalFilter"]


class FilterChain:
    """The filters before the terminal one, in the order of the configuration.

    `by_scope`: the filters of requests whose route says something else about them. `translates`:
    before a cluster, they make of a request what its stream must not take for its own.
    """

    __slots__ = (
        "_by_scope", "_calls", "factories", "has_filters", "limit", "terminal", "translates",
    )  # fmt: skip

    def __init__(
        self,
        factories: Sequence[FilterFactory],
        terminal: TerminalFactory,
        buffer_limit: int,
        by_scope: Mapping[Any, Sequence[FilterFactory]] | None = None,
    ) -> None:
        self.factories = tuple(factories)
        self._by_scope = {scope: tuple(each) for scope, each in (by_scope or {}).items()}
        self.has_filters = bool(self.factories) or any(self._by_scope.values())
        self.terminal = terminal
        self.translates = False
        self.limit = buffer_limit
        # By the kinds of a stream's filters, of which there are few: what its paths ask them.
        self._calls: dict[tuple[FilterKind, ...], tuple[PathCalls, PathCalls]] = {}

    def _at_route(self, stream: Stream) -> tuple[FilterFactory, ...]:
        """The filters at the stream's route; a change of route later does not change them."""
        route = stream.route
        if route is None:
            return self.factories
        scope = route.filter_scope
        if route.pick_scope is not None:
            scope = route.pick_scope(stream.info.request_headers, stream.random)
        return self._by_scope.get(scope, self.factories)

    def instantiate(
        self, stream: Any, decode_end: PathEnd | None = None, encode_end: PathEnd | None = None
    ) -> tuple[tuple[ActiveFilter, ...], FilterPath, FilterPath]:
        """The filters of one stream, and its two paths through them.

        `stream` is a `Stream`, then the paths end in its terminal filter and in itself; or what
        stands in for one, with ends of its own (`router/upstream_filters.py`).
        """
        factories = self._at_route(stream) if self._by_scope else self.factories
        filters = [factory() for factory in factories]
        kinds = tuple([(type(each), each.silent) for each in filters])
        calls = self._calls.get(kinds)
        if calls is None:
            calls = PathCalls(kinds, DECODING), PathCalls(kinds[::-1], ENCODING)
            self._calls[kinds] = calls
        reverse = filters[::-1] if len(filters) > 1 else filters
        decode = FilterPath(decode_end or _DecodeEnd(stream), self.limit, filters, calls[0])
        encode = FilterPath(encode_end or stream, self.limit, reverse, calls[1])
        last = len(filters) - 1
        active = tuple(
            [
                ActiveFilter(stream, each, decode, index, encode, last - index)
                for index, each in enumerate(filters)
            ]
        )
        for each in active:
            each.filter.set_callbacks(each)
        return active, decode, encode


class _DecodeEnd:
    """The end of the decode path: the terminal filter, and downstream where it must wait."""

    __slots__ = ("stream",)

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def headers_through(self, headers: HeaderMap, end_stream: bool) -> None:
        assert self.stream.terminal is not None
        self.stream.terminal.decode_headers(headers, end_stream)

    def data_through(self, data: bytes, end_stream: bool) -> None:
        assert self.stream.terminal is not None
        self.stream.terminal.decode_data(data, end_stream)

    def trailers_through(self, trailers: HeaderMap) -> None:
        assert self.stream.terminal is not None
        self.stream.terminal.decode_trailers(trailers)

    def metadata_through(self, metadata: MetadataMap) -> None:
        assert self.stream.terminal is not None
        self.stream.terminal.decode_metadata(metadata)

    def buffer_high(self, may_wait: bool) -> None:
        self.stream.request_buffer_high(may_wait)

    def buffer_low(self) -> None:
        self.stream.encoder.read_disable(False)


class ActiveFilter:
    """One filter of one stream, with everything it may ask for (`filter.FilterCallbacks`)."""

    __slots__ = (
        "_decode",
        "_decode_index",
        "_encode",
        "_encode_index",
        "_owned",
        "filter",
        "info",
        "stream",
    )

    stream: Any
    """A `Stream`, or what stands in for one: not its type, since compiled code takes no other."""

    def __init__(
        self,
        stream: Any,
        filter: HttpFilter,
        decode: FilterPath,
        decode_index: int,
        encode: FilterPath,
        encode_index: int,
    ) -> None:
        self.stream = stream
        self.filter = filter
        self.info: StreamInfo = stream.info
        self._decode = decode
        self._decode_index = decode_index
        self._encode = encode
        self._encode_index = encode_index
        self._owned: list[Any] | None = None

    @property
    def route(self) -> Any:
        """The matched route or None; matched on first use."""
        return self.stream.route

    @property
    def decoding_buffer(self) -> Buffer | None:
        """The request body held back so far."""
        return self._decode.buffer

    @property
    def encoding_buffer(self) -> Buffer | None:
        """The response body held back so far."""
        return self._encode.buffer

    @property
    def buffer_limit(self) -> int:
        """How many body bytes may be held back."""
        limit: int = self.stream.chain.limit
        return limit

    def set_decoding_buffer_limit(self, limit: int) -> None:
        """Let so many bytes of the request's body be held back before it is refused."""
        self._decode.limit = limit

    @property
    def headers_sent(self) -> bool:
        """True when the response's headers have gone to the client."""
        sent: bool = self.stream.headers_sent
        return sent

    def is_decoding_stopped(self) -> bool:
        """True while this filter holds the request back."""
        return self._decode.is_stopped(self._decode_index)

    def is_encoding_stopped(self) -> bool:
        """True while this filter holds the response back."""
        return self._encode.is_stopped(self._encode_index)

    def continue_decoding(self) -> None:
        """Go on with the request where this filter stopped it; nothing if it did not."""
        self._decode.resume(self._decode_index)

    def continue_encoding(self) -> None:
        """Go on with the response where this filter stopped it; nothing if it did not."""
        self._encode.resume(self._encode_index)

    def send_local_reply(self, reply: LocalReply) -> None:
        """Answer the request from here."""
        self.stream.send_local_reply(reply)

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Begin a response from here."""
        self.stream.encode_headers(headers, end_stream)

    def encode_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of its body."""
        self.stream.encode_data(data, end_stream)

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Its trailers."""
        self.stream.encode_trailers(trailers)

    def reset_stream(self, details: str) -> None:
        """End the stream without (the rest of) an answer."""
        self.stream.reset(details)

    def add_decoded_trailers(self) -> HeaderMap:
        """Create request trailers; ValueError unless the last body bytes are being decoded."""
        if not self._decode.last_data and self._decode.trailers is None:
            raise ValueError("request trailers can be added with the last body bytes only")
        self.info.request_trailers = trailers = self._decode.make_trailers()
        return trailers

    def add_encoded_trailers(self) -> HeaderMap:
        """Create response trailers; ValueError unless the last body bytes are being encoded."""
        if not self._encode.last_data and self._encode.trailers is None:
            raise ValueError("response trailers can be added with the last body bytes only")
        self.info.response_trailers = trailers = self._encode.make_trailers()
        return trailers

    def add_decoded_data(self, data: bytes) -> None:
        """Hold back more request body: also a body for a request that has none."""
        self._decode.buffer = held = self._decode.buffer or Buffer()
        held.append(data)

    def add_encoded_data(self, data: bytes) -> None:
        """Hold back more response body: also a body for a response that has none."""
        self._encode.buffer = held = self._encode.buffer or Buffer()
        held.append(data)

    def add_encoded_message(self, data: bytes, trailers: HeaderMap) -> None:
        """A body and trailers for a response that has neither, while its headers are shown."""
        self.info.response_trailers = trailers
        self._encode.add_message(data, trailers)

    def inject_decoded_data(self, data: bytes) -> None:
        """Send more request body before the trailers that are being shown."""
        self._decode.inject(self._decode_index, data)

    def inject_encoded_data(self, data: bytes) -> None:
        """Send more response body before the trailers that are being shown."""
        self._encode.inject(self._encode_index, data)

    def clear_route_cache(self) -> None:
        """Match the route again on next use."""
        self.stream.clear_route_cache()

    def speak_http(self) -> None:
        """This filter has made HTTP of gRPC, and makes gRPC of the answer: also of local ones."""
        self.stream.speak_http()

    def request_headers_changed(self, names: Iterable[bytes]) -> None:
        """Match the route again on next use, if one of these headers decides it."""
        self.stream.request_headers_changed(names)

    def watch_downstream(self, listener: Callable[[bool], None]) -> None:
        """See `FilterCallbacks`."""
        self.stream.watermark = listener

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
        """Run `callback` once; ends with the stream. The result has `cancel()`."""
        return self._own(self.stream.call_later(seconds, callback))

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """Run a coroutine that is cancelled when the stream ends."""
        self._own(self.stream.spawn(coroutine, name))

    def _own(self, cancellable: Any) -> Any:
        if self._owned is None:
            self._owned = []
        self._owned.append(cancellable)
        return cancellable

    def destroy(self) -> None:
        """The stream has ended."""
        for each in self._owned or ():
            each.cancel()
        self.filter.on_destroy()
        self.filter = _GONE  # the filter holds on to its callbacks: a cycle otherwise
        self._decode.end()
        self._encode.end()


_GONE: Final = StreamFilter()
