"""What every registered configuration store does: reading, and telling of changes."""

import asyncio

import pytest

from meshproxy.dapr.component import ComponentContext, Metadata
from meshproxy.dapr.components import COMPONENTS
from meshproxy.dapr.configuration.configuration_store import ConfigurationItem

SERVERS = {"configuration.redis/v1": ("redis_server", "redisHost")}
"""For each component the fixture of its server, and the metadata that has the address."""


@pytest.fixture(params=COMPONENTS.of("configuration"))
def opened(request):
    fixture, name = SERVERS[request.param]
    server = request.getfixturevalue(fixture)
    type_name, _, version = request.param.partition("/")
    with asyncio.Runner() as runner:
        store = COMPONENTS.constructor(type_name, version)(ComponentContext("config"))
        runner.run(store.init(Metadata({name: server.address})))
        yield store, runner.run, server
        runner.run(store.close())


def test_keys_are_read_with_their_versions_and_what_is_missing_is_left_out(opened):
    store, run, server = opened
    server.client.mset({"a": "1||v3", "b": "plain", "c": "x"})
    items = run(store.get(["a", "b", "none"], {}))
    assert items == {"a": ConfigurationItem("1", "v3"), "b": ConfigurationItem("plain")}


def test_no_key_asks_for_all(opened):
    store, run, server = opened
    server.client.mset({f"k{n}": n for n in range(300)})
    server.client.rpush("list", "no configuration")
    items = run(store.get([], {}))
    assert {key: item.value for key, item in items.items()} == {f"k{n}": str(n) for n in range(300)}


def test_each_subscriber_hears_of_its_own_keys_until_it_ends(opened):
    store, run, server = opened

    async def main():
        heard = {name: asyncio.Queue() for name in ("a", "ab", "all")}
        ends = {
            name: await store.subscribe(keys, {}, heard[name].put)
            for name, keys in {"a": ["a"], "ab": ["a", "b"], "all": []}.items()
        }

        async def told(*names):
            return [await asyncio.wait_for(heard[name].get(), 10) for name in names]

        server.client.set("a", "1||v1")
        assert await told("a", "ab", "all") == [{"a": ConfigurationItem("1", "v1")}] * 3
        server.client.set("b", "2")
        assert await told("ab", "all") == [{"b": ConfigurationItem("2")}] * 2
        await ends["ab"]()
        server.client.delete("a")
        assert await told("a", "all") == [{"a": ConfigurationItem("")}] * 2
        server.client.set("c", "3")
        assert await told("all") == [{"c": ConfigurationItem("3")}]
        assert all(queue.empty() for queue in heard.values())

    run(main())


def test_a_subscriber_hears_on_after_its_connection_was_lost(opened, monkeypatch):
    store, run, server = opened
    monkeypatch.setattr("meshproxy.dapr.configuration.redis._AGAIN", 0.01)

    async def main():
        heard = asyncio.Queue()
        await store.subscribe(["a"], {}, heard.put)
        assert server.client.client_kill_filter(_type="pubsub") == 1
        while server.client.pubsub_numsub("__keyspace@0__:a")[0][1] == 0:  # noqa: ASYNC110 (the server tells nobody)
            await asyncio.sleep(0.01)
        server.client.set("a", "1")
        assert await asyncio.wait_for(heard.get(), 10) == {"a": ConfigurationItem("1")}

    run(main())
