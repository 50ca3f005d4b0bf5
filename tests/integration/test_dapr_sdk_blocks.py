"""Every building block that Dapr's SDK for Python offers and that is here: sync and async clients.

One sidecar with real components; each client runs in a process of its own, as an app would.
"""

import pytest

from tests.support.dapr_apps.blocks import resources
from tests.support.dapr_apps.client import run_script
from tests.support.sidecar import Sidecar

pytest.importorskip("dapr")

HANDLED = """
def handled(heard, text):
    import time
    for _ in range(2000):
        if text in heard:
            return True
        time.sleep(0.01)
    return False
"""
SYNC = (
    HANDLED
    + """
from dapr.clients import DaprClient
from dapr.clients.grpc._request import BulkPublishEntry
from dapr.clients.grpc._response import TopicEventResponse
from dapr.clients.exceptions import DaprGrpcError

with DaprClient() as client:
    client.wait(20)
    # streaming subscriptions, by iteration and by a handler
    stream = client.subscribe("bus", "streamed")
    heard, tries = [], []
    def hear(message):
        tries.append(message.data())
        if len(tries) == 1:
            return TopicEventResponse("retry")
        heard.append(message.data())
        return TopicEventResponse("success")
    close = client.subscribe_with_handler("bus", "handled", hear, dead_letter_topic="")
    client.publish_event("bus", "streamed", '{"n": 1}', data_content_type="application/json")
    client.publish_event("bus", "handled", "text", data_content_type="text/plain")
    message = next(iter(stream))
    result["streamed"] = [message.data(), message.topic(), message.pubsub_name(), message.source()]
    stream.respond_success(message)
    stream.close()
    result["handled"] = handled(heard, "text")
    close()
    answer = client.publish_events("bus", "many", ["a", BulkPublishEntry(b"b", entry_id="2")])
    result["failed"] = len(answer.failed_entries)
    # bindings
    created = client.invoke_binding("files", "create", b"content", {"fileName": "a.txt"})
    result["binding"] = client.invoke_binding("files", "get", b"", {"fileName": "a.txt"}).text()
    # configuration
    found = client.get_configuration("conf", ["greeting", "none"])
    result["configuration"] = {key: [v.value, v.version] for key, v in found.items.items()}
    changes = []
    name = client.subscribe_configuration(
        "conf", ["greeting"], lambda id, told: changes.append(told.items["greeting"].value))
    import redis, os
    server = redis.Redis.from_url("redis://" + os.environ["REDIS"])
    import time
    for _ in range(100):
        server.set("greeting", "changed||2")
        if handled(changes, "changed"):
            break
    result["changed"] = "changed" in changes
    result["unsubscribed"] = client.unsubscribe_configuration("conf", name)
    # locks
    lock = client.try_lock("locks", "thing", "me", 60)
    result["lock"] = [lock.success, client.try_lock("locks", "thing", "you", 60).success]
    result["unlock"] = [
        client.unlock("locks", "thing", owner).status.name for owner in ("you", "me", "me")]
    # state beyond the basics
    try:
        client.query_state("mem", '{"filter": {}}')
    except Exception as error:
        result["query"] = error.code().name
    for name, call in {
        "bus": lambda: client.publish_event("none", "t", b""),
        "binding": lambda: client.invoke_binding("none", "get"),
        "lock": lambda: client.try_lock("none", "a", "b", 1),
        "configuration": lambda: client.get_configuration("none", ["a"]),
    }.items():
        try:
            call()
        except Exception as error:
            result[f"no {name}"] = error.code().name
    try:
        client.publish_event("none", "t", b"")
    except DaprGrpcError as error:
        result["details"] = [error.error_code(), error.json()[:0]]
"""
)
ASYNC = """
import asyncio
from dapr.aio.clients import DaprClient
from dapr.clients.grpc._response import TopicEventResponse
from dapr.clients.grpc._state import StateItem

async def main():
    async with DaprClient() as client:
        await client.wait(20)
        await client.save_state("mem", "k", "v")
        result["state"] = (await client.get_state("mem", "k")).data.decode()
        await client.save_bulk_state("mem", [StateItem("a", "1"), StateItem("b", "2")])
        found = await client.get_bulk_state("mem", ["a", "b"])
        result["bulk"] = [item.data.decode() for item in found.items]
        await client.delete_state("mem", "k")
        result["secret"] = dict((await client.get_secret("vault", "key")).secret)
        heard = asyncio.Queue()
        async def hear(message):
            await heard.put(message.data())
            return TopicEventResponse("success")
        close = await client.subscribe_with_handler("bus", "async", hear)
        await client.publish_event("bus", "async", "text", data_content_type="text/plain")
        result["heard"] = await asyncio.wait_for(heard.get(), 20)
        await close()
        stream = await client.subscribe("bus", "async2")
        await client.publish_event("bus", "async2", "more", data_content_type="text/plain")
        async for message in stream:
            result["streamed"] = message.data()
            await stream.respond_success(message)
            break
        await stream.close()
        lock = await client.try_lock("locks", "async", "me", 60)
        result["lock"] = lock.success
        result["unlock"] = (await client.unlock("locks", "async", "me")).status.name
        found = await client.get_configuration("conf", ["greeting"])
        result["configuration"] = list(found.items)
        await client.invoke_binding("files", "create", b"x", {"fileName": "b.txt"})
        await client.set_metadata("k", "v")
        result["metadata"] = (await client.get_metadata()).extended_metadata["k"]

asyncio.run(main())
"""
SHUTDOWN = """
from dapr.clients import DaprClient
with DaprClient() as client:
    client.shutdown()
"""


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory, _redis):
    folder = tmp_path_factory.mktemp("resources")
    (folder / "components.yaml").write_text(resources(folder, _redis.address))
    with Sidecar("blocks", "--resources-path", str(folder)) as running:
        yield running


