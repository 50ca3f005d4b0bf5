"""The handlers of one subscription: one after the other, or side by side. Knows no broker.

How many there are at one time is the broker's to bound: it delivers no more than what is not
acknowledged may be.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from meshproxy.dapr.component import ComponentError, Metadata
from meshproxy.network.tasks import TaskOwner, spawn

DRAIN: Final = 30.0
"""Seconds that handlers at work get to end."""
Work = Callable[[], Coroutine[Any, Any, None]]


def is_single(metadata: Metadata, *, default: bool) -> bool:
    """The metadata `concurrency`. Raises ComponentError."""
    text = metadata.get("concurrency", "").lower()
    if text not in ("", "single", "parallel"):
        raise ComponentError(f"concurrency is '{text}'; expected single or parallel")
    return text == "single" if text else default


async def drain(owner: TaskOwner) -> None:
    """Let its tasks end, and cancel them where they do not, or where this is cancelled."""
    tasks = tuple(owner.tasks)
    try:
        if tasks:
            await asyncio.wait(tasks, timeout=DRAIN)
    finally:
        owner.cancel()
    await owner.close()


class Workers:
    """See the module. `single` keeps the order."""

    def __init__(self, name: str, *, single: bool) -> None:
        self._name = name
        self._single = single
        self._owner = TaskOwner()
        self._waiting: deque[Work] = deque()
        self._busy = False
        self._ended = False

    def take(self, work: Work) -> None:
        """Begin it now, or when what came before has ended. Nothing is begun after the end."""
        if self._ended:
            return
        if not self._single:
            spawn(self._owner, work(), self._name)
            return
        self._waiting.append(work)
        if not self._busy:
            self._begin()

    def _begin(self) -> None:
        # Not asked of the owner: it hears of the end of a task one turn of the loop later.
        self._busy = bool(self._waiting)
        if self._busy:
            spawn(self._owner, self._one_after_the_other(), self._name)

    async def _one_after_the_other(self) -> None:
        try:
            while self._waiting:
                await self._waiting.popleft()()
        finally:
            self._begin()  # what has come behind a failure does not wait for the next message

    async def end(self) -> None:
        """What waits stays with the broker; what runs ends first, if it does in time.

        Whoever has less time cancels this: then nothing runs any more.
        """
        self._ended = True
        self._waiting.clear()
        await drain(self._owner)
