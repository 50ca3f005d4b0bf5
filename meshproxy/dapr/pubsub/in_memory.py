"""`pubsub.in-memory`: topics inside of the process, gone with it. Takes no metadata of its own.

Every subscription gets every message, in its order. What its handler refuses is delivered again
after a wait, up to `ATTEMPTS` times, and then lost with a line in the log. A subscription to `a*`
is one to all topics that begin with `a` and go on; as in daprd, its messages have that topic.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.pubsub.at_once import at_once
from meshproxy.dapr.pubsub.broker import (
    SUBSCRIBE_WILDCARDS,
    Handler,
    Message,
    PublishRequest,
    Unsubscribe,
)
from meshproxy.network.tasks import TaskOwner, spawn

logger: Final = logging.getLogger("meshproxy.dapr.contrib")

ATTEMPTS: Final = 10
DEPTH: Final = 1000
"""Messages that wait for one subscription; where they are more, publishing waits."""
_FIRST_WAIT: Final = 0.05  # seconds before a message is delivered again
_LONGEST_WAIT: Final = 2.0


class InMemoryPubSub:
    """See the module."""

    features: frozenset[str] = frozenset({SUBSCRIBE_WILDCARDS})

    def __init__(
        self,
        context: ComponentContext,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._name = context.name
        self._owner = TaskOwner()
        self._sleep = sleep
        self._topics: dict[str, list[asyncio.Queue[Message]]] = {}

    async def init(self, metadata: Metadata) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Forget everything."""
        await self._owner.close()
        self._topics.clear()

    async def publish(self, request: PublishRequest) -> None:
        """Hand a message to every subscription there is."""
        for topic, queues in tuple(self._topics.items()):
            if topic == request.topic or _is_of(request.topic, topic):
                message = Message(topic, request.data, request.content_type, request.metadata)
                for queue in tuple(queues):
                    await queue.put(message)

    async def bulk_publish(self, requests: Sequence[PublishRequest]) -> list[ComponentError | None]:
        """Each in its order."""
        for request in requests:
            await self.publish(request)
        return [None] * len(requests)

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: Handler
    ) -> Unsubscribe:
        """Deliver what is published from now on."""
        queue: asyncio.Queue[Message] = asyncio.Queue(DEPTH)
        self._topics.setdefault(topic, []).append(queue)
        # Of a bulk subscription's handlers each waits for the others.
        tasks = [
            spawn(self._owner, self._deliver(queue, handler), f"{self._name} {topic}")
            for _ in range(max(at_once(metadata), 1))
        ]

        async def unsubscribe() -> None:
            queues = self._topics.get(topic, [])
            if queue in queues:
                queues.remove(queue)
            if not queues:
                self._topics.pop(topic, None)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            while not queue.empty():  # and whoever waits to publish may go on
                queue.get_nowait()

        return unsubscribe

    async def _deliver(self, queue: asyncio.Queue[Message], handler: Handler) -> None:
        while True:
            message = await queue.get()
            wait = _FIRST_WAIT
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    await handler(message)
                    break
                except ComponentError as error:
                    text = "%s: attempt %d at a message of %s failed: %s"
                    logger.warning(text, self._name, attempt, message.topic, error)
                if attempt < ATTEMPTS:
                    await self._sleep(wait)
                    wait = min(wait * 2, _LONGEST_WAIT)
            else:
                logger.error("%s: a message of %s is lost", self._name, message.topic)


def _is_of(topic: str, pattern: str) -> bool:
    start, star = pattern[:-1], pattern[-1:]
    return star == "*" and topic.startswith(start) and topic != start
