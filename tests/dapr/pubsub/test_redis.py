"""`pubsub.redis`: daprd's streams and groups, and what is acknowledged when."""

import asyncio
import json

import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError, Identity, Metadata
from meshproxy.dapr.pubsub.broker import PublishRequest
from meshproxy.dapr.pubsub.redis import RedisPubSub
from tests.dapr.support import run
from tests.support.redis_server import RedisServer
from tests.support.toolchains import without

NOW = 1_700_000_000.0


async def opened(server, app="app", **metadata):
    broker = RedisPubSub(ComponentContext("bus", identity=Identity(app), clock=lambda: NOW))
    await broker.init(Metadata({"redisHost": server.address, **metadata}))
    return broker


class Inbox:
    def __init__(self) -> None:
        self.queue: asyncio.Queue = asyncio.Queue()
        self.fail = False

    async def take(self, message) -> None:
        await self.queue.put(message)
        if self.fail:
            raise ComponentError("no")

    async def next(self):
        return await asyncio.wait_for(self.queue.get(), 30)


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (the server tells nobody)
            await asyncio.sleep(0.01)


def test_an_entry_is_as_daprd_writes_it(redis_server):
    async def main():
        broker = await opened(redis_server)
        await broker.publish(PublishRequest("orders", b"\x00data", metadata={"a": "b"}))
        await broker.publish(PublishRequest("orders", b"plain"))
        await broker.close()

    run(main())
    first, second = (fields for _, fields in redis_server.client.xrange("orders"))
    assert first.pop(b"metadata") == b'{"a":"b"}'
    assert (first, second) == ({b"data": b"\x00data"}, {b"data": b"plain", b"metadata": b"{}"})


def test_a_group_begins_with_the_oldest_entry_and_is_the_app(redis_server):
    redis_server.client.xadd("orders", {"data": "old", "metadata": json.dumps({"k": "v"})})

    async def main():
        broker = await opened(redis_server)
        inbox = Inbox()
        await broker.subscribe("orders", {}, inbox.take)
        message = await inbox.next()
        assert (message.data, message.metadata, message.topic) == (b"old", {"k": "v"}, "orders")
        await broker.close()

    run(main())
    (group,) = redis_server.client.xinfo_groups("orders")
    assert (group["name"], group["pending"]) == (b"app", 0)
    (consumer,) = redis_server.client.xinfo_consumers("orders", "app")
    assert consumer["name"] == b"app"


def test_a_message_is_acknowledged_only_after_its_handler_and_only_where_that_succeeds(
    redis_server,
):
    async def main():
        broker = await opened(redis_server, redeliverInterval="0", consumerID="group")
        inbox, release = Inbox(), asyncio.Event()

        async def slow(message) -> None:
            await inbox.take(message)
            await release.wait()

        def pending():
            return redis_server.client.xpending("orders", "group")["pending"]

        end = await broker.subscribe("orders", {}, slow)
        await broker.publish(PublishRequest("orders", b"1"))
        await inbox.next()
        assert pending() == 1
        release.set()
        await until(lambda: pending() == 0)
        await end()
        inbox.fail = True
        await broker.subscribe("orders", {}, inbox.take)
        await broker.publish(PublishRequest("orders", b"2"))
        await inbox.next()
        await broker.close()
        assert pending() == 1

    run(main())


def test_what_another_has_left_behind_is_taken_over(redis_server):
    client = redis_server.client
    client.xadd("orders", {"data": "1"})
    client.xgroup_create("orders", "group", id="0")
    client.xreadgroup("group", "one that crashed", {"orders": ">"})

    async def main():
        broker = await opened(
            redis_server, consumerID="group", processingTimeout="1ms", redeliverInterval="5ms"
        )
        inbox = Inbox()
        await broker.subscribe("orders", {}, inbox.take)
        assert (await inbox.next()).data == b"1"
        await until(lambda: client.xpending("orders", "group")["pending"] == 0)
        await broker.close()

    run(main())


