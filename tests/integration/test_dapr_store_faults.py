"""What happens to state when its store is full, slow or cut off from the sidecar.

What was acknowledged is there, a transaction is there whole or not at all, and what is not known to
have happened is answered with a 5xx. What is killed is the matter of `test_dapr_store_kills.py`.
"""

import resource
import select
import socket
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Self

import pytest

from tests.support.processes import STOP_TIMEOUT_S, rss_bytes
from tests.support.sidecar import Answer, Sidecar
from tests.support.state_writer import resources, values

DRIFT = 50_000_000  # bytes


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
        resources(tmp_path, "store", "state.redis", redisHost=address)
        with Sidecar("app", "--resources-path", str(tmp_path)) as sidecar:
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
    resources(tmp_path, "store", "state.sqlite", connectionString=str(path))
    big = "x" * 300_000

    def save(sidecar: Sidecar, key: str, value: object = big) -> Answer:
        return sidecar.call("POST", "/v1.0/state/store", [{"key": key, "value": value}])

    with Sidecar("app", "--resources-path", str(tmp_path)) as sidecar:
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
    resources(tmp_path, "store", "state.sqlite", connectionString=str(path), busyTimeout="60s")
    with (
        Sidecar("app", "--resources-path", str(tmp_path)) as sidecar,
        ThreadPoolExecutor(1) as threads,
    ):
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
    resources(tmp_path, "store", "state.in-memory")
    keys = [f"key-{number}" for number in range(10_000)]
    with Sidecar("app", "--resources-path", str(tmp_path)) as sidecar:
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
