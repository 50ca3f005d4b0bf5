"""The contract of listener filters. Owns the words; refuses to know sockets."""

from __future__ import annotations

from typing import Final, Protocol

from meshproxy.network.filter_chain_match import SocketFacts

WAIT: Final = -1
CLOSE: Final = -2


class ListenerFilter(Protocol):
    """A filter of one connection."""

    def on_data(self, data: bytes, facts: SocketFacts) -> int:
        """Look at all bytes so far, and learn from them into `facts`.

        Returns how many of them to take away (0: it has only looked), which ends this filter;
        WAIT for more; CLOSE to refuse the connection.
        """

    def on_eof(self) -> None:
        """The peer has gone before this filter was done."""


class ListenerFilterFactory(Protocol):
    """Makes the filter of each connection."""

    def __call__(self) -> ListenerFilter:
        """The filter of one connection."""
