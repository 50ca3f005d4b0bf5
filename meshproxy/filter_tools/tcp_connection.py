"""One TCP connection through network filters, driven from both of its ends.

Owns the two ends. Refuses to know how filters are loaded (`harness.py`); between the ends is
`network_filters/filter_manager.py`, unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from meshproxy.filter_tools.clock import FakeClock
from meshproxy.filter_tools.ends import FakeConnection
from meshproxy.filter_tools.http_stream import OutOfOrder
from meshproxy.filter_tools.messages import raw
from meshproxy.network_filters.filter import (
    CONTINUE,
    NetworkFilter,
    NetworkFilterFactory,
    PlainFactory,
)
from meshproxy.network_filters.filter_manager import FilterManager

if TYPE_CHECKING:
    from meshproxy.http.buffer import Buffer
    from meshproxy.network.connection import Connection


class TcpConnection:
    """A connection: `send` is the client's side of it, `receive` what the upstream sends back.

    `upstream` and `downstream` are the bytes that have come through to either end so far.
    """

    def __init__(
        self,
        factories: Sequence[NetworkFilterFactory],
        buffer_limit: int,
        clock: FakeClock,
        settle: Callable[[], None],
        source: str = "",
    ) -> None:
        """`settle` runs what is due now; the harness makes connections (`harness.py`)."""
        self._settle = settle
        self._upstream = Upstream()
        end = UpstreamFactory(lambda callbacks: self._upstream)
        self._manager = FilterManager([*factories, end], buffer_limit, clock)
        self._client = Client(source, lambda: clock.call_later(0.0, self._close_locally))
        self._read = self._manager.on_connected(cast("Connection", self._client))
        self._sent_all = False
        settle()

    @property
    def upstream(self) -> bytes:
        """What the upstream has got."""
        return self._upstream.got

    @property
    def upstream_ended(self) -> bool:
        """True when the upstream knows that the client sends no more."""
        return self._upstream.ended

    @property
    def downstream(self) -> bytes:
        """What the client has got."""
        return self._client.got

    @property
    def closed(self) -> str:
        """`local` where a filter closed the connection, `remote` where the client did; else
        empty.
        """
        return self._client.closed

    def send(self, data: bytes | str, *, end_stream: bool = False) -> None:
        """The client sends bytes; with `end_stream` it half-closes after them."""
        self._need_open()
        if self._sent_all:
            raise OutOfOrder("the client has half-closed the connection")
        self._sent_all = end_stream
        if data:
            self._read(raw(data))
        if end_stream and not self._client.closing:
            self._manager.on_eof()
        self._settle()

    def receive(self, data: bytes | str, *, end_stream: bool = False) -> None:
        """The upstream sends bytes; with `end_stream` they are its last."""
        self._need_open()
        self._manager.write(len(self._manager.filters), raw(data), end_stream)
        self._settle()

    def close(self) -> None:
        """The client closes the connection."""
        if not self.closed:
            self._end("remote")
        self._settle()

    def _close_locally(self) -> None:
        if not self.closed:
            self._end("local")

    def _end(self, who: str) -> None:
        self._client.closed = who
        self._client.closing = True
        self._manager.on_closed(who == "local")

    def _need_open(self) -> None:
        if self._client.closing:
            who = "the filter" if self.closed != "remote" else "the client"
            raise OutOfOrder(f"{who} has closed the connection")


class Client(FakeConnection):
    """The downstream connection as filters know it; `on_close` is told when they close it."""

    def __init__(self, source: str, on_close: Callable[[], object]) -> None:
        super().__init__(source)
        self.got = b""
        self.ended = False
        self.closing = False
        self.closed = ""
        self._on_close = on_close

    def write(self, data: bytes) -> None:
        """Bytes for the client."""
        self.got += data

    def write_eof(self) -> None:
        """There are no more."""
        self.ended = True

    def read_disable(self, disable: bool) -> None:
        """The filters leave as much unread as they may; the driver sends on command only."""

    def close_after_flush(self, linger: bool) -> None:
        """A filter closes the connection; it is gone when no guest code runs."""
        self.closing = True
        self._on_close()

    def abort(self) -> None:
        """The same at once."""
        self.close_after_flush(False)


class Upstream(NetworkFilter):
    """Stands in for `tcp_proxy`: takes what the filters pass on, and stays when the client ends."""

    def __init__(self) -> None:
        self.got = b""
        self.ended = False

    def on_data(self, data: Buffer, end_stream: bool) -> int:
        """Bytes that all filters have let pass."""
        self.got += data.take()
        self.ended = end_stream
        return CONTINUE


class UpstreamFactory(PlainFactory):
    """Gives the one connection its upstream."""

    half_close = True
