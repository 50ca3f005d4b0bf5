"""`pubsub.in-memory`: what becomes of a message nobody can take, and of a queue that is full."""

import asyncio
import logging

from meshproxy.dapr.component import ComponentContext, ComponentError
from meshproxy.dapr.pubsub.broker import PublishRequest
from meshproxy.dapr.pubsub.in_memory import ATTEMPTS, DEPTH, InMemoryPubSub
from tests.dapr.pubsub.support import Inbox
from tests.dapr.support import run


def test_a_message_nobody_can_take_is_lost_with_a_line_in_the_log(caplog):
    waits, seen = [], []

    async def sleep(seconds):
        waits.append(seconds)

    async def main():
        done = asyncio.Event()

        async def handler(message):
            seen.append(message.data)
            if message.data == b"bad":
                raise ComponentError("no")
            done.set()

        broker = InMemoryPubSub(ComponentContext("bus"), sleep)
        await broker.subscribe("t", {}, handler)
        await broker.publish(PublishRequest("t", b"bad"))
        await broker.publish(PublishRequest("t", b"good"))
        await asyncio.wait_for(done.wait(), 10)
        await broker.close()

    with caplog.at_level(logging.ERROR):
        run(main())
    assert seen == [b"bad"] * ATTEMPTS + [b"good"]
    assert len(waits) == ATTEMPTS - 1
    assert waits == sorted(waits)
    assert waits[-1] == 2.0
    assert "bus: a message of t is lost" in caplog.text


def test_publishing_waits_where_a_subscription_is_full_until_it_ends():
    async def main():
        started = asyncio.Event()

        async def stuck(message):
            started.set()
            await asyncio.Event().wait()

        broker = InMemoryPubSub(ComponentContext("bus"))
        end = await broker.subscribe("t", {}, stuck)
        await broker.publish(PublishRequest("t", b"0"))
        await started.wait()
        await broker.bulk_publish([PublishRequest("t", b"x")] * DEPTH)
        waiting = asyncio.get_running_loop().create_task(broker.publish(PublishRequest("t", b"y")))
        await asyncio.sleep(0)
        assert not waiting.done()
        await end()
        await asyncio.wait_for(waiting, 10)
        await broker.close()

    run(main())


def test_a_star_at_the_end_stands_for_what_follows_and_not_for_nothing():
    async def main():
        broker, inbox = InMemoryPubSub(ComponentContext("bus")), Inbox()
        ends = [await broker.subscribe(topic, {}, inbox.take) for topic in ("topic*", "a*b", "*")]
        await ends.pop()()
        for topic in ("topic1", "topic", "mytopic", "topic/2", "a1b", "a*b"):
            await broker.publish(PublishRequest(topic, topic.encode()))
        found = [await inbox.next() for _ in range(3)]
        assert {(each.topic, each.data) for each in found} == {
            ("topic*", b"topic1"), ("topic*", b"topic/2"), ("a*b", b"a*b"),
        }  # fmt: skip
        assert inbox.queue.empty()
        await broker.close()

    run(main())
