"""The HTTP connection that the checks of one host share, of either version.

Owns connecting, writing one request and the connection's end. Refuses to know what an answer means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meshproxy.http.http1 import ClientCodec as Http1Codec
from meshproxy.http.http1.settings import Http1Settings
from meshproxy.http.stream_info import HTTP2, HTTP11, StreamInfo
from meshproxy.network.address import Address
from meshproxy.upstream.health_check.probe import Target

if TYPE_CHECKING:
    from meshproxy.http.codec import ResponseDecoder
    from meshproxy.http.header_map import HeaderMap
    from meshproxy.http.http2.client import ClientCodec as Http2Codec

USER_AGENT = (b"user-agent", b"Envoy/HC")
_LOOPBACK = Address.parse("127.0.0.1", 0)


def stream_info(target: Target, http2: bool) -> StreamInfo:
    """What a check's headers may be made of: there is no client, so little is known."""
    info = StreamInfo()
    info.protocol = HTTP2 if http2 else HTTP11
    info.start_time = target.connector.dispatcher.time()
    info.start = target.connector.dispatcher.now()
    info.downstream_remote_address = _LOOPBACK
    return info


class CheckClient:
    """One connection, from the wish for it to its end. It carries one request at a time."""

    __slots__ = ("_codec", "_connecting", "_gone", "_http2", "_receiver", "_request", "_stream",
                 "_target", "_wire")  # fmt: skip

    def __init__(self, target: Target, http2: bool) -> None:
        self._target = target
        self._http2 = http2
        self._gone = False
        self._wire: Any = None
        self._codec: Http1Codec | Http2Codec | None = None
        self._stream: Any = None  # of HTTP/2
        self._receiver: ResponseDecoder | None = None
        self._request: tuple[HeaderMap, bytes] | None = None  # waits for the connection
        self._connecting = target.connect(self)

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        if self._gone or self._codec is None or self._wire.closing:
            return False
        if isinstance(self._codec, Http1Codec):
            return self._codec.reusable and self._codec.idle
        return self._codec.capacity > 0

    def send(self, receiver: ResponseDecoder, headers: HeaderMap, body: bytes) -> None:
        """Send a request as soon as the connection is up; `receiver` gets the answer."""
        self._receiver = receiver
        self._request = (headers, body)
        if self._codec is not None:
            self._write()

    def _write(self) -> None:
        request, self._request = self._request, None
        receiver = self._receiver
        if request is None or receiver is None or self._codec is None or self._wire.closing:
            return
        headers, body = request
        encoder: Any = self._codec
        if not isinstance(self._codec, Http1Codec):
            from meshproxy.http.http2.client import ClientStream

            self._stream = encoder = ClientStream(self._codec)
        encoder.encode_headers(receiver, headers, not body)
        if body:
            encoder.encode_data(body, True)

    def cancel(self) -> None:
        """Nobody waits for the answer any more; the connection stays where its protocol lets it."""
        self._receiver = None
        stream, self._stream = self._stream, None
        if stream is None:
            self.close()
            return
        from meshproxy.http.http2.frames import CANCEL

        stream.handler = None
        stream.abandon(CANCEL)

    def close(self) -> None:
        """End the connection at once; nobody hears of it."""
        was_gone, self._gone = self._gone, True
        self._receiver = self._request = None
        if was_gone:
            return
        if self._codec is None:
            self._connecting.cancel()
            return
        if self._stream is not None:
            self._stream.handler = None
        if isinstance(self._codec, Http1Codec):
            self._codec.reset_stream()
        elif not self._wire.closing:
            self._wire.abort()

    # -- ConnectingOwner -------------------------------------------------------------------------

    def on_connected(self, connection: Any) -> Callable[[bytes], None]:
        """The connection is up."""
        self._wire = connection
        cluster = self._target.cluster
        config = cluster.config
        if self._http2:
            from meshproxy.http.http2.client import ClientCodec as Http2Codec

            stats = cluster.http2_stats()
            stats.nghttp2_upstream_connections.value += 1
            self._codec = Http2Codec(connection, replace(config.http2, keepalive=None), stats)
        else:
            cluster.count_http1()
            self._codec = Http1Codec(
                connection,
                Http1Settings(
                    max_headers_bytes=config.max_response_headers_kb * 1024,
                    max_headers_count=config.max_response_headers_count,
                ),
            )
        # Not from here: the transport is not ready for data before this returns.
        self._target.connector.dispatcher.call_later(0, self._write)
        return self._codec.dispatch

    def on_connect_failure(self, reason: str, text: str) -> None:
        """It could not be made."""
        receiver, self._receiver = self._receiver, None
        if self._gone or receiver is None:
            return
        self._gone = True
        receiver.on_reset(reason, text)

    def on_eof(self) -> bool:
        """The host sends no more: the end of an answer, or of the connection."""
        self._end()
        return False

    def on_watermark(self, high: bool) -> None:
        """A request is short."""

    def on_closed(self, local: bool) -> None:
        """The connection is gone."""
        self._end()

    def _end(self) -> None:
        if self._gone:
            return
        self._gone = True
        if self._request is not None and self._receiver is not None:
            receiver, self._receiver = self._receiver, None
            receiver.on_reset("connection termination", "")
        elif isinstance(self._codec, Http1Codec):
            self._codec.on_eof()
        elif self._codec is not None:
            self._codec.on_closed()
