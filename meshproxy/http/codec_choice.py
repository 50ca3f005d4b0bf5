"""How a new downstream connection finds out what it speaks.

Owns `codec_type`: told by the configuration, by ALPN, or by the client's first bytes. Refuses to
know anything of the protocols but HTTP/2's preface.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from meshproxy.http.conn_manager import AUTO, HTTP1, HTTP2, HttpConnectionManager
from meshproxy.http.downstream import Http1Connection, HttpConnection
from meshproxy.http.http2.frames import PREFACE
from meshproxy.http.peer_info import PeerInfo

if TYPE_CHECKING:
    from meshproxy.http.http2_downstream import Http2Connection

_ALPN: Final = {"h2": HTTP2, "http/1.1": HTTP1, "http/1.0": HTTP1}


class NewConnection(HttpConnection):
    """A connection of which nothing has been read; another object takes its place with that."""

    __slots__ = ("_held", "_kind")

    def __init__(self, manager: HttpConnectionManager) -> None:
        super().__init__(manager)
        self._held = b""
        self._kind = manager.config.codec_type

    def on_connected(self, connection: Any) -> Callable[[bytes], None]:
        """The connection is up."""
        manager = self.manager
        self.wire = connection
        connection.delayed_close_timeout = manager.config.delayed_close_timeout
        connection.delayed_closes = manager.stats.downstream_cx_delayed_close_timeout
        self.peer = PeerInfo(connection)
        if self._kind == AUTO:
            self._kind = (
                _ALPN.get(connection.tls.alpn, AUTO) if connection.tls is not None else AUTO
            )
        manager.connections.add(self)
        stats = manager.stats
        stats.downstream_cx_total.value += 1
        stats.downstream_cx_active.value += 1
        if connection.tls is not None:
            stats.downstream_cx_ssl_total.value += 1
            stats.downstream_cx_ssl_active.value += 1
        manager.start_sweeping()
        return self._first_bytes

    def _first_bytes(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
        kind = self._kind
        if kind == AUTO:
            if len(data) < len(PREFACE) and PREFACE.startswith(data):
                self._held = data
                return
            kind = HTTP2 if data.startswith(PREFACE) else HTTP1
        chosen = connection_class(kind)(self.manager)
        chosen.begin(self)
        dispatch = chosen.codec.dispatch
        self.wire.dispatch_to(dispatch)
        dispatch(data)

    def sweep(self, now: float) -> None:
        """Look at the clock: half a preface must not wait for ever either."""
        if not self.wire.closing:
            super().sweep(now)


def connection_class(kind: int) -> type[Http1Connection | Http2Connection]:
    """What serves HTTP1 or HTTP2. HTTP/2 is loaded when it is first asked for: who never meets it
    need not wait for it at the start.
    """
    if kind != HTTP2:
        return Http1Connection
    from meshproxy.http.http2_downstream import Http2Connection

    return Http2Connection
