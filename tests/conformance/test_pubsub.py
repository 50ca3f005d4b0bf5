"""What every registered broker does: the cases of components-contrib's conformance suite."""

import asyncio
import json
import uuid
from collections import Counter
from contextlib import suppress

import pytest

from meshproxy.config.dapr.subscription import compile_rule
from meshproxy.dapr.app_channel import SUCCESS
from meshproxy.dapr.component import ComponentContext, ComponentError, Identity, Metadata
from meshproxy.dapr.components import COMPONENTS
from meshproxy.dapr.pubsub.broker import PublishRequest
from meshproxy.dapr.pubsub.subscription import Kind, Rule, Subscription
from meshproxy.dapr.sidecar import Sidecar
from meshproxy.dapr.subscriptions import Subscriptions
from tests.dapr.support import APP, component, runtime
from tests.support.fake_kafka import Cluster, library


def _redis(server):
    fast = {"processingTimeout": "20ms", "redeliverInterval": "10ms", "consumerID": "group"}
    return {"redisHost": server.address, **fast}


def _jetstream(server):
    server.with_streams(ALL=TOPICS)
    return {"natsURL": server.url, "maxAckPending": "1"}  # more than one, and a refusal reorders


def _rabbitmq(server):
    return {
        "connectionString": server.url,
        "consumerID": uuid.uuid4().hex,
        "requeueInFailure": "true",
        "concurrency": "single",
    }


def _mqtt(server):
    return {"url": server.url, "consumerID": uuid.uuid4().hex}


def _kafka(server):
    """Of a real broker, or of the fake that stands for every one."""
    brokers = "b:1" if server is None else server.address
    return {
        "brokers": brokers,
        "authType": "none",
        "consumerGroup": uuid.uuid4().hex,
        "backOffDuration": "1ms",
    }


SERVERS = {
    "pubsub.in-memory/v1": (None, lambda server: {}),
    "pubsub.jetstream/v1": ("nats_server", _jetstream),
    "pubsub.kafka/v1": ("fake_kafka", _kafka),
    "pubsub.mqtt3/v1": ("mosquitto_server", _mqtt),
    "pubsub.rabbitmq/v1": ("rabbitmq_server", _rabbitmq),
    "pubsub.redis/v1": ("redis_server", _redis),
}
"""For each component the fixture of its server, and the metadata that make redelivery fast."""
REAL = {"pubsub.kafka/v1": ("kafka_server", _kafka)}
"""Servers that take long to start, for the long tests, beside those that stand for them."""
ORDERED = frozenset(
    {"pubsub.in-memory/v1", "pubsub.kafka/v1", "pubsub.jetstream/v1", "pubsub.mqtt3/v1"}
)
TOPICS = ("orders", "a", "b", "t")
PATIENCE = 30


@pytest.fixture
def fake_kafka(monkeypatch) -> None:
    monkeypatch.setattr("meshproxy.dapr.kafka_client.aiokafka", library(Cluster()))


@pytest.fixture(
    params=[
        *((name, SERVERS) for name in COMPONENTS.of("pubsub")),
        *(pytest.param((name, REAL), marks=pytest.mark.long) for name in REAL),
    ],
    ids=lambda param: param[0] if param[1] is SERVERS else f"{param[0]}-real",
)
def case(request):
    return request.param


@pytest.fixture
def type_name(case) -> str:
    return case[0]


@pytest.fixture
def metadata(case, request):
    """What leads to the server of a component."""
    name, servers = case
    fixture, metadata_of = servers[name]
    return metadata_of(request.getfixturevalue(fixture) if fixture else None)


@pytest.fixture
def made(type_name, metadata):
    """A function that makes one more component on the same server."""
    name, _, version = type_name.partition("/")

    async def make(**more):
        broker = COMPONENTS.constructor(name, version)(
            ComponentContext("bus", identity=Identity("app"))
        )
        await broker.init(Metadata({**metadata, **more}))
        return broker

    return make


