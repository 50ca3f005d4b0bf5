"""The outbox: what a transaction writes is published, and only then."""

import asyncio
import json

import pytest

from meshproxy.dapr.api import Api
from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.cloud_event import Trace
from meshproxy.dapr.component import ComponentError, Identity
from meshproxy.dapr.outbox import Outboxes
from meshproxy.dapr.pubsub.broker import PublishRequest
from meshproxy.dapr.runtime import Runtime, Settings
from meshproxy.dapr.sidecar import Sidecar
from meshproxy.dapr.state.items import DeleteItem, SaveItem
from meshproxy.dapr.state.store import SetRequest
from tests.dapr.support import component, run

OUTBOX = {"outboxPublishPubsub": "bus", "outboxPublishTopic": "orders"}
APP = Identity("shop", "ns")
INTERNAL = "nsshopordersoutbox"
INTERNAL_OF_NO_NAMESPACE = "defaultshopordersoutbox"


class World:
    """A sidecar with a store and a broker in memory, and somebody who listens to `orders`."""

    def __init__(self, metadata=None, bus=None) -> None:
        self.runtime = Runtime(APP, self.specs(metadata or {}, bus or {}), Settings())
        self.sidecar = Sidecar(APP, self.runtime)
        self.waits: list[float] = []
        self.runtime.observers.remove(self.sidecar.outboxes)
        self.sidecar.outboxes = Outboxes(self.runtime, self._sleep)
        self.api = Api(self.sidecar)
        self.heard: asyncio.Queue = asyncio.Queue()
        self.between: list = []

    def specs(self, metadata, bus):
        return [
            component("mem", "state.in-memory", {**OUTBOX, **metadata}),
            component("bus", "pubsub.in-memory", bus),
            component("between", "pubsub.in-memory"),
        ]

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)

    async def __aenter__(self):
        await self.runtime.start()
        bus = self.runtime.find("pubsub", "bus")
        await bus.subscribe("orders", {}, self.heard.put)
        return self

    async def __aexit__(self, *error) -> None:
        await self.sidecar.outboxes.end()
        await self.runtime.close()

    @property
    def store(self):
        return self.runtime.find("state", "mem")

    async def transact(self, *operations, **more) -> None:
        await self.api.state.transact("mem", operations, **more)

    async def next(self):
        message = await asyncio.wait_for(self.heard.get(), 20)
        return json.loads(message.data)

    async def quiet(self) -> None:
        """Until nothing that was begun can go on any more."""
        for _ in range(50):
            await asyncio.sleep(0)


def in_a_world(work, **more):
    async def main():
        async with World(**more) as world:
            return await work(world)

    return run(main())


def save(key, value, **metadata):
    return SaveItem(key, json.dumps(value).encode(), metadata=metadata)


def test_a_write_is_published_and_leaves_no_marker():
    async def work(world):
        await world.transact(save("1", "hello"), trace=Trace("00-a-b-01", "x=y"))
        event = await world.next()
        await world.quiet()
        return event, list(world.store._items)

    event, keys = in_a_world(work)
    assert event["data"] == "hello"
    assert event["datacontenttype"] == "text/plain"
    assert (event["topic"], event["pubsubname"], event["source"]) == ("orders", "bus", "shop")
    assert event["id"].startswith("outbox-")
    assert event["traceid"] == event["traceparent"] == "00-a-b-01"
    assert event["tracestate"] == "x=y"
    assert keys == ["shop||1"]


def test_json_keeps_every_digit():
    async def work(world):
        value = b'{"n":12345678901234567890123}'
        await world.transact(SaveItem("1", value, metadata={"contentType": "application/json"}))
        return await world.next()

    assert in_a_world(work)["data"] == {"n": 12345678901234567890123}


def test_each_write_is_published_and_a_removal_is_not():
    async def work(world):
        await world.transact(save("1", 1), DeleteItem("2"), save("3", 3))
        found = [(await world.next())["data"] for _ in range(2)]
        await world.quiet()
        return found, world.heard.qsize()

    assert in_a_world(work) == (["1", "3"], 0)


def test_a_projection_is_published_and_not_written():
    async def work(world):
        shown = save("1", "for others", **{"outbox.projection": "true"})
        await world.transact(save("1", "for me", subject="s"), shown)
        event = await world.next()
        return event["data"], event["subject"], world.store._items["shop||1"].value

    assert in_a_world(work) == ("for others", "s", b'"for me"')


def test_metadata_change_the_event_but_neither_its_data_nor_its_id():
    async def work(world):
        metadata = {"type": "made", "own": "x", "id": "mine", "data": "other"}
        await world.transact(save("1", "hello", **metadata))
        return await world.next()

    event = in_a_world(work)
    assert (event["type"], event["own"], event["data"]) == ("made", "x", "hello")
    assert event["id"].startswith("outbox-")


