"""The metadata of `pubsub.rabbitmq`, read once, and what follows from them for topics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from meshproxy.dapr.component import ComponentError, Metadata
from meshproxy.dapr.message_ttl import message_ttl
from meshproxy.dapr.pubsub.broker import PublishRequest
from meshproxy.dapr.pubsub.rabbitmq_queue import Consuming
from meshproxy.dapr.pubsub.workers import is_single

logger: Final = logging.getLogger("meshproxy.dapr.contrib")
T = TypeVar("T")

KINDS: Final = ("fanout", "topic", "direct", "headers", "x-consistent-hash")
QUEUE_TYPES: Final = ("classic", "quorum")
MOST: Final = 1000
"""Messages that one queue gives without an acknowledgement, where nothing is said."""
_PROPERTIES: Final = {
    "contentType": "content_type",
    "messageId": "message_id",
    "correlationId": "correlation_id",
    "type": "type",
}


@dataclass(frozen=True, slots=True)
class Exchanges:
    """How exchanges are declared."""

    kind: str
    durable: bool
    auto_delete: bool
    passive: bool = False

    async def declare(self, channel: AbstractChannel, name: str) -> None:
        """Make it, or see that it is there."""
        await channel.declare_exchange(
            name,
            self.kind,
            durable=self.durable,
            auto_delete=self.auto_delete,
            passive=self.passive,
        )


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """The queue of one subscription."""

    topic: str
    name: str
    exchanges: Exchanges
    arguments: Mapping[str, Any]
    routing_keys: tuple[str, ...]
    dead_letters: bool
    dead_letter_arguments: Mapping[str, Any]
    shows_properties: bool

    async def declare(self, channel: AbstractChannel) -> AbstractQueue:
        """Exchange, queue, dead letters and bindings."""
        await self.exchanges.declare(channel, self.topic)
        auto_delete = self.exchanges.auto_delete
        if self.dead_letters:
            exchange, name = f"dlx-{self.name}", f"dlq-{self.name}"
            await Exchanges("fanout", True, auto_delete).declare(channel, exchange)
            dead = await channel.declare_queue(
                name,
                durable=True,
                auto_delete=auto_delete,
                arguments=dict(self.dead_letter_arguments),
            )
            await dead.bind(exchange, "")
        queue = await channel.declare_queue(
            self.name,
            durable=self.exchanges.durable,
            auto_delete=auto_delete,
            arguments=dict(self.arguments),
        )
        for key in self.routing_keys:
            await queue.bind(self.topic, key)
        return queue

    def metadata_of(self, message: AbstractIncomingMessage) -> dict[str, str]:
        """The properties and headers, where they are asked for."""
        return _properties(message) if self.shows_properties else {}


class RabbitSettings:
    """See `pubsub/rabbitmq.py`. Raises ComponentError."""

    def __init__(self, metadata: Metadata, app_id: str) -> None:
        self._consumer = metadata.get("consumerID", "") or app_id
        mode = metadata.get("exchangeDeclareMode", "").lower() or "declare"
        if mode not in ("declare", "passive"):
            raise ComponentError(f"exchangeDeclareMode is '{mode}'; expected declare or passive")
        kind = metadata.get("exchangeKind", "") or KINDS[0]
        if mode == "declare" and kind not in KINDS:
            raise ComponentError(f"exchangeKind is '{kind}'; expected one of {', '.join(KINDS)}")
        self._exchanges = Exchanges(
            kind,
            metadata.boolean("durable", True),
            metadata.boolean("deletedWhenUnused", True),
            mode == "passive",
        )
        self._delivery_mode = metadata.integer("deliveryMode", 0, minimum=0)
        if self._delivery_mode > 2:
            raise ComponentError(f"deliveryMode is {self._delivery_mode}; expected 0, 1 or 2")
        self._ttl = message_ttl(metadata)
        self._prefetch = metadata.integer("prefetchCount", 0, minimum=0) or MOST
        self._single = is_single(metadata, default=False)
        self._auto_ack = metadata.boolean("autoAck")
        self._requeue = metadata.boolean("requeueInFailure")
        self._dead_letters = metadata.boolean("enableDeadLetter")
        self._lengths = _lengths(metadata)
        self._shows_properties = metadata.boolean("publishMessagePropertiesToMetadata")
        metadata.boolean("publisherConfirm")

    async def declare_exchange(self, channel: AbstractChannel, topic: str) -> None:
        """Make the exchange of a topic."""
        await self._exchanges.declare(channel, topic)

    def message(self, request: PublishRequest) -> aio_pika.Message:
        """What goes on the wire. A TTL or priority that cannot be is passed over, as by daprd."""
        metadata = Metadata(request.metadata)
        properties: dict[str, Any] = {"content_type": "text/plain"}
        for name, key in _PROPERTIES.items():
            if metadata.get(name, ""):
                properties[key] = metadata[name]
        return aio_pika.Message(
            request.data,
            delivery_mode=aio_pika.DeliveryMode(self._delivery_mode or 1),
            expiration=_or_none(message_ttl, metadata) or self._ttl,
            priority=_or_none(_priority, metadata),
            **properties,
        )

    def queue(self, topic: str, metadata: Metadata) -> QueueSettings:
        """The queue of a subscription. Raises ComponentError."""
        name = metadata.get("queueName", "")
        if not name and not self._consumer:
            raise ComponentError("consumerID is missing, and the subscription has no queueName")
        name = name or f"{self._consumer}-{topic}"
        kind = metadata.get("queueType", "") or QUEUE_TYPES[0]
        if kind not in QUEUE_TYPES:
            raise ComponentError(f"queueType is '{kind}'; expected classic or quorum")
        arguments: dict[str, Any] = {**self._lengths, "x-queue-type": kind, **_lengths(metadata)}
        if self._dead_letters:
            arguments["x-dead-letter-exchange"] = f"dlx-{name}"
        priority = metadata.integer("maxPriority", 0, minimum=0)
        if metadata.get("maxPriority", ""):
            arguments["x-max-priority"] = min(priority, 255)
        if metadata.boolean("singleActiveConsumer"):
            arguments["x-single-active-consumer"] = True
        return QueueSettings(
            topic,
            name,
            self._exchanges,
            arguments,
            tuple(metadata.get("routingKey", "").split(",")),
            self._dead_letters,
            {**self._lengths, "x-queue-mode": "lazy"},
            self._shows_properties,
        )

    def consuming(self, queue: QueueSettings, at_once: int) -> Consuming:
        """How the queue of a subscription is consumed; `at_once` above 0 is a bulk."""
        prefetch, single = max(self._prefetch, at_once), self._single and not at_once
        return Consuming(queue.topic, prefetch, single, self._requeue, self._auto_ack, queue.name)


def _priority(metadata: Metadata) -> int | None:
    return min(metadata.integer("priority", 0, minimum=0), 255) or None


def _or_none(read: Callable[[Metadata], T | None], metadata: Metadata) -> T | None:
    try:
        return read(metadata)
    except ComponentError as error:
        logger.warning("rabbitmq: a message's metadata is ignored: %s", error)
        return None


def _lengths(metadata: Metadata) -> dict[str, int]:
    found = {
        "x-max-length": metadata.integer("maxLen", 0, minimum=0),
        "x-max-length-bytes": metadata.integer("maxLenBytes", 0, minimum=0),
    }
    return {name: value for name, value in found.items() if value}


def _properties(message: AbstractIncomingMessage) -> dict[str, str]:
    found = {
        "metadata.messageid": message.message_id,
        "metadata.correlationid": message.correlation_id,
        "metadata.type": message.type,
        "metadata.contenttype": message.content_type,
    }
    metadata = {name: value for name, value in found.items() if value}
    for name, value in (message.headers or {}).items():
        if value is not None:
            metadata[f"metadata.{name}"] = _shown(value)
    return metadata


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value).lower() if isinstance(value, bool) else str(value)
