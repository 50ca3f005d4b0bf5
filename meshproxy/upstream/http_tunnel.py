"""A stream of HTTP in the place of a connection: bytes to a host behind a proxy that speaks HTTP.

Owns the request that asks for it, and what its answer means. Refuses to know whose bytes they are;
to whom it is for it looks like a `tcp_client.TcpClient` with its wire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.metadata import MetadataMap
from meshproxy.http.stream_info import HTTP11
from meshproxy.upstream.pools import make_pool

if TYPE_CHECKING:
    from meshproxy.network.address import Address
    from meshproxy.network.connector import Connector
    from meshproxy.upstream.cluster import Cluster
    from meshproxy.upstream.host import Host
    from meshproxy.upstream.tcp_client import TcpCallbacks

REFUSED = "remote connection failure"


class HttpTunnel:
    """One try. Implements `conn_pool.PoolRequest`; `wire` is itself once the host has agreed."""

    __slots__ = ("_callbacks", "_client", "_cluster", "_done", "_request", "host", "was_reset",
                 "wire")  # fmt: skip

    def __init__(
        self, cluster: Cluster, host: Host, request: HeaderMap, callbacks: TcpCallbacks
    ) -> None:
        self.host = host
        self.wire: HttpTunnel | None = None
        self.was_reset = False
        self._cluster = cluster
        self._request = request
        self._callbacks = callbacks
        self._client: Any = None
        self._done = False

    def connect(self, connector: Connector) -> None:
        """Ask for a stream; the callbacks hear how it went, of a full pool at once."""
        host = self.host
        if host.pool is None:
            host.pool = make_pool(self._cluster, host, connector)
        host.pool.new_stream(self)

    def close(self) -> None:
        """Nobody wants it any more: send what is queued and end it, or stop waiting for it."""
        if self._done:
            return
        self._done = True
        if self._client is None:
            self.host.pool.cancel(self)
        else:
            self._client.leave()

    # -- the wire --------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if not self._done:
            self._client.codec.encode_data(data, False)

    def write_eof(self) -> None:
        """Send what is queued, then the end of our side. Over HTTP/1 that is the end of both."""
        if self._done:
            return
        self._client.codec.encode_data(b"", True)
        if self._client.codec.protocol == HTTP11:
            self._end(self._client.leave)

    def finish(self) -> None:
        """Both sides have ended."""
        if not self._done:
            self._done = True
            self._client.end()

    def abort(self) -> None:
        """End it at once."""
        if not self._done:
            self._end(self._client.reset)

    def _end(self, by: Any) -> None:
        self._done = True
        by()
        self._callbacks.on_upstream_closed(True)

    def read_disable(self, disable: bool) -> None:
        """Stop or go on reading."""
        if not self._done:
            self._client.read_disable(disable)

    @property
    def unsent(self) -> int:
        """Bytes that the connection still holds, of all its streams."""
        size: int = self._client.wire.unsent
        return size

    @property
    def local_address(self) -> Address | None:
        """Of the connection that carries it."""
        address: Address | None = self._client.wire.local_address
        return address

    @property
    def connection_id(self) -> int:
        """Of the connection that carries it."""
        number: int = self._client.wire.connection_id
        return number

    @property
    def tls(self) -> Any:
        """Of the connection that carries it."""
        return self._client.wire.tls

    # -- PoolRequest -----------------------------------------------------------------------------

    downstream_protocol = HTTP11  # of a cluster that goes by it: there is none here

    def server_name(self, header: str) -> str:
        """Whom TLS asks for with `auto_sni`."""
        return (self._request.get(b":authority") or b"").decode("latin-1").rpartition(":")[0]

    def on_pool_ready(self, client: Any) -> None:
        """There is a connection: ask the host."""
        self._client = client
        client.codec.encode_headers(self, self._request, False)

    def on_pool_failure(self, reason: str, transport_reason: str, host: Host | None) -> None:
        """There will be no connection."""
        self._done = True
        self._callbacks.on_upstream_failure(reason, transport_reason)

    def on_upstream_watermark(self, high: bool) -> None:
        """The connection is full, or no more."""
        if not self._done and self.wire is not None:
            self._callbacks.on_upstream_watermark(high)

    # -- ResponseDecoder -------------------------------------------------------------------------

    def on_1xx(self, headers: HeaderMap) -> None:
        """The host is thinking."""

    def on_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The host's answer: 2xx opens the tunnel."""
        status = headers.pairs[0][1]
        if self._done:
            return
        if status[:1] == b"2" and not end_stream:
            self.wire = self
            self._callbacks.on_upstream_connected()
            return
        self._done = True
        self._client.reset()
        self._callbacks.on_upstream_failure(REFUSED, f"tunnel_response:{status.decode()}")

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """Bytes from the host."""
        if self._done:
            return
        if data:
            self._callbacks.on_upstream_data(data)
        if end_stream and not self._done:
            self._callbacks.on_upstream_eof()

    def on_trailers(self, trailers: HeaderMap) -> None:
        """The host sends no more."""
        if not self._done:
            self._callbacks.on_upstream_eof()

    def on_metadata(self, metadata: MetadataMap) -> None:
        """METADATA, which nobody waits for."""

    def on_reset(self, reason: str, details: str) -> None:
        """The stream, or the connection that carries it, is gone."""
        if self._done:
            return
        self._done = True
        self._client.fail()
        if self.wire is None:
            self._callbacks.on_upstream_failure(reason, "")
        else:
            self._callbacks.on_upstream_closed(False)
