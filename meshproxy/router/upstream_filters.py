"""The filters of a cluster: one try of a request, seen through a filter chain.

Owns the place of the chain: behind the router's choice of a host, before the connection. Refuses to
know routes and tries (`router.py`), and the exchange itself (`upstream_request.py`).

It stands in for the try before the router, and for the router before the try. Each try has filters
of its own, as in Envoy. They share the stream's facts; what one of them answers goes downstream at
once, past its own chain. Envoy takes a connection while the filters still run, and breaks it when
they refuse the request; here only a request that has passed them takes one.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.metadata import MetadataMap
from meshproxy.http.stream import REQUEST_PAYLOAD_TOO_LARGE, RESPONSE_PAYLOAD_TOO_LARGE
from meshproxy.router.upstream_request import UpstreamRequest

if TYPE_CHECKING:
    from meshproxy.http.filter_chain import FilterChain
    from meshproxy.http.filter_path import FilterPath
    from meshproxy.router.router import Router


class FilteredRequest:
    """One try with its filters. `start` sends the headers on their way."""

    __slots__ = (
        "_active", "decode", "done", "encode", "headers_only", "headers_sent", "host", "request",
        "request_headers", "router", "stream",
    )  # fmt: skip

    def __init__(self, router: Router, host: Any, chain: FilterChain) -> None:
        self.router = router
        self.host = host
        self.headers_sent = False  # the response's, to the router
        headers: HeaderMap = router.request_headers
        self.request_headers = headers.copy() if chain.translates else headers
        self.headers_only = router.headers_only
        self.stream = ResponseSide(self)
        self.request = UpstreamRequest(self, host)
        self.done = False
        self._active, self.decode, self.encode = chain.instantiate(
            FilterSide(self, chain), RequestEnd(self), self.stream
        )

    def start(self) -> None:
        """The request's headers enter the chain."""
        self.decode.send_headers(self.request_headers, self.headers_only)

    # -- before the router: what it asks of a try ------------------------------------------------

    @property
    def received(self) -> bool:
        """Anything of a response."""
        return self.request.received

    @property
    def connected(self) -> bool:
        """True once a connection serves this try."""
        return self.request.connected

    @property
    def tries(self) -> None:
        """The filters see every answer; whether there is another try is decided behind them."""

    @property
    def reused_connection(self) -> bool:
        """Whether the connection had served before. What filters have seen is not sent again."""
        return False

    def encode_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of the request's body."""
        if not self.done:
            send_body(self.decode, data, end_stream)

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """The request's trailers."""
        if not self.done:
            self.decode.send_trailers(trailers)

    def encode_metadata(self, metadata: MetadataMap) -> None:
        """METADATA beside the request."""
        if not self.done:
            self.decode.send_metadata(metadata)

    def read_disable(self, disable: bool) -> None:
        """Stop or go on reading the response."""
        self.request.read_disable(disable)

    def reset(self) -> None:
        """Give this try up."""
        self.request.reset()
        self._finish()

    # -- before the try: what it asks of its router ----------------------------------------------

    @property
    def upstream(self) -> None:
        """The try lets go of its router here; the chain may still hold the response."""

    @upstream.setter
    def upstream(self, gone: None) -> None:
        """The exchange is over."""

    def now(self) -> float:
        """Monotonic seconds."""
        return self.router.now()

    def on_request_sent(self) -> None:
        """The last byte of the request has gone to the upstream."""
        self.router.on_request_sent()

    def on_switch(self, headers: HeaderMap) -> bool:
        """Whether a host has agreed to another protocol."""
        return self.router.on_switch(headers)

    def on_upstream_1xx(self, headers: HeaderMap) -> None:
        """An informational response, which filters are not shown."""
        self.router.on_upstream_1xx(headers)

    def on_upstream_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response's headers enter the chain."""
        if not self.done:
            self.encode.send_headers(headers, end_stream)

    def on_response_end(self) -> None:
        """The last byte of the response has come."""
        self.router.on_response_end()

    def on_upstream_failure(self, upstream: UpstreamRequest, reason: str, details: str) -> None:
        """The try has failed."""
        if not self.done:
            self.router.on_upstream_failure(self, reason, details)
            self._finish()

    # -- the filters' wishes, and the end --------------------------------------------------------

    def answer(self, reply: LocalReply) -> None:
        """Answer downstream instead of the host; these filters do not see it."""
        if not self.done:
            self.decode.aborted = self.encode.aborted = True
            self.router.stream.send_local_reply(reply)

    def give_up(self) -> None:
        """A filter wants this exchange to end."""
        if not self.done:
            self.request.reset()
            self.router.on_upstream_failure(self, "local reset", "")
            self._finish()

    def response_through(self) -> None:
        """The response has passed all filters."""
        if self.request.request_sent and not self.done:
            if self.router.upstream is self:
                self.router.upstream = None
            self._finish()

    def _finish(self) -> None:
        if self.done:
            return
        self.done = True
        self.decode.aborted = self.encode.aborted = True
        for each in self._active:
            each.filter.on_stream_complete()
        active, self._active = self._active, ()
        for each in active:
            each.destroy()


