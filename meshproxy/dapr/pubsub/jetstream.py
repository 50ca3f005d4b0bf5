"""`pubsub.jetstream`: NATS JetStream. The streams are the operator's to make, as with daprd.

Metadata: `natsURL`, `token` or `jwt` with `seedKey` or `tls_client_cert` with `tls_client_key`
(files), `name`, `streamName` (found by the topic), `durableName` (none: what was published while
nobody was subscribed is read by `deliverPolicy`), `queueGroupName`, `deliverPolicy`
(all|last|new|sequence|time), `startSequence`, `startTime` (Unix), `ackPolicy` (explicit|all|none),
`ackWait`, `maxDeliver`, `backOff` (durations by commas), `maxAckPending`, `replicas`,
`memoryStorage`, `rateLimit`, `heartbeat`, `flowControl`, `domain`, `apiPrefix`, `concurrency`
(single).

Layout: components-contrib, pubsub/jetstream: the topic is the subject, the id of the CloudEvent the
`Nats-Msg-Id`; each subscription is a push consumer. Unlike daprd, several sidecars share a durable
consumer of a queue group, and a message that waits here for its turn does not come a second time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import nats
import nats.errors
import nats.js.errors
import orjson
from nats.aio.client import Client
from nats.js.api import PubAck
from nats.js.client import JetStreamContext

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.pubsub.at_once import at_once
from meshproxy.dapr.pubsub.broker import Handler, PublishRequest, Unsubscribe
from meshproxy.dapr.pubsub.jetstream_consumer import JetStreamConsumer
from meshproxy.dapr.pubsub.jetstream_settings import JetStreamSettings
from meshproxy.dapr.pubsub.side_by_side import side_by_side

logger: Final = logging.getLogger("meshproxy.dapr.contrib")

_FLUSH: Final = 2  # seconds
_RECONNECT: Final = 1  # seconds between two attempts, without end


class JetStreamPubSub:
    """See the module."""

    features: frozenset[str] = frozenset()

    def __init__(self, context: ComponentContext) -> None:
        self._name = context.name
        self._settings: JetStreamSettings | None = None
        self._client: Client | None = None
        self._context: JetStreamContext | None = None
        self._consumers: dict[str, list[JetStreamConsumer]] = {}

    def check_metadata(self, metadata: Metadata) -> None:
        """Read the metadata alone."""
        JetStreamSettings(metadata)

    async def init(self, metadata: Metadata) -> None:
        """Connect."""
        self._settings = settings = JetStreamSettings(metadata)
        await self.close()
        client = Client()
        try:
            await client.connect(
                **settings.connect,
                max_reconnect_attempts=1,  # that of the first time; see below
                reconnect_time_wait=_RECONNECT,
                allow_reconnect=True,
                error_cb=self._error,
                reconnected_cb=self._reconnected,
            )
        except (nats.errors.Error, OSError, TimeoutError) as error:
            with suppress(nats.errors.Error):
                await client.close()
            raise ComponentError(f"error connecting to {settings.shown}: {_said(error)}") from error
        client.options["max_reconnect_attempts"] = -1
        self._client, self._context = client, client.jetstream(**settings.stream_options)

    async def close(self) -> None:
        """End every subscription, with the handlers that run, and let go of the connection."""
        consumers = [each for all_of_one in self._consumers.values() for each in all_of_one]
        self._consumers.clear()
        await asyncio.gather(*(each.end() for each in consumers))
        client, self._client, self._context = self._client, None, None
        if client is not None:
            await _flush(client)
            with suppress(nats.errors.Error):
                await client.close()

    async def publish(self, request: PublishRequest) -> None:
        """Hand it over; the stream has confirmed it when this returns."""
        stream, settings = self._stream(), self._settings
        assert settings is not None
        name = _id_of(request.data)
        try:
            sent = await stream.publish(request.topic, request.data, headers=_named(name))
            if sent.duplicate and not await self._is_there(stream, sent, request.topic):
                await stream.publish(
                    request.topic, request.data, headers=_named(f"{name} {request.topic}")
                )
        except (nats.errors.Error, OSError, TimeoutError, ValueError) as error:
            raise ComponentError(f"jetstream: {_said(error)}") from error

    async def bulk_publish(self, requests: Sequence[PublishRequest]) -> list[ComponentError | None]:
        """All of them on their way at one time."""
        return await side_by_side(self.publish, requests)

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: Handler
    ) -> Unsubscribe:
        """Deliver what the stream has for a subject."""
        stream, settings = self._stream(), self._settings
        assert settings is not None
        taken = next((each for each, found in self._consumers.items() if found), topic)
        if settings.durable and taken != topic:
            text = f"durableName '{settings.durable}' is that of the subscription to {taken}"
            raise ComponentError(f"{text}: a consumer of JetStream has one subject")
        consumer = JetStreamConsumer(stream, settings, topic, handler)
        if at_once(metadata):
            consumer.side_by_side()
        try:
            await consumer.begin()
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise ComponentError(f"jetstream: {_said(error)}") from error
        self._consumers.setdefault(topic, []).append(consumer)

        async def unsubscribe() -> None:
            if consumer in self._consumers.get(topic, ()):
                self._consumers[topic].remove(consumer)
            await consumer.end()
            if self._client is not None:
                await _flush(self._client)

        return unsubscribe

    async def _is_there(self, stream: JetStreamContext, sent: PubAck, topic: str) -> bool:
        """Whether the message that this one repeats is of the same topic.

        An event that goes on to another topic of its stream, that of dead letters for example, is
        no repetition: the server, which looks at the id only, would lose it.
        """
        try:
            first = await stream.get_msg(sent.stream, sent.seq)
        except nats.js.errors.NotFoundError:
            return False
        return first.subject == topic

    def _stream(self) -> JetStreamContext:
        if self._context is None:
            raise ComponentError(f"{self._name} is closed")
        return self._context

    async def _error(self, error: Exception) -> None:
        logger.warning("%s: %s", self._name, _said(error))

    async def _reconnected(self) -> None:
        """A server that was away may have forgotten a consumer that is not durable."""
        logger.info("%s: connected again", self._name)
        for all_of_one in tuple(self._consumers.values()):
            for consumer in tuple(all_of_one):
                consumer.restore()


async def _flush(client: Client) -> None:
    """Let the server have the last acknowledgements; without a server they are lost anyway."""
    if client.is_connected:
        with suppress(nats.errors.Error, OSError, TimeoutError):
            await client.flush(_FLUSH)


def _named(name: str) -> dict[str, str] | None:
    return {"Nats-Msg-Id": name} if name else None


def _id_of(data: bytes) -> str:
    """The id of a CloudEvent, empty where there is none."""
    try:
        event: Any = orjson.loads(data)
    except orjson.JSONDecodeError:
        return ""
    found = event.get("id") if isinstance(event, dict) else None
    return found if isinstance(found, str) and found.isprintable() else ""


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