def test_what_is_at_work_is_not_delivered_again_however_long_it_takes(redis_server):
    async def main():
        broker = await opened(redis_server, processingTimeout="1ms", redeliverInterval="1ms")
        inbox, release = Inbox(), asyncio.Event()

        async def slow(message) -> None:
            await inbox.take(message)
            await release.wait()

        await broker.subscribe("slow", {}, slow)
        await broker.publish(PublishRequest("slow", b"1"))
        await inbox.next()
        claims = redis_server.client.info("commandstats")["cmdstat_xpending"]["calls"]
        await until(
            lambda: (
                redis_server.client.info("commandstats")["cmdstat_xpending"]["calls"] > claims + 5
            )
        )
        release.set()
        await broker.close()
        assert inbox.queue.empty()

    run(main())


def test_a_pending_message_that_was_trimmed_away_is_forgotten(redis_server):
    client = redis_server.client
    name = client.xadd("orders", {"data": "1"})
    client.xgroup_create("orders", "group", id="0")
    client.xreadgroup("group", "group", {"orders": ">"})
    client.xdel("orders", name)

    async def main():
        broker = await opened(
            redis_server, consumerID="group", processingTimeout="1ms", redeliverInterval="5ms"
        )
        inbox = Inbox()
        await broker.subscribe("orders", {}, inbox.take)
        await until(lambda: client.xpending("orders", "group")["pending"] == 0)
        await broker.close()
        assert inbox.queue.empty()

    run(main())


def test_a_stream_is_kept_short(redis_server):
    async def main():
        by_length = await opened(redis_server, maxLenApprox="10")
        for number in range(500):
            await by_length.publish(PublishRequest("short", b"%d" % number))
        await by_length.close()
        by_age = await opened(redis_server, streamTTL="1h")
        for age in (7200, 60):
            redis_server.client.xadd("aged", {"data": "x"}, id=f"{int(NOW - age) * 1000}-1")
        await by_age.publish(PublishRequest("aged", b"new"))
        await by_age.close()

    redis_server.client.config_set("stream-node-max-entries", 1)
    run(main())
    redis_server.client.config_set("stream-node-max-entries", 100)
    assert redis_server.client.xlen("short") < 100
    assert redis_server.client.xlen("aged") == 2


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"queueDepth": "0"}, "queueDepth is 0; expected at least 1"),
        ({"concurrency": "x"}, "concurrency is 'x'; expected a whole number"),
        ({"processingTimeout": "x"}, "processingTimeout: 'x' is not a duration"),
    ],
)
def test_bad_metadata_is_refused_by_name(metadata, expected):
    broker = RedisPubSub(ComponentContext("bus", identity=Identity("app")))
    with pytest.raises(ComponentError, match=expected):
        run(broker.init(Metadata({"redisHost": "127.0.0.1:1", **metadata})))


def test_no_acknowledged_message_is_lost_when_the_server_is_killed(monkeypatch):
    if not RedisServer.available():
        without("no Redis server")
    monkeypatch.setattr("meshproxy.dapr.pubsub.redis._AGAIN", 0.01)

    async def main():
        with RedisServer() as server:
            broker = await opened(
                server, processingTimeout="20ms", redeliverInterval="10ms", redisMaxRetries="0"
            )
            inbox, seen, sent = Inbox(), set(), set()
            await broker.subscribe("orders", {}, inbox.take)
            for crash in range(3):
                for number in range(40):
                    data = b"%d-%d" % (crash, number)
                    await broker.publish(PublishRequest("orders", data))
                    sent.add(data)
                server.kill()
                with pytest.raises(ComponentError):
                    await broker.publish(PublishRequest("orders", b"unclear"))
                server.start()
            while not sent <= seen:
                seen.add((await inbox.next()).data)
            await broker.close()

    run(main())
