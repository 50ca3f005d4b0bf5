"""A CONNECT request that ends here: its body are the bytes of a TCP connection.

Owns that connection for the stream, in the place of an `UpstreamRequest`. Refuses to know routes
and how the connection is made (`upstream/tcp_client.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.metadata import MetadataMap
from meshproxy.upstream.tcp_client import TcpClient

if TYPE_CHECKING:
    from meshproxy.router.router import Router
    from meshproxy.upstream.host import Host


class Tunnel:
    """One try to connect, and the tunnel that comes of it. Implements `TcpCallbacks`."""

    __slots__ = ("_client", "_done", "_ended", "_held", "_open", "_paused", "host", "received",
                 "router")  # fmt: skip

    def __init__(self, router: Router, cluster: Any, host: Host) -> None:
        self.router = router
        self.host = host
        self.received = False
        self._client = TcpClient(cluster, host, self)
        self._held: list[bytes] = []  # what the client sent before the host had agreed
        self._ended = False  # the client sends no more
        self._paused = False  # downstream's reading, by us
        self._open = False
        self._done = False

    def start(self, connector: Any) -> None:
        """Begin to connect; the client hears 200 when that is done."""
        self._client.connect(connector)

    @property
    def connected(self) -> bool:
        """True once the host has agreed."""
        return self._open

    # -- the request's way -----------------------------------------------------------------------

    def encode_data(self, data: bytes, end_stream: bool) -> None:
        """Bytes for the host."""
        if self._done:
            return
        self._ended = end_stream
        if not self._open:
            self._held.append(data)
            self._pause(True)  # at most one read's worth waits
            return
        wire = self._client.wire
        assert wire is not None
        if data:
            wire.write(data)
        if end_stream:
            wire.write_eof()

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """The request's end; TCP has no word for trailers."""
        self.encode_data(b"", True)

    def encode_metadata(self, metadata: MetadataMap) -> None:
        """TCP has none."""

    def _pause(self, pause: bool) -> None:
        if pause != self._paused:
            self._paused = pause
            self.router.stream.encoder.read_disable(pause)

    # -- TcpCallbacks ----------------------------------------------------------------------------

    def on_upstream_connected(self) -> None:
        """The host is there."""
        wire = self._client.wire
        assert wire is not None
        stream = self.router.stream
        info = stream.info
        info.upstream_local_address = wire.local_address
        info.upstream_connection_id = wire.connection_id
        info.upstream_tls = wire.tls
        info.upstream_request_start = self.router.now()
        # Not from here: the transport is not ready for data before this returns.
        stream.manager.dispatcher.call_later(0, self._begin)

    def _begin(self) -> None:
        if self._done:
            return
        self.received = self._open = True
        self.router.on_upstream_headers(HeaderMap([(b":status", b"200")]), False)
        held, self._held = self._held, []
        if held:
            self.encode_data(b"".join(held), self._ended)
        self._pause(False)

    def on_upstream_failure(self, reason: str, text: str) -> None:
        """The host could not be reached."""
        self._done = True
        self._pause(False)
        self.router.on_upstream_failure(self, reason, text)

    def on_upstream_data(self, data: bytes) -> None:
        """Bytes from the host."""
        if not self._open:
            self._begin()
        if not self._done:
            self.router.stream.encode_data(data, False)

    def on_upstream_eof(self) -> bool:
        """The host sends no more: so ends the response, and with it the stream."""
        if not self._open:
            self._begin()
        if not self._done:
            self.router.on_response_end()
            self.router.stream.encode_data(b"", True)
        return True

    def on_upstream_watermark(self, high: bool) -> None:
        """The host's connection is full, or no more."""
        if not self._done:
            self._pause(high)

    def on_upstream_closed(self, local: bool) -> None:
        """The host's connection is gone."""
        if not self._done:
            self._done = True
            self._pause(False)
            self.router.on_upstream_failure(self, "connection termination", "")

    # -- the router's wish -----------------------------------------------------------------------

    def read_disable(self, disable: bool) -> None:
        """Stop or go on reading from the host."""
        if self._client.wire is not None and not self._done:
            self._client.wire.read_disable(disable)

    def reset(self) -> None:
        """Nobody wants it any more."""
        if not self._done:
            self._done = True
            self._pause(False)
            self._client.close()

    @property
    def reused_connection(self) -> bool:
        """A tunnel has a connection of its own."""
        return False