def test_the_sync_client(sidecar, redis_server, monkeypatch):
    monkeypatch.setenv("REDIS", redis_server.address)
    redis_server.client.set("greeting", "hello||1")
    result = run_script(SYNC, sidecar.port, sidecar.grpc_port)
    assert result["streamed"] == [{"n": 1}, "streamed", "bus", "blocks"]
    assert result["handled"] is True
    assert result["failed"] == 0
    assert result["binding"] == "content"
    assert result["configuration"] == {"greeting": ["hello", "1"]}
    assert result["changed"] is True
    assert result["unsubscribed"] is True
    assert result["lock"] == [True, False]
    assert result["unlock"] == ["lock_belongs_to_others", "success", "lock_does_not_exist"]
    assert result["query"] in ("INTERNAL", "UNIMPLEMENTED")
    assert result["no bus"] == "INVALID_ARGUMENT"
    assert result["no binding"] == "INTERNAL"
    assert result["no lock"] == "INVALID_ARGUMENT"
    assert result["no configuration"] == "INVALID_ARGUMENT"
    assert result["details"][0] == "DAPR_PUBSUB_NOT_FOUND"


def test_the_async_client(sidecar, redis_server):
    redis_server.client.set("greeting", "hello||1")
    assert run_script(ASYNC, sidecar.port, sidecar.grpc_port) == {
        "state": "v",
        "bulk": ["1", "2"],
        "secret": {"key": "value"},
        "heard": "text",
        "streamed": "more",
        "lock": True,
        "unlock": "success",
        "configuration": ["greeting"],
        "metadata": "v",
    }


def test_the_sidecar_ends_when_it_is_told_while_a_stream_is_open(sidecar):
    assert run_script(SHUTDOWN, sidecar.port, sidecar.grpc_port) == {}
    assert sidecar.process.wait(20) == 0
    assert "Shutdown requested via API" in sidecar.log
