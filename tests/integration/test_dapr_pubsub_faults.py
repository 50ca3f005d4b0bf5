"""Messages while broker, sidecar and app are killed in turn: what was acknowledged arrives.

Of brokers that keep messages; Mosquitto is ended in order, as it acknowledges before it writes.
"""

import itertools
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.eventually import eventually
from tests.support.mosquitto_server import MosquittoServer
from tests.support.nats_server import NatsServer
from tests.support.rabbitmq_server import RabbitServer
from tests.support.recording_app import RecordingApp
from tests.support.redis_server import RedisServer
from tests.support.server_process import end
from tests.support.sidecar import Sidecar
from tests.support.toolchains import without

PATIENCE = 120
SENDERS = 2
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


class SavingMosquitto(MosquittoServer):
    """Writes its sessions when it ends, not after each message: that would be all of them."""

    saving = ""

    def kill(self) -> None:
        """Not `kill -9`: messages that it has acknowledged would be lost by itself."""
        end(self.process, self.ends_by)


def _mqtt3(server: MosquittoServer) -> dict[str, str]:
    return {"url": server.url, "qos": "1", "cleanSession": "false", "concurrency": "parallel"}


BROKERS: dict[str, tuple[Any, Callable[[Any], dict[str, str]]]] = {
    "pubsub.jetstream": (NatsServer, _jetstream),
    "pubsub.mqtt3": (SavingMosquitto, _mqtt3),
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
        sidecar = self.sidecar
        assert sidecar is not None
        try:
            answer = sidecar.call("POST", "/v1.0/publish/bulk/bus/orders", entries)
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


class Senders:
    """Threads that publish all the time, also while something is away. Use as a context manager."""

    def __init__(self, stage: Stage, at_a_time: int) -> None:
        self.acknowledged: set[str] = set()
        self._stage = stage
        self._at_a_time = at_a_time
        self._over = threading.Event()
        self._most = 0
        self._threads = ThreadPoolExecutor(SENDERS)

    def __enter__(self) -> Self:
        self._running = [self._threads.submit(self._send) for _ in range(SENDERS)]
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self._threads.shutdown()
        if failure[0] is None:
            for each in self._running:
                each.result()

    def until(self, enough: float) -> None:
        """Until so many are acknowledged. Raises AssertionError when none is for a long time."""
        while (before := len(self.acknowledged)) < enough:
            eventually(lambda before=before: len(self.acknowledged) > before, PATIENCE)

    def _send(self) -> None:
        while not self._over.is_set():
            sent = self._stage.send(self._at_a_time)
            self.acknowledged.update(sent)
            if not sent:
                time.sleep(0.05)  # the broker is not found again yet


def storm(stage: Stage, seed: str, *, count: int, kills: int, at_a_time: int) -> None:
    """Prints what has happened; nothing that was acknowledged may be missing."""
    started = time.monotonic()
    turns = victims(seed)
    killed: Counter[str] = Counter()
    with Senders(stage, at_a_time) as senders:
        for number in range(1, kills + 1):
            senders.until(count * number / (kills + 1))
            victim = next(turns)
            stage.kill(victim)
            killed[victim] += 1
        senders.until(count)
    acknowledged = senders.acknowledged
    try:
        eventually(lambda: acknowledged <= set(stage.app.taken), PATIENCE)
    finally:
        taken = stage.app.taken
        lost, again = len(acknowledged - set(taken)), len(taken) - len(set(taken))
        print(
            f"\n{seed}: {dict(killed)} killed, {len(acknowledged)} acknowledged, {lost} lost, ",
            end="",
        )
        print(f"{again} duplicates, {time.monotonic() - started:.0f} s")


@pytest.mark.parametrize("kind", sorted(BROKERS))
def test_no_acknowledged_message_is_lost_when_broker_sidecar_and_app_are_killed(kind, tmp_path):
    with Stage(kind, tmp_path, bulk=False) as stage:
        storm(stage, kind, count=300, kills=3, at_a_time=10)


@pytest.mark.long
@pytest.mark.parametrize("kind", sorted(BROKERS))
def test_none_of_100_000_acknowledged_messages_is_lost(kind, tmp_path):
    with Stage(kind, tmp_path, bulk=True) as stage:
        storm(stage, kind, count=100_000, kills=30, at_a_time=100)
