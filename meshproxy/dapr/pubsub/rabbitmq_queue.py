"""One queue of RabbitMQ, consumed: what becomes of its messages, and how it comes back.

Owns acknowledging. Refuses to know metadata and exchanges (`rabbitmq_settings.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.pubsub.broker import Handler, Message
from meshproxy.dapr.pubsub.workers import Workers
from meshproxy.dapr.rabbitmq_client import ERRORS, RabbitClient, said
from meshproxy.network.tasks import TaskOwner, spawn

logger: Final = logging.getLogger("meshproxy.dapr.contrib")

_REFUSED_AGAIN: Final = 0.1
"""Seconds until a message goes back that was refused before: the server would send it at once."""
_SUBSCRIBED: Final = 60.0


class Queue(Protocol):
    """Which queue it is."""

    async def declare(self, channel: AbstractChannel) -> AbstractQueue:
        """Make it with all that belongs to it, or see that it is there."""

    def metadata_of(self, message: AbstractIncomingMessage) -> dict[str, str]:
        """What the handler is shown beside the data."""


@dataclass(frozen=True, slots=True)
class Consuming:
    """How a queue is consumed; `topic` is what its messages are shown under.

    `requeue`: what is refused goes back. `auto_ack`: what is refused is acknowledged too.
    `tag` empty: any name for the consumer.
    """

    topic: str
    prefetch: int
    single: bool
    requeue: bool
    auto_ack: bool = False
    tag: str = ""


class RabbitQueue:
    """The messages of one queue, from the server to the handler."""

    def __init__(
        self, client: RabbitClient, queue: Queue, settings: Consuming, handler: Handler
    ) -> None:
        self._client = client
        self._queue = queue
        self._settings = settings
        self._handler = handler
        self._owner = TaskOwner()
        self._workers = Workers(f"rabbitmq {settings.topic}", single=settings.single)
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._cancel: Any = None

    async def begin(self) -> None:
        """Consume; what is wrong with the first attempt is raised as ComponentError."""
        name = f"rabbitmq {self._settings.topic} consumer"
        spawn(self._owner, self._client.run(self._serve), name)
        try:
            async with asyncio.timeout(_SUBSCRIBED):
                await self._first
        except TimeoutError:
            await self.end()
            raise ComponentError(f"failed to subscribe to {self._settings.topic}") from None
        except ComponentError:
            await self.end()
            raise

    async def end(self) -> None:
        """Take nothing more; what runs ends first, and is acknowledged."""
        if self._cancel is not None:
            with suppress(*ERRORS):
                await self._cancel()
            self._cancel = None
        try:
            await self._workers.end()
        finally:
            await self._owner.close()  # closes the channel: what waited goes back to the queue

    async def _serve(self, channel: AbstractChannel) -> None:
        """Consume on this channel until it closes."""
        settings = self._settings
        closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_close(_: object, error: BaseException | None) -> None:
            if not closed.done():
                closed.set_result(None)

        channel.close_callbacks.add(on_close)
        try:
            await channel.set_qos(settings.prefetch)
            queue = await self._queue.declare(channel)
            # Also with `autoAck`: nothing else bounds how much the server sends.
            tag = await queue.consume(self._take, consumer_tag=settings.tag or None)
        except ERRORS as error:
            text = f"rabbitmq queue of {settings.topic}: {said(error)}"
            if not self._first.done():
                self._first.set_exception(ComponentError(text))
            raise ComponentError(text) from error
        self._cancel = lambda: queue.cancel(tag)
        if not self._first.done():
            self._first.set_result(None)
        await closed
        raise ComponentError(f"the channel of {settings.topic} has closed")

    async def _take(self, message: AbstractIncomingMessage) -> None:
        self._workers.take(lambda: self._handle(message))

    async def _handle(self, message: AbstractIncomingMessage) -> None:
        settings = self._settings
        metadata = self._queue.metadata_of(message)
        taken = True
        try:
            await self._handler(Message(settings.topic, message.body, metadata=metadata))
        except ComponentError as error:
            text = "rabbitmq: error handling message from topic '%s': %s"
            logger.error(text, settings.topic, error)
            taken = False
        if taken or settings.auto_ack:
            await self._settle(message.ack())
            return
        if settings.requeue and message.redelivered:
            await asyncio.sleep(_REFUSED_AGAIN)
        await self._settle(message.nack(requeue=settings.requeue))

    async def _settle(self, word: Awaitable[None]) -> None:
        """Tell the server what has become of a message."""
        try:
            await word
        except ERRORS as error:
            # The channel is gone, and the server sends the message again.
            logger.warning("rabbitmq %s: not acknowledged: %s", self._settings.topic, said(error))
