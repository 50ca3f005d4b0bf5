"""The contract between a connection and its network filters: Envoy's, status for status.

Owns the words (statuses, filter base class, callbacks). Refuses to know any filter, and how a
connection iterates them (`filter_manager.py`).

A filter sees what comes from downstream through `on_data`, first filter first, and what goes there
through `on_write`, last filter first. `CONTINUE` hands the buffer to the next filter.
`STOP_ITERATION` stops there: of what was read the rest stays in the buffer, the next read is added
and all filters are asked again from the first one, or from the next one after
`callbacks.continue_reading()`; of what was to be written nothing stays, so a filter that stops it
keeps what it wants and sends it by `callbacks.inject_write_data()`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from meshproxy.http.buffer import Buffer
    from meshproxy.http.dispatcher import Dispatcher
    from meshproxy.http.stream_info import StreamInfo
    from meshproxy.network.connection import Connection

# FilterStatus
CONTINUE: Final = 0
STOP_ITERATION: Final = 1


class NetworkFilterCallbacks(Protocol):
    """What a filter may ask of its connection. One object per filter and connection."""

    @property
    def connection(self) -> Connection:
        """The downstream connection; written to by `write`, so that filters see it."""

    @property
    def info(self) -> StreamInfo:
        """The facts of the connection."""

    @property
    def dispatcher(self) -> Dispatcher:
        """Time, timers and tasks."""

    @property
    def read_buffer(self) -> Buffer:
        """What was read and no filter has taken yet."""

    def continue_reading(self) -> None:
        """Go on with the filter after this one, which had stopped."""

    def inject_read_data(self, data: bytes, end_stream: bool) -> None:
        """Hand bytes to the filter after this one, past the read buffer."""

    def inject_write_data(self, data: bytes, end_stream: bool) -> None:
        """Hand bytes to the filter before this one, or to the peer."""

    def write(self, data: bytes, end_stream: bool) -> None:
        """Send bytes to the peer, through all filters' `on_write`; `end_stream` half-closes."""


class NetworkFilter:
    """A filter of one connection. Every method may be left as it is."""

    __slots__ = ()

    def on_new_connection(self) -> int:
        """The connection is up. Called once, before the first `on_data`."""
        return CONTINUE

    def on_data(self, data: Buffer, end_stream: bool) -> int:
        """What was read and not taken; a filter may change it. A terminal filter takes it all.

        `end_stream`: the peer sends no more.
        """
        return CONTINUE

    def on_write(self, data: Buffer, end_stream: bool) -> int:
        """What is about to be sent; a filter may change it. `end_stream`: nothing comes after."""
        return CONTINUE

    def on_watermark(self, high: bool) -> None:
        """The connection's write buffer is over its limit, or has drained."""

    def on_closed(self, local: bool) -> None:
        """The connection is gone; `local`: we closed it."""


class NetworkFilterFactory(Protocol):
    """Makes the filter of each connection; holds what all of them share."""

    @property
    def drainable(self) -> Any:
        """A `network.filter_chain.Drainable`, None where a drain need not know it."""

    @property
    def received(self) -> Any:
        """Of a terminal filter: the counter of bytes from downstream."""

    @property
    def sent(self) -> Any:
        """Of a terminal filter: the counter of bytes to downstream."""

    @property
    def half_close(self) -> bool:
        """Whether the connection stays when the peer ends its side."""

    def __call__(self, callbacks: NetworkFilterCallbacks) -> NetworkFilter:
        """The filter of one connection."""


class PlainFactory:
    """A factory of filters that pass on: nothing to drain, nothing to count."""

    __slots__ = ("_make",)
    drainable = None
    received = None
    sent = None
    half_close = False

    def __init__(self, make: Callable[[NetworkFilterCallbacks], NetworkFilter]) -> None:
        self._make = make

    def __call__(self, callbacks: NetworkFilterCallbacks) -> NetworkFilter:
        """The filter of one connection."""
        return self._make(callbacks)
