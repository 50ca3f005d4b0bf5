"""`state.postgresql`: daprd's two layouts, and what is refused."""

import asyncio

import asyncpg
import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.state.postgresql import PostgresStateStoreV1, PostgresStateStoreV2
from meshproxy.dapr.state.store import (
    DeleteRequest,
    EtagInvalid,
    EtagMismatch,
    GetRequest,
    SetRequest,
    StateStoreError,
)
from meshproxy.network.tasks import TaskOwner, spawn
from tests.dapr.support import run

VERSIONS = {"v1": PostgresStateStoreV1, "v2": PostgresStateStoreV2}


@pytest.fixture(params=VERSIONS)
def version(request) -> str:
    return request.param


def with_store(version, server, work, **metadata):
    async def main():
        store = VERSIONS[version](ComponentContext("store"))
        try:
            await store.init(Metadata({"connectionString": server.address, **metadata}))
            return await work(store)
        finally:
            await store._context.owner.close()
            await store.close()

    return run(main())


async def write(store):
    await store.set(SetRequest("json", b'{"a": 1}'))
    await store.set(SetRequest("bytes", b"\x00\xff", binary=True, ttl=60))


def test_the_first_layout_is_daprds(postgres_server):
    with_store("v1", postgres_server, write)
    rows = postgres_server.command(
        "SELECT key, value::text, isbinary, expiredate > now() FROM state ORDER BY key"
    )
    assert [tuple(row) for row in rows] == [
        ("bytes", '"AP8="', True, True),
        ("json", '{"a": 1}', False, None),
    ]
    assert dict(postgres_server.command("SELECT key, value FROM dapr_metadata")) == {
        "lock": "lock",
        "migrations": "3",
    }


def test_the_second_layout_is_daprds(postgres_server):
    with_store("v2", postgres_server, write, tablePrefix="my_", metadataTableName="about")
    rows = postgres_server.command(
        "SELECT key, value, expires_at > now(), updated_at FROM my_state ORDER BY key"
    )
    assert [tuple(row) for row in rows] == [
        ("bytes", b"\x00\xff", True, None),
        ("json", b'{"a": 1}', None, None),
    ]
    levels = dict(postgres_server.command("SELECT key, value FROM about"))
    assert levels == {"lock": "lock", "migrations-state-v2-my_": "2"}


def test_a_table_of_an_older_daprd_is_brought_up_to_date(postgres_server):
    postgres_server.command(
        "CREATE TABLE state (key text PRIMARY KEY, value jsonb NOT NULL, isbinary boolean NOT NULL,"
        " insertdate timestamptz NOT NULL DEFAULT now(), updatedate timestamptz)"
    )
    postgres_server.command("INSERT INTO state VALUES ('k', '\"old\"', false)")

    async def work(store):
        item = await store.get(GetRequest("k"))
        await store.set(SetRequest("k", b'"new"', etag=item.etag, ttl=60))
        return item.value, (await store.get(GetRequest("k"))).value

    assert with_store("v1", postgres_server, work) == (b'"old"', b'"new"')


LAYOUTS = {
    "v1": (
        "CREATE TABLE {t} (key text PRIMARY KEY, value jsonb NOT NULL, isbinary boolean NOT NULL,"
        " insertdate timestamptz NOT NULL DEFAULT now(), updatedate timestamptz,"
        " expiredate timestamptz)",
        "INSERT INTO {t} VALUES ($1, '1', false, to_timestamp($2))",
        ("migrations", "2"),
    ),
    "v2": (
        "CREATE TABLE {t} (key text PRIMARY KEY, value bytea NOT NULL,"
        " etag uuid NOT NULL DEFAULT gen_random_uuid(),"
        " created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz,"
        " expires_at timestamptz)",
        "INSERT INTO {t} (key, value, created_at) VALUES ($1, '1', to_timestamp($2))",
        ("migrations-state-v2-", "1"),
    ),
}


@pytest.mark.parametrize("begun", [False, True])
def test_rows_get_their_numbers_in_the_order_of_their_making(version, postgres_server, begun):
    create, insert, level = LAYOUTS[version]
    postgres_server.command(create.format(t="state"))
    for at, key in enumerate(["b", "a", "c"]):
        postgres_server.command(insert.format(t="state"), key, float(at))
    if begun:
        postgres_server.command("ALTER TABLE state ADD COLUMN row_id bigint")
    postgres_server.command("CREATE TABLE dapr_metadata (key text PRIMARY KEY, value text)")
    postgres_server.command("INSERT INTO dapr_metadata VALUES ($1, $2)", *level)

    async def work(store):
        await store.set(SetRequest("new", b"1"))
        await store.set(SetRequest("a", b"2"))

    with_store(version, postgres_server, work)
    rows = postgres_server.command("SELECT key FROM state ORDER BY row_id")
    assert [row[0] for row in rows] == ["b", "a", "c", "new"]
    (index,) = postgres_server.command(
        "SELECT indexdef FROM pg_indexes WHERE indexname = 'state_row_id_uidx'"
    )
    assert index[0].startswith("CREATE UNIQUE INDEX")


