"""`bindings.mqtt3`: a topic of an MQTT 3.1.1 server, in and out.

Metadata: that of `mqtt_client.py`, `topic`, `consumerID` (its sessions are `<consumerID>-consumer`
and `<consumerID>-producer`), `backOffMaxRetries` (attempts at an event after the first; -1, the
default here: until the app takes it). An event has the metadata `topic`, which a `create` may give.
"""

from __future__ import annotations

import asyncio
from typing import Final

from meshproxy.dapr.bindings.binding import (
    INPUT_BINDING,
    OUTPUT_BINDING,
    BindingData,
    EventHandler,
    Stop,
)
from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.mqtt_client import Delivery, MqttClient, MqttSettings
from meshproxy.dapr.mqtt_subscription import MqttSubscription

_TOPIC: Final = "topic"


class MqttBinding:
    """See the module."""

    features: frozenset[str] = frozenset({INPUT_BINDING, OUTPUT_BINDING})
    operations: tuple[str, ...] = ("create",)

    def __init__(self, context: ComponentContext) -> None:
        self._context = context
        self._settings: MqttSettings | None = None
        self._identifier = self._topic = ""
        self._producer: MqttClient | None = None
        self._stops: list[Stop] = []
        self._lock = asyncio.Lock()

    async def init(self, metadata: Metadata) -> None:
        """Read the metadata; connections are made when they are needed, as in daprd."""
        self._settings = MqttSettings(metadata)
        self._topic = metadata.required(_TOPIC)
        self._identifier = metadata.get("consumerID", "") or self._context.identity.app_id
        if not self._identifier:
            raise ComponentError("missing consumerID")
        if metadata.integer("backOffMaxRetries", -1, minimum=-1) != -1:
            raise ComponentError("backOffMaxRetries is not supported but as -1; use Resiliency")

    async def close(self) -> None:
        """End reading and let go of the connections."""
        for stop in tuple(self._stops):
            await stop()
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.close()

    async def invoke(self, operation: str, request: BindingData) -> BindingData | None:
        """Publish."""
        settings = self._settings
        assert settings is not None
        producer = await self._connected(settings)
        topic = request.metadata.get(_TOPIC, "") or self._topic
        await producer.publish(topic, request.data, retain=settings.retain)
        return None

    async def read(self, handler: EventHandler) -> Stop:
        """Deliver the messages of the topic, in their order."""
        settings = self._settings
        assert settings is not None
        client = MqttClient(settings, f"{self._identifier}-consumer")

        async def handle(delivery: Delivery) -> None:
            await handler(BindingData(delivery.data, {_TOPIC: delivery.topic}))

        subscription = MqttSubscription(client, self._topic, handle, single=True)
        await client.open()
        try:
            await subscription.begin()
        except ComponentError:
            await client.close()
            raise

        async def stop() -> None:
            if stop in self._stops:
                self._stops.remove(stop)
                await subscription.end(forget=False)
                await client.close()

        self._stops.append(stop)
        return stop

    async def _connected(self, settings: MqttSettings) -> MqttClient:
        async with self._lock:
            if self._producer is None:
                producer = MqttClient(settings, f"{self._identifier}-producer")
                await producer.open()
                self._producer = producer
            return self._producer
