"""`bindings.kafka`: records of topics in, records into a topic out.

Metadata: that of `kafka_settings.py`, with `consumeRetryEnabled` (false, as in daprd: what the app
refuses is passed over), `topics` (by commas, those that are read), `publishTopic`. A `create`:
`partitionKey`.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshproxy.dapr.bindings.binding import (
    INPUT_BINDING,
    OUTPUT_BINDING,
    BindingData,
    EventHandler,
    Stop,
)
from meshproxy.dapr.bindings.direction import Direction
from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.kafka_client import KafkaConsumer, KafkaProducer
from meshproxy.dapr.kafka_settings import KafkaSettings
from meshproxy.dapr.pubsub.broker import Message


class KafkaBinding:
    """See the module."""

    features: frozenset[str] = frozenset({INPUT_BINDING, OUTPUT_BINDING})
    operations: tuple[str, ...] = ("create",)

    def __init__(self, context: ComponentContext) -> None:
        self._context = context
        self._settings: KafkaSettings | None = None
        self._producer: KafkaProducer | None = None
        self._topics: list[str] = []
        self._publish_topic = ""
        self._stops: list[Stop] = []

    async def init(self, metadata: Metadata) -> None:
        """Connect."""
        settings = KafkaSettings(metadata, self._context.identity.app_id, retries=False)
        listed = metadata.get("topics", "").split(",")
        self._topics = [topic.strip() for topic in listed if topic.strip()]
        self._publish_topic = metadata.get("publishTopic", "")
        direction = Direction(metadata)
        if direction.input and not self._topics:
            raise ComponentError("missing topics, which direction 'input' needs")
        if direction.output and not self._publish_topic:
            raise ComponentError("missing publishTopic, which direction 'output' needs")
        await self.close()
        producer = KafkaProducer(settings)
        await producer.open()
        self._settings, self._producer = settings, producer

    async def close(self) -> None:
        """End reading and let go of the connections."""
        for stop in tuple(self._stops):
            await stop()
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.close()

    async def invoke(self, operation: str, request: BindingData) -> BindingData | None:
        """Send one record; every replica in sync has it when this returns."""
        if self._producer is None:
            raise ComponentError(f"{self._context.name} is closed")
        if not self._publish_topic:
            raise ComponentError("missing publishTopic")
        await self._producer.send(self._publish_topic, request.data, request.metadata)
        return None

    async def read(self, handler: EventHandler) -> Stop:
        """Deliver the records of the topics."""
        settings = self._settings
        if settings is None or not self._topics:
            raise ComponentError("missing topics")

        async def take(messages: Sequence[Message]) -> int:
            await handler(BindingData(messages[0].data, messages[0].metadata))
            return 1

        consumer = KafkaConsumer(settings, self._topics, take)
        await consumer.begin()

        async def stop() -> None:
            if stop in self._stops:
                self._stops.remove(stop)
                await consumer.end()

        self._stops.append(stop)
        return stop
