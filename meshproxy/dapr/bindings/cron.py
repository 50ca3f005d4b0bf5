"""`bindings.cron`: events at the times of a schedule. Metadata: `schedule`, see `dapr/cron.py`.

What the app does with an event is its own affair: a refusal is a line in the log, and the next
event comes at its time. An event that falls due while `MOST` are still with the app is left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from meshproxy.dapr.bindings.binding import INPUT_BINDING, BindingData, EventHandler, Stop
from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.cron import Schedule, ScheduleError, parse_schedule
from meshproxy.network.tasks import TaskOwner, spawn

logger: Final = logging.getLogger("meshproxy.dapr.contrib")

MOST: Final = 16
"""Events that the app has at one time."""
_LONGEST: Final = 60.0  # seconds of one sleep: the clock may be set meanwhile


class CronBinding:
    """See the module."""

    features: frozenset[str] = frozenset({INPUT_BINDING})

    def __init__(
        self,
        context: ComponentContext,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._context = context
        self._sleep = sleep
        self._schedule: Schedule | None = None
        self._timer = TaskOwner()
        self._events = TaskOwner()

    async def init(self, metadata: Metadata) -> None:
        """Read the schedule."""
        self.check_metadata(metadata)

    def check_metadata(self, metadata: Metadata) -> None:
        """The same: nothing outside is touched."""
        text = metadata.required("schedule")
        try:
            self._schedule = parse_schedule(text)
        except ScheduleError as error:
            raise ComponentError(f"invalid schedule format '{text}': {error}") from None

    async def close(self) -> None:
        """Let go of what is still with the app."""
        await self._timer.close()
        await self._events.close()

    async def read(self, handler: EventHandler) -> Stop:
        """Begin to wait for the next time."""
        schedule = self._schedule
        assert schedule is not None
        task = spawn(self._timer, self._run(schedule, handler), f"{self._context.name} schedule")

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.gather(*self._events.tasks, return_exceptions=True)

        return stop

    async def _run(self, schedule: Schedule, handler: EventHandler) -> None:
        clock, name = self._context.clock, self._context.name
        while (due := schedule.next(clock())) is not None:
            while (wait := due - clock()) > 0:
                await self._sleep(min(wait, _LONGEST))
            if len(self._events.tasks) < MOST:
                spawn(self._events, self._fire(handler, self._event()), f"{name} event")
            else:
                logger.warning("%s: the app has %d events: one is left out", name, MOST)
        logger.warning("%s: the schedule has no further time", name)

    def _event(self) -> BindingData:
        now = datetime.fromtimestamp(self._context.clock(), UTC)
        shown = now.strftime("%Y-%m-%d %H:%M:%S.%f +0000 UTC")
        return BindingData(metadata={"timeZone": "Local", "readTimeUTC": shown})

    async def _fire(self, handler: EventHandler, event: BindingData) -> None:
        try:
            await handler(event)
        except ComponentError as error:
            logger.warning("%s: the app has not taken the event: %s", self._context.name, error)
