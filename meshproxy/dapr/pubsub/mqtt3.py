"""`pubsub.mqtt3`: topics of an MQTT 3.1.1 server; a subscription may have wildcards.

Metadata: that of `mqtt_client.py`, `consumerID` (the app's id), which is the identifier of the
session, and `concurrency` (single; daprd has no such word here). A publish: `retain`. A
subscription: `unsubscribeOnClose`: else the server keeps on collecting for a session that is not
clean. The session is daprd's: whoever switches gets what was collected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.mqtt_client import Delivery, MqttClient, MqttSettings
from meshproxy.dapr.mqtt_subscription import MqttSubscription
from meshproxy.dapr.pubsub.at_once import at_once
from meshproxy.dapr.pubsub.broker import (
    SUBSCRIBE_WILDCARDS,
    Handler,
    Message,
    PublishRequest,
    Unsubscribe,
)
from meshproxy.dapr.pubsub.side_by_side import side_by_side
from meshproxy.dapr.pubsub.workers import is_single

_RETAIN: Final = "retain"


class MqttPubSub:
    """See the module."""

    features: frozenset[str] = frozenset({SUBSCRIBE_WILDCARDS})

    def __init__(self, context: ComponentContext) -> None:
        self._context = context
        self._client: MqttClient | None = None
        self._settings: MqttSettings | None = None
        self._single = True
        self._subscriptions: set[MqttSubscription] = set()

    def check_metadata(self, metadata: Metadata) -> None:
        """Read the metadata alone."""
        MqttSettings(metadata)

    async def init(self, metadata: Metadata) -> None:
        """Connect."""
        settings = MqttSettings(metadata)
        identifier = metadata.get("consumerID", "") or self._context.identity.app_id
        if not identifier:
            raise ComponentError("missing consumerID")
        self._single = is_single(metadata, default=True)
        await self.close()
        client = MqttClient(settings, identifier)
        await client.open()
        self._client, self._settings = client, settings

    async def close(self) -> None:
        """End every subscription, with the handlers that run, and leave."""
        subscriptions = tuple(self._subscriptions)
        self._subscriptions.clear()
        await asyncio.gather(*(each.end(forget=False) for each in subscriptions))
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def publish(self, request: PublishRequest) -> None:
        """Hand it over; the server has it when this returns, unless `qos` is 0."""
        client, settings = self._open()
        retain = Metadata(request.metadata).boolean(_RETAIN, settings.retain)
        await client.publish(request.topic, request.data, retain=retain)

    async def bulk_publish(self, requests: Sequence[PublishRequest]) -> list[ComponentError | None]:
        """All on their way at one time, in their order."""
        return await side_by_side(self.publish, requests)

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: Handler
    ) -> Unsubscribe:
        """Deliver the messages of a topic or wildcard."""
        client, settings = self._open()
        forget = settings.clean_session or Metadata(metadata).boolean("unsubscribeOnClose")

        async def handle(delivery: Delivery) -> None:
            retained = "true" if delivery.message.retain else "false"
            await handler(Message(delivery.topic, delivery.data, metadata={"retained": retained}))

        subscription = MqttSubscription(
            client, topic, handle, single=self._single and not at_once(metadata)
        )
        await subscription.begin()
        self._subscriptions.add(subscription)

        async def unsubscribe() -> None:
            if subscription in self._subscriptions:
                self._subscriptions.discard(subscription)
                await subscription.end(forget=forget)

        return unsubscribe

    def _open(self) -> tuple[MqttClient, MqttSettings]:
        if self._client is None or self._settings is None:
            raise ComponentError(f"{self._context.name} is closed")
        return self._client, self._settings
