"""The filters of one connection, and who is asked when.

Owns the order (Envoy's FilterManagerImpl), the read buffer and its limit. Refuses to know bytes'
meaning and sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from meshproxy.http.buffer import Buffer
from meshproxy.http.peer_info import PeerInfo
from meshproxy.http.stream_info import StreamInfo
from meshproxy.network_filters.filter import (
    STOP_ITERATION,
    NetworkFilter,
    NetworkFilterFactory,
)

if TYPE_CHECKING:
    from meshproxy.http.dispatcher import Dispatcher
    from meshproxy.network.connection import Connection


class FilterManager:
    """Owner of a downstream connection: hands what happens on it to its filters."""

    __slots__ = ("_ended", "_factories", "_limit", "_paused", "_started", "_writes", "buffer",
                 "connection", "dispatcher", "filters", "half_close", "info")  # fmt: skip

    connection: Connection

    def __init__(
        self, factories: Sequence[NetworkFilterFactory], limit: int, dispatcher: Dispatcher
    ) -> None:
        self.dispatcher = dispatcher
        self.info = StreamInfo()
        self.buffer = Buffer()
        self.filters: tuple[NetworkFilter, ...] = ()
        self.half_close = any(each.half_close for each in factories)
        self._factories = factories
        self._limit = limit
        self._started = 0  # filters that have heard of the connection
        self._ended = False  # the peer sends no more
        self._paused = False  # reading, because filters leave too much in the buffer
        self._writes: tuple[int, ...] = ()  # filters that look at what is written, last first

    # -- ConnectionOwner -------------------------------------------------------------------------

    def on_connected(self, connection: Connection) -> Callable[[bytes], None]:
        """The connection is up."""
        self.connection = connection
        dispatcher = self.dispatcher
        info = self.info
        info.start = dispatcher.now()
        info.start_time = dispatcher.time()
        info.connection = PeerInfo(connection)
        info.downstream_remote_address = connection.remote_address
        self.filters = tuple(
            make(ActiveFilter(self, index)) for index, make in enumerate(self._factories)
        )
        self._writes = tuple(
            index
            for index in range(len(self.filters) - 1, -1, -1)
            if type(self.filters[index]).on_write is not NetworkFilter.on_write
        )
        self.iterate(0)
        return self._read

    def _read(self, data: bytes) -> None:
        self.buffer.append(data)
        # As Envoy counts: what filters have left in the buffer is received once more.
        self.info.bytes_received += self.buffer.length
        self.iterate(0)

    def on_eof(self) -> bool:
        """The peer sends no more."""
        if not self.half_close:
            return False
        if self._ended:
            return True  # uvloop says it again when reading is resumed
        self._ended = True
        self.iterate(0)
        return True

    def on_watermark(self, high: bool) -> None:
        """The write buffer is over its limit, or has drained."""
        for each in self.filters:
            each.on_watermark(high)

    def on_closed(self, local: bool) -> None:
        """The connection is gone."""
        for each in self.filters:
            each.on_closed(local)
        self.filters = ()  # filters know their callbacks, and those this object: cut the cycle
        self._writes = ()

    # -- iteration -------------------------------------------------------------------------------

    def iterate(self, start: int) -> None:
        """Ask the filters from this one on, until one stops."""
        buffer = self.buffer
        connection = self.connection
        for index in range(start, len(self.filters)):
            each = self.filters[index]
            if self._started <= index:
                self._started = index + 1
                if each.on_new_connection() == STOP_ITERATION:
                    break
            if connection.closing:
                return
            if (buffer.length or self._ended) and (
                each.on_data(buffer, self._ended) == STOP_ITERATION
            ):
                break
        if connection.closing:
            return
        paused = buffer.length >= self._limit
        if paused != self._paused:
            self._paused = paused
            connection.read_disable(paused)

    def inject_read(self, start: int, data: bytes, end_stream: bool) -> None:
        """Ask the filters from this one on about bytes that are not in the read buffer."""
        buffer = Buffer(data)
        for each in self.filters[start:]:
            if each.on_data(buffer, end_stream) == STOP_ITERATION or self.connection.closing:
                return

    def write(self, before: int, data: bytes, end_stream: bool) -> None:
        """Send bytes through the filters before this one, the nearest first."""
        if self._writes:
            buffer = Buffer(data)
            for index in self._writes:
                if index < before:
                    if self.filters[index].on_write(buffer, end_stream) == STOP_ITERATION:
                        return
                    if self.connection.closing:
                        return
            data = buffer.take()
        if data:
            self.info.bytes_sent += len(data)
            self.connection.write(data)
        if end_stream:
            self.connection.write_eof()


class ActiveFilter:
    """The callbacks of one filter."""

    __slots__ = ("_index", "_manager")

    def __init__(self, manager: FilterManager, index: int) -> None:
        self._manager = manager
        self._index = index

    @property
    def connection(self) -> Connection:
        """The downstream connection."""
        return self._manager.connection

    @property
    def info(self) -> StreamInfo:
        """The facts of the connection."""
        return self._manager.info

    @property
    def dispatcher(self) -> Dispatcher:
        """Time, timers and tasks."""
        return self._manager.dispatcher

    @property
    def read_buffer(self) -> Buffer:
        """What was read and no filter has taken yet."""
        return self._manager.buffer

    def continue_reading(self) -> None:
        """Go on with the filter after this one."""
        if not self._manager.connection.closing:
            self._manager.iterate(self._index + 1)

    def inject_read_data(self, data: bytes, end_stream: bool) -> None:
        """Hand bytes to the filter after this one."""
        self._manager.inject_read(self._index + 1, data, end_stream)

    def inject_write_data(self, data: bytes, end_stream: bool) -> None:
        """Hand bytes to the filter before this one, or to the peer."""
        self._manager.write(self._index, data, end_stream)

    def write(self, data: bytes, end_stream: bool) -> None:
        """Send bytes to the peer, through all filters."""
        self._manager.write(len(self._manager.filters), data, end_stream)