class Inbox:
    """Remembers what has come; refuses a message as often as `refusals` says."""

    def __init__(self, refusals=None) -> None:
        self.accepted: list[bytes] = []
        self.attempts: Counter[bytes] = Counter()
        self._refusals = refusals or {}
        self._changed = asyncio.Event()

    async def take(self, message) -> None:
        self.attempts[message.data] += 1
        if self.attempts[message.data] <= self._refusals.get(message.data, 0):
            raise ComponentError("not now")
        self.accepted.append(message.data)
        self._changed.set()

    async def has(self, number: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(set(self.accepted)) < number:
                self._changed.clear()
                await self._changed.wait()


def test_everything_arrives_also_what_was_refused_at_first(made):
    async def main():
        broker = await made()
        refusals = {b"0": 1, b"1": 2, **{b"%d" % n: 1 for n in range(4, 20, 5)}}
        inbox = Inbox(refusals)
        await broker.subscribe("orders", {}, inbox.take)
        for number in range(10):
            await broker.publish(PublishRequest("orders", b"%d" % number))
        bulk = [PublishRequest("orders", b"%d" % number) for number in range(10, 20)]
        assert await broker.bulk_publish(bulk) == [None] * 10
        await inbox.has(20)
        await broker.close()
        assert set(inbox.accepted) == {b"%d" % number for number in range(20)}
        assert all(inbox.attempts[data] > count for data, count in refusals.items())

    asyncio.run(main())


def test_the_order_is_kept(made, type_name):
    if type_name not in ORDERED:
        pytest.skip("takes several messages at one time")

    async def main():
        broker = await made()
        inbox = Inbox({b"3": 2})
        await broker.subscribe("orders", {}, inbox.take)
        for number in range(50):
            data = b"%d" % number
            await broker.publish(PublishRequest("orders", data, metadata={"partitionKey": "k"}))
        await inbox.has(50)
        await broker.close()
        assert inbox.accepted == [b"%d" % number for number in range(50)]

    asyncio.run(main())


def test_two_topics_do_not_mix_and_one_ends_without_the_other(made):
    async def main():
        broker = await made()
        a, b = Inbox(), Inbox()
        end_a = await broker.subscribe("a", {}, a.take)
        await broker.subscribe("b", {}, b.take)
        await broker.publish(PublishRequest("a", b"1"))
        await broker.publish(PublishRequest("b", b"2"))
        await a.has(1)
        await b.has(1)
        await end_a()
        await broker.publish(PublishRequest("a", b"3"))
        await broker.publish(PublishRequest("b", b"4"))
        await b.has(2)
        await end_a()
        await broker.close()
        assert (a.accepted, b.accepted) == ([b"1"], [b"2", b"4"])

    asyncio.run(main())


def test_a_bulk_gets_as_many_messages_at_one_time_as_it_waits_for(made, type_name):
    async def main():
        more = {"maxAckPending": "100"} if type_name == "pubsub.jetstream/v1" else {}
        broker = await made(**more)
        entered, full = set(), asyncio.Event()

        async def handler(message) -> None:
            entered.add(message.data)
            if len(entered) == 20:
                full.set()
            await full.wait()

        end = await broker.subscribe("t", {"maxBulkSubCount": "20"}, handler)
        requests = [
            PublishRequest("t", b"%d" % number, metadata={"partitionKey": "k"})
            for number in range(20)
        ]
        assert await broker.bulk_publish(requests) == [None] * 20
        async with asyncio.timeout(PATIENCE):
            await full.wait()
        await end()
        await broker.close()

    asyncio.run(main())


def test_any_bytes_arrive_as_they_were(made):
    async def main():
        broker = await made()
        inbox = Inbox()
        await broker.subscribe("t", {}, inbox.take)
        for data in (b"\x00\xff", b"x" * 100_000, b"{}"):
            await broker.publish(PublishRequest("t", data, metadata={"a": "b"}))
        await inbox.has(3)
        await broker.close()
        assert set(inbox.accepted) == {b"\x00\xff", b"x" * 100_000, b"{}"}

    asyncio.run(main())


class App:
    """Refuses the event `poison` of one topic for ever, and keeps the rest."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue = asyncio.Queue()

    async def list_topic_subscriptions(self, compile_rule):
        return []

    async def on_topic_event(self, event) -> str:
        if (event.topic, event.event["id"]) == ("orders", "poison"):
            raise ComponentError("never")
        await self.taken.put((event.topic, event.event["id"]))
        return SUCCESS


def test_a_poison_message_goes_to_the_dead_letter_topic_and_others_pass_it(type_name, metadata):
    async def main():
        name, _, version = type_name.partition("/")
        life = runtime([component("bus", name, metadata, version=version)])
        await life.start()
        app, everything = App(), (Rule("/"),)
        subscriptions = (
            Subscription("bus", "orders", everything, Kind.DECLARATIVE, "a"),
            Subscription("bus", "a", everything, Kind.DECLARATIVE),
        )
        manager = Subscriptions(Sidecar(APP, life, channel=app), subscriptions, compile_rule)
        await manager.begin()
        broker = life.find("pubsub", "bus")
        for each in ("poison", "good"):
            await broker.publish(PublishRequest("orders", json.dumps({"id": each}).encode()))
        async with asyncio.timeout(PATIENCE):
            taken = {await app.taken.get() for _ in range(2)}
        assert taken == {("orders", "good"), ("a", "poison")}
        await manager.end()
        await life.close()

    asyncio.run(main())


def test_a_handler_that_hangs_keeps_no_broker_from_closing(made):
    async def main():
        broker = await made()
        entered, cancelled = asyncio.Event(), asyncio.Event()

        async def hang(message) -> None:
            entered.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        end = await broker.subscribe("t", {}, hang)
        await broker.publish(PublishRequest("t", b"x"))
        async with asyncio.timeout(PATIENCE):
            await entered.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await end()
        async with asyncio.timeout(PATIENCE / 2):
            await cancelled.wait()
            await broker.close()

    asyncio.run(main())


def test_a_closed_broker_is_closed_twice_without_harm(made):
    async def main():
        broker = await made()
        await broker.subscribe("t", {}, Inbox().take)
        await broker.close()
        await broker.close()

    asyncio.run(main())
