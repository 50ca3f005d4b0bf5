"""`pubsub.rabbitmq`: an exchange for each topic, a queue for each app and topic.

Metadata: that of `rabbitmq_client.py`, `consumerID` (the app's id), `durable` (true),
`deletedWhenUnused` (true), `deliveryMode` (0; 2 is persistent), `autoAck`, `requeueInFailure`,
`prefetchCount` (0: `MOST` here, since nothing is held without a bound), `concurrency` (parallel),
`exchangeKind` (fanout), `exchangeDeclareMode` (declare|passive), `enableDeadLetter`, `maxLen`,
`maxLenBytes`, `ttlInSeconds`, `publishMessagePropertiesToMetadata`. Publishing is always confirmed,
whatever `publisherConfirm` says.
A publish: `routingKey`, `ttlInSeconds`, `priority`, `contentType`, `messageId`, `correlationId`,
`type`. A subscription: `queueName`, `routingKey` (several by commas), `queueType`
(classic|quorum), `maxPriority`, `singleActiveConsumer`, `maxLen`, `maxLenBytes`.

Layout: components-contrib, pubsub/rabbitmq: the exchange is the topic, the queue
`<consumerID>-<topic>`, its dead letters go by `dlx-<queue>` to `dlq-<queue>`. Whether messages
outlive the server is for `durable`, `deletedWhenUnused` and `deliveryMode` to say.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final

from aio_pika.abc import AbstractChannel

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.pubsub.at_once import at_once
from meshproxy.dapr.pubsub.broker import MESSAGE_TTL, Handler, PublishRequest, Unsubscribe
from meshproxy.dapr.pubsub.rabbitmq_queue import RabbitQueue
from meshproxy.dapr.pubsub.rabbitmq_settings import RabbitSettings
from meshproxy.dapr.pubsub.side_by_side import side_by_side
from meshproxy.dapr.rabbitmq_client import RabbitClient

logger: Final = logging.getLogger("meshproxy.dapr.contrib")

ATTEMPTS: Final = 3  # at publishing, as daprd


class RabbitPubSub:
    """See the module."""

    features: frozenset[str] = frozenset({MESSAGE_TTL})

    def __init__(self, context: ComponentContext) -> None:
        self._context = context
        self._settings: RabbitSettings | None = None
        self._client: RabbitClient | None = None
        self._queues: set[RabbitQueue] = set()
        self._declared: tuple[AbstractChannel | None, set[str]] = (None, set())

    def check_metadata(self, metadata: Metadata) -> None:
        """Read the metadata alone."""
        RabbitSettings(metadata, self._context.identity.app_id)
        RabbitClient(metadata, self._context.name, metadata.seconds("reconnectWaitSeconds", 3.0))

    async def init(self, metadata: Metadata) -> None:
        """Connect."""
        self._settings = RabbitSettings(metadata, self._context.identity.app_id)
        wait = metadata.seconds("reconnectWaitSeconds", 3.0)
        client = RabbitClient(metadata, self._context.name, wait)
        await self.close()
        self._client = client
        await client.open()

    async def close(self) -> None:
        """End every subscription, with the handlers that run, and let go of the connection."""
        await asyncio.gather(*(queue.end() for queue in tuple(self._queues)))
        self._queues.clear()
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def publish(self, request: PublishRequest) -> None:
        """Hand it over; the server has confirmed it when this returns."""
        client, settings = self._open()
        message = settings.message(request)
        key = request.metadata.get("routingKey", "")
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._declare(client, settings, request.topic)
                await client.publish(message, request.topic, key)
                return
            except ComponentError as error:
                # Again may make a second message of it, which at-least-once allows.
                if attempt == ATTEMPTS:
                    raise
                logger.warning("%s: publishing: %s", self._context.name, error)
            await asyncio.sleep(client.wait)

    async def bulk_publish(self, requests: Sequence[PublishRequest]) -> list[ComponentError | None]:
        """All of them on their way at one time, their confirms together."""
        return await side_by_side(self.publish, requests)

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: Handler
    ) -> Unsubscribe:
        """Deliver the messages of the app's queue at an exchange."""
        client, settings = self._open()
        its = settings.queue(topic, Metadata(metadata))
        consuming = settings.consuming(its, at_once(metadata))
        queue = RabbitQueue(client, its, consuming, handler)
        await queue.begin()
        self._queues.add(queue)

        async def unsubscribe() -> None:
            self._queues.discard(queue)
            await queue.end()

        return unsubscribe

    async def _declare(self, client: RabbitClient, settings: RabbitSettings, topic: str) -> None:
        """Once for each channel: a server that comes back may have lost it."""
        channel = await client.channel()
        if self._declared[0] is not channel:
            self._declared = (channel, set())
        if topic in self._declared[1]:
            return
        await client.once(lambda channel: settings.declare_exchange(channel, topic))
        self._declared[1].add(topic)

    def _open(self) -> tuple[RabbitClient, RabbitSettings]:
        if self._client is None or self._settings is None:
            raise ComponentError(f"{self._context.name} is closed")
        return self._client, self._settings
