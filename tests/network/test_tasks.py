"""Tasks and their owners: what ends, and what is said of a failure."""

import asyncio
import logging

from meshproxy.network import tasks
from meshproxy.network.tasks import TaskOwner, spawn


def test_closing_cancels_every_task_and_waits_for_all():
    ended = []

    async def wait(name):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def main():
        owner = TaskOwner()
        for name in "ab":
            spawn(owner, wait(name), name)
        await asyncio.sleep(0)
        await owner.close()
        assert sorted(ended) == ["a", "b"]
        assert not owner.tasks

    asyncio.run(main())


def test_a_task_that_has_lost_its_cancellation_is_cancelled_again(monkeypatch):
    monkeypatch.setattr(tasks, "AGAIN", 0.001)
    lost = []

    async def go_on():
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if len(lost) == 2:
                    raise
                lost.append(True)

    async def main():
        owner = TaskOwner()
        task = spawn(owner, go_on(), "goes on")
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await owner.close()
        assert task.cancelled()
        assert len(lost) == 2

    asyncio.run(main())


def test_a_failure_is_logged_with_the_name_of_the_task_and_does_not_reach_who_closes(caplog):
    async def fail():
        raise ValueError("no such thing")

    async def main():
        owner = TaskOwner()
        spawn(owner, fail(), "a watch")
        await asyncio.sleep(0)
        await owner.close()

    with caplog.at_level(logging.CRITICAL, "meshproxy.main"):
        asyncio.run(main())
    assert "task a watch failed: ValueError('no such thing')" in caplog.text


def test_an_owner_without_tasks_closes_at_once():
    asyncio.run(TaskOwner().close())
