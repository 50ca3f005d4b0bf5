"""The HTTP connection manager as the terminal filter of a chain.

Owns the seam between the two contracts. Refuses to know HTTP: `http/conn_manager.py` does.

Alone in its chain it owns the connection itself, with nothing in between (`make_owner`); after
other filters its connection is `FilteredWire`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from meshproxy.http.codec_choice import NewConnection
from meshproxy.http.conn_manager import HttpConnectionManager
from meshproxy.http.downstream import HttpConnection
from meshproxy.network_filters.filter import (
    STOP_ITERATION,
    NetworkFilter,
    NetworkFilterCallbacks,
)
from meshproxy.network_filters.registry import NETWORK_FILTERS, NetworkFactoryContext

if TYPE_CHECKING:
    from meshproxy.http.buffer import Buffer

TYPE: str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


@NETWORK_FILTERS.register(TYPE)
def build(config: Any, context: NetworkFactoryContext) -> HttpFactory:
    """The connection manager of one chain."""
    return HttpFactory(context.http_manager(config))


class HttpFactory:
    """Makes the HTTP connection of each connection."""

    __slots__ = ("drainable", "received", "sent")
    half_close = False

    def __init__(self, manager: HttpConnectionManager) -> None:
        self.drainable = manager
        self.received = manager.stats.downstream_cx_rx_bytes_total
        self.sent = manager.stats.downstream_cx_tx_bytes_total

    def on_rejected(self) -> None:
        """A connection has failed in its TLS handshake: Envoy's managers count it before that."""
        stats = self.drainable.stats
        stats.downstream_cx_total.value += 1
        stats.downstream_cx_ssl_total.value += 1
        stats.downstream_cx_destroy.value += 1
        stats.downstream_cx_destroy_remote.value += 1

    def make_owner(self) -> NewConnection:
        """The owner of a connection that has no other filter."""
        return NewConnection(self.drainable)

    def __call__(self, callbacks: NetworkFilterCallbacks) -> HttpFilter:
        """The filter of one connection."""
        return HttpFilter(self.make_owner(), callbacks)


class HttpFilter(NetworkFilter):
    """One HTTP connection behind other filters."""

    __slots__ = ("_first", "callbacks", "dispatch", "http")

    def __init__(self, http: NewConnection, callbacks: NetworkFilterCallbacks) -> None:
        self._first = http
        self.http: HttpConnection = http
        self.callbacks = callbacks
        self.dispatch: Callable[[bytes], None] | None = None

    def on_new_connection(self) -> int:
        """The connection has come as far as this filter."""
        self.dispatch = self._first.on_connected(FilteredWire(self))
        return STOP_ITERATION if self.callbacks.connection.closing else 0

    def on_data(self, data: Buffer, end_stream: bool) -> int:
        """Bytes for the codec."""
        taken = data.take()
        if taken and self.dispatch is not None:
            self.dispatch(taken)
        if end_stream and not self.http.on_eof():
            self.callbacks.connection.finish()
        return STOP_ITERATION

    def on_watermark(self, high: bool) -> None:
        """The connection is full, or no more."""
        self.http.on_watermark(high)

    def on_closed(self, local: bool) -> None:
        """The connection is gone."""
        self.http.on_closed(local)


class FilteredWire:
    """`http.codec.Wire` of a connection with filters: what is written goes through them."""

    __slots__ = ("_callbacks", "_connection", "_filter")

    def __init__(self, http_filter: HttpFilter) -> None:
        self._filter = http_filter
        self._callbacks = callbacks = http_filter.callbacks
        self._connection = callbacks.connection

    def dispatch_to(self, dispatch: Callable[[bytes], None]) -> None:
        """From now on, `dispatch` takes what the filters let pass."""
        self._filter.dispatch = dispatch

    @property
    def owner(self) -> HttpConnection:
        """Who hears what becomes of the connection."""
        return self._filter.http

    @owner.setter
    def owner(self, http: HttpConnection) -> None:
        self._filter.http = http

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if not self._connection.closing:
            self._callbacks.inject_write_data(data, False)

    def writelines(self, pieces: Sequence[bytes]) -> None:
        """Send pieces."""
        self.write(b"".join(pieces))

    def __getattr__(self, name: str) -> Any:
        # Everything but writing is the connection's own.
        return getattr(self._connection, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(FilteredWire, name):
            object.__setattr__(self, name, value)
        else:
            setattr(self._connection, name, value)
