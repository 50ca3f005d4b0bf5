"""One try of a request at one host: from the pool, through the exchange, back to the pool.

Owns the state of the exchange. Refuses to know routes, timeouts and whether there will be another
try (`router.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshproxy.http.filter_path import MAX_WAITING
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.metadata import MetadataMap

if TYPE_CHECKING:
    from meshproxy.router.router import Router
    from meshproxy.router.upstream_filters import FilteredRequest
    from meshproxy.upstream.host import Host


def host_of(authority: bytes) -> str:
    """The host in an authority (RFC 3986, 3.2), in lower case; empty where that is not ASCII."""
    text = authority.decode("latin-1").lower()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    else:
        text = text.partition(":")[0]
    return text if text.isascii() else ""


class UpstreamRequest:
    """One try. A second try is a new object."""

    __slots__ = (
        "_body",
        "_body_ended",
        "_client",
        "_done",
        "_metadata",
        "_paused",
        "_trailers",
        "_waits",
        "host",
        "received",
        "request_sent",
        "response_ended",
        "router",
    )

    def __init__(self, router: Router | FilteredRequest, host: Any) -> None:
        self.router = router
        self.host = host
        self._client: Any = None
        self._body: list[bytes] | None = None  # what arrived before there was a connection
        self._body_ended = False
        self._metadata: list[MetadataMap] | None = None  # the same
        self._trailers: HeaderMap | None = None
        # Nothing goes to a host that has not agreed to the other protocol: what it took for
        # requests of its own would be smuggled.
        self._waits = router.stream.info.upgrade is not None
        self._paused = False  # downstream's reading, by us
        self._done = False
        self.request_sent = False
        self.response_ended = False
        self.received = False  # anything of a response

    def start(self, pool: Any) -> None:
        """Ask for a connection."""
        info = self.router.stream.info
        info.upstream_wait_start = None
        pool.new_stream(self)
        if self._client is None:
            info.upstream_wait_start = self.router.now()

    # -- the request's way -----------------------------------------------------------------------

    @property
    def downstream_protocol(self) -> str:
        """In which protocol the request came."""
        protocol: str = self.router.stream.encoder.protocol
        return protocol

    def server_name(self, header: str) -> str:
        """The host of that header without its port."""
        host = self.router.request_headers.get(header.encode()) or b""
        return host_of(host)

    @property
    def connected(self) -> bool:
        """True once a connection serves this try."""
        return self._client is not None

    def encode_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of the request's body."""
        if self._done:
            return
        client = self._client
        if client is not None and not self._waits:
            if end_stream:
                self._request_sent()
            client.codec.encode_data(data, end_stream)
            if end_stream and self.response_ended:
                self._end()
            return
        if self._body is None:
            self._body = []
        self._body.append(data)
        self._body_ended = end_stream
        if not end_stream:
            self._pause(True)  # at most one read's worth waits for a connection

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """The request's trailers."""
        if self._done:
            return
        if self._client is None:
            self._trailers = trailers
            return
        self._request_sent()
        self._client.codec.encode_trailers(trailers)
        if self.response_ended:
            self._end()

    def encode_metadata(self, metadata: MetadataMap) -> None:
        """METADATA beside the request."""
        if self._done:
            return
        client = self._client
        if client is None or self._waits:
            if self._metadata is None:
                self._metadata = []
            self._metadata.append(metadata)
            if len(self._metadata) > MAX_WAITING:
                self.reset()
                self.router.on_upstream_failure(self, "local reset", "")
        elif not client.codec.encode_metadata(metadata):
            client.pool.cluster.count_lost_metadata()

    def _request_sent(self) -> None:
        self.request_sent = True
        self.router.on_request_sent()

    def _pause(self, pause: bool) -> None:
        if pause != self._paused:
            self._paused = pause
            self.router.stream.encoder.read_disable(pause)

    # -- PoolRequest -----------------------------------------------------------------------------

    def on_pool_ready(self, client: Any) -> None:
        """A connection serves this try from now on."""
        self._client = client
        router = self.router
        info = router.stream.info
        wire = client.wire
        info.upstream_local_address = wire.local_address
        info.upstream_connection_id = wire.connection_id
        info.upstream_tls = wire.tls
        info.upstream_protocol = client.codec.protocol
        info.upstream_request_start = router.now()
        headers_only = router.headers_only
        if headers_only:
            self._request_sent()
        client.codec.encode_headers(self, router.request_headers, headers_only)
        if self._waits:
            return
        self._send_held()
        if self._trailers is not None:
            self.encode_trailers(self._trailers)
        self._pause(client.above_high)

    def _send_held(self) -> None:
        metadata, self._metadata = self._metadata, None
        for each in metadata or ():  # before the body that came before it, as in Envoy
            self.encode_metadata(each)
        body, self._body = self._body, None
        if body is not None:
            self.encode_data(body[0] if len(body) == 1 else b"".join(body), self._body_ended)

    def _on_switched(self) -> None:
        """The host has agreed: what the client had to say already may go."""
        self._waits = False
        self._send_held()
        if not self._done:
            self._pause(self._client.wire.above_high)

    def on_pool_failure(self, reason: str, transport_reason: str, host: Host | None) -> None:
        """There will be no connection."""
        self._done = True
        self.router.stream.info.upstream_host = host
        self._pause(False)
        self.router.on_upstream_failure(self, reason, transport_reason)

    def on_upstream_watermark(self, high: bool) -> None:
        """The upstream connection is full, or no more."""
        if not self._done:
            self._pause(high)

    # -- ResponseDecoder -------------------------------------------------------------------------

    def on_1xx(self, headers: HeaderMap) -> None:
        """An informational response."""
        self.received = True
        self.router.on_upstream_1xx(headers)

    def on_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response's headers."""
        self.received = True
        if self._waits and self.router.on_switch(headers):
            self.router.on_upstream_headers(headers, False)
            self._on_switched()
            return
        if self._done:
            return
        tries = self.router.tries
        if tries is not None and tries.after_headers(headers):
            self._give_way(end_stream)
            return
        if end_stream:
            self._response_ended()
        self.router.on_upstream_headers(headers, end_stream)

    def _give_way(self, end_stream: bool) -> None:
        """Another try takes the place of this one, whose answer nobody wants."""
        if end_stream and self.request_sent:
            self._done = True
            self._pause(False)
            self._client.end()
        else:
            self.reset()

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of its body."""
        if end_stream:
            self._response_ended()
        self.router.stream.encode_data(data, end_stream)

    def on_trailers(self, trailers: HeaderMap) -> None:
        """Its trailers."""
        self._response_ended()
        self.router.stream.encode_trailers(trailers)

    def on_metadata(self, metadata: MetadataMap) -> None:
        """METADATA beside it."""
        if not self._done:
            self.router.stream.encode_metadata(metadata)

    def on_reset(self, reason: str, details: str) -> None:
        """There will be no (more) response."""
        if self._done:
            return
        self._done = True
        client = self._client
        if client is not None:
            client.fail()
        self._pause(False)
        self.router.on_upstream_failure(self, reason, details)

    def _response_ended(self) -> None:
        # The connection goes back before the response's end goes on: a pipelined next request,
        # which that may start, finds it free.
        self.response_ended = True
        self.router.on_response_end()
        if self.request_sent:
            self._end()

    def _end(self) -> None:
        if not self._done:
            self._done = True
            self._pause(False)
            self.router.upstream = None  # a cycle otherwise
            self._client.end()

    # -- the router's wish -----------------------------------------------------------------------

    def read_disable(self, disable: bool) -> None:
        """Stop or go on reading the response."""
        if self._client is not None and not self._done:
            self._client.read_disable(disable)

    def reset(self) -> None:
        """Give this try up, wherever it is."""
        if self._done:
            return
        self._done = True
        self._pause(False)
        if self._client is None:
            self.host.pool.cancel(self)
        else:
            self._client.reset()

    @property
    def reused_connection(self) -> bool:
        """True where the connection had served before: it may have been stale."""
        return self._client is not None and self._client.served > 1
