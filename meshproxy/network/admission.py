"""A connection before its filter chain is known: listener filters, the choice, TLS.

Owns the order and the time limit. Refuses to know what the filters look for and what a chain does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from meshproxy.network.filter_chain import FilterChain
from meshproxy.network.filter_chain_match import SocketFacts, find_filter_chain
from meshproxy.network.listener_filters import CLOSE, WAIT, ListenerFilter

if TYPE_CHECKING:
    import asyncio

    from meshproxy.network.connection import Connection
    from meshproxy.network.listener import Listener


class Admission:
    """Owner of a connection until its chain's owner takes over."""

    __slots__ = ("_connection", "_filters", "_held", "_listener", "_timer", "facts")

    facts: SocketFacts
    _connection: Connection

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._filters: list[ListenerFilter] = []
        self._held = b""
        self._timer: asyncio.TimerHandle | None = None

    # -- ConnectionOwner -------------------------------------------------------------------------

    def on_connected(self, connection: Connection) -> Callable[[bytes], None]:
        """The connection is up."""
        self._connection = connection
        local, remote, direct = (
            connection.local_address,
            connection.remote_address,
            connection.direct_remote_address,
        )
        assert local is not None
        assert remote is not None
        assert direct is not None
        self.facts = SocketFacts(local, remote, direct)
        listener = self._listener
        if not listener.listener_filters:
            return self._admit() or self._drop
        self._filters = [make() for make in listener.listener_filters]
        listener.stats.downstream_pre_cx_active.value += 1
        timeout = listener.config.listener_filters_timeout
        if timeout:
            self._timer = connection.call_later(timeout, self._on_timeout)
        return self._feed

    def on_eof(self) -> bool:
        """The peer has gone before it was admitted."""
        if self._filters:
            self._listener.stats.downstream_listener_filter_remote_close.value += 1
            self._filters[0].on_eof()
        return False

    def on_watermark(self, high: bool) -> None:
        """Nothing is written yet."""

    def on_closed(self, local: bool) -> None:
        """It is gone without having been admitted."""
        if self._filters:
            self._filters = []
            self._end_filters()

    # -- listener filters ------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        self._held += data
        filters = self._filters
        while filters:
            if not self._held:
                return
            taken = filters[0].on_data(self._held, self.facts)
            if taken == WAIT:
                return
            if taken == CLOSE:
                self._connection.close_after_flush(False)
                return
            self._held = self._held[taken:]
            filters.pop(0)
        self._end_filters()
        self._go_on()

    def _go_on(self) -> None:
        dispatch = self._admit()
        if dispatch is None:
            return
        self._connection.redirect(dispatch)
        held, self._held = self._held, b""
        if held:
            dispatch(held)

    def _end_filters(self) -> None:
        self._listener.stats.downstream_pre_cx_active.value -= 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        listener = self._listener
        listener.stats.downstream_pre_cx_timeout.value += 1
        self._timer = None
        self._filters = []
        self._end_filters()
        if listener.config.continue_on_listener_filters_timeout:
            self._go_on()
        else:
            self._connection.abort()

    # -- the choice ------------------------------------------------------------------------------

    def _admit(self) -> Callable[[bytes], None] | None:
        """Give the connection to its chain; returns who takes its bytes."""
        connection, facts = self._connection, self.facts
        connection.local_address = facts.local
        connection.remote_address = facts.remote
        connection.requested_server_name = facts.server_name or None
        chain = self._choose()
        if chain is None:
            self._listener.stats.no_filter_chain_match.value += 1
            connection.close_after_flush(False)
            return None
        self._listener.admitted(connection)
        return chain.take(connection)

    def _choose(self) -> FilterChain | None:
        listener = self._listener
        return find_filter_chain(listener.chains, self.facts) or listener.default_chain

    def _drop(self, data: Any) -> None:
        """Bytes of a connection that no chain wants."""
