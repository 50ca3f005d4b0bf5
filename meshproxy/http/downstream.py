"""One downstream connection as the connection manager sees it, and the HTTP/1 kind of it.

Owns the counts of a connection and its times. Refuses to know streams' insides (`stream.py`), what
is on the wire (the codecs), and how a connection finds out what it speaks (`codec_choice.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from meshproxy.http.codec import RequestDecoder, ResponseEncoder
from meshproxy.http.http1 import ServerCodec
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.peer_info import PeerInfo
from meshproxy.http.stream import Stream

if TYPE_CHECKING:
    from meshproxy.http.conn_manager import HttpConnectionManager

REQUEST_HEADER_TIMEOUT: Final = LocalReply(
    408, "request_header_timeout", b"request header timeout", close=True
)
REQUEST_OVERALL_TIMEOUT: Final = LocalReply(
    408, "request_overall_timeout", b"request timeout", close=True
)


class HttpConnection:
    """What every downstream connection has, whichever protocol it speaks.

    `multiplexed`: it has more than one stream at a time, and wants to hear when one has ended.
    """

    __slots__ = (
        "_closes_at",
        "_destroyed_busy",
        "_requests",
        "codec",
        "head_since",
        "idle_since",
        "last_request",
        "manager",
        "opened",
        "peer",
        "stream",
        "wire",
    )

    multiplexed = False

    def __init__(self, manager: HttpConnectionManager) -> None:
        self.manager = manager
        self.stream: Stream | None = None  # the one that is active, if not multiplexed
        self.last_request = False
        self.opened = self.idle_since = manager.dispatcher.now()
        self.head_since: float | None = None
        self.wire: Any = None
        self.peer: PeerInfo | None = None
        self.codec: Any = None
        self._requests = 0
        self._destroyed_busy = False
        self._closes_at: float | None = None  # when draining ends; monotonic seconds

    def take_over(self, other: HttpConnection) -> None:
        """Become the owner of a connection that began as `other`."""
        self.wire, self.peer = other.wire, other.peer
        self.opened = other.opened
        self.wire.owner = self
        self.manager.connections.discard(other)
        self.manager.connections.add(self)

    def count_request(self) -> bool:
        """Count a request; True if it is the last one that this connection takes."""
        limit = self.manager.config.max_requests_per_connection
        self._requests += 1
        if not limit or self._requests < limit or self.last_request:
            return False
        self.last_request = True
        self.manager.stats.downstream_cx_max_requests_reached.value += 1
        return True

    def on_stream_end(self, stream: Stream, now: float) -> None:
        """A stream has ended; called where there are many."""

    def on_protocol_error(self) -> None:
        """The client broke the rules of the connection, which ends."""
        stats = self.manager.stats
        stats.downstream_cx_protocol_error.value += 1
        if not self.is_idle and not self._destroyed_busy:
            self._destroyed_busy = True
            stats.downstream_cx_destroy_active_rq.value += 1
            stats.downstream_cx_destroy_local_active_rq.value += 1

    def on_eof(self) -> bool:
        """The peer sends no more. True: it is still owed something."""
        return self.codec is not None and self.codec.on_eof()

    def on_watermark(self, high: bool) -> None:
        """The connection is full, or no more."""
        stats = self.manager.stats
        if high:
            stats.downstream_flow_control_paused_reading_total.value += 1
        else:
            stats.downstream_flow_control_resumed_reading_total.value += 1

    def on_closed(self, local: bool) -> None:
        """The connection is gone."""
        manager = self.manager
        if self.wire is None:
            return
        if self.codec is not None:
            self.codec.on_closed(local)
        manager.connections.discard(self)
        stats = manager.stats
        stats.downstream_cx_active.value -= 1
        if self.wire.tls is not None:
            stats.downstream_cx_ssl_active.value -= 1
        stats.downstream_cx_destroy.value += 1
        if local:
            stats.downstream_cx_destroy_local.value += 1
        else:
            stats.downstream_cx_destroy_remote.value += 1
        milliseconds = int((manager.dispatcher.now() - self.opened) * 1000)
        stats.downstream_cx_length_ms.record(milliseconds)

    def destroyed_with_request(self) -> None:
        """The peer went away while it was owed a response."""
        if self._destroyed_busy:
            return
        self._destroyed_busy = True
        stats = self.manager.stats
        stats.downstream_cx_destroy_active_rq.value += 1
        stats.downstream_cx_destroy_remote_active_rq.value += 1

    def close_if_idle(self) -> None:
        """Close, unless a request is under way: then after its response."""
        self.manager.stats.downstream_cx_drain_close.value += 1
        self.wire.close_after_flush(False)

    def drain_after(self, stream: Stream) -> None:
        """The server drains: this response is the last one."""
        if not self.last_request:
            self.last_request = True
            self.manager.stats.downstream_cx_drain_close.value += 1
        stream.encoder.close_when_done()

    def sweep(self, now: float) -> None:
        """Look at the clock, on behalf of the connection."""
        if self._closes_at is not None:
            if now >= self._closes_at:
                self.end_drain()
            return
        config = self.manager.config
        stats = self.manager.stats
        lifetime = config.max_connection_duration
        idle = config.idle_timeout
        if idle and self.is_idle and now - self.idle_since >= idle:
            stats.downstream_cx_idle_timeout.value += 1
            self.start_drain(now)
        elif lifetime and now - self.opened >= lifetime:
            stats.downstream_cx_max_duration_reached.value += 1
            self.start_drain(now)

    @property
    def is_idle(self) -> bool:
        """No request is under way."""
        return True

    def start_drain(self, now: float) -> None:
        """The connection has to end: nothing has been said on it, so it ends now."""
        self._closes_at = now
        self.wire.close_after_flush(False)

    def end_drain(self) -> None:
        """`drain_timeout` is over."""


class Http1Connection(HttpConnection):
    """One downstream HTTP/1 connection."""

    __slots__ = ()

    def begin(self, first: HttpConnection) -> None:
        """Take the place of `first`, which has met the first bytes."""
        self.take_over(first)
        stats = self.manager.stats
        stats.downstream_cx_http1_total.value += 1
        stats.downstream_cx_http1_active.value += 1
        self.codec = ServerCodec(self.wire, self, self.manager.config.http1)

    def new_stream(self, encoder: ResponseEncoder) -> RequestDecoder:
        """A request begins."""
        manager = self.manager
        stats = manager.stats
        stats.downstream_rq_total.value += 1
        stats.downstream_rq_active.value += 1
        stats.downstream_rq_http1_total.value += 1
        self.stream = stream = Stream(self, encoder)
        manager.active.add(stream)
        if manager.config.max_requests_per_connection:
            self.count_request()
        return stream

    def switch_to_http2(
        self, settings: bytes, pairs: list[tuple[bytes, bytes]]
    ) -> Callable[[bytes], None]:
        """The client goes on in HTTP/2: so does another object."""
        # Not at the top: few clients ask for it, and HTTP/2 takes time to load.
        from meshproxy.http.http2_downstream import Http2Connection

        manager = self.manager
        manager.stats.downstream_cx_http1_active.value -= 1
        successor = Http2Connection(manager)
        successor.begin(self)
        dispatch: Callable[[bytes], None] = successor.http2.dispatch
        self.wire.dispatch_to(dispatch)
        successor.http2.upgrade(settings, pairs)
        return dispatch

    def on_watermark(self, high: bool) -> None:
        """The connection is full, or no more."""
        super().on_watermark(high)
        if self.stream is not None:
            self.stream.on_watermark(high)

    def on_closed(self, local: bool) -> None:
        """The connection is gone."""
        self.manager.stats.downstream_cx_http1_active.value -= 1
        super().on_closed(local)

    def close_if_idle(self) -> None:
        """Close, unless a request is under way: then after its response."""
        if self.codec.idle:
            super().close_if_idle()

    def sweep(self, now: float) -> None:
        """Look at the clock, on behalf of the connection."""
        if self.wire.closing or self._sweep_head(now):
            return
        stream = self.stream
        timeout = self.manager.config.request_timeout
        if (
            timeout
            and stream is not None
            and not stream.request_complete
            and now - stream.info.start >= timeout
        ):
            self.manager.stats.downstream_rq_timeout.value += 1
            stream.send_local_reply(REQUEST_OVERALL_TIMEOUT)
            return
        super().sweep(now)

    @property
    def is_idle(self) -> bool:
        """No request is under way."""
        return self.stream is None

    def start_drain(self, now: float) -> None:
        """Close after `drain_timeout`: a request may be on its way, and is still answered."""
        self.last_request = True
        self._closes_at = now + self.manager.config.drain_timeout

    def end_drain(self) -> None:
        """`drain_timeout` is over."""
        if self.codec.idle:
            self.wire.close_after_flush(True)
        else:
            self.codec.close_when_done()

    def _sweep_head(self, now: float) -> bool:
        """Whether a head that is still arriving has taken too long, and was refused."""
        if self.stream is not None:
            return False
        if not self.codec.head_started:
            self.head_since = None
            return False
        if self.head_since is None:
            self.head_since = now
        config = self.manager.config
        stats = self.manager.stats
        waited = now - self.head_since
        if config.request_headers_timeout and waited >= config.request_headers_timeout:
            stats.downstream_rq_header_timeout.value += 1
            self.codec.give_up(REQUEST_HEADER_TIMEOUT)
            return True
        if config.request_timeout and waited >= config.request_timeout:
            stats.downstream_rq_timeout.value += 1
            self.codec.give_up(REQUEST_OVERALL_TIMEOUT)
            return True
        return False
