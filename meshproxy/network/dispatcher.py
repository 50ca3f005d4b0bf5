"""`http.dispatcher.Dispatcher` over the running event loop. Knows asyncio, and nobody who asks."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from meshproxy.network.tasks import TaskOwner, spawn


class LoopDispatcher:
    """Time, chance, timers and tasks of one event loop; tasks end with `owner`.

    The simple ones are attributes that hold the callee itself: no frame in between.
    """

    __slots__ = ("_loop", "call_later", "call_soon", "now", "owner", "random", "time")

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: TaskOwner) -> None:
        self.owner = owner
        self._loop = loop
        # Not loop.time(): uvloop's has milliseconds only, and stands still during a turn.
        self.now: Callable[[], float] = time.monotonic
        self.time: Callable[[], float] = time.time
        self.random: Callable[[], int] = partial(random.Random().getrandbits, 64)  # noqa: S311
        self.call_soon = loop.call_soon
        self.call_later: Callable[[float, Callable[[], None]], asyncio.TimerHandle] = (
            loop.call_later
        )

    def offload(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Run `work` in a thread and give its result to `done`, here. It must not raise."""
        future = self._loop.run_in_executor(None, work)
        future.add_done_callback(lambda finished: done(finished.result()))

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[Any]:
        """Run a coroutine that is cancelled when the owner ends, if not before."""
        return spawn(self.owner, coroutine, name)
