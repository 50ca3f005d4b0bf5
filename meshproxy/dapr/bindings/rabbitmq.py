"""`bindings.rabbitmq`: a queue of RabbitMQ, in and out.

Metadata: that of `rabbitmq_client.py`, `queueName`, `durable`, `deleteWhenUnused`, `exclusive`,
`prefetchCount` (0: `MOST`), `maxPriority`, `ttlInSeconds`, `contentType`. A `create`:
`ttlInSeconds`, `priority`, `contentType`; all its metadata are headers, which an event has again,
escaped as in a URL. What the app refuses goes back to the queue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from meshproxy.dapr.bindings.binding import (
    INPUT_BINDING,
    OUTPUT_BINDING,
    BindingData,
    EventHandler,
    Stop,
)
from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.message_ttl import message_ttl
from meshproxy.dapr.pubsub.broker import Message
from meshproxy.dapr.pubsub.rabbitmq_queue import Consuming, RabbitQueue
from meshproxy.dapr.pubsub.rabbitmq_settings import MOST
from meshproxy.dapr.rabbitmq_client import RabbitClient

_WAIT: Final = 5.0  # seconds between two attempts to connect


@dataclass(frozen=True, slots=True)
class BindingQueue:
    """The queue: how it is declared, and what an event has of a message."""

    name: str
    options: dict[str, Any]

    async def declare(self, channel: AbstractChannel) -> AbstractQueue:
        """Make it, or see that it is as it should be."""
        return await channel.declare_queue(self.name, **self.options)

    def metadata_of(self, message: AbstractIncomingMessage) -> dict[str, str]:
        """The headers that are texts."""
        return {
            quote_plus(name): quote_plus(value)
            for name, value in (message.headers or {}).items()
            if isinstance(value, str)
        }


class RabbitBinding:
    """See the module."""

    features: frozenset[str] = frozenset({INPUT_BINDING, OUTPUT_BINDING})
    operations: tuple[str, ...] = ("create",)

    def __init__(self, context: ComponentContext) -> None:
        self._context = context
        self._client: RabbitClient | None = None
        self._queue: BindingQueue | None = None
        self._prefetch = MOST
        self._stops: list[Stop] = []

    async def init(self, metadata: Metadata) -> None:
        """Connect and declare the queue."""
        name = metadata.required("queueName")
        self._prefetch = metadata.integer("prefetchCount", 0, minimum=0) or MOST
        self._queue = queue = BindingQueue(name, _options(metadata))
        client = RabbitClient(
            metadata, self._context.name, metadata.seconds("reconnectWaitInSeconds", _WAIT)
        )
        await self.close()
        self._client = client

        async def declare(channel: AbstractChannel) -> None:
            await queue.declare(channel)

        await client.once(declare)

    async def close(self) -> None:
        """End reading and let go of the connection."""
        for stop in tuple(self._stops):
            await stop()
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def invoke(self, operation: str, request: BindingData) -> BindingData | None:
        """Put a message into the queue; the server has confirmed it when this returns."""
        client, queue = self._open()
        metadata = Metadata(request.metadata)
        message = aio_pika.Message(
            request.data,
            headers=dict(request.metadata),
            content_type=metadata.get("contentType", "") or "text/plain",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            expiration=_ttl(metadata),
            priority=min(metadata.integer("priority", 0, minimum=0), 255) or None,
        )
        await client.publish(message, "", queue.name)
        return None

    async def read(self, handler: EventHandler) -> Stop:
        """Deliver the messages of the queue, one after the other."""
        client, queue = self._open()

        async def handle(message: Message) -> None:
            await handler(BindingData(message.data, message.metadata))

        consuming = Consuming(queue.name, self._prefetch, single=True, requeue=True)
        reader = RabbitQueue(client, queue, consuming, handle)
        await reader.begin()

        async def stop() -> None:
            if stop in self._stops:
                self._stops.remove(stop)
                await reader.end()

        self._stops.append(stop)
        return stop

    def _open(self) -> tuple[RabbitClient, BindingQueue]:
        if self._client is None or self._queue is None:
            raise ComponentError(f"{self._context.name} is closed")
        return self._client, self._queue


def _ttl(metadata: Metadata) -> float | None:
    try:
        return message_ttl(metadata)
    except ComponentError as error:
        raise ComponentError(f"failed to get TTL: {error}") from None


def _options(metadata: Metadata) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    ttl = message_ttl(metadata)
    if ttl is not None:
        arguments["x-message-ttl"] = int(ttl * 1000)
    if metadata.get("maxPriority", ""):
        arguments["x-max-priority"] = min(metadata.integer("maxPriority", 0, minimum=0), 255)
    return {
        "durable": metadata.boolean("durable"),
        "auto_delete": metadata.boolean("deleteWhenUnused"),
        "exclusive": metadata.boolean("exclusive"),
        "arguments": arguments,
    }
