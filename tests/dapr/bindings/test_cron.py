"""`bindings.cron` on a clock that the test moves."""

import asyncio
import logging

import pytest

from meshproxy.dapr.bindings.cron import MOST, CronBinding
from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from tests.dapr.support import run

START = 1_700_000_000.0


class Clock:
    """Moves only when somebody sleeps, up to `end`; then it stands still for ever."""

    def __init__(self, end: float) -> None:
        self.now = START
        self.end = START + end
        self.over = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        if self.now + seconds > self.end:
            self.over.set()
            await asyncio.Event().wait()
        self.now += seconds
        await asyncio.sleep(0)


async def read(schedule, handler, seconds):
    clock = Clock(seconds)
    binding = CronBinding(ComponentContext("tick", clock=lambda: clock.now), clock.sleep)
    await binding.init(Metadata({"schedule": schedule}))
    stop = await binding.read(handler)
    async with asyncio.timeout(20):
        await clock.over.wait()
    return binding, stop


def test_an_event_comes_at_each_time_with_the_time():
    seen = []

    async def handler(event):
        seen.append(event.metadata)
        return b""

    async def main():
        binding, stop = await read("@every 2m", handler, 600)
        await stop()
        await binding.close()

    run(main())
    assert [each["timeZone"] for each in seen] == ["Local"] * 5
    assert seen[0]["readTimeUTC"] == "2023-11-14 22:15:20.000000 +0000 UTC"


def test_an_app_that_refuses_or_is_slow_gets_the_next_event_up_to_a_bound(caplog):
    taken, release = [], asyncio.Event()

    async def handler(event):
        taken.append(event)
        if len(taken) == 1:
            raise ComponentError("not now")
        await release.wait()
        return b""

    async def main():
        binding, stop = await read("@every 1s", handler, MOST + 5)
        assert len(taken) == MOST + 1
        release.set()
        await stop()
        await binding.close()

    with caplog.at_level(logging.WARNING):
        run(main())
    assert "tick: the app has not taken the event: not now" in caplog.text
    assert caplog.text.count("one is left out") == 4


def test_stopping_waits_for_the_event_that_runs():
    started, ended = [], []

    async def main():
        release = asyncio.Event()

        async def handler(event):
            started.append(event)
            await release.wait()
            ended.append(event)
            return b""

        binding, stop = await read("@every 1s", handler, 1)
        stopping = asyncio.get_running_loop().create_task(stop())
        for _ in range(5):
            await asyncio.sleep(0)
        assert (len(started), len(ended), stopping.done()) == (1, 0, False)
        release.set()
        await stopping
        assert len(ended) == 1
        await binding.close()

    run(main())


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [({}, "missing schedule"), ({"schedule": "x"}, "invalid schedule format 'x': ")],
)
def test_a_schedule_is_needed(metadata, reason):
    with pytest.raises(ComponentError, match=reason):
        run(CronBinding(ComponentContext("tick")).init(Metadata(metadata)))
