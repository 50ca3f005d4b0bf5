"""`pubsub.redis`: a Redis stream for each topic, consumer groups as daprd makes them.

Metadata: that of `redis_client.py`, `consumerID` (the app's id), `queueDepth` (100), `concurrency`
(10), `processingTimeout` (15s), `redeliverInterval` (60s), `maxLenApprox`, `streamTTL`.

Layout: components-contrib, pubsub/redis: an entry has the fields `data` and `metadata` (JSON). The
group and the consumer are `consumerID`; a group begins with the oldest entry. A message is
acknowledged after its handler has returned, and only then; what was not, is claimed once it has
been pending for `processingTimeout`: looked for every `redeliverInterval`. Either of them 0: never.
One departure from daprd 1.18, which acknowledges what the app has refused too, and so loses it:
here it comes again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import orjson
from redis.exceptions import ResponseError

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.pubsub.at_once import at_once
from meshproxy.dapr.pubsub.broker import Handler, Message, PublishRequest, Unsubscribe
from meshproxy.dapr.redis_client import RedisClient, RedisError, milliseconds, stop
from meshproxy.network.tasks import TaskOwner, spawn

logger: Final = logging.getLogger("meshproxy.dapr.contrib")

_BLOCK: Final = 1.0  # seconds that a read waits on the server, less than the read timeout
_DRAIN: Final = 30.0  # seconds that handlers at work get to end
_AGAIN: Final = 1.0  # seconds until a lost connection is tried again
_GONE: Final = ("NOGROUP", "UNBLOCKED")


class RedisPubSub:
    """See the module."""

    features: frozenset[str] = frozenset()

    def __init__(self, context: ComponentContext) -> None:
        self._context = context
        self._client: RedisClient | None = None
        self._subscriptions: set[_Subscription] = set()
        self._group = ""
        self._depth = self._concurrency = 0
        self._timeout = self._interval = 0.0
        self._max_length: int | None = None
        self._stream_ttl = 0.0

    def check_metadata(self, metadata: Metadata) -> None:
        """Read the metadata alone."""
        self._read(metadata)

    def _read(self, metadata: Metadata) -> RedisClient:
        self._group = metadata.get("consumerID", "") or self._context.identity.app_id
        if not self._group:
            raise ComponentError("missing consumerID")
        self._depth = metadata.integer("queueDepth", 100, minimum=1)
        self._concurrency = metadata.integer("concurrency", 10, minimum=1)
        self._timeout = milliseconds(metadata, "processingTimeout", 15.0)
        self._interval = milliseconds(metadata, "redeliverInterval", 60.0)
        self._max_length = metadata.integer("maxLenApprox", 0, minimum=0) or None
        self._stream_ttl = milliseconds(metadata, "streamTTL", 0.0)
        if self._max_length and self._stream_ttl:
            text = "%s: of maxLenApprox and streamTTL only the first is followed"
            logger.warning(text, self._context.name)
        return RedisClient(metadata, self._context.name)

    async def init(self, metadata: Metadata) -> None:
        """Connect."""
        client = self._read(metadata)
        await self.close()
        self._client = client
        await client.open()

    async def close(self) -> None:
        """End every subscription, with the handlers that run, and let go of the connections."""
        for subscription in tuple(self._subscriptions):
            await subscription.end()
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def publish(self, request: PublishRequest) -> None:
        """Append to the stream."""
        client = self._open()
        # Repeating may make a second message of it, which at-least-once allows.
        await client.repeat(lambda: client.command(*self._add(request)))

    async def bulk_publish(self, requests: Sequence[PublishRequest]) -> list[ComponentError | None]:
        """In one round trip."""
        client = self._open()

        async def add() -> list[Any]:
            pipe: Any = client.redis.pipeline(transaction=False)
            for request in requests:
                pipe.execute_command(*self._add(request))
            answers: list[Any] = await pipe.execute(raise_on_error=False)
            return answers

        return [
            ComponentError(f"redis: {answer}") if isinstance(answer, RedisError) else None
            for answer in await client.call(add())
        ]

    def _add(self, request: PublishRequest) -> tuple[Any, ...]:
        command: list[Any] = ["XADD", request.topic]
        if self._max_length is not None:
            command += ["MAXLEN", "~", self._max_length]
        elif self._stream_ttl:
            oldest = int((self._context.clock() - self._stream_ttl) * 1000)
            command += ["MINID", "~", f"{oldest}-1"]
        metadata = orjson.dumps(dict(request.metadata))
        return (*command, "*", "data", request.data, "metadata", metadata)

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: Handler
    ) -> Unsubscribe:
        """Deliver the messages of a stream, `concurrency` of them at one time."""
        subscription = _Subscription(self, topic, handler)
        subscription.at_once = max(at_once(metadata), self._concurrency)
        await subscription.begin()
        self._subscriptions.add(subscription)
        return subscription.end

    def _open(self) -> RedisClient:
        if self._client is None:
            raise ComponentError(f"{self._context.name} is closed")
        return self._client


class _Subscription:
    """One stream, read and claimed by two loops into a bounded queue with its workers."""

    def __init__(self, broker: RedisPubSub, topic: str, handler: Handler) -> None:
        self._broker = broker
        self._client = broker._open()
        # Of its own: a read that waits keeps no connection from those who publish.
        self._reader = self._client.dedicated()
        self._block = int(min(_BLOCK, (self._client.read_timeout or 2 * _BLOCK) / 2) * 1000)
        self._topic = topic
        self._handler = handler
        self._readers = TaskOwner()
        self._workers = TaskOwner()
        self.at_once = broker._concurrency
        self._queue: asyncio.Queue[tuple[bytes, Mapping[bytes, bytes]]] = asyncio.Queue(
            broker._depth
        )
        self._held: set[bytes] = set()  # waiting or at work here: not to be claimed from ourselves

    async def begin(self) -> None:
        await self._make_group()
        broker, name = self._broker, f"{self._broker._context.name} {self._topic}"
        spawn(self._readers, self._again(self._read), f"{name} read")
        if broker._timeout and broker._interval:
            spawn(self._readers, self._again(self._claim), f"{name} claim")
        for number in range(self.at_once):
            spawn(self._workers, self._work(), f"{name} worker {number}")

    async def end(self) -> None:
        """Nothing more is read; what is at work is waited for, and what waits stays pending."""
        if self not in self._broker._subscriptions:
            return
        self._broker._subscriptions.discard(self)
        try:
            await stop(self._readers)
            while not self._queue.empty():
                self._queue.get_nowait()
                self._queue.task_done()
            with suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN):
                    await self._queue.join()
        finally:  # also where whoever ends it has no time to wait
            await stop(self._readers)
            await stop(self._workers)
            await self._reader.aclose(close_connection_pool=True)

    async def _make_group(self) -> None:
        group = self._broker._group
        try:
            await self._client.redis.xgroup_create(self._topic, group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise ComponentError(f"redis: {error}") from error
        except RedisError as error:
            raise ComponentError(f"redis: {error}") from error

    async def _again(self, loop: Any) -> None:
        """Run a loop for ever: a server that goes away comes back, perhaps without the group."""
        while True:
            try:
                await loop()
            except (RedisError, ComponentError) as error:
                logger.error("redis streams: error reading from %s: %s", self._topic, error)
                await asyncio.sleep(_AGAIN)
                if str(error).startswith(_GONE):
                    with suppress(ComponentError):
                        await self._make_group()

    async def _read(self) -> None:
        group = self._broker._group
        while True:
            # No more than there is room for: what others of the group could take stays theirs.
            room = max(self._broker._depth - self._queue.qsize(), 1)
            streams: Any = await self._reader.xreadgroup(
                group, group, {self._topic: ">"}, count=room, block=self._block
            )
            for _, entries in streams or ():
                for name, fields in entries:
                    await self._hold(name, fields)

    async def _claim(self) -> None:
        """Once at the beginning, then at the interval."""
        while True:
            start = b"-"
            while start:
                start = await self._claim_from(start)
            await asyncio.sleep(self._broker._interval)

    async def _claim_from(self, start: bytes) -> bytes:
        """One page of what is pending; returns where the next begins, empty where there is none."""
        redis: Any = self._client.redis
        group, depth = self._broker._group, self._broker._depth
        idle = int(self._broker._timeout * 1000)
        pending = await redis.xpending_range(self._topic, group, start, "+", depth, idle=idle)
        names: list[bytes] = [each["message_id"] for each in pending]
        wanted = [name for name in names if name not in self._held]
        if wanted:
            claimed = await redis.xclaim(self._topic, group, group, idle, wanted)
            found = {name: fields for name, fields in claimed if fields is not None}
            for name, fields in found.items():
                await self._hold(name, fields)
            await self._forget_trimmed([name for name in wanted if name not in found])
        return b"(" + names[-1] if len(names) == depth else b""

    async def _forget_trimmed(self, names: Sequence[bytes]) -> None:
        """What is pending and no longer in the stream can never be delivered."""
        for name in names:
            if not await self._client.redis.xrange(self._topic, name, name):
                await self._acknowledge(name)

    async def _acknowledge(self, name: bytes) -> None:
        redis, group = self._client.redis, self._broker._group
        await self._client.repeat(lambda: redis.xack(self._topic, group, name))

    async def _hold(self, name: bytes, fields: Mapping[bytes, bytes]) -> None:
        self._held.add(name)
        try:
            await self._queue.put((name, fields))
        except asyncio.CancelledError:
            self._held.discard(name)
            raise

    async def _work(self) -> None:
        while True:
            name, fields = await self._queue.get()
            try:
                await self._handler(_message(self._topic, fields))
                await self._acknowledge(name)
            except ComponentError as error:
                text = "Error processing Redis message %s: %s"
                logger.error(text, name.decode(), error)
            finally:
                self._held.discard(name)
                self._queue.task_done()


def _message(topic: str, fields: Mapping[bytes, bytes]) -> Message:
    metadata: dict[str, str] = {}
    with suppress(orjson.JSONDecodeError):
        found = orjson.loads(fields.get(b"metadata", b"{}"))
        if isinstance(found, dict):
            metadata = {str(name): str(value) for name, value in found.items()}
    return Message(topic, fields.get(b"data", b""), metadata=metadata)
