"""What every registered lock store does: the cases of components-contrib's conformance suite."""

import asyncio

import pytest

from meshproxy.dapr.component import ComponentContext, Metadata
from meshproxy.dapr.components import COMPONENTS
from meshproxy.dapr.lock.lock_store import UnlockStatus

SERVERS = {"lock.redis/v1": ("redis_server", "redisHost")}
"""For each component the fixture of its server, and the metadata that has the address."""


@pytest.fixture(params=COMPONENTS.of("lock"))
def opened(request):
    fixture, name = SERVERS[request.param]
    server = request.getfixturevalue(fixture)
    type_name, _, version = request.param.partition("/")
    lock = COMPONENTS.constructor(type_name, version)(ComponentContext("lock"))
    with asyncio.Runner() as runner:
        runner.run(lock.init(Metadata({name: server.address})))
        yield lock, runner.run, server
        runner.run(lock.close())


def test_a_lock_is_taken_once_even_by_its_owner(opened):
    lock, run, _ = opened
    assert run(lock.try_lock("r", "me", 20))
    assert not run(lock.try_lock("r", "you", 20))
    assert not run(lock.try_lock("r", "me", 20))
    assert run(lock.try_lock("other", "you", 20))


def test_only_its_owner_gives_it_back(opened):
    lock, run, _ = opened
    assert run(lock.unlock("r", "me")) is UnlockStatus.LOCK_DOES_NOT_EXIST
    run(lock.try_lock("r", "me", 20))
    assert run(lock.unlock("r", "you")) is UnlockStatus.LOCK_BELONGS_TO_OTHERS
    assert run(lock.unlock("r", "me")) is UnlockStatus.SUCCESS
    assert run(lock.try_lock("r", "you", 20))


def test_a_lock_ends_after_its_time(opened):
    lock, run, server = opened
    run(lock.try_lock("r", "me", 5))
    server.age(4)
    assert not run(lock.try_lock("r", "you", 5))
    server.age(2)
    assert run(lock.unlock("r", "me")) is UnlockStatus.LOCK_DOES_NOT_EXIST
    assert run(lock.try_lock("r", "you", 5))


def test_of_many_at_one_time_one_gets_it(opened):
    lock, run, _ = opened

    async def all_at_once():
        return await asyncio.gather(*(lock.try_lock("r", f"owner {n}", 20) for n in range(30)))

    assert sum(run(all_at_once())) == 1
