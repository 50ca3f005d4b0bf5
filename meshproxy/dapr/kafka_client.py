"""Producing to Kafka and consuming from it, with daprd's headers and offsets. Knows no component.

A partition's records go to the handler one after the other, the partitions side by side. An offset
is committed when the handler has taken what lies before it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import aiokafka
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import TopicPartition

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.kafka_partitions import asked_for, partition_of
from meshproxy.dapr.kafka_settings import KafkaSettings
from meshproxy.dapr.pubsub.broker import Message
from meshproxy.dapr.pubsub.side_by_side import side_by_side
from meshproxy.dapr.pubsub.workers import drain
from meshproxy.dapr.resiliency.retry import Backoff
from meshproxy.network.tasks import TaskOwner, spawn

logger: Final = logging.getLogger("meshproxy.dapr.contrib")

Take = Callable[[Sequence[Message]], Awaitable[int]]
"""Takes records of one partition; how many of them, from the first, are done with for ever.

Raises ComponentError where that is none.
"""

_POLL: Final = 200  # milliseconds
_FOREVER: Final = 86_400_000  # milliseconds that an app may take for its records
_KEYS: Final = ("partitionKey", "__key")
_STARTED: Final = 30.0
_ASSIGNORS: Final = {
    "range": RangePartitionAssignor,
    "roundrobin": RoundRobinPartitionAssignor,
    "sticky": StickyPartitionAssignor,
}
"""A group takes only members that know the strategy of the others: daprd's is `range`."""


class KafkaProducer:
    """Sends, and waits until every replica in sync has it."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: Any = None

    async def open(self) -> None:
        """Connect. Raises ComponentError."""
        if self._settings.login is not None:
            await self._settings.login.check()
        producer = aiokafka.AIOKafkaProducer(partitioner=partition_of, **self._settings.producer)
        try:
            await producer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await producer.stop()
            raise ComponentError(f"kafka: {said(error)}") from error
        self._producer = producer

    async def close(self) -> None:
        """Let go of the connections."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def send(self, topic: str, data: bytes, metadata: Mapping[str, str]) -> None:
        """One record: its metadata are its headers. Raises ComponentError."""
        if self._producer is None:
            raise ComponentError("kafka: the component is closed")
        key = next((metadata[name] for name in _KEYS if name in metadata), None)
        headers = [
            (name, value.encode())
            for name, value in metadata.items()
            if self._settings.excluded is None or not self._settings.excluded.search(name)
        ]
        partition = asked_for(metadata)
        try:
            await self._producer.send_and_wait(
                topic,
                data,
                key=None if key is None else key.encode(),
                partition=partition,
                headers=headers,
            )
        except (KafkaError, OSError, TimeoutError, ValueError, AssertionError) as error:
            raise ComponentError(f"kafka: {said(error)}") from error

    async def send_all(
        self, records: Sequence[tuple[str, bytes, Mapping[str, str]]]
    ) -> list[ComponentError | None]:
        """In as few requests as there can be; says for each what became of it."""
        return await side_by_side(lambda record: self.send(*record), records)


