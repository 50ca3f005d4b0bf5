"""What the metadata of PostgreSQL's components make of a connection: words, aliases, refusals."""

import asyncpg
import pytest

from meshproxy.dapr.component import ComponentError, Metadata
from meshproxy.dapr.postgresql import open_pool, pool_options
from tests.dapr.support import run


def asked(server, statement="SELECT current_user, current_setting('application_name')", **metadata):
    async def main():
        pool = await open_pool(Metadata({"url": server.address, **metadata}))
        try:
            return tuple(await pool.fetchrow(statement))
        finally:
            await pool.close()

    return run(main())


def test_what_the_server_knows_is_handed_on_and_what_is_gos_is_not(postgres_server):
    words = "application_name=me&pool_max_conns=2&pool_min_conns=1&statement_cache_capacity=0"
    address = postgres_server.address
    url = f"{address}{'&' if '?' in address else '?'}{words}"
    assert asked(postgres_server, url=url)[1] == "me"
    assert pool_options(Metadata({"url": url}))["max_size"] == 2


def test_metadata_come_before_the_connection_string(postgres_server):
    postgres_server.command("CREATE DATABASE other")
    try:
        found = asked(postgres_server, "SELECT current_database()", database="other")
    finally:
        postgres_server.command("DROP DATABASE other WITH (FORCE)")
    assert found == ("other",)


@pytest.mark.parametrize("mode", ["cache_statement", "exec", "simple_protocol"])
def test_a_statement_stays_prepared_by_the_mode(postgres_server, mode):
    async def main():
        pool = await open_pool(Metadata({"url": postgres_server.address, "queryExecMode": mode}))
        try:
            async with pool.acquire() as connection:
                await connection.fetch("SELECT 1")
                statement = "SELECT count(*) FROM pg_prepared_statements WHERE statement = $1"
                return await connection.fetchval(statement, "SELECT 1")
        finally:
            await pool.close()

    assert run(main()) == (mode == "cache_statement")


def test_a_root_certificate_makes_require_look_at_it():
    options = pool_options(
        Metadata({"connectionString": "host=h sslmode=require", "sslRootCert": "/a b/ca.pem"})
    )
    assert "sslmode=verify-ca" in options["dsn"]
    assert "sslrootcert=%2Fa+b%2Fca.pem" in options["dsn"]


@pytest.mark.parametrize("text", ["host=h user=u hostaddr=127.0.0.9 port=1", "postgres://u@h:1/d"])
def test_an_address_is_taken_for_a_name(text):
    with pytest.raises(ComponentError, match=r"127\.0\.0\.9"):
        run(open_pool(Metadata({"connectionString": text, "hostaddr": "127.0.0.9"})))


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"queryExecMode": "fast"}, "queryExecMode is 'fast'; expected one of cache_statement"),
        ({"url": "postgres://h/d?pool_max_conns=0"}, "pool_max_conns is '0'"),
        ({"url": "postgres://h/d?pool_max_conns=x"}, "pool_max_conns is 'x'"),
        ({"url": "postgres://h/d?a"}, "connectionString is no URL of a database"),
        ({"url": "postgres://[h/d"}, "connectionString is no URL of a database"),
        ({"url": "host=h port=x"}, "the port is 'x'; expected a number"),
        ({"url": "host=h =x"}, "connectionString has a part that is no keyword"),
        ({"url": "", "sslRootCert": "/x"}, "missing connection string"),
    ],
)
def test_what_cannot_be_is_refused(metadata, expected):
    with pytest.raises(ComponentError, match=expected):
        pool_options(Metadata({"url": "host=h", **metadata}))


def test_a_keyword_that_the_server_does_not_know_is_refused_by_it(postgres_server):
    with pytest.raises(ComponentError, match="unrecognized configuration parameter") as error:
        asked(postgres_server, url=f"{postgres_server.address}&no_such_word=1")
    assert isinstance(error.value.__cause__, asyncpg.PostgresError)
