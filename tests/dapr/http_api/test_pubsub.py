"""Publishing over HTTP: what reaches the broker, and every refusal."""

import asyncio
import base64
import json

import orjson
import pytest

from meshproxy.dapr.component import ComponentError, Identity
from meshproxy.dapr.runtime import Runtime
from meshproxy.dapr.sidecar import Sidecar
from tests.dapr.http_api.support import Client, error
from tests.dapr.support import APP, component, run

SCOPES = {"allowedTopics": "orders,a/b", "publishingScopes": "app=orders,a/b"}


def with_client(work, metadata=None, *, pubsub=True, identity=APP):
    """`work` gets a client and the queue of everything that its topics are published."""

    async def main():
        specs = [component("bus", "pubsub.in-memory", metadata or {})] if pubsub else []
        life = Runtime(identity, specs)
        await life.start()
        client = Client(Sidecar(identity, life))
        heard = asyncio.Queue()
        if pubsub:
            for topic in ("orders", "a/b", "spaceorders"):
                await life.find("pubsub", "bus").subscribe(topic, {}, heard.put)
        try:
            return await work(client, heard)
        finally:
            await life.close()

    return run(main())


def test_a_message_is_wrapped_and_carries_its_trace():
    async def work(client, heard):
        answer = await client.call(
            "POST",
            "/v1.0/publish/bus/a/b?metadata.cloudevent.subject=s",
            {"x": 1},
            content_type="application/json",
            traceparent="00-t-s-01",
        )
        assert (answer.status, answer.body) == (204, b"")
        message = await heard.get()
        assert message.content_type == "application/cloudevents+json"
        event = json.loads(message.data)
        assert (event["data"], event["topic"], event["pubsubname"]) == ({"x": 1}, "a/b", "bus")
        assert (event["source"], event["subject"], event["traceid"]) == ("app", "s", "00-t-s-01")

    with_client(work)


def test_a_raw_payload_goes_as_it_is():
    async def work(client, heard):
        path = "/v1.0/publish/bus/orders?metadata.rawPayload=true"
        await client.call("POST", path, b"\x00raw", content_type="x/y")
        message = await heard.get()
        assert (message.data, message.content_type) == (b"\x00raw", "x/y")

    with_client(work)


def test_a_time_to_live_becomes_an_expiration():
    async def work(client, heard):
        await client.call("POST", "/v1.0/publish/bus/orders?metadata.ttlInSeconds=60", b"x")
        event = json.loads((await heard.get()).data)
        assert event["expiration"] > event["time"]

    with_client(work)


def test_a_namespace_in_the_metadata_is_before_every_topic():
    async def work(client, heard):
        await client.call("POST", "/v1.0/publish/bus/orders", b"x")
        message = await heard.get()
        assert (message.topic, json.loads(message.data)["topic"]) == ("spaceorders", "orders")

    with_client(work, {"consumerID": "{namespace}"}, identity=Identity("app", "space"))


CE = "application/cloudevents+json"
BYTES = {"entryId": "1", "event": "!", "contentType": "application/octet-stream"}


@pytest.mark.parametrize(
    ("path", "body", "kind", "expected"),
    [
        ("none/t", b"", "", (404, "ERR_PUBSUB_NOT_FOUND")),
        ("bus/secret", b"", "", (403, "ERR_PUBSUB_FORBIDDEN")),
        ("bus/orders?metadata.rawPayload=maybe", b"", "", (400, "ERR_PUBSUB_REQUEST_METADATA")),
        ("bus/orders", b"{", CE, (500, "ERR_PUBSUB_CLOUD_EVENTS_SER")),
        ("bulk/bus/orders", b"{", "", (400, "ERR_PUBSUB_EVENTS_SER")),
        ("bulk/bus/orders", {}, "", (400, "ERR_PUBSUB_EVENTS_SER")),
        ("bulk/bus/orders", [{"event": "x"}], "", (400, "ERR_PUBSUB_EVENTS_SER")),
        ("bulk/bus/orders", [{"entryId": "1", "event": 1}], "", (400, "ERR_PUBSUB_EVENTS_SER")),
        ("bulk/bus/orders", [7], "", (400, "ERR_PUBSUB_EVENTS_SER")),
        ("bulk/bus/orders", [BYTES], "", (400, "ERR_PUBSUB_EVENTS_SER")),
        (
            "bulk/bus/orders",
            [{"entryId": "1", "event": "a"}, {"entryId": "1", "event": "b"}],
            "",
            (400, "ERR_PUBSUB_EVENTS_SER"),
        ),
    ],
)
def test_a_bad_request_is_refused_and_nothing_is_published(path, body, kind, expected):
    async def work(client, heard):
        headers = {"content_type": kind} if kind else {}
        answer = await client.call("POST", f"/v1.0/publish/{path}", body, **headers)
        assert heard.empty()
        return error(answer)[:2]

    assert with_client(work, SCOPES) == expected


