"""How large a message may be, each way, over HTTP and gRPC; what of a bulk was not published."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from dapr.proto import api_v1 as pb
from google.protobuf import empty_pb2

from tests.parity_daprd.blocks import PUBSUB, STATE, component
from tests.parity_daprd.harness import DAPR, TIMEOUT_S, Pair, Setup, Side, as_dict, failure
from tests.parity_daprd.recorder import Reply

LIMIT = 64 * 1024
SIZES = [LIMIT - 200, LIMIT - 1, LIMIT, LIMIT + 1, LIMIT + 200, 4 * LIMIT]


@pytest.fixture(scope="module")
def running(_redis) -> Iterator[Pair]:
    _redis.client.execute_command("FLUSHALL")
    shared = {"redisHost": _redis.address}
    resources = {
        "all.yaml": STATE
        + PUBSUB
        + component("redis", "pubsub.redis", **shared)
        + component("large", "state.redis", keyPrefix="none", **shared)
    }
    for size in SIZES:
        _redis.client.hset(f"k{size}", mapping={"data": '"' + "x" * size + '"', "version": 1})
    app = {"GET /large": Reply(200, b"y" * 5 * LIMIT), "GET /dapr/subscribe": Reply(404)}
    with Pair(Setup(resources=resources, app=app, arguments=["--max-body-size", "64Ki"])) as both:
        yield both


def call(side: Side, method: str, request: Any, answer: type) -> Any:
    """One call of a client that takes any answer."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{side.grpc_port}", options) as channel:
        unary = channel.unary_unary(
            DAPR + method, lambda m: m.SerializeToString(), answer.FromString
        )
        try:
            found = as_dict(unary(request, timeout=TIMEOUT_S))
        except grpc.RpcError as error:
            return failure(error)
    return {"answer": len(str(found))}


@pytest.mark.parametrize("size", SIZES)
def test_messages_of_grpc(pair, size):
    def event(filled: int) -> Any:
        return pb.PublishEventRequest(pubsub_name="bus", topic="t", data=b"x" * filled)

    over = event(size).ByteSize() - size
    pair.same("a request of gRPC", call, "PublishEvent", event(size - over), empty_pb2.Empty)
    pair.same(
        "an answer of gRPC",
        call,
        "GetState",
        pb.GetStateRequest(store_name="large", key=f"k{size}"),
        pb.GetStateResponse,
    )


@pytest.mark.parametrize("size", SIZES)
def test_bodies_of_http(pair, size):
    def body(side: Side) -> Any:
        answer = side.http("GET", f"/v1.0/state/large/k{size}")
        return answer.status, len(str(answer.body))

    pair.same("an answer of HTTP", body)
    pair.same_http(
        "a request of HTTP" if size <= LIMIT else "body over the limit",
        "PUT",
        "/v1.0/metadata/x",
        b"x" * size,
    )
    pair.same_http(
        "invoke itself" if size <= LIMIT else "over the limit",
        "POST",
        "/v1.0/invoke/app/method/x",
        b"x" * size,
    )


def test_a_large_answer_of_the_app(pair):
    pair.same(
        "app answers", lambda side: len(side.http("GET", "/v1.0/invoke/app/method/large").body)
    )


BULKS = [
    [{"entryId": "1", "event": "a", "contentType": "text/plain"}, {"entryId": "1", "event": "b", "contentType": "text/plain"}],
    [{"entryId": "", "event": "a", "contentType": "text/plain"}], [{"event": "a", "contentType": "text/plain"}],
    [{"entryId": "1", "event": "a"}], [{"entryId": "1", "contentType": "text/plain"}], [{"entryId": "1", "event": {"a": 1}, "contentType": "application/json"}],
    [{"entryId": "1", "event": "a", "contentType": "application/cloudevents+json"}, {"entryId": "2", "event": "b", "contentType": "text/plain"}],
    [{"entryId": "1", "event": "x", "contentType": "application/octet-stream"}], [{"entryId": "1", "event": {"a": 1}, "contentType": "text/plain"}],
    [{"entryId": "1", "event": 5, "contentType": "text/plain"}], [{"entryId": 1, "event": "a", "contentType": "text/plain"}],
    [], {}, b"", b"x", None, [{"entryId": "1", "event": "a", "contentType": "text/plain", "metadata": {"ttlInSeconds": "x"}}],
    [{"entryId": "1", "event": "a", "contentType": "text/plain", "metadata": {"ttlInSeconds": 5}}], [{"entryId": "1", "event": "a", "contentType": "text/plain", "metadata": {"rawPayload": "true"}}],
    [{"entryId": "2", "event": "aGk=", "contentType": "application/octet-stream"}], [{"entryId": "3", "event": None, "contentType": "application/json"}], [1], [[]],
]  # fmt: skip


