"""Every registered state store, started: being in the list of components is being tested.

A store that needs more than a folder gets an entry in PROVISIONS; one without an entry fails.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meshproxy.dapr.component import ComponentContext, Metadata
from meshproxy.dapr.components import COMPONENTS
from tests.conformance.state_store.provision import PROVISIONS, SERVER_TIME, Clock, Loop


@pytest.fixture(params=COMPONENTS.of("state"))
def type_name(request) -> str:
    return request.param


@pytest.fixture
def clock(type_name: str, request) -> Clock:
    server = SERVER_TIME.get(type_name)
    return Clock() if server is None else Clock(request.getfixturevalue(server).age)


@pytest.fixture
def loop() -> Iterator[Loop]:
    with asyncio.Runner() as runner:
        yield Loop(runner)


@pytest.fixture
def provision(type_name: str, tmp_path: Path, request) -> Callable[[], Metadata]:
    assert type_name in PROVISIONS, f"{type_name} has no entry in PROVISIONS"
    return lambda: Metadata(PROVISIONS[type_name](tmp_path, request))


@pytest.fixture
def store(type_name, provision, clock, loop):
    name, _, version = type_name.partition("/")
    made = COMPONENTS.constructor(name, version)(ComponentContext("store", clock=clock))
    loop.run(made.init(provision()))
    yield loop.over(made)
    loop.run(made.close())
