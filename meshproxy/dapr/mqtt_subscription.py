"""The messages of one MQTT subscription, from the session to a handler. Knows no component.

A message that the handler refuses is given to it again after a while, up to its end: MQTT has no
word for a refusal. In the meantime it is not acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.mqtt_client import Delivery, MqttClient
from meshproxy.dapr.pubsub.workers import Workers

logger: Final = logging.getLogger("meshproxy.dapr.contrib")

MOST_LOOSE: Final = 10_000
"""Messages with QoS 0 that may wait: no acknowledgement that is missing holds their sender back."""
MOST_LOOSE_BYTES: Final = 64 * 2**20
FIRST_WAIT: Final = 0.1  # seconds until a message is given again
LONGEST_WAIT: Final = 20.0


class MqttSubscription:
    """See the module. `single`: one after the other, in their order."""

    def __init__(
        self,
        client: MqttClient,
        topic: str,
        handler: Callable[[Delivery], Awaitable[None]],
        *,
        single: bool,
    ) -> None:
        self._client = client
        self._topic = topic
        self._handler = handler
        self._workers = Workers(f"mqtt {topic}", single=single)
        self._open: dict[int, Delivery] = {}
        self._loose = self._loose_bytes = 0
        self._lost = 0
        self._ended = asyncio.Event()

    async def begin(self) -> None:
        """Raises ComponentError."""
        await self._client.subscribe(self._topic, self._take)

    async def end(self, *, forget: bool) -> None:
        """Take nothing more; what runs ends first. `forget`: the server keeps nothing for us."""
        await self._client.unsubscribe(self._topic, forget=forget)
        self._ended.set()
        await self._workers.end()
        left = list(self._open.values())
        self._open.clear()
        for delivery in left:
            self._client.give_back(delivery)

    def _take(self, delivery: Delivery) -> None:
        if not delivery.message.qos and not self._has_room(len(delivery.data)):
            return
        self._open[id(delivery)] = delivery
        self._workers.take(lambda: self._handle(delivery))

    def _has_room(self, size: int) -> bool:
        """Whether one more message with QoS 0 may wait; what may not is lost, as that allows."""
        if self._loose >= MOST_LOOSE or self._loose_bytes + size > MOST_LOOSE_BYTES:
            self._lost += 1
            if self._lost == 1:
                logger.error(
                    "mqtt %s: the app is too slow: messages with QoS 0 are lost", self._topic
                )
            return False
        if self._lost:
            logger.warning("mqtt %s: %d messages with QoS 0 were lost", self._topic, self._lost)
            self._lost = 0
        self._loose += 1
        self._loose_bytes += size
        return True

    def _close(self, delivery: Delivery) -> None:
        """It has been taken, or nothing more is done for it here."""
        del self._open[id(delivery)]
        if not delivery.message.qos:
            self._loose -= 1
            self._loose_bytes -= len(delivery.data)

    async def _handle(self, delivery: Delivery) -> None:
        wait = FIRST_WAIT
        while True:
            try:
                await self._handler(delivery)
                break
            except ComponentError as error:
                logger.error("Failed processing MQTT message %s: %s", delivery.topic, error)
            if await self._ends_within(wait):
                return
            wait = min(wait * 2, LONGEST_WAIT)
        self._close(delivery)
        self._client.acknowledge(delivery)

    async def _ends_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True
