"""State that one has written and the other goes on with: values, ETags, ends, tables, keys."""

import json
import sqlite3
from collections.abc import Iterator

import pytest

from tests.parity_daprd.blocks import component
from tests.parity_daprd.harness import Pair, Setup, Side
from tests.parity_daprd.observed import masked

VALUES = [
    1,
    1.5,
    "text",
    "",
    None,
    True,
    {"b": 1, "a": [1, {"c": None}], "u": "h\u00e9<>&\u2028"},
    [],
    2**53 - 1,  # of more digits daprd keeps those of a double
]
PREFIXES = {
    "": {},
    "-none": {"keyPrefix": "none"},
    "-name": {"keyPrefix": "name"},
    "-space": {"keyPrefix": "namespace"},
    "-own": {"keyPrefix": "own"},
}
KINDS = ("redis", "sqlite", "first", "second")
STORES = [kind + prefix for kind in KINDS for prefix in PREFIXES]
KEY = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
OTHER_KEY = KEY[::-1]
FIRST_WRITE = {"concurrency": "first-write"}
NO_ETAG = {"second": "00000000-0000-4000-8000-000000000000"}


def encrypted(text: str, name: str = "KEY") -> str:
    secret = f"  - {{name: primaryEncryptionKey, secretKeyRef: {{name: {name}, key: {name}}}}}\n"
    return text.replace("spec:", "auth: {secretStore: env}\nspec:") + secret


@pytest.fixture(scope="module")
def kinds(tmp_path_factory, _redis, _postgres):
    file = tmp_path_factory.mktemp("state") / "state.db"
    _redis.client.execute_command("FLUSHALL")
    _postgres.clear()
    return {
        "redis": ("state.redis", "v1", {"redisHost": _redis.address}),
        "sqlite": ("state.sqlite", "v1", {"connectionString": file}),
        "first": ("state.postgresql", "v1", {"connectionString": _postgres.address}),
        "second": (
            "state.postgresql",
            "v2",
            {"connectionString": _postgres.address, "tablePrefix": "two_"},
        ),
    }


@pytest.fixture(scope="module")
def running(kinds) -> Iterator[Pair]:
    resources = [component("env", "secretstores.local.env")]
    for kind, (type_name, version, metadata) in kinds.items():
        for suffix, prefix in PREFIXES.items():
            resources.append(component(kind + suffix, type_name, version, **metadata, **prefix))
        sealed = component(kind + "-sealed", type_name, version, **metadata, keyPrefix="sealed")
        resources.append(encrypted(sealed))
    env = {"NAMESPACE": "space", "KEY": KEY}
    with Pair(Setup(resources={"all.yaml": "".join(resources)}, env=env)) as both:
        yield both


@pytest.fixture(params=["daprd", "meshproxy"])
def two(running, request):
    """Who writes, and who goes on with it."""
    sides = {side.kind: side for side in running.sides}
    writer = sides.pop(request.param)
    return writer, *sides.values()


def save(side, store, *items):
    answer = side.http("POST", f"/v1.0/state/{store}", list(items))
    assert answer.status == 204, answer


def read(side, store, key):
    return side.http("GET", f"/v1.0/state/{store}/{key}")


@pytest.mark.parametrize("store", STORES)
def test_a_value_is_read_as_it_was_written(two, store):
    writer, reader = two
    for at, value in enumerate(VALUES):
        save(writer, store, {"key": f"{writer.kind}{at}", "value": value})
        found = read(reader, store, f"{writer.kind}{at}")
        assert found == read(writer, store, f"{writer.kind}{at}")
        assert (found.status, found.body) == (200, value)


@pytest.mark.parametrize("store", [kind + "-sealed" for kind in KINDS])
def test_a_sealed_value_is_opened_by_the_other(two, store):
    writer, reader = two
    for at, value in enumerate(VALUES[:2]):
        save(writer, store, {"key": f"{writer.kind}{at}", "value": value})
        found = read(reader, store, f"{writer.kind}{at}")
        assert found == read(writer, store, f"{writer.kind}{at}")
        assert (found.status, found.body) == (200, value)


@pytest.mark.parametrize("store", KINDS)
def test_an_etag_of_the_one_guards_the_writes_of_the_other(two, store):
    writer, other = two
    key = f"etag-{writer.kind}"
    save(writer, store, {"key": key, "value": 1})
    (etag,) = read(writer, store, key).headers["etag"]
    save(other, store, {"key": key, "value": 2, "etag": etag})
    stale = [{"key": key, "value": 3, "etag": etag}]
    path = f"/v1.0/state/{store}"
    for side in two:
        assert side.http("POST", path, stale).status == 409
        assert side.http("DELETE", f"{path}/{key}", headers={"if-match": etag}).status == 409
    (etag,) = read(other, store, key).headers["etag"]
    assert writer.http("DELETE", f"{path}/{key}", headers={"if-match": etag}).status == 204
    assert read(other, store, key).status == 204


@pytest.mark.parametrize("store", KINDS)
def test_a_first_write_of_the_one_refuses_the_other(two, store):
    writer, other = two
    key = f"first-{writer.kind}"
    save(writer, store, {"key": key, "value": 1, "options": FIRST_WRITE})
    again = [{"key": key, "value": 2, "options": FIRST_WRITE}]
    answers = [side.http("POST", f"/v1.0/state/{store}", again).status for side in (other, writer)]
    assert answers == [409, 409] if store == "sqlite" else [500, 500]
    assert read(other, store, key).body == 1


