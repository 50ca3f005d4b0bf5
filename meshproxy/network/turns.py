"""Work that connections have put off, a piece of it in each turn of the event loop.

Owns the order: whoever has more to do waits behind the others. Between two pieces the loop looks at
every socket, so one peer that sends much, or many that do, delay nobody by more than one piece.
Refuses to know what the work is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Turns:
    """The work of one event loop."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()

    def add(self, work: Callable[[], None]) -> None:
        """Call `work` in a turn of its own. It must not raise."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
        self._waiting.append(work)

    def _run(self) -> None:
        work = self._waiting.popleft()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
        work()
