"""`state.sqlite`: the layout on disk, what is refused, and other processes on the same file."""

import asyncio
import sqlite3

import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.state.sqlite import SqliteStateStore
from meshproxy.dapr.state.store import GetRequest, SetRequest
from tests.dapr.support import run

NOW = 1_700_000_000.0


async def opened(path, **metadata: str) -> SqliteStateStore:
    store = SqliteStateStore(ComponentContext("s", clock=lambda: NOW))
    await store.init(Metadata({"connectionString": str(path), **metadata}))
    return store


def rows(path, statement: str) -> list[tuple]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def test_the_layout_is_that_of_daprd(tmp_path):
    path = tmp_path / "s.db"

    async def main():
        store = await opened(path)
        await store.set(SetRequest("app||a", b'{"x":1}', ttl=60))
        await store.set(SetRequest("app||b", b"\x00\xff", binary=True))
        await store.close()

    run(main())
    assert rows(path, "SELECT key, value, is_binary, expiration_time, update_time FROM state") == [
        ("app||a", '{"x":1}', 0, "2023-11-14 22:14:20", "2023-11-14 22:13:20"),
        ("app||b", "AP8=", 1, None, "2023-11-14 22:13:20"),
    ]
    assert all(len(etag) == 36 for (etag,) in rows(path, "SELECT etag FROM state"))
    assert rows(path, "SELECT * FROM metadata") == [("migrations", "1")]
    assert rows(path, "PRAGMA journal_mode") == [("wal",)]


def test_data_of_daprd_is_read(tmp_path):
    path = tmp_path / "s.db"
    run(async_close(opened(path)))
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(
            "INSERT INTO state (key, value, is_binary, etag, expiration_time) VALUES "
            "('app||k', '\"v\"', false, 'e-tag', DATETIME('2023-11-14 22:13:20', '+5 seconds'))"
        )
    connection.close()

    async def main():
        store = await opened(path)
        item = await store.get(GetRequest("app||k"))
        assert (item.value, item.etag, item.expires) == (b'"v"', "e-tag", NOW + 5)
        await store.close()

    run(main())


async def async_close(opening) -> None:
    await (await opening).close()


def test_what_was_written_is_there_after_a_start(tmp_path):
    async def main():
        store = await opened(tmp_path / "s.db")
        await store.set(SetRequest("k", b"1"))
        await store.close()
        store = await opened(tmp_path / "s.db")
        assert (await store.get(GetRequest("k"))).value == b"1"
        await store.close()

    run(main())


def test_tables_can_have_other_names(tmp_path):
    run(async_close(opened(tmp_path / "s.db", tableName="mine", metadataTableName="meta")))
    names = {name for (name,) in rows(tmp_path / "s.db", "SELECT name FROM sqlite_master")}
    assert {"mine", "meta"} <= names


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"connectionString": ""}, "missing connection string"),
        ({"tableName": "x; DROP TABLE y"}, "invalid table name 'x; DROP TABLE y'"),
        ({"metadataTableName": "a b"}, "invalid table name 'a b'"),
        ({"cleanupInterval": "soon"}, "cleanupInterval: 'soon' is not a duration"),
        ({"connectionString": "/none/s.db"}, "SQLite: unable to open database file"),
    ],
)
def test_bad_metadata_is_refused(tmp_path, metadata, message):
    with pytest.raises(ComponentError, match=message):
        run(opened(tmp_path / "s.db", **metadata))


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "s.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(ComponentError, match="SQLite: file is not a database"):
        run(opened(tmp_path / "s.db"))


def test_a_newer_layout_is_refused(tmp_path):
    run(async_close(opened(tmp_path / "s.db")))
    connection = sqlite3.connect(tmp_path / "s.db")
    with connection:
        connection.execute("UPDATE metadata SET value = '7'")
    connection.close()
    with pytest.raises(ComponentError, match="has the layout 7 of a newer daprd"):
        run(opened(tmp_path / "s.db"))


def test_a_locked_database_is_an_error_and_nothing_is_written(tmp_path):
    path = tmp_path / "s.db"

    async def main():
        store = await opened(path, busyTimeout="1ms")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ComponentError, match="database is locked"):
            await store.set(SetRequest("k", b"1"))
        other.rollback()
        other.close()
        assert await store.get(GetRequest("k")) is None
        await store.close()

    run(main())


def test_what_has_expired_is_removed(tmp_path):
    async def main():
        store = await opened(tmp_path / "s.db")
        await store.set(SetRequest("k", b"1", ttl=1))
        await store.set(SetRequest("stays", b"1"))
        store._context = ComponentContext("s", clock=lambda: NOW + 5)
        assert await store.remove_expired() == 1
        await store.close()

    run(main())
    assert rows(tmp_path / "s.db", "SELECT key FROM state") == [("stays",)]


def test_a_cleanup_is_noted_down_and_nobody_does_it_again_soon(tmp_path):
    async def main():
        store = await opened(tmp_path / "s.db")
        found = [await store.may_clean_up(interval) for interval in (3600.0, 3600.0, -1.0)]
        await store.close()
        return found

    assert run(main()) == [True, False, True]
    keys = rows(tmp_path / "s.db", "SELECT key FROM metadata ORDER BY key")
    assert keys == [("last-cleanup",), ("migrations",)]


def test_calls_at_one_time_do_not_lose_a_write(tmp_path):
    async def main():
        store = await opened(tmp_path / "s.db")
        await store.set(SetRequest("k", b"0"))

        async def add() -> None:
            while True:
                item = await store.get(GetRequest("k"))
                try:
                    await store.set(SetRequest("k", b"%d" % (int(item.value) + 1), etag=item.etag))
                except ComponentError:
                    continue
                return

        await asyncio.gather(*(add() for _ in range(20)))
        assert (await store.get(GetRequest("k"))).value == b"20"
        await store.close()

    run(main())