@pytest.mark.parametrize("store", KINDS)
def test_an_end_that_the_one_has_set_is_seen_and_ended_by_the_other(two, store):
    writer, other = two
    key = f"ttl-{writer.kind}"
    save(writer, store, {"key": key, "value": 1, "metadata": {"ttlInSeconds": "90"}})
    assert read(writer, store, key) == read(other, store, key)
    save(other, store, {"key": key, "value": 2, "metadata": {"ttlInSeconds": "-1"}})
    assert "metadata.ttlexpiretime" not in read(writer, store, key).headers


@pytest.mark.parametrize("store", KINDS)
def test_a_transaction_of_the_one_is_read_by_the_other(two, store):
    writer, other = two
    keys = [f"{name}-{writer.kind}" for name in "abc"]
    save(other, store, {"key": keys[2], "value": 1})
    operations = [
        {"operation": "upsert", "request": {"key": keys[0], "value": {"x": 1}}},
        {"operation": "upsert", "request": {"key": keys[1], "value": "text"}},
        {"operation": "delete", "request": {"key": keys[2]}},
    ]
    path = f"/v1.0/state/{store}/transaction"
    assert writer.http("POST", path, {"operations": operations}).status == 204
    assert [read(other, store, key).body for key in keys] == [{"x": 1}, "text", ""]


@pytest.mark.parametrize("store", KINDS)
def test_what_is_refused_is_refused_alike(pair, store):
    path, never = f"/v1.0/state/{store}", NO_ETAG.get(store, "77777")

    def statuses(side):
        def key(name):
            return f"{name}-{side.kind}-{store}"

        def post(name, **more):
            return side.http("POST", path, [{"key": key(name), "value": 1, **more}]).status

        def delete(name, etag, query=""):
            headers = {"if-match": etag}
            return side.http("DELETE", f"{path}/{key(name)}{query}", headers=headers).status

        return [
            post("missing", etag=never),
            read(side, store, key("missing")).status,
            delete("none", never),
            post("k"),
            post("k", etag=never),
            post("k", etag=never, options=FIRST_WRITE),
            post("k", etag="bad"),
            post("k", etag="bad", options={"concurrency": "last-write"}),
            post("k", etag=never, options={"concurrency": "last-write"}),
            delete("k", "bad"),
            delete("k", never),
            delete("k", never, "?concurrency=last-write"),
            post("k", metadata={"ttlInSeconds": "x"}),
            post("k", metadata={"TTLINSECONDS": "x"}),
            post("k", metadata={"ttlInSeconds": "0"}),
            read(side, store, key("k")).status,
        ]

    pair.same(f"refused {store}", statuses)


def tables(server) -> list:
    columns = server.command(
        "SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity, "
        "identity_generation FROM information_schema.columns WHERE table_schema = 'public' "
        "ORDER BY table_name, ordinal_position"
    )
    indexes = server.command(
        "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname"
    )
    return [[tuple(row) for row in rows] for rows in (columns, indexes)]


@pytest.mark.parametrize("kind", ["first", "second"])
def test_the_tables_are_made_alike(kinds, kind, postgres_server):
    type_name, version, metadata = kinds[kind]
    text = component("store", type_name, version, **metadata)
    made = {}
    for side in ("daprd", "meshproxy"):
        postgres_server.clear()
        with started(side, text):
            made[side] = tables(postgres_server)
        rows = postgres_server.command("SELECT key, value FROM dapr_metadata ORDER BY key")
        made[side].append([tuple(row) for row in rows])
    assert made["meshproxy"] == made["daprd"]


def started(kind, text, **env):
    return Side(kind, Setup(resources={"store.yaml": text}, env=env))


def test_rows_of_the_sqlite_file_are_written_alike(two, kinds):
    writer, _ = two
    save(writer, "sqlite", {"key": f"row-{writer.kind}", "value": {"a": "\u00e9<"}})
    with sqlite3.connect(kinds["sqlite"][2]["connectionString"]) as connection:
        row = connection.execute(
            "SELECT key, value, typeof(value), is_binary, etag, expiration_time, update_time, "
            "typeof(update_time) FROM state WHERE key = ?",
            (f"app||row-{writer.kind}",),
        ).fetchone()
        about = connection.execute("SELECT * FROM metadata ORDER BY key").fetchall()
        schema = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        ).fetchall()
    connection.close()
    assert json.loads(row[1]) == {"a": "\u00e9<"}
    assert masked(list(row[2:6])) == ["text", 0, "<uuid>", None]
    assert row[7] == "text"
    assert len(row[6]) == len("2026-01-01 00:00:00")
    assert (about, schema) == ([("migrations", "1")], [("metadata",), ("state",)])


def test_the_other_key_of_a_sealed_store_opens_what_is_there(two, kinds):
    """`secondaryEncryptionKey`: the store's key is changed while its data stays."""
    writer, _ = two
    type_name, version, metadata = kinds["sqlite"]
    save(writer, "sqlite-sealed", {"key": f"old-{writer.kind}", "value": 1})
    plain = component("store", type_name, version, **metadata, keyPrefix="sealed")
    second = "  - {name: secondaryEncryptionKey, secretKeyRef: {name: KEY, key: KEY}}\n"
    text = encrypted(plain, "NEW") + second + component("env", "secretstores.local.env")
    for kind in ("daprd", "meshproxy"):
        with started(kind, text, KEY=KEY, NEW=OTHER_KEY) as side:
            assert read(side, "store", f"old-{writer.kind}").body == 1
