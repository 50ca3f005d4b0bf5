"""Kafka as aiokafka shows it, in memory: what the components call, and nothing else.

A contract test: where no broker is at hand, the fake stands for the interface of the package, with
partitions, groups, committed offsets, pausing, and a group that is balanced anew when a member
comes or goes. Errors are scripted by `failures`.
"""

import asyncio
from collections import defaultdict
from typing import Any, NamedTuple

from aiokafka.errors import IllegalStateError, KafkaConnectionError
from aiokafka.structs import TopicPartition

PARTITIONS = 2


class Record(NamedTuple):
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Cluster:
    """The records and the groups. `failures` counts down: so many calls fail yet, by their name."""

    def __init__(self) -> None:
        self.logs: dict[TopicPartition, list[Record]] = defaultdict(list)
        self.committed: dict[tuple[str, TopicPartition], int] = {}
        self.members: dict[str, list[Any]] = defaultdict(list)
        self.failures: dict[str, int] = {}
        self.options: list[dict[str, Any]] = []
        self.changed = asyncio.Event()

    def fail(self, call: str) -> None:
        if self.failures.get(call, 0) > 0:
            self.failures[call] -= 1
            raise KafkaConnectionError(f"{call} is to fail")

    def append(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Any,
        partition: int | None,
    ) -> None:
        number = sum(key or value or b"") % PARTITIONS if partition is None else partition
        log = self.logs[TopicPartition(topic, number)]
        log.append(Record(topic, number, len(log), 1000, key, value, tuple(headers)))
        self.changed.set()

    async def rebalance(self, group: str) -> None:
        """Each partition goes to one member, as they have come."""
        members = self.members[group]
        for member in members:
            await member.revoke()
        for number in range(PARTITIONS):
            for topic in {topic for member in members for topic in member.topics}:
                interested = [member for member in members if topic in member.topics]
                interested[number % len(interested)].assign(TopicPartition(topic, number))
        self.changed.set()


def library(cluster: Cluster) -> Any:
    """What stands in for the module."""

    class AIOKafkaProducer:
        def __init__(self, **options: Any) -> None:
            cluster.options.append(options)

        async def start(self) -> None:
            cluster.fail("connect")

        async def stop(self) -> None:
            pass

        async def send_and_wait(
            self,
            topic: str,
            value: bytes,
            *,
            key: bytes | None,
            partition: int | None,
            headers: Any,
        ) -> None:
            await asyncio.sleep(0)
            cluster.fail("send")
            assert partition is None or partition < PARTITIONS, "Unrecognized partition"
            cluster.append(topic, value, key, headers, partition)

    class AIOKafkaConsumer(_Consumer):
        def __init__(self, **options: Any) -> None:
            cluster.options.append(options)
            super().__init__(cluster, options)

    class Library:
        pass

    found = Library()
    found.AIOKafkaProducer = AIOKafkaProducer  # type: ignore[attr-defined]
    found.AIOKafkaConsumer = AIOKafkaConsumer  # type: ignore[attr-defined]
    return found


class _Consumer:
    def __init__(self, cluster: Cluster, options: dict[str, Any]) -> None:
        self._cluster = cluster
        self._group = options["group_id"]
        self._reset = options["auto_offset_reset"]
        assert options["enable_auto_commit"] is False
        self.topics: list[str] = []
        self._listener: Any = None
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()

    def subscribe(self, topics: list[str], listener: Any) -> None:
        self.topics, self._listener = topics, listener

    async def start(self) -> None:
        self._cluster.fail("join")
        self._cluster.members[self._group].append(self)
        await self._cluster.rebalance(self._group)

    async def stop(self) -> None:
        members = self._cluster.members[self._group]
        if self in members:
            members.remove(self)
            await self._cluster.rebalance(self._group)

    async def revoke(self) -> None:
        await self._listener.on_partitions_revoked(set(self._positions))
        self._positions.clear()
        self._paused.clear()

    def assign(self, partition: TopicPartition) -> None:
        end = len(self._cluster.logs[partition]) if self._reset == "latest" else 0
        self._positions[partition] = self._cluster.committed.get((self._group, partition), end)

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, Any]:
        self._cluster.fail("fetch")
        found = {
            partition: records
            for partition, position in self._positions.items()
            if partition not in self._paused
            and (records := self._cluster.logs[partition][position : position + max_records])
        }
        for partition, records in found.items():
            self._positions[partition] += len(records)
        if not found:
            self._cluster.changed.clear()
            try:
                async with asyncio.timeout(timeout_ms / 1000):
                    await self._cluster.changed.wait()
            except TimeoutError:
                pass
        return found

    def assignment(self) -> set[TopicPartition]:
        return set(self._positions)

    async def committed(self, partition: TopicPartition) -> int | None:
        return self._cluster.committed.get((self._group, partition))

    async def position(self, partition: TopicPartition) -> int:
        if self._cluster.failures.get("position", 0) > 0:
            self._cluster.failures["position"] -= 1
            raise IllegalStateError(f"Partition {partition} is not assigned")
        return self._positions[partition]

    def pause(self, partition: TopicPartition) -> None:
        assert partition in self._positions
        self._paused.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        assert partition in self._positions, f"{partition} is not assigned"
        self._paused.discard(partition)
        self._cluster.changed.set()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        assert partition in self._positions, f"{partition} is not assigned"
        self._positions[partition] = offset

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        self._cluster.fail("commit")
        for partition, offset in offsets.items():
            assert partition in self._positions
            self._cluster.committed[(self._group, partition)] = offset
