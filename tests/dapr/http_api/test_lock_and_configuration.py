"""Locks and configuration over HTTP, with Redis behind them and an app that is told of changes."""

import asyncio
import json

import pytest
from aiohttp import web

from meshproxy.dapr.app_settings import AppSettings
from meshproxy.dapr.http_app_channel import HttpAppChannel
from meshproxy.dapr.sidecar import Sidecar
from tests.dapr.http_api.support import Client, error
from tests.dapr.support import APP, client_to_app, component, run, runtime

LOCK, UNLOCK = "/v1.0-alpha1/lock/locks", "/v1.0-alpha1/unlock/locks"


def with_client(server, work, **more):
    async def main():
        host = {"redisHost": server.address}
        life = runtime(
            [component("locks", "lock.redis", host), component("conf", "configuration.redis", host)]
        )
        await life.start()
        try:
            return await work(Client(Sidecar(APP, life, **more)))
        finally:
            await life.close()

    return run(main())


def test_a_lock_is_taken_and_given_back(redis_server):
    mine = {"resourceId": "r", "lockOwner": "me", "expiryInSeconds": 60}

    async def work(client):
        calls = [(LOCK, mine), (LOCK, mine), (UNLOCK, {**mine, "lockOwner": "you"})]
        calls += [(UNLOCK, mine), (UNLOCK, mine)]
        answers = [json.loads((await client.call("POST", *call)).body) for call in calls[:2]]
        assert redis_server.client.get("lock||app||r") == b"me"
        return answers + [json.loads((await client.call("POST", *c)).body) for c in calls[2:]]

    assert with_client(redis_server, work) == [
        {"success": True},
        {"success": False},
        {"status": 2},
        {"status": 0},
        {"status": 1},
    ]


UNREADABLE = ("ERR_MALFORMED_REQUEST", "failed deserializing HTTP body: ")


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (LOCK, {"expiryInSeconds": 0}, (400, "ERR_MALFORMED_REQUEST", "ExpiryInSeconds is not")),
        (
            LOCK,
            {"expiryInSeconds": "1.5"},
            (400, "ERR_MALFORMED_REQUEST", "failed deserializing HTTP body: "),
        ),
        (LOCK, b"", (400, "ERR_MALFORMED_REQUEST", "ExpiryInSeconds is not")),
        (LOCK, {"expiryInSeconds": 1, "expiry_in_seconds": 1}, (400, *UNREADABLE)),
        (LOCK, {"expiryInSeconds": 2**31}, (400, *UNREADABLE)),
        (LOCK, {"expiryInSeconds": True}, (400, *UNREADABLE)),
        (LOCK, {"resourceId": 5}, (400, *UNREADABLE)),
        (LOCK, {"expiry_in_seconds": "60"}, (400, "ERR_MALFORMED_REQUEST", "ResourceId is empty")),
        (LOCK, [1], (400, "ERR_MALFORMED_REQUEST", "failed deserializing HTTP body: ")),
        (UNLOCK, {"lockOwner": "o"}, (400, "ERR_MALFORMED_REQUEST", "ResourceId is empty")),
        (UNLOCK, {"resourceId": "r"}, (400, "ERR_MALFORMED_REQUEST", "LockOwner is empty")),
        (
            UNLOCK,
            {"resourceId": "a||b", "lockOwner": "o"},
            (
                500,
                "ERR_UNLOCK",
                "failed to release lock: input key/keyPrefix 'a||b' can't contain '||'",
            ),
        ),
        (
            "/v1.0-alpha1/unlock/none",
            {"resourceId": "r", "lockOwner": "o"},
            (400, "ERR_LOCK_STORE_NOT_FOUND", "lock store none not found"),
        ),
    ],
)
def test_a_bad_lock_request_is_refused(redis_server, path, body, expected):
    async def work(client):
        return error(await client.call("POST", path, body))

    status, code, text = with_client(redis_server, work)
    assert (status, code) == expected[:2]
    assert text.startswith(expected[2])


def test_without_stores_both_say_so():
    async def main():
        life = runtime([])
        await life.start()
        client = Client(Sidecar(APP, life))
        lock = {"resourceId": "r", "lockOwner": "o", "expiryInSeconds": 1}
        return [
            error(await client.call("POST", LOCK, lock))[:2],
            error(await client.call("GET", "/v1.0/configuration/conf"))[:2],
        ]

    assert run(main()) == [
        (500, "ERR_LOCK_STORE_NOT_CONFIGURED"),
        (500, "ERR_CONFIGURATION_STORE_NOT_CONFIGURED"),
    ]


def test_configuration_is_read(redis_server):
    redis_server.client.mset({"a": "1||v2", "b": "2"})

    async def work(client):
        some = await client.call("GET", "/v1.0/configuration/conf?key=a&key=b&key=none")
        assert json.loads(some.body) == {"a": {"value": "1", "version": "v2"}, "b": {"value": "2"}}
        assert (await client.call("GET", "/v1.0-alpha1/configuration/conf?key=none")).status == 204
        return [
            error(await client.call("GET", f"/v1.0/configuration/{path}"))[:2]
            for path in ("none", "conf/subscribe")
        ]

    assert with_client(redis_server, work) == [
        (400, "ERR_CONFIGURATION_STORE_NOT_FOUND"),
        (500, "ERR_APP_CHANNEL_NIL"),
    ]


def test_the_app_is_told_of_changes_until_it_unsubscribes(redis_server):
    async def work():
        told: asyncio.Queue = asyncio.Queue()

        async def hear(request):
            await told.put((request.path, request.headers["dapr-api-token"], await request.json()))
            return web.Response()

        app = web.Application()
        app.router.add_post("/configuration/{store}/{key}", hear)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with client_to_app(port) as http:
            channel = HttpAppChannel(AppSettings(port=port, token="t"), "app", http)
            life = runtime(
                [component("conf", "configuration.redis", {"redisHost": redis_server.address})]
            )
            await life.start()
            client = Client(Sidecar(APP, life, channel=channel))
            name = json.loads(
                (await client.call("GET", "/v1.0/configuration/conf/subscribe?key=a")).body
            )["id"]
            redis_server.client.set("a", "1||v1")
            assert await asyncio.wait_for(told.get(), 10) == (
                "/configuration/conf/a",
                "t",
                {"id": name, "items": {"a": {"value": "1", "version": "v1"}}},
            )
            path = f"/v1.0/configuration/conf/{name}/unsubscribe"
            assert (await client.call("GET", path)).body == b'{"ok":true}'
            twice = await client.call("GET", path)
            reason = f"subscription with id {name} does not exist"
            text = f"failed to unsubscribe to configuration request {name}: {reason}"
            assert (twice.status, json.loads(twice.body)) == (500, {"message": text})
            redis_server.client.set("a", "2")
            assert redis_server.client.pubsub_numsub("__keyspace@0__:a")[0][1] == 0
            await life.close()
            await runner.cleanup()
        assert told.empty()

    run(work())
