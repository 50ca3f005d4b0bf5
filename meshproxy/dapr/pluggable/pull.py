"""Messages that a process sends on a stream, and that are acknowledged on it, one by one.

Owns the stream's life: it is opened again when the process has gone and come back, and the process
has to wait while too much is being worked on. Refuses to know what a message is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.pluggable.process import MessageStream
from meshproxy.network.tasks import TaskOwner, spawn

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

MAX_AT_WORK: Final = 64
"""Messages of a stream that are worked on at a time."""
_FIRST_WAIT: Final = 0.1  # seconds
_LONGEST_WAIT: Final = 10.0

Open = Callable[[Callable[[Any], None]], Awaitable[MessageStream]]
"""Opens the stream, whose messages go to the function that it is given. Raises ComponentError."""
Work = Callable[[Any], Awaitable[Any]]
"""Does what a message asks for and returns the acknowledgement; raises nothing."""


class Pull:
    """One stream. `name` is for the log."""

    def __init__(self, name: str, open_stream: Open, work: Work) -> None:
        self._name = name
        self._open = open_stream
        self._work = work
        self._owner = TaskOwner()
        self._at_work = TaskOwner()
        self._stream: MessageStream | None = None

    async def begin(self) -> None:
        """Open the stream for the first time. Raises ComponentError."""
        self._stream = await self._open(self._take)
        spawn(self._owner, self._keep_open(), self._name)

    async def stop(self) -> None:
        """Take nothing more; return when what is being worked on has been acknowledged."""
        if self._stream is not None:
            self._stream.hold(True)
        await asyncio.gather(*self._at_work.tasks, return_exceptions=True)
        await self._owner.close()
        if self._stream is not None:
            self._stream.reset()

    async def _keep_open(self) -> None:
        wait = _FIRST_WAIT
        while True:
            try:
                if self._stream is None:
                    self._stream = await self._open(self._take)
                await self._stream.ended()
                wait = _FIRST_WAIT
                reason = "it has ended the stream"
            except ComponentError as error:
                reason = str(error)
            self._stream = None
            logger.warning("%s: %s; it is opened again in %gs", self._name, reason, wait)
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    def _take(self, item: Any) -> None:
        task = spawn(self._at_work, self._work_on(item, self._stream), self._name)
        task.add_done_callback(lambda _: self._settle())
        self._settle()

    async def _work_on(self, item: Any, stream: MessageStream | None) -> None:
        acknowledgement = await self._work(item)
        if stream is not None:
            stream.send(acknowledgement)

    def _settle(self) -> None:
        if self._stream is not None:
            self._stream.hold(len(self._at_work.tasks) >= MAX_AT_WORK)