def test_a_transaction_that_fails_publishes_nothing_and_is_not_waited_for():
    async def work(world):
        with pytest.raises(ApiError) as caught:
            await world.transact(save("1", 1), DeleteItem("1", etag="9"))
        await world.transact(save("2", "after"))
        event = await world.next()
        return caught.value.code, event["data"], world.heard.qsize(), len(world.waits)

    code, data, more, waits = in_a_world(work)
    assert (code, data, more) == ("ERR_STATE_TRANSACTION", "after", 0)
    assert waits <= 2


def test_a_message_whose_state_never_comes_is_discarded_where_that_is_wanted():
    async def work(world):
        bus = world.runtime.find("pubsub", "bus")
        await bus.publish(PublishRequest(INTERNAL, b'{"id":"outbox-gone"}'))
        await bus.publish(PublishRequest(INTERNAL, b"[]"))
        await world.transact(save("1", "after"))
        return (await world.next())["data"], sum(world.waits[:8])

    data, waited = in_a_world(work, metadata={"outboxDiscardWhenMissingState": "true"})
    assert (data, waited) == ("after", 11)


def test_a_message_whose_state_is_missing_goes_back_to_the_broker():
    async def work(world):
        world.store._items.clear()
        outbox = world.sidecar.outboxes.of("mem")
        message = PublishRequest(INTERNAL, b'{"id":"outbox-gone"}')
        with pytest.raises(ComponentError, match="outbox state not found"):
            await outbox._relay(message)

    in_a_world(work)


def test_a_message_that_was_left_by_another_run_is_published():
    async def work(world):
        await world.store.set(SetRequest("outbox-left", b'"0"'))
        bus = world.runtime.find("pubsub", "bus")
        await bus.publish(PublishRequest(INTERNAL, b'{"id":"outbox-left","data":"left"}'))
        data = (await world.next())["data"]
        await world.quiet()
        return data, dict(world.store._items)

    assert in_a_world(work) == ("left", {})


def test_a_store_or_a_broker_that_changes_goes_on_with_the_outbox():
    async def work(world):
        found = []
        for topic in ("orders", "bills"):
            specs = world.specs({"outboxPublishTopic": topic}, {"changed": topic})
            await world.runtime.change(specs)
            bus = world.runtime.find("pubsub", "bus")
            await bus.subscribe(topic, {}, world.heard.put)
            await world.transact(save("1", topic))
            event = await world.next()
            found.append((event["topic"], event["data"]))
        await world.runtime.change([])
        return found, world.sidecar.outboxes.of("mem")

    assert in_a_world(work) == ([("orders", "orders"), ("bills", "bills")], None)


def test_the_internal_topic_may_be_on_another_broker():
    async def work(world):
        heard = asyncio.Queue()
        await world.runtime.find("pubsub", "between").subscribe(INTERNAL, {}, heard.put)
        await world.transact(save("1", 1))
        inside = json.loads((await asyncio.wait_for(heard.get(), 20)).data)
        outside = await world.next()
        return inside["id"] == outside["id"], inside["pubsubname"], outside["pubsubname"]

    assert in_a_world(work, metadata={"outboxPubsub": "between"}) == (True, "between", "bus")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"metadata": {"outboxPublishPubsub": "none", "outboxPubsub": "bus"}}, "none is not found"),
        ({"metadata": {"outboxPubsub": "none"}}, "pubsub none is not found"),
        (
            {"bus": {"publishingScopes": "shop=other"}},
            "topic orders is not allowed for app id shop",
        ),
    ],
)
def test_what_cannot_be_published_is_not_written(more, expected):
    async def work(world):
        with pytest.raises(ApiError, match=expected) as caught:
            await world.transact(save("1", 1))
        return caught.value, dict(world.store._items)

    caught, items = in_a_world(work, **more)
    assert (caught.code, caught.status, items) == ("ERR_PUBLISH_OUTBOX", 500, {})
    assert caught.details[0]["reason"] == "DAPR_PUBSUB_OUTBOX"


def test_the_inner_topic_has_a_namespace_also_where_the_app_has_none():
    async def main():
        app = Identity("shop")
        specs = [component("mem", "state.in-memory", OUTBOX), component("bus", "pubsub.in-memory")]
        life = Runtime(app, specs, Settings())
        sidecar = Sidecar(app, life)
        await life.start()
        heard: asyncio.Queue = asyncio.Queue()
        await life.find("pubsub", "bus").subscribe(INTERNAL_OF_NO_NAMESPACE, {}, heard.put)
        await Api(sidecar).state.transact("mem", [save("k", 1)])
        message = await asyncio.wait_for(heard.get(), 20)
        await sidecar.outboxes.end()
        await life.close()
        return json.loads(message.data)["id"]

    assert run(main()).startswith("outbox-")