def test_without_a_broker_none_is_found():
    async def work(client, heard):
        answer = await client.call("POST", "/v1.0/publish/bus/orders", b"")
        details = orjson.loads(answer.body)["details"]
        assert details[0]["reason"] == "DAPR_PUBSUB_NOT_FOUND"
        return error(answer)

    assert with_client(work, pubsub=False) == (
        404,
        "ERR_PUBSUB_NOT_FOUND",
        "pubsub bus is not found",
    )


def test_many_messages_go_at_once_each_with_its_own_type_and_metadata():
    raw = base64.b64encode(b"\x00\x01").decode()
    entries = [
        {"entryID": "1", "event": "text", "contenttype": "text/plain"},  # in any case
        {"entryId": "2", "event": {"a": 1}, "contentType": "application/json"},
        {**BYTES, "entryId": "3", "event": raw, "metadata": {"own": "1"}},
    ]

    async def work(client, heard):
        path = "/v1.0-alpha1/publish/bulk/bus/orders?metadata.all=2"
        assert (await client.call("POST", path, entries)).status == 204
        messages = [await heard.get() for _ in entries]
        first, second, third = (json.loads(each.data) for each in messages)
        assert (first["data"], second["data"], third["data_base64"]) == ("text", {"a": 1}, raw)
        # Those of the request are for entries that have some of their own.
        assert [dict(each.metadata) for each in messages] == [{}, {}, {"own": "1", "all": "2"}]


def test_a_bulk_request_is_raw_as_a_whole():
    entries = [
        {"entryId": "1", "event": "text", "contentType": "text/plain"},
        {"entryId": "2", "event": 5, "contentType": "a/b", "metadata": {"rawPayload": "false"}},
    ]

    async def work(client, heard):
        path = "/v1.0/publish/bulk/bus/orders?metadata.rawPayload=true"
        assert (await client.call("POST", path, entries[:1])).status == 204
        assert (await heard.get()).data == b"text"
        answer = await client.call("POST", path, entries)
        assert error(answer)[2].endswith("error: mismatch between contentType and event")

    with_client(work)


def test_the_entries_that_failed_are_named(monkeypatch):
    async def work(client, heard):
        async def half(requests):
            return [None, ComponentError("full")]

        broker = client.sidecar.runtime.find("pubsub", "bus")
        monkeypatch.setattr(broker, "bulk_publish", half)
        kind = {"event": "x", "contentType": "text/plain"}
        entries = [{"entryId": name, **kind} for name in ("1", "2")]
        answer = await client.call("POST", "/v1.0/publish/bulk/bus/orders", entries)
        assert (answer.status, json.loads(answer.body)) == (
            500,
            {
                "failedEntries": [{"entryId": "2", "error": "full"}],
                "errorCode": "ERR_PUBSUB_PUBLISH_MESSAGE",
            },
        )
        told = dict(answer.headers)
        assert told[b"metadata.responsedata"] == answer.body
        reason = b"error when publishing to topic orders in pubsub bus: full"
        assert told[b"metadata.error"] == b"api error: code = Internal desc = " + reason

    with_client(work)


def test_a_broker_that_fails_is_an_error(monkeypatch):
    async def work(client, heard):
        async def fail(request):
            raise ComponentError("no connection")

        broker = client.sidecar.runtime.find("pubsub", "bus")
        monkeypatch.setattr(broker, "publish", fail)
        return error(await client.call("POST", "/v1.0/publish/bus/orders", b"x"))

    assert with_client(work) == (
        500,
        "ERR_PUBSUB_PUBLISH_MESSAGE",
        "error when publishing to topic orders in pubsub bus: no connection",
    )
