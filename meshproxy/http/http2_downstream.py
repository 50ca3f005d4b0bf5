"""What the connection manager does to one HTTP/2 connection as a whole.

Owns its draining (two GOAWAYs, `drain_timeout` apart, as in Envoy), its idle time and age, and the
count of streams that their client gave up too soon. Refuses to know frames and sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from meshproxy.http.codec import RequestDecoder, ResponseEncoder
from meshproxy.http.downstream import REQUEST_OVERALL_TIMEOUT, HttpConnection
from meshproxy.http.http2.server import ServerCodec
from meshproxy.http.stream import Stream

if TYPE_CHECKING:
    from meshproxy.http.conn_manager import HttpConnectionManager

# Envoy's overload.premature_reset_*: of so many streams no more than half may be reset within so
# many seconds of their beginning (CVE-2023-44487, CVE-2025-8671).
PREMATURE_STREAMS: Final = 500
PREMATURE_SECONDS: Final = 1.0


class Http2Connection(HttpConnection):
    """One downstream HTTP/2 connection."""

    __slots__ = ("_ended", "_premature", "_streams", "http2")

    multiplexed = True

    def __init__(self, manager: HttpConnectionManager) -> None:
        super().__init__(manager)
        self._streams: set[Stream] = set()
        self._ended = 0
        self._premature = 0

    def begin(self, first: HttpConnection) -> None:
        """Take the place of `first`, which has met the first bytes."""
        self.take_over(first)
        manager = self.manager
        manager.stats.downstream_cx_http2_total.value += 1
        manager.stats.downstream_cx_http2_active.value += 1
        self.codec = self.http2 = ServerCodec(
            self.wire, self, manager.config.http2, manager.http2_stats()
        )
        self.http2.flush_timeout = manager.config.stream_idle_timeout

    def switch_to_http2(
        self, settings: bytes, pairs: list[tuple[bytes, bytes]]
    ) -> Callable[[bytes], None]:
        """It speaks HTTP/2 already, in which a request cannot ask for that."""
        raise NotImplementedError

    # -- streams -----------------------------------------------------------------------------

    def new_stream(self, encoder: ResponseEncoder) -> RequestDecoder:
        """A request begins."""
        stats = self.manager.stats
        stats.downstream_rq_total.value += 1
        stats.downstream_rq_active.value += 1
        stats.downstream_rq_http2_total.value += 1
        stream = Stream(self, encoder)
        self._streams.add(stream)
        self.manager.active.add(stream)
        if self.count_request():
            self.start_drain(self.manager.dispatcher.now())
        return stream

    def on_stream_end(self, stream: Stream, now: float) -> None:
        """A stream has ended, well or not."""
        self._streams.discard(stream)
        self._ended += 1
        if stream.reset_by_peer and now - stream.info.start < PREMATURE_SECONDS:
            self._premature += 1
            if self._premature * 2 >= max(self._ended, PREMATURE_STREAMS):
                self._end_abuse()

    def _end_abuse(self) -> None:
        if not self.http2.closed:
            self.manager.stats.downstream_rq_too_many_premature_resets.value += 1
            self.http2.refuse_peer()

    def on_watermark(self, high: bool) -> None:
        """The connection is full, or no more."""
        super().on_watermark(high)
        self.http2.on_watermark(high)

    # -- draining ----------------------------------------------------------------------------

    def close_if_idle(self) -> None:
        """Drain: the connection ends with its last stream."""
        self.manager.stats.downstream_cx_drain_close.value += 1
        self.start_drain(self.manager.dispatcher.now())

    def drain_after(self, stream: Stream) -> None:
        """The server drains: the client hears it with this response."""
        if self._closes_at is None:
            self.close_if_idle()

    def start_drain(self, now: float) -> None:
        """Tell the client to go elsewhere; what it still begins in this moment is served."""
        if self._closes_at is None and not self.http2.closed:
            self.http2.shutdown_notice()
            self._closes_at = now + self.manager.config.drain_timeout

    def end_drain(self) -> None:
        """`drain_timeout` is over: no stream begins any more."""
        self.http2.finish()

    @property
    def is_idle(self) -> bool:
        """No request is under way."""
        return not self._streams

    def sweep(self, now: float) -> None:
        """Look at the clock, on behalf of the connection."""
        codec = self.http2
        codec.sweep(now)
        if codec.closed:
            return
        config = self.manager.config
        if self._header_is_late(now):
            self.manager.stats.downstream_rq_header_timeout.value += 1
            codec.header_timeout()
            return
        if config.request_timeout:
            self._sweep_requests(now, config.request_timeout)
        super().sweep(now)

    def _header_is_late(self, now: float) -> bool:
        if not self.http2.head_started:
            self.head_since = None
            return False
        if self.head_since is None:
            self.head_since = now
        limit = self.manager.config.request_headers_timeout
        return limit > 0 and now - self.head_since >= limit

    def _sweep_requests(self, now: float, limit: float) -> None:
        for stream in tuple(self._streams):
            if not stream.request_complete and now - stream.info.start >= limit:
                self.manager.stats.downstream_rq_timeout.value += 1
                stream.send_local_reply(REQUEST_OVERALL_TIMEOUT)

    # -- the end -----------------------------------------------------------------------------

    def on_closed(self, local: bool) -> None:
        """The connection is gone."""
        self.manager.stats.downstream_cx_http2_active.value -= 1
        super().on_closed(local)
