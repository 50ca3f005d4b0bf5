"""`bindings.postgresql`: statements, values of every kind, and what is refused."""

import json
import re

import pytest

from meshproxy.dapr.bindings.binding import BindingData
from meshproxy.dapr.bindings.postgresql import PostgresBinding, _duration
from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from tests.dapr.support import run


def with_binding(server, work, **metadata):
    async def main():
        binding = PostgresBinding(ComponentContext("db"))
        try:
            await binding.init(Metadata({"connectionString": server.address, **metadata}))
            return await work(binding)
        finally:
            await binding.close()

    return run(main())


def ask(binding, operation, sql="", params=None):
    metadata = {"sql": sql} if params is None else {"sql": sql, "params": json.dumps(params)}
    return binding.invoke(operation, BindingData(metadata=metadata))


def rows(server, sql, params=None):
    async def work(binding):
        return json.loads((await ask(binding, "query", sql, params)).data)

    return with_binding(server, work)


def test_rows_are_written_counted_and_read(postgres_server):
    async def work(binding):
        made = await ask(
            binding, "exec", "CREATE TABLE foo (id int, name text); CREATE TABLE bar (id int)"
        )
        insert = "INSERT INTO foo VALUES ($1, $2)"
        written = [await ask(binding, "exec", insert, [n, f"name {n}"]) for n in range(3)]
        gone = await ask(binding, "exec", "DELETE FROM foo WHERE id > 0")
        found = await ask(binding, "query", "SELECT * FROM foo")
        none = await ask(binding, "query", "SELECT * FROM bar")
        affected = [each.metadata["rows-affected"] for each in (made, *written, gone)]
        return affected, found, none.data

    affected, found, none = with_binding(postgres_server, work)
    assert affected == ["0", "1", "1", "1", "2"]
    assert json.loads(found.data) == [[0, "name 0"]]
    assert none == b"[]"
    assert found.metadata["operation"] == "query"
    assert found.metadata["sql"] == "SELECT * FROM foo"
    assert found.metadata["start-time"].endswith("Z")
    assert found.metadata["end-time"] >= found.metadata["start-time"]
    assert re.fullmatch(r"[\d.]+(µs|ms|s)", found.metadata["duration"])


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1::int8", 1),
        ("1.50::numeric", 1.5),
        ("'NaN'::numeric", "NaN"),
        ("2.5::float8", 2.5),
        ("'Infinity'::float8", "Infinity"),
        ("true", True),
        ("NULL", None),
        ("'x\"y'::text", 'x"y'),
        ("'\\x00ff'::bytea", "AP8="),
        ("'{\"a\": [1]}'::jsonb", {"a": [1]}),
        ("'2026-01-02'::date", "2026-01-02T00:00:00Z"),
        ("'2026-01-02 03:04:05+00'::timestamptz AT TIME ZONE 'UTC'", "2026-01-02T03:04:05Z"),
        ("'2026-01-02 03:04:05.120'::timestamp", "2026-01-02T03:04:05.12Z"),
        ("'2026-01-02 03:04:10'::timestamp", "2026-01-02T03:04:10Z"),
        ("'infinity'::timestamptz", "infinity"),
        (
            "'0f0e0d0c-0b0a-0908-0706-050403020100'::uuid",
            "0f0e0d0c-0b0a-0908-0706-050403020100",
        ),
        ("ARRAY[1, 2]", [1, 2]),
        ("ARRAY['a', NULL]", ["a", None]),
        ("'10.0.0.0/8'::cidr", "10.0.0.0/8"),
    ],
)
def test_a_value_of_any_type_becomes_json(postgres_server, expression, expected):
    ((found,),) = rows(postgres_server, f"SELECT {expression}")
    assert found == expected


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("int", 3, 3),
        ("int", "3", 3),
        ("int", 3.0, 3),
        ("numeric", 1.25, 1.25),
        ("numeric", "12345678901234567890.5", 12345678901234567890.5),
        ("text", "it's; --", "it's; --"),
        ("text", 7, "7"),
        ("bool", True, True),
        ("timestamptz", "2026-01-02T03:04:05Z", None),
        ("uuid", "0f0e0d0c-0b0a-0908-0706-050403020100", "0f0e0d0c-0b0a-0908-0706-050403020100"),
        ("jsonb", {"a": 1}, {"a": 1}),
        ("int[]", [1, 2], [1, 2]),
        ("date", None, None),
    ],
)
def test_a_parameter_of_json_fits_a_column_of_any_type(postgres_server, kind, value, expected):
    ((found,),) = rows(postgres_server, f"SELECT $1::{kind}", [value])
    assert found == expected if kind != "timestamptz" else found.startswith("2026-01-0")


def test_a_closed_binding_does_nothing_more_and_may_be_closed_again(postgres_server):
    async def work(binding):
        assert await ask(binding, "close") is None
        assert await ask(binding, "close") is None
        with pytest.raises(ComponentError, match="component is closed"):
            await ask(binding, "query", "SELECT 1")

    with_binding(postgres_server, work)


@pytest.mark.parametrize(
    ("sql", "params", "expected"),
    [
        ("", None, "required metadata not set: sql"),
        ("SELECT", "{", "invalid metadata property params: failed to unserialize into an array"),
        ("SELECT", '{"a": 1}', "into an array: expected a JSON array"),
        ("SELEKT 1", None, "error executing query: ERROR: syntax error"),
        ("SELECT $1::int", '["x"]', "error executing query: "),
        ("SELECT $1::int", "[]", "error executing query: "),
        ("SELECT int4range(1, 3)", None, "cannot decode type .* range types is not supported"),
        ("SELECT 1/0", None, r"ERROR: division by zero \(SQLSTATE 22012\)"),
    ],
)
def test_what_cannot_be_done_is_an_error(postgres_server, sql, params, expected):
    async def work(binding):
        metadata = {"sql": sql} if params is None else {"sql": sql, "params": params}
        with pytest.raises(ComponentError, match=expected):
            await binding.invoke("query", BindingData(metadata=metadata))

    with_binding(postgres_server, work)


def test_bad_metadata_stop_the_start(postgres_server):
    async def work(binding):
        pass

    with pytest.raises(ComponentError, match="missing connection string"):
        with_binding(postgres_server, work, connectionString="")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.5, "1.5s"), (0.01125, "11.25ms"), (0.001, "1ms"), (0.000536907, "536.907\u00b5s")],
)
def test_a_duration_is_written_as_go_writes_it(seconds, text):
    assert _duration(seconds) == text
