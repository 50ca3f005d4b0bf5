"""`pubsub.kafka`: a Kafka topic for each topic, a consumer group for each app.

Metadata: that of `kafka_settings.py`, with `consumeRetryEnabled` (true): a record that is refused
holds up its partition, as in daprd, until the app, or a dead letter topic, takes it. A publish:
`partitionKey`; all its metadata are headers, which come with the message again, beside `__key`,
`__topic`, `__partition`, `__offset` and `__timestamp`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.kafka_client import KafkaConsumer, KafkaProducer
from meshproxy.dapr.kafka_settings import KafkaSettings
from meshproxy.dapr.pubsub.at_once import at_once
from meshproxy.dapr.pubsub.broker import (
    BULK_PUBSUB,
    Handler,
    Message,
    PublishRequest,
    Unsubscribe,
)


class KafkaPubSub:
    """See the module."""

    features: frozenset[str] = frozenset({BULK_PUBSUB})

    def __init__(self, context: ComponentContext) -> None:
        self._context = context
        self._settings: KafkaSettings | None = None
        self._producer: KafkaProducer | None = None
        self._consumers: set[KafkaConsumer] = set()

    def check_metadata(self, metadata: Metadata) -> None:
        """Read the metadata alone."""
        KafkaSettings(metadata, self._context.identity.app_id, retries=True)

    async def init(self, metadata: Metadata) -> None:
        """Connect."""
        settings = KafkaSettings(metadata, self._context.identity.app_id, retries=True)
        await self.close()
        producer = KafkaProducer(settings)
        await producer.open()
        self._settings, self._producer = settings, producer

    async def close(self) -> None:
        """End every subscription, with the handlers that run, and let go of the connections."""
        await asyncio.gather(*(each.end() for each in tuple(self._consumers)))
        self._consumers.clear()
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.close()

    async def publish(self, request: PublishRequest) -> None:
        """Hand it over; every replica in sync has it when this returns."""
        await self._open().send(request.topic, request.data, request.metadata)

    async def bulk_publish(self, requests: Sequence[PublishRequest]) -> list[ComponentError | None]:
        """In as few requests as there can be."""
        return await self._open().send_all(
            [(each.topic, each.data, each.metadata) for each in requests]
        )

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: Handler
    ) -> Unsubscribe:
        """Deliver the records of a topic."""
        self._open()
        settings = self._settings
        assert settings is not None

        count = at_once(metadata)

        async def take(messages: Sequence[Message]) -> int:
            if not count:
                await handler(messages[0])
                return 1
            outcomes = await asyncio.gather(*map(handler, messages), return_exceptions=True)
            return _leading(outcomes)

        consumer = KafkaConsumer(settings, [topic], take)
        consumer.batch = count or consumer.batch
        await consumer.begin()
        self._consumers.add(consumer)

        async def unsubscribe() -> None:
            self._consumers.discard(consumer)
            await consumer.end()

        return unsubscribe

    def _open(self) -> KafkaProducer:
        if self._producer is None:
            raise ComponentError(f"{self._context.name} is closed")
        return self._producer


def _leading(outcomes: Sequence[BaseException | None]) -> int:
    """How many went well before the first that did not; what lies after it comes again too.

    Raises that one's error where there are none.
    """
    for number, outcome in enumerate(outcomes):
        if outcome is None:
            continue
        if number and isinstance(outcome, ComponentError):
            return number
        raise outcome
    return len(outcomes)
