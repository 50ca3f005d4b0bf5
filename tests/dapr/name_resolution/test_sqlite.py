"""The registry of sidecars in a SQLite file: who is found, for how long, and its layout."""

import os
import sqlite3

import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError, Identity, Metadata
from meshproxy.dapr.name_resolution.sqlite import SqliteNameResolver, default_file
from tests.dapr.support import run


class World:
    """Resolvers of several apps over one file, at one time."""

    def __init__(self, path) -> None:
        self.path = path
        self.now = 1_700_000_000.0
        self.open: list[SqliteNameResolver] = []

    async def sidecar(self, app_id: str, address: str = "", namespace: str = ""):
        context = ComponentContext("n", Identity(app_id, namespace), clock=lambda: self.now)
        made = SqliteNameResolver(context)
        await made.init(Metadata({"connectionString": str(self.path)}))
        if address:
            await made.register(address)
        self.open.append(made)
        return made

    async def close(self) -> None:
        for each in self.open:
            await each._context.owner.close()
            await each.close()


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "names.db")


def test_sidecars_find_each_other_until_they_leave(world):
    async def main():
        one = await world.sidecar("one", "127.0.0.1:1")
        two = await world.sidecar("two", "127.0.0.1:2")
        await world.sidecar("two", "127.0.0.1:3")
        await world.sidecar("two", "127.0.0.1:4", namespace="other")
        assert await one.resolve("two", "") == ["127.0.0.1:2", "127.0.0.1:3"]
        assert await one.resolve("two", "other") == ["127.0.0.1:4"]
        assert await one.resolve("none", "") == []
        await two.close()
        assert await one.resolve("two", "") == ["127.0.0.1:3"]
        await world.close()

    run(main())


def test_who_does_not_renew_is_not_found_any_more(world):
    async def main():
        one = await world.sidecar("one", "127.0.0.1:1")
        world.now += 4
        assert await one.resolve("one", "") == ["127.0.0.1:1"]
        world.now += 2
        assert await one.resolve("one", "") == []
        await one._write()
        assert await one.resolve("one", "") == ["127.0.0.1:1"]
        await world.close()

    run(main())


def test_an_address_belongs_to_whom_registered_last(world):
    async def main():
        one = await world.sidecar("one", "127.0.0.1:1")
        await world.sidecar("two", "127.0.0.1:1")
        assert await one.resolve("one", "") == []
        assert await one.resolve("two", "") == ["127.0.0.1:1"]
        await world.close()

    run(main())


def test_old_rows_are_removed_and_the_layout_is_that_of_daprd(world):
    async def main():
        await world.sidecar("one", "127.0.0.1:1")
        world.now += 3601
        await world.sidecar("two", "127.0.0.1:2", "ns")
        connection = sqlite3.connect(world.path)
        rows = connection.execute("SELECT address, app_id, namespace, last_update FROM hosts")
        assert rows.fetchall() == [("127.0.0.1:2", "two", "ns", 1_700_003_601)]
        level = connection.execute("SELECT value FROM metadata WHERE key = 'nr-migrations'")
        assert level.fetchall() == [("1",)]
        connection.close()
        await world.close()

    run(main())


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"tableName": "a b"}, "invalid table name"),
        ({"updateInterval": "1s", "timeout": "2s"}, "must be greater than timeout"),
        ({"connectionString": "/none/x.db"}, "unable to open database file"),
    ],
)
def test_bad_metadata_is_refused(tmp_path, metadata, message):
    values = {"connectionString": str(tmp_path / "x.db"), **metadata}
    with pytest.raises(ComponentError, match=message):
        run(SqliteNameResolver(ComponentContext("n")).init(Metadata(values)))


def test_the_default_file_is_in_a_folder_of_the_users_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = default_file()
    folder = tmp_path / f"meshproxy-{os.getuid()}"
    assert path == str(folder / "names.db")
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(ComponentError, match="only this user can write"):
        default_file()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(ComponentError, match="only this user can write"):
        default_file()


class Lock:
    """Another process that holds the file until somebody has tried to write so many times."""

    def __init__(self, world, resolver, tries: int) -> None:
        self._connection = sqlite3.connect(world.path, isolation_level=None)
        self._connection.execute("BEGIN IMMEDIATE")
        self._write, self._left = resolver._write, tries
        resolver._write = self.write
        resolver._database._connection.execute("PRAGMA busy_timeout = 1")

    async def write(self) -> None:
        self._left -= 1
        if not self._left:
            self._connection.rollback()
            self._connection.close()
        await self._write()


def test_who_holds_the_file_for_long_keeps_nobody_out(world):
    async def main():
        one = await world.sidecar("one")
        Lock(world, one, 3)
        await one.register("127.0.0.1:1")
        assert await one.resolve("one", "") == ["127.0.0.1:1"]
        world.now += 4
        Lock(world, one, 3)
        await one._write_in_time()
        world.now += 4
        assert await one.resolve("one", "") == ["127.0.0.1:1"]
        await world.close()

    run(main())


def test_a_file_that_is_never_free_is_an_error(world):
    async def main():
        one = await world.sidecar("one")
        one._interval = 0.02
        Lock(world, one, 1_000_000)
        with pytest.raises(ComponentError, match="database is locked"):
            await one.register("127.0.0.1:1")
        await world.close()

    run(main())


def test_a_row_is_renewed_while_half_of_its_time_is_left(world):
    # What is renewed in its last second is not found for a moment when that comes late.
    async def main():
        one = await world.sidecar("one")
        assert one.renewed_every == 2.5
        await world.close()

    run(main())


def test_a_registry_that_is_made_is_opened_without_writing(world):
    async def main():
        await world.sidecar("one")
        other = sqlite3.connect(world.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await world.sidecar("two")
        other.close()
        await world.close()

    run(main())