def send_body(path: FilterPath, data: bytes, end_stream: bool) -> None:
    """A piece of a body into a path."""
    if end_stream and data:
        # Envoy's HTTP/1 codec ends a body with an empty piece; filters count on being asked.
        path.send_data(data, False)
        if not path.aborted:
            path.send_data(b"", True)
    else:
        path.send_data(data, end_stream)


class FilterSide:
    """What the filters have for a stream."""

    __slots__ = ("_owner", "chain", "info")

    def __init__(self, owner: FilteredRequest, chain: FilterChain) -> None:
        self._owner = owner
        self.chain = chain
        self.info = owner.router.stream.info

    @property
    def route(self) -> Any:
        """The route that was taken."""
        return self.info.route

    @property
    def random(self) -> int:
        """The stream's random value."""
        return self._owner.router.stream.random

    @property
    def headers_sent(self) -> bool:
        """Whether the response's headers are out of the filters' reach."""
        return self._owner.headers_sent

    def send_local_reply(self, reply: LocalReply) -> None:
        """Answer instead of the host."""
        self._owner.answer(reply)

    def reset(self, details: str) -> None:
        """End this exchange; the router decides what that means."""
        self._owner.give_up()

    def clear_route_cache(self) -> None:
        """The route has been taken."""

    def request_headers_changed(self, names: Iterable[bytes]) -> None:
        """The route has been taken."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
        """Run `callback` once; the result has `cancel()`."""
        return self._dispatcher.call_later(seconds, callback)

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> Any:
        """Run a coroutine; whoever spawned it cancels it."""
        return self._dispatcher.spawn(coroutine, name)

    @property
    def _dispatcher(self) -> Any:
        return self._owner.router.stream.manager.dispatcher


class RequestEnd:
    """The end of the decode path: the connection."""

    __slots__ = ("_owner",)

    def __init__(self, owner: FilteredRequest) -> None:
        self._owner = owner

    def headers_through(self, headers: HeaderMap, end_stream: bool) -> None:
        """Ask the pool for a connection: the headers are what they shall be."""
        owner = self._owner
        owner.request_headers, owner.headers_only = headers, end_stream
        owner.request.start(owner.host.pool)

    def data_through(self, data: bytes, end_stream: bool) -> None:
        """A piece of the request's body."""
        self._owner.request.encode_data(data, end_stream)

    def trailers_through(self, trailers: HeaderMap) -> None:
        """The request's trailers."""
        self._owner.request.encode_trailers(trailers)

    def metadata_through(self, metadata: MetadataMap) -> None:
        """METADATA beside the request."""
        self._owner.request.encode_metadata(metadata)

    def buffer_high(self, may_wait: bool) -> None:
        """Filters hold back more of the request than the limit."""
        if may_wait:
            self._owner.router.stream.encoder.read_disable(True)
        else:
            self._owner.answer(REQUEST_PAYLOAD_TOO_LARGE)

    def buffer_low(self) -> None:
        """They have let go of it."""
        self._owner.router.stream.encoder.read_disable(False)


class ResponseSide:
    """The response's way: into the encode path from the try, out of it to the router.

    To the try it is the stream, so that what arrives enters the chain.
    """

    __slots__ = ("_owner", "info")

    def __init__(self, owner: FilteredRequest) -> None:
        self._owner = owner
        self.info = owner.router.stream.info

    @property
    def encoder(self) -> Any:
        """Downstream's: its protocol, and its reading."""
        return self._owner.router.stream.encoder

    def encode_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of the response's body, from the host."""
        send_body(self._owner.encode, data, end_stream)

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """The response's trailers, from the host."""
        self._owner.encode.send_trailers(trailers)

    def encode_metadata(self, metadata: MetadataMap) -> None:
        """METADATA beside the response, from the host."""
        if not self._owner.done:
            self._owner.encode.send_metadata(metadata)

    def headers_through(self, headers: HeaderMap, end_stream: bool) -> None:
        """Headers that all filters have let pass."""
        owner = self._owner
        owner.headers_sent = True
        tries = owner.router.tries
        if tries is not None and tries.after_headers(headers):
            owner.reset()
            return
        owner.router.on_upstream_headers(headers, end_stream)
        if end_stream:
            owner.response_through()

    def data_through(self, data: bytes, end_stream: bool) -> None:
        """Body bytes that all filters have let pass."""
        owner = self._owner
        owner.router.stream.encode_data(data, end_stream)
        if end_stream:
            owner.response_through()

    def trailers_through(self, trailers: HeaderMap) -> None:
        """Trailers that all filters have let pass."""
        owner = self._owner
        owner.router.stream.encode_trailers(trailers)
        owner.response_through()

    def metadata_through(self, metadata: MetadataMap) -> None:
        """METADATA that all filters have been shown."""
        self._owner.router.stream.encode_metadata(metadata)

    def buffer_high(self, may_wait: bool) -> None:
        """Filters hold back more of the response than the limit."""
        if may_wait:
            self._owner.request.read_disable(True)
        else:
            self._owner.answer(RESPONSE_PAYLOAD_TOO_LARGE)

    def buffer_low(self) -> None:
        """They have let go of it."""
        self._owner.request.read_disable(False)