def test_a_migration_waits_for_that_of_a_daprd(version, postgres_server):
    """daprd holds the row `lock`, and writes its steps over other connections meanwhile."""

    async def main():
        first = VERSIONS[version](ComponentContext("first"))
        metadata = Metadata({"connectionString": postgres_server.address, "cleanupInterval": "0"})
        await first.init(metadata)
        other = await asyncpg.connect(postgres_server.address)
        store = VERSIONS[version](ComponentContext("store"))
        async with other.transaction():
            await other.fetch("SELECT value FROM dapr_metadata WHERE key = 'lock' FOR UPDATE")
            starting = spawn(TaskOwner(), store.init(metadata), "starting")
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            async with asyncio.timeout(10):
                while not await other.fetchval(waiting):
                    pass
            beside = await asyncpg.connect(postgres_server.address, command_timeout=5)
            await beside.execute("INSERT INTO dapr_metadata VALUES ('step', '1')")
            await beside.close()
            assert not starting.done()
        await asyncio.wait_for(starting, 10)
        await other.close()
        await store.close()
        await first.close()

    run(main())


def test_a_newer_layout_is_refused(version, postgres_server):
    async def work(store):
        pass

    with_store(version, postgres_server, work)
    postgres_server.command("UPDATE dapr_metadata SET value = '9'")
    with pytest.raises(ComponentError, match="has the layout 9 of a newer daprd"):
        with_store(version, postgres_server, work)


def test_an_etag_of_another_kind_is_refused_as_daprd_refuses_it(version, postgres_server):
    expected = {"v1": EtagInvalid, "v2": EtagMismatch}[version]

    async def work(store):
        await store.set(SetRequest("k", b"1"))
        for call in (
            store.set(SetRequest("k", b"2", etag="x")),
            store.delete(DeleteRequest("k", etag="99999999999999")),
        ):
            with pytest.raises(expected):
                await call

    with_store(version, postgres_server, work)


def test_a_first_write_to_a_key_that_is_there_is_no_mismatch(version, postgres_server):
    async def work(store):
        await store.set(SetRequest("k", b"1"))
        refused = SetRequest("k", b"2", concurrency="first-write")
        with pytest.raises(StateStoreError, match="no item was updated"):
            await store.set(refused)
        good, bad = await store.bulk([SetRequest("a", b"1"), refused])
        assert (good, type(bad)) == (None, StateStoreError)

    with_store(version, postgres_server, work)


def test_an_etag_may_be_written_otherwise(version, postgres_server):
    async def work(store):
        await store.set(SetRequest("k", b"1"))
        etag = (await store.get(GetRequest("k"))).etag
        await store.set(SetRequest("k", b"2", etag="0" + etag if version == "v1" else etag.upper()))

    with_store(version, postgres_server, work)


def test_what_has_expired_is_removed(version, postgres_server):
    async def work(store):
        await store.set(SetRequest("k", b"1", ttl=5))
        await store.set(SetRequest("stays", b"1"))

    async def clean(store):
        await store.remove_expired()

    with_store(version, postgres_server, work)
    postgres_server.age(6)
    with_store(version, postgres_server, clean)
    assert [row[0] for row in postgres_server.command("SELECT key FROM state")] == ["stays"]


def test_a_cleanup_is_noted_down_and_nobody_does_it_again_soon(version, postgres_server):
    async def work(store):
        first = await store.may_clean_up(3600.0)
        return first, await store.may_clean_up(3600.0), await store.may_clean_up(0.05)

    assert with_store(version, postgres_server, work) == (True, False, True)
    key = {"v1": "last-cleanup", "v2": "last-cleanup-state-v2-"}[version]
    rows = dict(postgres_server.command("SELECT key, value FROM dapr_metadata"))
    assert key in rows


def test_sidecars_that_start_at_one_time_do_not_disturb_each_other(version, postgres_server):
    async def main():
        stores = [VERSIONS[version](ComponentContext(f"s{n}")) for n in range(4)]
        metadata = Metadata({"connectionString": postgres_server.address, "cleanupInterval": "0"})
        await asyncio.gather(*(store.init(metadata) for store in stores))
        await asyncio.gather(*(store.close() for store in stores))

    run(main())


@pytest.mark.parametrize(
    ("version", "name", "value"),
    [
        ("v1", "tableName", "state; DROP TABLE state"),
        ("v1", "tableName", 'a"b'),
        ("v1", "tableName", "a.b.c"),
        ("v2", "tablePrefix", "x; --"),
        ("v2", "tablePrefix", "x' OR '1'='1"),
        ("v2", "metadataTableName", "about --"),
    ],
)
def test_a_table_name_is_nothing_but_a_name(version, name, value):
    store = VERSIONS[version](ComponentContext("store"))
    with pytest.raises(ComponentError, match="is no table name"):
        run(store.init(Metadata({"host": "127.0.0.1", "port": "1", name: value})))


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, "missing connection string"),
        ({"connectionString": "host=h secret"}, "connectionString has a part that is no"),
        ({"connectionString": "host='h"}, "connectionString: No closing quotation"),
        ({"host": "h", "port": "x"}, "the port is 'x'; expected a number"),
        ({"host": "h", "useAzureAD": "true"}, "'useAzureAD' is not supported"),
        ({"host": "h", "timeout": "10ms"}, "timeout is 0.01s; expected at least 1s"),
        ({"host": "h", "metadataTableName": "a;b"}, "'a;b' is no table name"),
        (
            {"connectionString": "host=127.0.0.1 port=1 user=u password='p w' sslmode=disable"},
            "failed to connect to the database",
        ),
    ],
)
def test_bad_metadata_is_refused_by_name(version, metadata, expected):
    store = VERSIONS[version](ComponentContext("store"))
    with pytest.raises(ComponentError, match=expected):
        run(store.init(Metadata(metadata)))
