"""Where a test's subscription puts what it is given."""

import asyncio
from collections.abc import Callable
from typing import Any

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.pubsub.broker import Message


class Inbox:
    """Keeps every message; refuses them while `fail` says so."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Message] = asyncio.Queue()
        self.fail = False

    async def take(self, message: Message) -> None:
        await self.queue.put(message)
        if self.fail:
            raise ComponentError("no")

    async def next(self) -> Message:
        return await asyncio.wait_for(self.queue.get(), 30)


class Gate:
    """A handler that waits until it is opened; `entered` are the messages that wait."""

    def __init__(self) -> None:
        self.entered: asyncio.Queue[Message] = asyncio.Queue()
        self.opened = asyncio.Event()

    async def take(self, message: Message) -> None:
        await self.entered.put(message)
        await self.opened.wait()

    async def next(self) -> Message:
        return await asyncio.wait_for(self.entered.get(), 30)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 (a server tells nobody)
            await asyncio.sleep(0.02)
