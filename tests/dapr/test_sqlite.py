"""Transactions that wait for one another are committed together, and each stays its own."""

import asyncio
import sqlite3
import threading

import pytest

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.sqlite import Database, table_name
from tests.dapr.support import run


class Gate:
    """Work that keeps the thread busy until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def __call__(self, connection) -> None:
        self.open.wait(20)


def insert(value, fail=None):
    def work(connection):
        connection.execute("INSERT INTO t VALUES (?)", (value,))
        if fail is not None:
            raise fail
        return value

    return work


def with_database(tmp_path, work):
    async def main():
        database = Database(str(tmp_path / "x.db"), 1.0)
        await database.open()
        try:
            await database.run(lambda c: c.execute("CREATE TABLE t (v UNIQUE)"))
            return await work(database)
        finally:
            await database.close()

    return run(main())


async def all_behind_a_gate(database, works):
    """What each of these transactions came to, all asked for while the thread was busy."""
    gate, commits = Gate(), []
    await database.run(lambda c: c.set_trace_callback(commits.append))
    busy = asyncio.ensure_future(database.run(gate))  # noqa: TID251 (a test awaits it)
    asked = [asyncio.ensure_future(database.transaction(work)) for work in works]  # noqa: TID251
    await asyncio.sleep(0)
    gate.open.set()
    await busy
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    await database.run(lambda c: c.set_trace_callback(None))
    return outcomes, commits.count("COMMIT")


async def values(database):
    return [row[0] for row in await database.run(lambda c: c.execute("SELECT v FROM t").fetchall())]


def test_what_waits_is_committed_once(tmp_path):
    async def work(database):
        found, commits = await all_behind_a_gate(database, [insert(n) for n in range(50)])
        return found, commits, await values(database)

    assert with_database(tmp_path, work) == (list(range(50)), 1, list(range(50)))


def test_one_that_fails_undoes_itself_alone(tmp_path):
    wrong = ValueError("mine")

    async def work(database):
        works = [insert(1), insert(2, wrong), insert(3), insert(3), insert(4)]
        found, commits = await all_behind_a_gate(database, works)
        return found, commits, await values(database)

    found, commits, left = with_database(tmp_path, work)
    assert (left, commits) == ([1, 3, 4], 1)
    assert found[:3] == [1, wrong, 3]
    assert isinstance(found[3], ComponentError)
    assert "UNIQUE" in str(found[3])


def test_one_that_ends_the_whole_transaction_leaves_the_others_whole(tmp_path):
    def guilty(connection):
        connection.execute("INSERT OR ROLLBACK INTO t VALUES (1)")

    async def work(database):
        found, _ = await all_behind_a_gate(database, [insert(1), guilty, insert(2)])
        return found, await values(database)

    (first, second, third), left = with_database(tmp_path, work)
    assert (first, third, left) == (1, 2, [1, 2])
    assert isinstance(second, ComponentError)


def test_nobody_is_told_of_success_when_the_commit_fails(tmp_path):
    async def work(database):
        await database.run(lambda c: c.execute("PRAGMA foreign_keys = ON"))
        await database.run(lambda c: c.execute("CREATE TABLE p (id PRIMARY KEY)"))
        await database.run(
            lambda c: c.execute("CREATE TABLE c (p REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED)")
        )

        def orphan(connection):
            connection.execute("INSERT INTO c VALUES (1)")

        found, _ = await all_behind_a_gate(database, [insert(1), orphan])
        return found, await values(database)

    (first, second), left = with_database(tmp_path, work)
    assert (first, left) == (1, [1])
    assert isinstance(second, ComponentError)
    assert "FOREIGN KEY" in str(second)


def test_a_lock_that_stays_is_waited_for_once_by_all(tmp_path):
    async def work(database):
        other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await database.run(lambda c: c.execute("PRAGMA busy_timeout = 1"))
        found, _ = await all_behind_a_gate(database, [insert(n) for n in range(300)])
        other.close()
        return found, await values(database)

    found, left = with_database(tmp_path, work)
    assert left == []
    assert all("locked" in str(each) for each in found)


def test_a_table_name_is_an_identifier():
    assert table_name("state_1") == "state_1"
    for name in ("", "1a", "a b", 'a"; DROP TABLE t; --', "a.b", "é"):
        with pytest.raises(ComponentError, match="invalid table name"):
            table_name(name)


def test_a_file_that_another_writes_in_the_old_mode_is_waited_for(tmp_path, monkeypatch):
    """SQLite itself does not wait there: it takes it for a deadlock."""
    path = str(tmp_path / "x.db")
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE t (v)")
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO t VALUES (1)")
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            other.execute("COMMIT")

    monkeypatch.setattr("meshproxy.dapr.sqlite._pause", pause)

    async def main(busy):
        database = Database(path, busy)
        try:
            await database.open()
            return await database.run(lambda c: c.execute("SELECT count(*) FROM t").fetchall())
        finally:
            await database.close()

    with pytest.raises(ComponentError, match="locked"):
        run(main(0.0))
    assert run(main(20.0)) == [(1,)]
    other.close()


def test_what_is_not_durable_waits_for_no_disk(tmp_path):
    async def main():
        found = []
        for durable in (True, False):
            database = Database(str(tmp_path / "x.db"), 1.0, durable=durable)
            await database.open()
            found += await database.run(lambda c: c.execute("PRAGMA synchronous").fetchone())
            await database.close()
        return found

    assert run(main()) == [2, 1]  # FULL, NORMAL
