"""Topics that a daprd and a meshproxy share: one group of takers, what one publishes and the other
takes, where its dead letters go.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.parity_daprd.blocks import component, subscription
from tests.parity_daprd.harness import Pair, Setup, Side
from tests.parity_daprd.recorder import Reply

JSON = {"content-type": "application/json"}
EMPTY = Reply(200, b"[]", (("content-type", "application/json"),))
BUSES = ("redis", "jetstream", "rabbit")
ANSWERS = {"refused": Reply(500), "dropped": Reply(200, b'{"status":"DROP"}')}
WAIT_S = 30.0


def topic_of(bus: str, name: str) -> str:
    return f"js.{name}" if bus.startswith("jetstream") else name


@pytest.fixture(scope="module")
def buses(_redis, nats_server, rabbitmq_server) -> str:
    _redis.client.flushall()
    nats_server.with_streams(ALL=["js.>"])
    return "".join(
        [
            component(
                "redis",
                "pubsub.redis",
                redisHost=_redis.address,
                processingTimeout="200ms",
                redeliverInterval="200ms",
            ),
            component(
                "jetstream",
                "pubsub.jetstream",
                natsURL=nats_server.url,
                durableName="shared",
                queueGroupName="shared",
            ),
            component(
                "rabbit",
                "pubsub.rabbitmq",
                connectionString=rabbitmq_server.url,
                enableDeadLetter=True,
                deletedWhenUnused=False,
                publishMessagePropertiesToMetadata=True,
            ),
        ]
    )


def setup(buses: str, *subscriptions: str, **answers: Reply) -> Setup:
    app = {
        "GET /dapr/subscribe": EMPTY,
        **{f"POST /{path}": each for path, each in answers.items()},
    }
    resources = {"all.yaml": "".join([buses, *subscriptions])}
    return Setup(app_id="parity", resources=resources, app=app)


@pytest.fixture(scope="module")
def running(buses) -> Iterator[Pair]:
    listed = [subscription(bus, topic_of(bus, "shared"), bus) for bus in BUSES]
    with Pair(setup(buses, *listed)) as both:
        for side in both.sides:
            for bus in BUSES:
                if side.kind == "meshproxy":
                    side.wait_for(f"app is subscribed to topic {topic_of(bus, 'shared')}")
        yield both


def publish(side: Side, bus: str, topic: str, data: Any) -> None:
    answer = side.http("POST", f"/v1.0/publish/{bus}/{topic}", data, JSON)
    assert answer.status == 204, answer


def eventually(what: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not ready():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.mark.parametrize("bus", BUSES)
def test_a_group_of_both_takes_each_message_once(running, bus):
    topic, sent = topic_of(bus, "shared"), []
    for side in running.sides:
        for number in range(20):
            publish(side, bus, topic, [side.kind, number])
            sent.append([side.kind, number])
    found: list[Any] = []
    takers = set()

    def all_of_them() -> bool:
        for side in running.sides:
            for request in side.app.all_for(f"/{bus}"):
                found.append(request["body"]["data"])
                takers.add(side.kind)
        return len(found) >= len(sent)

    eventually(f"{bus}: not all was taken", all_of_them)
    assert sorted(found) == sorted(sent)
    assert takers == {"daprd", "meshproxy"}, "one has taken everything"


@pytest.mark.parametrize("bus", ["redis", "rabbit"])
def test_dead_letters_are_the_same(bus, buses):
    """After a refusal, and after the app has dropped it.

    Not over JetStream: there the letter has the id of its message, and daprd's are lost by it.
    """
    found = {}
    for kind in ("daprd", "meshproxy"):
        names = {name: topic_of(bus, f"{name}-{kind}") for name in ("refused", "dropped")}
        dead = topic_of(bus, f"dead-{kind}")
        listed = [subscription(bus, topic, name, dead) for name, topic in names.items()]
        made = setup(buses, *listed, subscription(bus, dead, "dead"), **ANSWERS)
        with Side(kind, made) as side:
            if kind == "meshproxy":
                for topic in (*names.values(), dead):
                    side.wait_for(f"app is subscribed to topic {topic}")
            for topic in names.values():
                publish(side, bus, topic, {"about": topic.replace(kind, "")})
            assert side.app is not None
            letters = side.app.take("/dead", 2)
            found[kind] = sorted(each["body"]["data"]["about"] for each in letters)
    assert found["meshproxy"] == found["daprd"]
