"""How many calls the app has at one time, and who waits for a place. Knows no call."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Slots:
    """A number of places. Who comes when all are taken waits, first come, first served."""

    __slots__ = ("_free", "_waiting")

    def __init__(self, limit: int) -> None:
        """`limit` is at least 1."""
        self._free = limit
        self._waiting: deque[Callable[[], None]] = deque()

    def take(self, proceed: Callable[[], None]) -> bool:
        """Take a place, or wait for one: False, and `proceed` is called when it is there."""
        if self._free:
            self._free -= 1
            return True
        self._waiting.append(proceed)
        return False

    def give_back(self) -> None:
        """Leave a place, to the one who has waited longest."""
        if self._waiting:
            self._waiting.popleft()()
        else:
            self._free += 1

    def give_up(self, proceed: Callable[[], None]) -> None:
        """Wait no more."""
        self._waiting.remove(proceed)
