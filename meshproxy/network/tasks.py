"""The only door to asyncio tasks: each has a name, an owner, and somebody who hears it fail.

Owns starting and cancelling. Refuses to know what a task does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger("meshproxy.main")

AGAIN = 1.0
"""Seconds after which a task that is still there is cancelled once more."""


class TaskOwner:
    """Whatever starts tasks keeps one of these, and cancels it when it ends itself."""

    __slots__ = ("tasks",)

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()

    def cancel(self) -> None:
        """Ask every task to stop, without waiting for it."""
        for task in tuple(self.tasks):
            task.cancel()

    async def close(self) -> None:
        """Cancel every task and wait until all have ended.

        One may have to be asked again: `asyncio.wait_for` before Python 3.12, which clients of
        brokers wait with, loses a cancellation that comes in the turn in which the answer does.
        """
        waiting = set(self.tasks)
        while waiting:
            for task in waiting:
                task.cancel()
            _, waiting = await asyncio.wait(waiting, timeout=AGAIN)


def spawn(owner: TaskOwner, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """Run `coroutine` on the running loop as a task of `owner`; a failure is logged."""
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    owner.tasks.add(task)  # the loop itself holds tasks only weakly
    task.add_done_callback(owner.tasks.discard)
    task.add_done_callback(_log_failure)
    return task


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("task %s failed: %r", task.get_name(), error, exc_info=error)