@pytest.mark.parametrize("bus", ["bus", "redis", "none", "scoped"])
def test_bulks(pair, bus):
    for body in BULKS:
        for query in ("", "?metadata.rawPayload=true", "?metadata.ttlInSeconds=x"):
            pair.same_http(
                f"bulk {bus} {body!r} {query}",
                "POST",
                f"/v1.0-alpha1/publish/bulk/{bus}/t{query}",
                body,
                {"content-type": "application/json"},
            )
    pair.same_http(
        f"bulk {bus} type",
        "POST",
        f"/v1.0/publish/bulk/{bus}/t",
        BULKS[0],
        {"content-type": "text/plain"},
    )


def test_bulks_over_grpc(pair):
    def bulk(*entries: Any, bus: str = "bus", **metadata: str) -> Any:
        listed = [pb.BulkPublishRequestEntry(**each) for each in entries]
        return pb.BulkPublishRequest(pubsub_name=bus, topic="t", entries=listed, metadata=metadata)

    one = {"entry_id": "1", "event": b"a", "content_type": "text/plain"}
    cases = {
        "none": bulk(), "one": bulk(one), "twice": bulk(one, one), "no id": bulk({**one, "entry_id": ""}), "no type": bulk({**one, "content_type": ""}),
        "no event": bulk({**one, "event": b""}), "bad event": bulk({**one, "content_type": "application/cloudevents+json"}, {**one, "entry_id": "2"}),
        "bad JSON": bulk({**one, "content_type": "application/json"}), "ttl": bulk(one, ttlInSeconds="x"), "unknown": bulk(one, bus="none"), "own ttl": bulk({**one, "metadata": {"ttlInSeconds": "x"}}),
        "redis": bulk(one, bus="redis"), "scoped": bulk(one, bus="scoped"), "no bus": bulk(one, bus=""),
    }  # fmt: skip
    for name, request in cases.items():
        for method in ("BulkPublishEventAlpha1", "BulkPublishEvent"):
            pair.same_grpc(f"grpc bulk {name}", method, request, pb.BulkPublishResponse)


def test_a_broker_that_is_gone(redis_server):
    """What is answered of a bulk that the broker has refused."""
    user = "of-parity"
    redis_server.client.execute_command(
        "ACL", "SETUSER", user, "on", ">pw", "~*", "&*", "+@all", "-xadd"
    )
    bus = component(
        "deaf",
        "pubsub.redis",
        redisHost=redis_server.address,
        redisUsername=user,
        redisPassword="pw",
    )
    with Pair(Setup(resources={"bus.yaml": bus})) as pair:
        body = [{"entryId": "1", "event": "a", "contentType": "text/plain"}]
        pair.same("refused bulk", refused, body)
        pair.same_http("refused", "POST", "/v1.0/publish/deaf/t", b"x")
        entries = [pb.BulkPublishRequestEntry(entry_id="1", event=b"a", content_type="text/plain")]
        request = pb.BulkPublishRequest(pubsub_name="deaf", topic="t", entries=entries)
        pair.same_grpc("grpc refused bulk", "BulkPublishEvent", request, pb.BulkPublishResponse)
        single = pb.PublishEventRequest(pubsub_name="deaf", topic="t", data=b"x")
        pair.same_grpc("grpc refused", "PublishEvent", single, empty_pb2.Empty)
        pair.check()


def refused(side: Side, body: Any) -> Any:
    """The header that repeats the body is compared as that."""
    answer = side.http("POST", "/v1.0/publish/bulk/deaf/t", body)
    (told,) = answer.headers.pop("metadata.responsedata")
    return answer._asdict(), json.loads(told) == answer.body
