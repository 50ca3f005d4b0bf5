"""One queue of RabbitMQ, consumed: what becomes of its messages, and how it comes back.

Owns acknowledging. Refuses to know metadata and exchanges (`rabbitmq_settings.py`).
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.pubsub.broker import Handler, Message
from meshproxy.dapr.pubsub.rabbitmq_settings import QueueSettings
from meshproxy.dapr.pubsub.workers import Workers
from meshproxy.dapr.rabbitmq_client import ERRORS, RabbitClient, said
from meshproxy.network.tasks import TaskOwner, spawn

logger: Final = logging.getLogger("meshproxy.dapr.contrib")

_REFUSED_AGAIN: Final = 0.1
"""Seconds until a message goes back that was refused before: the server would send it at once."""
_SUBSCRIBED: Final = 60.0


class RabbitQueue:
    """The messages of one queue, from the server to the handler."""

    def __init__(self, client: RabbitClient, settings: QueueSettings, handler: Handler) -> None:
        self._client = client
        self._settings = settings
        self._handler = handler
        self._owner = TaskOwner()
        self._workers = Workers(f"rabbitmq {settings.name}", single=settings.single)
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._cancel: Any = None

    async def begin(self) -> None:
        """Consume; what is wrong with the first attempt is raised as ComponentError."""
        name = f"rabbitmq {self._settings.name} consumer"
        spawn(self._owner, self._client.run(self._serve), name)
        try:
            async with asyncio.timeout(_SUBSCRIBED):
                await self._first
        except TimeoutError:
            await self.end()
            raise ComponentError(f"failed to subscribe to {self._settings.name}") from None
        except ComponentError:
            await self.end()
            raise

    async def end(self) -> None:
        """Take nothing more; what runs ends first, and is acknowledged."""
        if self._cancel is not None:
            with suppress(*ERRORS):
                await self._cancel()
            self._cancel = None
        await self._workers.end()
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
            queue = await settings.declare(channel)
            tag = await queue.consume(
                self._take, no_ack=settings.auto_ack, consumer_tag=settings.name
            )
        except ERRORS as error:
            text = f"rabbitmq queue {settings.name}: {said(error)}"
            if not self._first.done():
                self._first.set_exception(ComponentError(text))
            raise ComponentError(text) from error
        self._cancel = lambda: queue.cancel(tag)
        if not self._first.done():
            self._first.set_result(None)
        await closed
        raise ComponentError(f"the channel of queue {settings.name} has closed")

    async def _take(self, message: AbstractIncomingMessage) -> None:
        self._workers.take(lambda: self._handle(message))

    async def _handle(self, message: AbstractIncomingMessage) -> None:
        settings = self._settings
        metadata = _properties(message) if settings.shows_properties else {}
        taken = True
        try:
            await self._handler(Message(settings.topic, message.body, metadata=metadata))
        except ComponentError as error:
            text = "rabbitmq: error handling message from topic '%s': %s"
            logger.error(text, settings.topic, error)
            taken = False
        if settings.auto_ack:
            return
        try:
            if taken:
                await message.ack()
                return
            if settings.requeue and message.redelivered:
                await asyncio.sleep(_REFUSED_AGAIN)
            await message.nack(requeue=settings.requeue)
        except ERRORS as error:
            # The channel is gone, and the server sends the message again.
            logger.warning("rabbitmq %s: not acknowledged: %s", settings.name, said(error))


def _properties(message: AbstractIncomingMessage) -> dict[str, str]:
    found = {
        "messageid": message.message_id,
        "correlationid": message.correlation_id,
        "type": message.type,
        "contenttype": message.content_type,
    }
    metadata = {name: value for name, value in found.items() if value}
    for name, value in (message.headers or {}).items():
        if value is not None:
            shown = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            metadata[name] = shown
    return metadata
