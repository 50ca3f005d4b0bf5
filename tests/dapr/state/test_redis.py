"""`state.redis`: daprd's layout byte for byte, its own rules, and a server that comes and goes."""

import asyncio

import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.state.redis import RedisStateStore
from meshproxy.dapr.state.store import (
    DeleteRequest,
    EtagInvalid,
    EtagMismatch,
    GetRequest,
    SetRequest,
    StateStoreError,
)
from meshproxy.server.dapr.run import free_port
from tests.dapr.support import run
from tests.support.redis_server import RedisServer
from tests.support.toolchains import without


async def opened(server, **metadata):
    store = RedisStateStore(ComponentContext("store"))
    await store.init(Metadata({"redisHost": server.address, **metadata}))
    return store


def with_store(server, work, **metadata):
    async def main():
        store = await opened(server, **metadata)
        try:
            return await work(store)
        finally:
            await store.close()

    return run(main())


def test_an_item_is_a_hash_as_daprd_writes_it(redis_server):
    async def work(store):
        await store.set(SetRequest("app||k", b'{"a":1}'))
        await store.set(SetRequest("app||k", b'{"a":2}'))
        await store.set(SetRequest("app||first", b"1", concurrency="first-write"))

    with_store(redis_server, work)
    assert redis_server.client.hgetall("app||k") == {b"data": b'{"a":2}', b"version": b"2"}
    first = {b"data": b"1", b"version": b"1", b"first-write": b"0"}
    assert redis_server.client.hgetall("app||first") == first


def test_what_daprd_has_written_is_read_changed_and_removed(redis_server):
    redis_server.client.hset("app||k", mapping={"data": '"old"', "version": 7})
    redis_server.client.set("app||ancient", "plain")

    async def work(store):
        item = await store.get(GetRequest("app||k"))
        assert (item.value, item.etag) == (b'"old"', "7")
        await store.set(SetRequest("app||k", b'"new"', etag="7"))
        ancient = await store.get(GetRequest("app||ancient"))
        assert (ancient.value, ancient.etag) == (b"plain", "")
        await store.set(SetRequest("app||ancient", b'"hash"'))

    with_store(redis_server, work)
    assert redis_server.client.hgetall("app||k") == {b"data": b'"new"', b"version": b"8"}
    assert redis_server.client.hgetall("app||ancient") == {b"data": b'"hash"', b"version": b"1"}


def test_a_key_of_another_type_is_an_error_of_its_own_and_can_be_removed(redis_server):
    redis_server.client.rpush("list", "x")
    redis_server.client.hset("k", mapping={"data": "1", "version": 1})

    async def work(store):
        with pytest.raises(ComponentError, match="WRONGTYPE"):
            await store.get(GetRequest("list"))
        found = await store.bulk_get([GetRequest("k"), GetRequest("list")])
        assert found[0].value == b"1"
        assert isinstance(found[1], ComponentError)
        await store.delete(DeleteRequest("list"))

    with_store(redis_server, work)
    assert not redis_server.client.exists("list")


def test_a_key_of_a_first_write_takes_no_write_without_its_etag(redis_server):
    async def work(store):
        await store.set(SetRequest("k", b"1", concurrency="first-write"))
        with pytest.raises(ComponentError):
            await store.set(SetRequest("k", b"2"))
        await store.set(SetRequest("k", b"3", etag="1"))
        return (await store.get(GetRequest("k"))).value

    assert with_store(redis_server, work) == b"3"


def test_an_etag_that_is_no_number_is_invalid(redis_server):
    async def work(store):
        await store.set(SetRequest("k", b"1"))
        with pytest.raises(EtagInvalid):
            await store.set(SetRequest("k", b"2", etag="x"))
        with pytest.raises(EtagInvalid):
            await store.multi([SetRequest("a", b"2"), SetRequest("k", b"2", etag="x")])
        with pytest.raises(EtagMismatch):  # it is compared as a text
            await store.delete(DeleteRequest("k", etag="x"))
        good, bad, deleted = await store.bulk(
            [SetRequest("a", b"1"), SetRequest("k", b"2", etag="x"), DeleteRequest("k", etag="1")]
        )
        assert (good, type(bad), deleted) == (None, EtagInvalid, None)

    with_store(redis_server, work)
    assert redis_server.client.keys() == [b"a"]


def test_an_etag_fits_a_key_that_is_not_there(redis_server):
    async def work(store):
        await store.set(SetRequest("k", b"1", etag="7"))
        await store.delete(DeleteRequest("none", etag="7"))
        return (await store.get(GetRequest("k"))).etag

    assert with_store(redis_server, work) == "1"


def test_a_last_write_and_an_etag_of_zero_ask_for_no_etag(redis_server):
    async def work(store):
        await store.set(SetRequest("k", b"1"))
        await store.set(SetRequest("k", b"2", etag="7", concurrency="last-write"))
        await store.set(SetRequest("k", b"3", etag="0"))
        await store.set(SetRequest("k", b"4", etag="003"))
        with pytest.raises(EtagMismatch):
            await store.delete(DeleteRequest("k", etag="7", concurrency="last-write"))
        await store.delete(DeleteRequest("k", etag="0"))

    with_store(redis_server, work)
    assert not redis_server.client.exists("k")


def test_a_key_of_a_first_write_refuses_by_whether_there_was_an_etag(redis_server):
    async def work(store):
        await store.set(SetRequest("k", b"1", concurrency="first-write"))
        for refused in (SetRequest("k", b"2"), SetRequest("k", b"2", concurrency="first-write")):
            with pytest.raises(StateStoreError, match="failed to set key k"):
                await store.set(refused)
        with pytest.raises(EtagMismatch):
            await store.set(SetRequest("k", b"2", etag="7", concurrency="last-write"))
        good, bad = await store.bulk([SetRequest("a", b"1"), SetRequest("k", b"2")])
        assert (good, type(bad)) == (None, StateStoreError)

    with_store(redis_server, work)