class KafkaConsumer:
    """The records of topics for one group, from its first poll to its end."""

    def __init__(self, settings: KafkaSettings, topics: Sequence[str], take: Take) -> None:
        self._settings = settings
        self._topics = tuple(topics)
        self._take = take
        self._owner = TaskOwner()
        self._partitions = TaskOwner()
        self._busy: dict[TopicPartition, asyncio.Task[None]] = {}
        self._leaving: set[TopicPartition] = set()
        self._anchored: set[TopicPartition] = set()
        self._ending = asyncio.Event()
        self.batch = 100
        """Records of a partition that are taken at one time."""

    async def begin(self) -> None:
        """Join the group. Raises ComponentError where the first attempt fails."""
        joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        spawn(self._owner, self._run(joined), f"kafka {','.join(self._topics)}")
        try:
            async with asyncio.timeout(_STARTED):
                await joined
        except TimeoutError:
            await self._owner.close()
            raise ComponentError(f"kafka: no group within {_STARTED:g}s") from None
        except ComponentError:
            await self._owner.close()
            raise

    async def end(self) -> None:
        """Take nothing more; what runs ends first, and is committed."""
        self._ending.set()
        try:
            await drain(self._partitions)
        finally:
            await drain(self._owner)

    # -- the group ---------------------------------------------------------------------------

    async def _run(self, joined: asyncio.Future[None]) -> None:
        while not self._ending.is_set():
            consumer = aiokafka.AIOKafkaConsumer(
                max_poll_interval_ms=_FOREVER,
                partition_assignment_strategy=(_ASSIGNORS[self._settings.strategy],),
                **self._settings.consumer,
            )
            try:
                consumer.subscribe(list(self._topics), listener=_Listener(self._leave))
                await consumer.start()
                await self._anchor(consumer)  # from here on nothing is passed over
                if not joined.done():
                    joined.set_result(None)
                await self._poll(consumer)
            except (KafkaError, OSError, TimeoutError) as error:
                if not joined.done():
                    joined.set_exception(ComponentError(f"kafka: {said(error)}"))
                    return
                logger.error("kafka %s: %s", ",".join(self._topics), said(error))
            finally:
                await self._leave(list(self._busy))
                with suppress(KafkaError, OSError):
                    await consumer.stop()
            await self._ends_within(self._settings.retry_interval)

    async def _poll(self, consumer: Any) -> None:
        while not self._ending.is_set():
            await self._anchor(consumer)
            found = await consumer.getmany(timeout_ms=_POLL, max_records=self.batch)
            for partition, records in found.items():
                # Others go on: it takes nothing more until these are done with.
                consumer.pause(partition)
                name = f"kafka {partition.topic}/{partition.partition}"
                work = self._work(consumer, partition, records)
                self._busy[partition] = spawn(self._partitions, work, name)

    async def _anchor(self, consumer: Any) -> None:
        """Commit where a new group begins: one that is lost before its first commit would otherwise
        begin again at the newest record, and pass over what came meanwhile.
        """
        for partition in consumer.assignment() - self._anchored:
            try:
                if await consumer.committed(partition) is None:
                    begin = await consumer.position(partition)
                    if not await self._commit(consumer, partition, begin):
                        continue
            except IllegalStateError:
                continue  # it has gone to another member meanwhile, who does this
            self._anchored.add(partition)

    async def _leave(self, partitions: Sequence[TopicPartition]) -> None:
        """They are for another one now, or for nobody: what runs ends first."""
        self._leaving.update(partitions)
        tasks = [task for each in partitions if (task := self._busy.get(each)) is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        self._leaving.difference_update(partitions)

    async def _work(self, consumer: Any, partition: TopicPartition, records: Sequence[Any]) -> None:
        tries = None
        try:
            while records and not (self._ending.is_set() or partition in self._leaving):
                tries = tries or Backoff(self._settings.backoff, time.monotonic(), random.random)
                done = await self._try(records, tries)
                if done:
                    tries = None
                    await self._commit(consumer, partition, records[done - 1].offset + 1)
                records = records[done:]
        finally:
            self._busy.pop(partition, None)
            with suppress(KafkaError, ValueError, AssertionError, OSError):
                if records:  # left: they are fetched again
                    consumer.seek(partition, records[0].offset)
                consumer.resume(partition)

    async def _try(self, records: Sequence[Any], tries: Backoff) -> int:
        """How many of them are done with; none: there is a next try now."""
        try:
            return await self._take([self._message(each) for each in records])
        except ComponentError as error:
            first = records[0]
            text = "Error processing Kafka message: %s/%d/%d. Error: %s."
            logger.error(text, first.topic, first.partition, first.offset, error)
        wait = tries.next(time.monotonic()) if self._settings.retries else None
        if wait is None:
            return 1  # as daprd: the next one that succeeds is committed with it
        await self._ends_within(wait)
        return 0

    async def _commit(self, consumer: Any, partition: TopicPartition, offset: int) -> bool:
        try:
            await consumer.commit({partition: offset})
            return True
        except (KafkaError, ValueError, OSError) as error:
            # Whoever has the partition now gets the records again.
            logger.warning("kafka %s: not committed: %s", partition, said(error))
            return False

    async def _ends_within(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()

    def _message(self, record: Any) -> Message:
        settings = self._settings
        metadata = {
            "__offset": str(record.offset),
            "__topic": record.topic,
            "__timestamp": str(record.timestamp),
            "__partition": str(record.partition),
        }
        pairs = [*record.headers]
        if record.key is not None:
            pairs.append(("__key", record.key))
        for name, value in pairs:
            shown = settings.shown(name, value)
            if shown is not None:
                metadata[name] = shown
        # A record without a value deletes what its key stands for; daprd shows it as JSON's null.
        data = b"null" if record.value is None else record.value
        return Message(record.topic, data, metadata=metadata)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # untyped
    def __init__(self, leave: Callable[[Sequence[TopicPartition]], Awaitable[None]]) -> None:
        self._leave = leave

    async def on_partitions_revoked(self, revoked: Any) -> None:
        await self._leave(list(revoked))

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """Nothing to do: each begins at its committed offset."""


def said(error: BaseException) -> str:
    """An error in a line, also one that says nothing."""
    return str(error) or type(error).__name__
