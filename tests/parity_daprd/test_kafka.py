"""Kafka that a daprd and a meshproxy share: records, partitions, groups, refusals, bindings."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.parity_daprd.blocks import component, subscription
from tests.parity_daprd.harness import Pair, Setup, Side
from tests.parity_daprd.recorder import Reply
from tests.parity_daprd.test_pubsub_data import EMPTY, JSON, eventually

WAIT_S = 60.0
KEYS = [f"key-{number}" for number in range(40)]
FIRST_REFUSED = 4.0  # seconds that pass at least until a refused record comes again, by default


class Refusing:
    """Refuses each body once."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)

    def __call__(self, request: dict[str, Any]) -> Reply:
        times = self.times[str(request["body"]["data"])]
        times.append(time.monotonic())
        return Reply(500 if len(times) == 1 else 200)


def setup(address: str) -> Setup:
    common = {"brokers": address, "authType": "none", "initialOffset": "oldest"}
    resources = [
        component("own", "pubsub.kafka", consumerGroup="{group}", **common),
        component("shared", "pubsub.kafka", consumerGroup="both", **common),
        component(
            "fast", "pubsub.kafka", consumerGroup="{group}-f", backOffDuration="300ms", **common
        ),
        component(
            "bound", "bindings.kafka", consumerGroup="{group}-b", topics="bound",
            publishTopic="bound", direction="input, output", **common,
        ),
        subscription("own", "seen", "seen"),
        subscription("own", "refused", "refused"),
        subscription("fast", "fast", "fast"),
        subscription("shared", "spread", "spread"),
    ]  # fmt: skip
    return Setup(
        app_id="parity",
        resources={"all.yaml": "".join(resources)},
        app={"GET /dapr/subscribe": EMPTY, "OPTIONS /bound": Reply()},
        values={"group": ("of-daprd", "of-meshproxy")},
    )


async def made(address: str, topics: tuple[str, ...]) -> None:
    """Topics that are there before anybody asks for them have all their partitions at once."""
    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        for topic in topics:
            await producer.partitions_for(topic)


@pytest.fixture(scope="module")
def running(kafka_server) -> Iterator[Pair]:
    asyncio.run(made(kafka_server.address, ("seen", "refused", "fast", "spread", "bound", "raw")))
    with Pair(setup(kafka_server.address)) as both:
        for side in both.sides:
            side.app.replies["POST /refused"] = Refusing()
            side.app.replies["POST /fast"] = Refusing()
        yield both


def publish(side: Side, bus: str, topic: str, data: Any, query: str = "") -> None:
    answer = side.http("POST", f"/v1.0/publish/{bus}/{topic}{query}", data, JSON)
    assert answer.status == 204, answer


def records(address: str, topic: str, count: int) -> list[Any]:
    """What is stored in a topic."""

    async def main() -> list[Any]:
        found: list[Any] = []
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=address, auto_offset_reset="earliest")
        async with consumer, asyncio.timeout(WAIT_S):
            while len(found) < count:
                for each in (await consumer.getmany(timeout_ms=500)).values():
                    found += each
        return found

    return asyncio.run(main())


def test_both_write_the_same_record(pair, kafka_server):
    address = kafka_server.address
    for query in (
        "?metadata.rawPayload=true&metadata.partitionKey=k&metadata.other=x%20y",
        "?metadata.rawPayload=true&metadata.__key=k",
        "?metadata.rawPayload=true&metadata.partitionNumber=1",
    ):
        path = f"/v1.0/publish/own/raw{query}"
        pair.same("status", lambda side, path=path: side.http("POST", path, 7))
    # Without a key and a number any partition will do.
    found = sorted(
        (each.key or b"", each.value, sorted(each.headers), each.partition)
        for each in records(address, "raw", 6)
    )
    assert found[0::2] == found[1::2]


def test_a_key_goes_to_the_same_partition(pair, kafka_server):
    for side in pair.sides:
        for key in KEYS:
            publish(side, "own", "keys", key, f"?metadata.partitionKey={key}")
    places = defaultdict(set)
    for each in records(kafka_server.address, "keys", 2 * len(KEYS)):
        places[each.key].add(each.partition)
    assert len(places) == len(KEYS)
    assert all(len(each) == 1 for each in places.values())
    assert len(set.union(*places.values())) > 1


def test_each_takes_what_the_other_publishes_alike(pair):
    for number, side in enumerate(pair.sides):
        publish(side, "own", "seen", {"n": number}, "?metadata.partitionKey=k&metadata.note=v")

    def taken(side: Side) -> Any:
        found = side.app.take("/seen", 2)
        shown = [_without_ids(each) for each in found]
        return sorted(shown, key=lambda each: each["body"]["data"]["n"])

    pair.same("taken from Kafka", taken)


def _without_ids(request: dict[str, Any]) -> dict[str, Any]:
    headers = {name: each for name, each in request["headers"].items() if "trace" not in name}
    body = {name: each for name, each in request["body"].items() if "trace" not in name}
    return {**request, "headers": headers, "body": body}


def test_a_bulk_is_stored_alike(pair, kafka_server):
    bulk = [
        {"entryId": str(n), "event": f"e{n}", "contentType": "text/plain",
         "metadata": {"partitionKey": f"k{n}"}}
        for n in range(5)
    ]  # fmt: skip
    path = "/v1.0-alpha1/publish/bulk/own/bulk?metadata.rawPayload=true&metadata.all=1"
    pair.same("bulk", lambda side: side.http("POST", path, bulk, JSON))
    found = sorted(
        (each.partition, each.key, each.value, sorted(each.headers))
        for each in records(kafka_server.address, "bulk", 10)
    )
    assert found[0::2] == found[1::2]


def test_a_group_of_both_takes_each_record_once(pair):
    sent, found, takers = [], [], set()
    for side in pair.sides:
        for key in KEYS:
            publish(side, "shared", "spread", f"{side.kind} {key}", f"?metadata.partitionKey={key}")
            sent.append(f"{side.kind} {key}")

    def all_of_them() -> bool:
        for side in pair.sides:
            for request in side.app.all_for("/spread"):
                found.append(request["body"]["data"])
                takers.add(side.kind)
        return len(set(found)) >= len(sent)

    eventually("not all was taken", all_of_them)
    assert sorted(found) == sorted(sent)
    assert takers == {"daprd", "meshproxy"}, "one has taken everything"


@pytest.mark.parametrize(("bus", "longest"), [("own", 15.0), ("fast", FIRST_REFUSED)])
def test_a_refused_record_comes_again_as_soon(pair, bus, longest):
    topic = "refused" if bus == "own" else "fast"
    publish(pair.daprd, bus, topic, "x")
    for side in pair.sides:
        side.app.take(f"/{topic}", 2)
        first, second = side.app.replies[f"POST /{topic}"].times["x"]
        least = FIRST_REFUSED if bus == "own" else 0.2
        assert least < second - first < longest, side.kind


def test_bindings_give_and_take_alike(pair):
    body = {"operation": "create", "data": {"n": 1}, "metadata": {"partitionKey": "k", "x": "y"}}
    pair.same("create", lambda side: side.http("POST", "/v1.0/bindings/bound", body))

    def taken(side: Side) -> Any:
        found = side.app.take("/bound", 2)
        kept = ("partitionkey", "x", "__key", "__topic", "__partition", "content-type")
        return [(each["body"], {k: each["headers"].get(k) for k in kept}) for each in found]

    pair.same("bound", taken)