def test_a_write_without_a_ttl_leaves_the_one_that_is_there(redis_server):
    async def work(store):
        for key in ("left", "ended", "renewed"):
            await store.set(SetRequest(key, b"1", ttl=50, metadata={"ttlInSeconds": "50"}))
        await store.set(SetRequest("left", b"2"))
        await store.set(SetRequest("ended", b"2", metadata={"ttlInSeconds": "-1"}))
        await store.set(SetRequest("renewed", b"2", ttl=90, metadata={"ttlInSeconds": "90"}))

    with_store(redis_server, work)
    ttl = redis_server.client.ttl
    assert (40 < ttl("left") <= 50, ttl("ended"), 80 < ttl("renewed") <= 90) == (True, -1, True)


def test_the_ttl_of_the_component_is_for_items_without_one(redis_server):
    async def work(store):
        await store.set(SetRequest("own", b"1", ttl=5, metadata={"ttlInSeconds": "5"}))
        await store.set(SetRequest("shared", b"1"))
        await store.set(SetRequest("none", b"1", metadata={"ttlInSeconds": "-1"}))

    with_store(redis_server, work, ttlInSeconds="100")
    ttl = redis_server.client.ttl
    assert (ttl("none"), ttl("own") <= 5, 90 < ttl("shared") <= 100) == (-1, True, True)


def test_a_strong_write_is_done_without_replicas_too(redis_server):
    async def work(store):
        await store.set(SetRequest("k", b"1", consistency="strong"))
        store._replicas = 1  # one that never answers: WAIT ends, and daprd takes that as done
        await store.set(SetRequest("k", b"2", consistency="strong"))
        return (await store.get(GetRequest("k"))).value

    assert with_store(redis_server, work, readTimeout="5s") == b"2"


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"redisHost": ""}, "missing redisHost"),
        ({"redisHost": "a:b"}, "redisHost is 'a:b'; expected host:port"),
        ({"redisHost": "a:1,b:2"}, "expected one host:port"),
        ({"redisHost": "a:1", "redisPort": "2"}, "has the port 1, and redisPort is 2"),
        ({"redisType": "x"}, "redisType is 'x'; expected node or cluster"),
        ({"redisType": "cluster", "failover": "true"}, "failover of a cluster is its own"),
        ({"redisType": "cluster", "redisDB": "1"}, "a cluster has the database 0 alone"),
        ({"redisType": "cluster", "enableTLS": "true"}, "enableTLS is not supported with"),
        ({"failover": "true"}, "missing sentinelMasterName"),
        ({"useEntraID": "yes"}, "'useEntraID' is not supported"),
        ({"queryIndexes": "[]"}, "'queryIndexes' is not supported"),
        ({"redisDB": "one"}, "redisDB is 'one'; expected a whole number"),
        ({"dialTimeout": "soon"}, "dialTimeout: 'soon' is not a duration"),
        ({"ttlInSeconds": "x"}, "incorrect value for metadata 'ttlInSeconds'"),
        ({"enableTLS": "true", "clientCert": "x"}, "clientCert and clientKey are needed together"),
        ({"enableTLS": "true", "clientCert": "x", "clientKey": "y"}, "clientCert and clientKey:"),
    ],
)
def test_bad_metadata_is_refused_by_name(metadata, expected):
    store = RedisStateStore(ComponentContext("store"))
    with pytest.raises(ComponentError, match=expected.replace("[", r"\[")):
        run(store.init(Metadata({"redisHost": "127.0.0.1:1", **metadata})))


def test_no_server_at_the_start_is_an_error_that_names_it():
    port = free_port()
    store = RedisStateStore(ComponentContext("store"))
    with pytest.raises(ComponentError, match=f"error connecting to redis at 127.0.0.1:{port}"):
        run(store.init(Metadata({"redisHost": "127.0.0.1", "redisPort": str(port)})))


def test_a_password_is_needed_where_the_server_wants_one():
    if not RedisServer.available():
        without("no Redis server")
    with RedisServer() as server:
        server.client.config_set("requirepass", "s3cret")
        with pytest.raises(ComponentError, match="Authentication required"):
            run(opened(server))

        async def work(store):
            await store.set(SetRequest("k", b"1"))

        with_store(server, work, redisPassword="s3cret", redisDB="3")


def test_a_killed_server_costs_no_acknowledged_write_and_comes_back(request):
    if not RedisServer.available():
        without("no Redis server")

    async def main():
        with RedisServer() as server:
            store = await opened(server, redisMaxRetries="0")
            done = 0
            for crash in range(3):
                for _ in range(20):
                    await store.set(SetRequest(f"k{done}", b"%d" % done))
                    done += 1
                server.kill()
                with pytest.raises(ComponentError):
                    await store.set(SetRequest("unclear", b"1"))
                server.start()
                found = await store.bulk_get([GetRequest(f"k{each}") for each in range(done)])
                assert [int(item.value) for item in found] == list(range(done)), crash
            await store.close()

    run(main())


def test_calls_at_one_time_do_not_lose_a_write(redis_server):
    async def work(store):
        await store.set(SetRequest("k", b"0"))

        async def add():
            while True:
                item = await store.get(GetRequest("k"))
                try:
                    await store.set(SetRequest("k", b"%d" % (int(item.value) + 1), etag=item.etag))
                except ComponentError:
                    continue
                return

        await asyncio.gather(*(add() for _ in range(20)))
        return (await store.get(GetRequest("k"))).value

    assert with_store(redis_server, work, poolSize="4") == b"20"
