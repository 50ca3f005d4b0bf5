"""Messages that go to the app in bulk: several in one call, each with a verdict of its own.

A message waits for others of its subscription and path, until there are enough of them or the time
is over; what then becomes of it is its own, as if it had come alone. Knows no broker; that a broker
hands out enough of them at one time is for `at_once.py` to ask.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from meshproxy.dapr.app_channel import RETRY, BulkEntry, BulkTopicEvent
from meshproxy.dapr.cloud_event import CLOUD_EVENT, OCTET_STREAM
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.pubsub.broker import Message
from meshproxy.dapr.pubsub.brokers import Broker, Brokers
from meshproxy.dapr.pubsub.delivery import Delivery
from meshproxy.dapr.pubsub.subscription import Subscription
from meshproxy.dapr.sidecar import Sidecar

if TYPE_CHECKING:
    from meshproxy.dapr.app_channel import AppChannel


@dataclass(slots=True, eq=False)
class _Batch:
    entries: list[BulkEntry]
    full: asyncio.Event
    answer: asyncio.Future[dict[str, str]]


class BulkDelivery(Delivery):
    """The handler of one bulk subscription."""

    def __init__(
        self, subscription: Subscription, broker: Broker, brokers: Brokers, sidecar: Sidecar
    ) -> None:
        super().__init__(subscription, broker, brokers, sidecar)
        assert subscription.bulk is not None
        assert sidecar.channel is not None
        self._bulk: Final = subscription.bulk
        self._channel: Final[AppChannel] = sidecar.channel
        self._batches: dict[str, _Batch] = {}

    async def _ask(self, path: str, event: dict[str, Any], body: bytes, message: Message) -> str:
        """As one of several. A policy's next attempt is one of other several."""
        name, metadata = str(uuid.uuid4()), message.metadata
        if self._raw:
            entry = BulkEntry(name, None, message.data, OCTET_STREAM, metadata)
        else:
            entry = BulkEntry(name, event, body, CLOUD_EVENT, metadata)
        return await self._policy.run(lambda: self._among_others(path, entry))

    async def _among_others(self, path: str, entry: BulkEntry) -> str:
        batch = self._batches.get(path)
        leads = batch is None
        if batch is None:
            answer = asyncio.get_running_loop().create_future()
            batch = self._batches[path] = _Batch([], asyncio.Event(), answer)
        batch.entries.append(entry)
        if len(batch.entries) >= self._bulk.max_messages_count:
            batch.full.set()
            del self._batches[path]
        if leads:
            await self._lead(path, batch)
        verdicts = await asyncio.shield(batch.answer)
        verdict = verdicts.get(entry.id, RETRY)
        if verdict == RETRY:
            raise ComponentError(f"the app wants the entry {entry.id} again")
        return verdict

    async def _lead(self, path: str, batch: _Batch) -> None:
        """Whoever comes first waits for the others, and calls the app for all of them."""
        try:
            try:
                async with asyncio.timeout(self._bulk.max_await_duration):
                    await batch.full.wait()
            except TimeoutError:
                pass
            if self._batches.get(path) is batch:
                del self._batches[path]
            batch.answer.set_result(
                await self._channel.on_bulk_topic_event(self._told(path, batch))
            )
        except ComponentError as error:
            batch.answer.set_exception(error)
        finally:
            if not batch.answer.done():  # the subscription ends: the others are not taken either
                if self._batches.get(path) is batch:
                    del self._batches[path]
                batch.answer.set_exception(ComponentError("the delivery has ended"))
                batch.answer.exception()  # it may be that there are no others

    def _told(self, path: str, batch: _Batch) -> BulkTopicEvent:
        subscription = self._subscription
        return BulkTopicEvent(
            str(uuid.uuid4()), subscription.pubsub, subscription.topic, path, tuple(batch.entries)
        )
