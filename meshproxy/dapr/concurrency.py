"""How many calls the app has at one time, and who waits for a place. Knows no call."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from meshproxy.dapr.app_settings import AppSettings


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


def slots_of(settings: AppSettings) -> Slots | None:
    """The places of `--app-max-concurrency`; None for any number."""
    most = settings.max_concurrency
    return Slots(most) if most > 0 else None


@asynccontextmanager
async def place(slots: Slots | None) -> AsyncIterator[None]:
    """Have a place while the block runs; whoever is cancelled while it waits has none."""
    if slots is None:
        yield
        return
    await _wait(slots)
    try:
        yield
    finally:
        slots.give_back()


async def _wait(slots: Slots) -> None:
    given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    granted = False

    def proceed() -> None:
        nonlocal granted
        granted = True
        if not given.done():
            given.set_result(None)

    if slots.take(proceed):
        return
    try:
        await given
    except asyncio.CancelledError:
        if granted:
            slots.give_back()
        else:
            slots.give_up(proceed)
        raise
