"""Messages while broker, sidecar and app are killed in turn: what was acknowledged arrives."""

import itertools
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.eventually import eventually
from tests.support.nats_server import NatsServer
from tests.support.rabbitmq_server import RabbitServer
from tests.support.recording_app import RecordingApp
from tests.support.redis_server import RedisServer
from tests.support.sidecar import Sidecar
from tests.support.toolchains import without

PATIENCE = 120
COMPONENT = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: bus}}
spec:
  type: {type}
  ignoreErrors: true
  metadata: [{metadata}]
"""


def _redis(server: RedisServer) -> dict[str, str]:
    fast = {"processingTimeout": "300ms", "redeliverInterval": "100ms", "concurrency": "50"}
    return {"redisHost": server.address, "redisMaxRetries": "0", **fast}


def _jetstream(server: NatsServer) -> dict[str, str]:
    return {"natsURL": server.url, "durableName": "app", "concurrency": "parallel"}


def _rabbitmq(server: RabbitServer) -> dict[str, str]:
    kept = {"durable": "true", "deletedWhenUnused": "false", "deliveryMode": "2"}
    more = {"requeueInFailure": "true", "reconnectWaitSeconds": "100ms", "prefetchCount": "200"}
    return {"connectionString": server.url, **kept, **more}


BROKERS: dict[str, tuple[Any, Callable[[Any], dict[str, str]]]] = {
    "pubsub.jetstream": (NatsServer, _jetstream),
    "pubsub.rabbitmq": (RabbitServer, _rabbitmq),
    "pubsub.redis": (RedisServer, _redis),
}


class Stage:
    """Broker, app and sidecar as processes; `send` gives back the ids that were acknowledged."""

    def __init__(self, kind: str, folder: Path, *, bulk: bool) -> None:
        self._kind = kind
        self._folder = folder
        self._bulk = bulk
        server, self._metadata_of = BROKERS[kind]
        if not server.available():
            without(f"no server for {kind}")
        self.server = server()
        self.app = RecordingApp(bulk=bulk)
        self.sidecar: Sidecar | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.push(self.__exit__)  # what has started ends where the next does not
            self._start()
            stack.pop_all()
        return self

    def _start(self) -> None:
        self.server.__enter__()
        self.app.__enter__()
        if isinstance(self.server, NatsServer):
            self.server.with_streams(ORDERS=["orders"])
        items = self._metadata_of(self.server).items()
        listed = ", ".join(f'{{name: {name}, value: "{value}"}}' for name, value in items)
        text = COMPONENT.format(type=self._kind, metadata=listed)
        (self._folder / "bus.yaml").write_text(text)
        self._start_sidecar()

    def __exit__(self, *failure: object) -> None:
        if self.sidecar is not None:
            self.sidecar.__exit__()
        self.app.__exit__()
        self.server.__exit__()

    def _start_sidecar(self) -> None:
        arguments = ["--app-port", str(self.app.port), "--resources-path", str(self._folder)]
        self.sidecar = Sidecar("app", *arguments).__enter__()
        self.sidecar.wait_for("app is subscribed to topic orders")

    def kill(self, victim: str) -> None:
        """As by `kill -9`, and start it again."""
        if victim == "sidecar":
            assert self.sidecar is not None
            self.sidecar.__exit__()
            self._start_sidecar()
            return
        process = self.server if victim == "broker" else self.app
        process.kill()
        self.send(1)  # with it away: whatever comes of it
        process.start()

    def send(self, number: int) -> list[str]:
        ids = [uuid.uuid4().hex for _ in range(number)]
        entries = [
            {
                "entryId": name,
                "event": {"id": name, "data": 1},
                "contentType": "application/cloudevents+json",
            }
            for name in ids
        ]
        assert self.sidecar is not None
        try:
            answer = self.sidecar.call("POST", "/v1.0/publish/bulk/bus/orders", entries)
        except (OSError, HTTPException):
            return []
        if answer.status == 204:
            return ids
        failed = {each["entryId"] for each in answer.json.get("failedEntries", ())}
        return [name for name in ids if name not in failed] if failed else []


def victims(seed: str) -> Iterator[str]:
    """In a random order, and each as often as the others."""
    chance = random.Random(seed)
    for _ in itertools.count():
        all_of_them = ["app", "broker", "sidecar"]
        chance.shuffle(all_of_them)
        yield from all_of_them


def send_until(stage: Stage, acknowledged: set[str], enough: float, at_a_time: int) -> None:
    """Send until so many are acknowledged. Raises AssertionError when none is for a long time."""
    last = time.monotonic()
    while len(acknowledged) < enough:
        sent = stage.send(at_a_time)
        acknowledged.update(sent)
        if sent:
            last = time.monotonic()
            continue
        assert time.monotonic() - last < PATIENCE, f"{len(acknowledged)} acknowledged, no more"
        time.sleep(0.05)  # the broker is not found again yet


def storm(stage: Stage, seed: str, *, count: int, kills: int, at_a_time: int) -> tuple[int, int]:
    """How many were acknowledged, and how many deliveries there were."""
    acknowledged: set[str] = set()
    turns = victims(seed)
    for number in range(1, kills + 1):
        send_until(stage, acknowledged, count * number / (kills + 1), at_a_time)
        stage.kill(next(turns))
    send_until(stage, acknowledged, count, at_a_time)
    eventually(lambda: acknowledged <= set(stage.app.taken), PATIENCE)
    return len(acknowledged), len(stage.app.taken)


@pytest.mark.parametrize("kind", sorted(BROKERS))
def test_no_acknowledged_message_is_lost_when_broker_sidecar_and_app_are_killed(kind, tmp_path):
    with Stage(kind, tmp_path, bulk=False) as stage:
        acknowledged, _ = storm(stage, kind, count=300, kills=3, at_a_time=10)
        assert acknowledged >= 300


@pytest.mark.long
@pytest.mark.parametrize("kind", sorted(BROKERS))
def test_none_of_100_000_acknowledged_messages_is_lost(kind, tmp_path):
    with Stage(kind, tmp_path, bulk=True) as stage:
        started = time.monotonic()
        acknowledged, deliveries = storm(stage, kind, count=100_000, kills=30, at_a_time=100)
        seconds = time.monotonic() - started
        print(f"\n{kind}: {acknowledged} acknowledged, {deliveries} deliveries, {seconds:.0f}s")
        assert acknowledged >= 100_000
