"""What every configuration store does: the cases of components-contrib's suite, and more."""

import asyncio

import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.components import COMPONENTS
from meshproxy.dapr.configuration.configuration_store import ConfigurationItem
from tests.conformance.configuration_store.provision import WORLDS

REMOVED = ConfigurationItem("")


@pytest.fixture(params=COMPONENTS.of("configuration"))
def world(request):
    assert request.param in WORLDS, f"{request.param} has no entry in WORLDS"
    made = WORLDS[request.param]
    world = made(request.getfixturevalue(made.fixture))
    world.type_name = request.param
    yield world
    world.close()


def with_store(world, work):
    async def main():
        name, _, version = world.type_name.partition("/")
        store = COMPONENTS.constructor(name, version)(ComponentContext("store"))
        await store.init(Metadata(world.metadata))
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(main())


async def outside(change, *arguments):
    """From another process, as far as the store can see."""
    await asyncio.to_thread(change, *arguments)


class Subscriber:
    """Somebody who is told of changes."""

    def __init__(self) -> None:
        self.changes: asyncio.Queue = asyncio.Queue()

    async def __call__(self, items) -> None:
        for key, item in items.items():
            await self.changes.put((key, item.value, item.version))

    async def next(self):
        return await asyncio.wait_for(self.changes.get(), 20)


def test_items_are_found_by_their_keys_and_all_together(world):
    world.put("a", "1", "v1")
    world.put("b", "it's; --", "v2")

    async def work(store):
        return [await store.get(keys, {}) for keys in (["a"], ["b", "none"], ["none"], [])]

    one, two, none, everything = with_store(world, work)
    assert (one["a"].value, one["a"].version) == ("1", "v1")
    assert {key: item.value for key, item in two.items()} == {"b": "it's; --"}
    assert dict(none) == {}
    assert set(everything) == {"a", "b"}
    assert dict(one["a"].metadata) == ({"a": "b"} if world.keeps_metadata else {})


def test_subscribers_are_told_of_their_keys_and_of_removals(world):
    world.put("a", "0", "v0")

    async def work(store):
        subscribers = [Subscriber() for _ in range(3)]
        for keys, subscriber in zip((["a"], ["a", "b"], []), subscribers, strict=True):
            await store.subscribe(keys, world.subscription, subscriber)
        mine, both, everything = subscribers
        await outside(world.put, "a", "1", "v1")
        assert [await each.next() for each in subscribers] == [("a", "1", "v1")] * 3
        await outside(world.put, "b", "2", "v2")
        assert await both.next() == await everything.next() == ("b", "2", "v2")
        await outside(world.put, "c", "3", "v3")
        assert await everything.next() == ("c", "3", "v3")
        await outside(world.remove, "a")
        assert [(await each.next())[:2] for each in subscribers] == [("a", "")] * 3
        return mine.changes.qsize(), both.changes.qsize()

    assert with_store(world, work) == (0, 0)


def test_who_has_unsubscribed_is_told_nothing_more(world):
    async def work(store):
        gone, stays = Subscriber(), Subscriber()
        end = await store.subscribe(["a"], world.subscription, gone)
        await store.subscribe(["a"], world.subscription, stays)
        await outside(world.put, "a", "1", "v1")
        assert await gone.next() == await stays.next()
        await end()
        await outside(world.put, "a", "2", "v2")
        assert (await stays.next())[1] == "2"
        return gone.changes.qsize()

    assert with_store(world, work) == 0


def test_an_app_that_refuses_a_change_is_told_of_the_next(world):
    async def work(store):
        heard = Subscriber()

        async def handler(items):
            await heard(items)
            if items["a"].value == "1":
                raise ComponentError("the app does not want it")

        await store.subscribe(["a"], world.subscription, handler)
        found = []
        for value in "12":
            await outside(world.put, "a", value, "v")
            found.append((await heard.next())[1])
        return found

    assert with_store(world, work) == ["1", "2"]


def test_a_subscription_outlives_its_connection(world, monkeypatch):
    name = world.type_name.partition("/")[0].replace("configuration.", "")
    module = f"meshproxy.dapr.configuration.{name}._AGAIN"
    monkeypatch.setattr(module, 0.01)

    async def work(store):
        heard = Subscriber()
        await store.subscribe(["a"], world.subscription, heard)
        await outside(world.cut)
        for value in range(2000):
            await outside(world.put, "a", str(value), "v")
            try:
                return await asyncio.wait_for(heard.changes.get(), 0.05)
            except TimeoutError:
                continue

    assert with_store(world, work)[0] == "a"
