"""What code without an event loop of its own may ask of one: time, timers, tasks, chance.

Owns the bridge from asyncio to the floors that must not import it. Refuses to know who asks.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from meshproxy.network.tasks import TaskOwner, spawn


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> None:
        """Forget it; nothing if it has been made."""


class Dispatcher:
    """The running loop, as it is injected. Tests inject one whose clock they turn themselves.

    now         monotonic seconds
    time        unix seconds
    random      64 random bits
    call_later  `(seconds, callback) -> Timer`
    """

    __slots__ = ("call_later", "now", "owner", "random", "time")

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: TaskOwner) -> None:
        self.owner = owner
        # Not loop.time(): uvloop's has milliseconds only, and stands still during an iteration.
        self.now: Callable[[], float] = time.monotonic
        self.time: Callable[[], float] = time.time
        self.random: Callable[[], int] = partial(random.Random().getrandbits, 64)  # noqa: S311
        self.call_later: Callable[[float, Callable[[], object]], Timer] = loop.call_later

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[Any]:
        """Run a coroutine that is cancelled when the server ends."""
        return spawn(self.owner, coroutine, name)
