"""Bulk subscriptions: what goes together, and what becomes of each; the app is scripted."""

import asyncio
import json
from collections import Counter

import pytest

from meshproxy.config.dapr.subscription import compile_rule
from meshproxy.dapr.app_channel import DROP, RETRY, SUCCESS
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.pubsub.broker import PublishRequest
from meshproxy.dapr.pubsub.programmatic import make_rule
from meshproxy.dapr.pubsub.subscription import BulkSubscribe, Kind, Subscription
from meshproxy.dapr.resiliency import Resiliency
from meshproxy.dapr.sidecar import Sidecar
from meshproxy.dapr.subscriptions import Subscriptions
from tests.dapr.support import APP, component, no_time, retrying, run, runtime

SOON = 0.01  # seconds, where what comes together may be less than all
FULL = 60.0  # where it goes because it is full


class App:
    """Gives each event of a bulk the next of its verdicts; the last one stays."""

    def __init__(self, **verdicts) -> None:
        self.verdicts = {name: list(given) for name, given in verdicts.items()}
        self.bulks: asyncio.Queue = asyncio.Queue()
        self.single: asyncio.Queue = asyncio.Queue()
        self.failures = []

    async def list_topic_subscriptions(self, compile_rule):
        return []

    async def on_topic_event(self, event):
        await self.single.put(event)
        return SUCCESS

    async def on_bulk_topic_event(self, bulk):
        await self.bulks.put(bulk)
        if self.failures:
            raise self.failures.pop(0)
        found = {}
        for entry in bulk.entries:
            given = self.verdicts.get(entry.event["id"], [SUCCESS]) if entry.event else [SUCCESS]
            verdict = given.pop(0) if len(given) > 1 else given[0]
            if verdict:
                found[entry.id] = verdict
        return found

    async def next(self):
        return await asyncio.wait_for(self.bulks.get(), 20)


def subscribed(work, app, *, count=3, wait=FULL, resiliency=None, **more):
    async def main():
        life = runtime([component("bus", "pubsub.in-memory")])
        await life.start()
        broker = life.find("pubsub", "bus")
        broker._sleep = no_time
        sidecar = Sidecar(APP, life, channel=app, resiliency=resiliency or Resiliency())
        rules = tuple(
            make_rule(match, path, compile_rule)
            for match, path in (("event.type == 'x'", "x"), ("", "rest"))
        )
        bulk = BulkSubscribe(count, wait)
        orders = Subscription("bus", "orders", rules, Kind.DECLARATIVE, bulk=bulk, **more)
        dead = Subscription("bus", "dead", rules[1:], Kind.DECLARATIVE)
        manager = Subscriptions(sidecar, [orders, dead], compile_rule, no_time)
        await manager.begin()

        async def publish(*names, kind="t"):
            for name in names:
                event = json.dumps({"id": name, "type": kind}).encode()
                await broker.publish(PublishRequest("orders", event, metadata={"k": "v"}))

        try:
            await work(publish)
        finally:
            await manager.end()
            await life.close()

    run(main())


def ids(bulk):
    return [entry.event["id"] for entry in bulk.entries]


async def deliveries(app, number):
    """How often each came, when so many have come."""
    found = Counter()
    while found.total() < number:
        found.update(ids(await app.next()))
    return found


def test_a_bulk_goes_when_it_is_full():
    app = App()

    async def work(publish):
        await publish("1", "2", "3")
        bulk = await app.next()
        assert ids(bulk) == ["1", "2", "3"]
        assert (bulk.pubsub, bulk.topic, bulk.path) == ("bus", "orders", "rest")
        assert len({bulk.id, *(entry.id for entry in bulk.entries)}) == 4
        (first, *_) = bulk.entries
        assert first.content_type == "application/cloudevents+json"
        assert first.metadata == {"k": "v"}

    subscribed(work, app)


def test_a_bulk_goes_when_the_time_is_over():
    app = App()

    async def work(publish):
        await publish("1")
        assert ids(await app.next()) == ["1"]

    subscribed(work, app, wait=SOON)


def test_each_route_has_its_own():
    app = App()

    async def work(publish):
        await publish("1", "3")
        await publish("2", "4", kind="x")
        found = {(bulk.path, *ids(bulk)) for bulk in (await app.next(), await app.next())}
        assert found == {("rest", "1", "3"), ("x", "2", "4")}

    subscribed(work, app, count=2)


def test_only_what_was_refused_comes_again():
    app = App(**{"2": [RETRY, SUCCESS], "3": ["", SUCCESS], "1": [SUCCESS]})

    async def work(publish):
        await publish("1", "2", "3")
        assert await deliveries(app, 5) == {"1": 1, "2": 2, "3": 2}
        await publish("4")
        assert ids(await app.next()) == ["4"]

    subscribed(work, app, wait=SOON)


def test_a_call_that_fails_is_a_refusal_of_all():
    app = App()
    app.failures = [ComponentError("gone")]

    async def work(publish):
        await publish("1", "2", "3")
        assert ids(await app.next()) == ["1", "2", "3"]
        assert sorted(ids(await app.next())) == ["1", "2", "3"]

    subscribed(work, app)


@pytest.mark.parametrize("verdict", [DROP, RETRY])
def test_an_entry_goes_to_the_dead_letter_topic_by_itself(verdict):
    app = App(**{"2": [verdict]})

    async def work(publish):
        await publish("1", "2", "3")
        await app.next()
        event = await asyncio.wait_for(app.single.get(), 20)
        assert event.event["id"] == "2"
        assert app.bulks.empty()

    subscribed(work, app, dead_letter_topic="dead")


def test_the_inbound_policy_tries_an_entry_again_before_it_is_a_dead_letter():
    app = App(**{"2": [RETRY]})

    async def work(publish):
        await publish("1", "2", "3")
        assert await deliveries(app, 5) == {"1": 1, "2": 3, "3": 1}
        assert (await asyncio.wait_for(app.single.get(), 20)).event["id"] == "2"

    policy = retrying("bus", 3)
    subscribed(work, app, wait=SOON, dead_letter_topic="dead", resiliency=policy)


def test_raw_payloads_go_as_bytes():
    app = App()

    async def work(publish):
        await publish("1")
        (entry,) = (await app.next()).entries
        assert entry.event is None
        assert json.loads(entry.data) == {"id": "1", "type": "t"}
        assert entry.content_type == "application/octet-stream"

    subscribed(work, app, wait=SOON, metadata={"rawPayload": "true"})


def test_what_waits_when_the_subscription_ends_is_not_taken():
    app = App()
    entered = asyncio.Event()

    async def hang(bulk):
        entered.set()
        await asyncio.Event().wait()

    app.on_bulk_topic_event = hang

    async def work(publish):
        await publish("1", "2", "3")
        await asyncio.wait_for(entered.wait(), 20)

    subscribed(work, app)
