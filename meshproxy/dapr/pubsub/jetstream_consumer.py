"""One push consumer of JetStream: made, bound, restored, and what becomes of its messages.

Owns acknowledging. Refuses to know connections and metadata.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import Final

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.client import JetStreamContext

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.pubsub.broker import Handler, Message
from meshproxy.dapr.pubsub.jetstream_settings import JetStreamSettings
from meshproxy.dapr.pubsub.workers import Workers
from meshproxy.network.tasks import TaskOwner, spawn

logger: Final = logging.getLogger("meshproxy.dapr.contrib")

_ACK_WAIT: Final = 30.0  # the server's own
_SHORTEST: Final = 1.0  # seconds of an ackWait that is worth to be prolonged
_AGAIN: Final = 1.0
_MOST: Final = 1000
"""Messages at one time that the server expects no acknowledgement of, as of others by default; what
comes beyond waits in the client, which loses it beyond its own bounds.
"""
_LOOK: Final = 10.0  # seconds between two looks at the consumer


class JetStreamConsumer:
    """The messages of one subject, from the server to the handler."""

    def __init__(
        self, stream: JetStreamContext, settings: JetStreamSettings, topic: str, handler: Handler
    ) -> None:
        self._jetstream = stream
        self._settings = settings
        self._topic = topic
        self._handler = handler
        self._inbox = f"_INBOX.{uuid.uuid4().hex}"
        self._stream = settings.stream
        self._wanted = ConsumerConfig()
        self._name = ""
        self._push: JetStreamContext.PushSubscription | None = None
        self._workers = Workers(f"jetstream {topic}", single=settings.single)
        self._owner = TaskOwner()
        self._held: dict[int, Msg] = {}  # by their place in the stream: here, and not acknowledged
        self._unacknowledged: set[int] = set()  # those, and what was refused and comes again
        self._room = asyncio.Event()
        self._last = 0
        self._look = asyncio.Event()
        self.prolonged = 0
        """How often the server was told that what is here is at work."""

    def side_by_side(self) -> None:
        """Do not keep the order, whatever the settings say. Before `begin`."""
        self._workers = Workers(f"jetstream {self._topic}", single=False)

    async def begin(self) -> None:
        """Listen, then make the consumer, or find the durable one."""
        stream = self._jetstream
        if not self._stream:
            self._stream = await stream.find_stream_name_by_subject(self._topic)
        wanted = await self._shared(self._settings.consumer(self._topic, self._inbox))
        self._name = wanted.durable_name or uuid.uuid4().hex
        self._wanted = wanted if wanted.durable_name else replace(wanted, name=self._name)
        # Before there is a consumer: one that meets nobody at its inbox may not look again.
        await self._listen()
        try:
            made = await stream.add_consumer(self._stream, self._wanted)
        except BaseException:
            await self._listen_no_more()
            raise
        spawn(self._owner, self._watch(), f"jetstream {self._topic} watch")
        wait = made.config.ack_wait or _ACK_WAIT
        if self._settings.acknowledges and wait >= _SHORTEST:
            spawn(self._owner, self._prolong(wait / 2), f"jetstream {self._topic} in progress")

    async def _shared(self, wanted: ConsumerConfig) -> ConsumerConfig:
        """A durable consumer gets a new inbox, as in daprd; one that is shared keeps its own."""
        if wanted.durable_name and wanted.deliver_group:
            shared = await self._found(wanted.durable_name)
            if shared is not None and shared.config.deliver_group == wanted.deliver_group:
                return replace(wanted, deliver_subject=shared.config.deliver_subject)
        return wanted

    async def _found(self, name: str) -> ConsumerInfo | None:
        with suppress(nats.js.errors.NotFoundError):
            found: ConsumerInfo = await self._jetstream.consumer_info(self._stream, name)
            return found
        return None

    async def _listen(self) -> None:
        self._push = await self._jetstream.subscribe_bind(
            self._stream, self._wanted, self._name, cb=self._take, manual_ack=True
        )

    async def _listen_no_more(self) -> None:
        push, self._push = self._push, None
        with suppress(nats.errors.Error, OSError, TimeoutError):
            if push is not None:
                await push.unsubscribe()

    # -- a server that was away ----------------------------------------------------------------

    def restore(self) -> None:
        """The server was away: see that it still has the consumer."""
        self._look.set()

    async def _watch(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._look.wait()
            self._look.clear()
            try:
                await self._see()
            except (nats.errors.Error, OSError, TimeoutError) as error:
                logger.warning("jetstream %s: no consumer yet: %s", self._topic, error)
                await asyncio.sleep(_AGAIN)
                self._look.set()

    async def _see(self) -> None:
        """That the consumer is there, and sends what it has."""
        found = await self._found(self._name)
        if found is None:
            await self._jetstream.add_consumer(self._stream, self._from_here())
        elif not found.push_bound and found.config.deliver_subject == self._wanted.deliver_subject:
            logger.warning("jetstream %s: the consumer does not see us: again", self._topic)
            await self._listen_no_more()
            await self._listen()

    def _from_here(self) -> ConsumerConfig:
        """A consumer that goes on with the first message that is not acknowledged."""
        if not self._last:
            return self._wanted
        first = min(self._unacknowledged, default=self._last + 1)
        return replace(
            self._wanted,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=first,
            opt_start_time=None,
        )

    async def end(self) -> None:
        """Take nothing more; what runs ends first. A consumer that is not durable is gone then."""
        await self._owner.close()
        await self._listen_no_more()
        await self._workers.end()
        for message in self._held.values():  # not begun: for somebody else, and now
            with suppress(nats.errors.Error, OSError):
                await message.nak()
        self._held.clear()
        if not self._settings.durable and self._name:
            with suppress(nats.errors.Error, OSError, TimeoutError):
                await self._jetstream.delete_consumer(self._stream, self._name)

    # -- messages ----------------------------------------------------------------------------

    async def _take(self, message: Msg) -> None:
        place = message.metadata.sequence.stream
        self._last = max(self._last, place)
        if self._settings.acknowledges:
            self._unacknowledged.add(place)
        if place in self._held:
            # It came again while it waits here: the newer one is what is acknowledged.
            self._held[place] = message
            return
        self._held[place] = message
        self._workers.take(lambda: self._handle(place))
        while not self._settings.acknowledges and len(self._held) >= _MOST:
            self._room.clear()
            await self._room.wait()

    async def _handle(self, place: int) -> None:
        message = self._held[place]
        subject, delivered = message.subject, message.metadata.num_delivered or 1
        wait = None
        try:
            await self._handler(Message(self._topic, message.data, metadata={"Topic": subject}))
        except ComponentError as error:
            text = "Error processing JetStream message %s/%d: %s"
            logger.error(text, subject, place, error)
            wait = self._settings.wait(delivered)
        message = self._held.pop(place)
        self._room.set()
        if not self._settings.acknowledges:
            return
        try:
            if wait is None:
                await message.ack()
                self._unacknowledged.discard(place)
                return
            if delivered == self._settings.max_deliver:
                self._unacknowledged.discard(place)  # the server gives it up
            await message.nak(delay=wait)
        except (nats.errors.Error, OSError) as error:
            logger.error("jetstream %s/%d: not acknowledged: %s", subject, place, error)

    async def _prolong(self, interval: float) -> None:
        """Tell the server, before it loses patience, that what is here is not lost."""
        while True:
            await asyncio.sleep(interval)
            for message in tuple(self._held.values()):
                with suppress(nats.errors.Error, OSError):
                    await message.in_progress()
            self.prolonged += 1
