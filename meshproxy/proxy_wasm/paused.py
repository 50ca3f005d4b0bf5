"""The streams and connections of a root that wait for their guest, and the end of the wait.

Owns since when each waits, and the one timer that looks. Refuses to know what stops and what lets
go: `stream_context.py` and `network_context.py` say so.

A stream counts as paused while only the guest can let it go on. One that collects a body waits for
its sender, which has timeouts of its own.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from meshproxy.http.dispatcher import Timer
    from meshproxy.proxy_wasm.root_context import RootContext

LOGGER: Final = logging.getLogger("meshproxy.wasm")
REQUEST: Final = 1
RESPONSE: Final = 2


class Waiting(Protocol):
    """A stream, or a connection."""

    id: int

    def waits_as(self) -> str:
        """What the log calls it."""

    def waited_too_long(self) -> None:
        """The guest had its time."""


class PausedStreams:
    """Those of one root. `len()` is their number; a stream that waits both ways counts twice."""

    def __init__(self, root: RootContext) -> None:
        self._root = root
        # Oldest first: whoever begins to wait anew goes to the end.
        self._waiting: dict[tuple[Waiting, int], tuple[float, str]] = {}
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, stream: Waiting, direction: int, callback: str) -> None:
        """A stream was stopped by this callback."""
        dispatcher = self._root.vm.services.dispatcher
        self._waiting.pop((stream, direction), None)
        self._waiting[stream, direction] = (dispatcher.now(), callback)
        if self._timer is None:
            self._timer = dispatcher.call_later(self._limit, self._look)

    def end(self, stream: Waiting, direction: int) -> None:
        """It goes on, or has ended."""
        self._waiting.pop((stream, direction), None)

    @property
    def _limit(self) -> float:
        return self._root.plugin.vm.limits.paused_timeout

    def _look(self) -> None:
        """End what waits too long; look again when the next one could."""
        self._timer = None
        dispatcher, limit = self._root.vm.services.dispatcher, self._limit
        now = dispatcher.now()
        overdue = []
        for waiting, (since, callback) in self._waiting.items():
            if now - since < limit:
                self._timer = dispatcher.call_later(since + limit - now, self._look)
                break
            overdue.append((*waiting, callback))
        for stream, direction, callback in overdue:
            # One that waits both ways is answered once.
            if (stream, direction) in self._waiting:
                self._give_up(stream, callback)

    def _give_up(self, stream: Waiting, callback: str) -> None:
        self.end(stream, REQUEST)
        self.end(stream, RESPONSE)
        self._root.stats.streams_paused_timeout.value += 1
        LOGGER.error(
            "wasm log%s: the %s (context %d) was paused by %s %g s ago, and nothing has continued "
            "it since: it ends now",
            self._root.prefix, stream.waits_as(), stream.id, callback, self._limit,
        )  # fmt: skip
        stream.waited_too_long()
