"""From a broker's message to the app's answer, and what follows from that. Knows no broker.

Returning to the broker means that it may forget the message: the app has it, or said DROP, or it
lies on the dead letter topic. Raising means that the broker shall deliver it again.
"""

from __future__ import annotations

import logging
from typing import Any, Final, Protocol

import orjson

from meshproxy.dapr.app_channel import DROP, TopicEvent
from meshproxy.dapr.cloud_event import NotAnEvent, expired, from_binary, from_raw, read
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.pubsub.broker import Message, PublishRequest
from meshproxy.dapr.pubsub.brokers import Broker, Brokers
from meshproxy.dapr.pubsub.subscription import Subscription
from meshproxy.dapr.resiliency import PUBSUB
from meshproxy.dapr.sidecar import Sidecar

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

_RAW: Final = frozenset({"true", "1", "t", "yes", "y", "on"})


class Taker(Protocol):
    """Whoever gets the events; an `AppChannel` is one."""

    async def on_topic_event(self, event: TopicEvent) -> str:
        """Tell of one message: SUCCESS or DROP. Raises ComponentError where it shall come again."""


class Delivery:
    """The handler of one subscription."""

    def __init__(
        self,
        subscription: Subscription,
        broker: Broker,
        brokers: Brokers,
        sidecar: Sidecar,
        taker: Taker | None = None,
    ) -> None:
        taker = taker or sidecar.channel
        assert taker is not None
        self._subscription = subscription
        self._broker = broker
        self._brokers = brokers
        self._taker = taker
        self._clock = sidecar.runtime.clock
        self._policy = sidecar.resiliency.inbound(subscription.pubsub, PUBSUB)
        self._raw = subscription.metadata.get("rawPayload", "").lower() in _RAW

    async def __call__(self, message: Message) -> None:
        """Deliver one message. Raises ComponentError for another attempt."""
        subscription = self._subscription
        try:
            event, body = self._read(message)
        except NotAnEvent as error:
            await self._drop(message, str(error))
            return
        if expired(event, self._clock()):
            await self._drop(message, f"the event {event.get('id')} has expired")
            return
        try:
            path = subscription.path_of(event)
            if path is None:
                await self._drop(message, f"no route is for the event {event.get('id')}")
                return
            verdict = await self._ask(path, event, body, message)
        except ComponentError as error:
            await self._failed(message, error)
            return
        if verdict == DROP:
            await self._drop(message, f"the app has dropped the event {event.get('id')}")

    def _read(self, message: Message) -> tuple[dict[str, Any], bytes]:
        """The event, and the same as JSON text."""
        name, topic = self._subscription.pubsub, self._subscription.topic
        if self._raw:
            event = from_raw(message.data, name, topic, message.metadata)
            return event, orjson.dumps(event)
        binary = from_binary(message.data, message.metadata)
        if binary is not None:
            event = {"topic": topic, "pubsubname": name, **binary}
            return event, orjson.dumps(event)
        return read(message.data), message.data

    async def _ask(self, path: str, event: dict[str, Any], body: bytes, message: Message) -> str:
        """SUCCESS or DROP. Raises ComponentError where the message shall come again."""
        subscription = self._subscription
        told = TopicEvent(
            subscription.pubsub, subscription.topic, path, event, body, message.metadata
        )
        return await self._policy.run(lambda: self._taker.on_topic_event(told))

    async def _failed(self, message: Message, error: ComponentError) -> None:
        """Without a dead letter topic the broker delivers it again."""
        if not self._subscription.dead_letter_topic:
            raise error
        await self._bury(message, str(error))

    async def _drop(self, message: Message, reason: str) -> None:
        if self._subscription.dead_letter_topic:
            await self._bury(message, reason)
        else:
            text = "a message of %s on %s is dropped: %s"
            logger.warning(text, self._subscription.topic, self._subscription.pubsub, reason)

    async def _bury(self, message: Message, reason: str) -> None:
        """To the dead letter topic, as it came. Where that fails too, the broker keeps it."""
        subscription = self._subscription
        topic = subscription.dead_letter_topic
        text = "a message of %s on %s goes to the dead letter topic %s: %s"
        logger.warning(text, subscription.topic, subscription.pubsub, topic, reason)
        await self._brokers.publish(
            subscription.pubsub,
            PublishRequest(
                self._broker.topic(topic), message.data, message.content_type, message.metadata
            ),
        )
