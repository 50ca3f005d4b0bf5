"""Work that comes one after the other."""

import asyncio

from meshproxy.dapr.pubsub.workers import Workers


def test_work_that_comes_in_the_turn_in_which_the_last_has_ended_is_begun():
    async def main():
        done: list[str] = []
        workers = Workers("test", single=True)

        def work(name: str):
            async def run() -> None:
                done.append(name)

            return run

        workers.take(work("first"))
        # Runs right after the first has ended, before anybody has heard of it.
        asyncio.get_running_loop().call_soon(workers.take, work("second"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert done == ["first", "second"]
        await workers.end()

    asyncio.run(main())


def test_work_waits_for_what_came_before_also_when_that_fails():
    async def main():
        done: list[str] = []
        gate = asyncio.Event()
        workers = Workers("test", single=True)

        async def fail() -> None:
            await gate.wait()
            done.append("failed")
            raise ValueError("as it must")

        async def second() -> None:
            done.append("second")

        workers.take(fail)
        workers.take(second)
        await asyncio.sleep(0)
        assert done == []
        gate.set()
        for _ in range(5):
            await asyncio.sleep(0)
        assert done == ["failed", "second"]
        await workers.end()

    asyncio.run(main())
