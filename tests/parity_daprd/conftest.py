"""The pair of sidecars that one module of cases runs through; where there is no daprd, no case."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.parity_daprd.harness import Pair, Setup
from tests.support.redis_server import RedisServer

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They are run by hand: `DAPRD=/path/of/daprd pytest -m long tests/parity_daprd`."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session", autouse=True)
def _daprd() -> None:
    if "DAPRD" not in os.environ:
        pytest.skip("no daprd: DAPRD is not set")


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Both, started by the module's `SETUP`; `{redis}` is the port of a Redis server, and
    `{database}` one for each.
    """
    setup: Setup = request.module.SETUP
    if any("{redis}" in text for text in setup.resources.values()):
        redis: RedisServer = request.getfixturevalue("_redis")
        redis.client.execute_command("FLUSHALL")
        port = str(redis.port)
        setup = replace(setup, values={"redis": (port, port), "database": ("1", "2")})
    with Pair(setup) as both:
        yield both


@pytest.fixture
def pair(running: Pair) -> Iterator[Pair]:
    """Both; at its end the test fails with all that has differed."""
    yield running
    running.check()
