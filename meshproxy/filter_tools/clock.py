"""A clock that stands still until it is told to move on.

Owns time and timers of a driven filter (`http.dispatcher.Dispatcher`). Refuses to wait, and to run
coroutines: nothing in a filter's world has a loop.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, Final

START: Final = 1_767_225_600.0  # 2026-01-01T00:00:00Z
MAX_DUE: Final = 100_000
"""Timers that `advance` runs before it says that they never end."""


class FakeTimer:
    """A callback that is still to come."""

    __slots__ = ("_callback", "at")

    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """It shall not come."""
        self._callback = None

    def run(self) -> None:
        """Call it, unless it was cancelled."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class FakeClock:
    """Seconds that pass only by `advance`. Unix time begins at the start of 2026."""

    def __init__(self) -> None:
        self._passed = 0.0
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._order = itertools.count()

    def now(self) -> float:
        """Monotonic seconds since the clock was made."""
        return self._passed

    def time(self) -> float:
        """Unix seconds."""
        return START + self._passed

    def random(self) -> int:
        """Always the same: a run can be repeated."""
        return 4

    def call_later(self, seconds: float, callback: Callable[[], None]) -> FakeTimer:
        """Run `callback` when so much time has passed; with 0 as soon as no guest code runs."""
        timer = FakeTimer(self._passed + max(seconds, 0.0), callback)
        heapq.heappush(self._timers, (timer.at, next(self._order), timer))
        return timer

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> Any:
        """Refused: whoever needs a loop cannot be driven."""
        coroutine.close()
        raise RuntimeError(f"{name} needs an event loop, and a driven filter has none")

    def advance(self, seconds: float) -> None:
        """Let time pass, timer by timer. 0 runs what is due now."""
        if seconds < 0:
            raise ValueError(f"time does not go back: advance({seconds})")
        end = self._passed + seconds
        for _ in range(MAX_DUE):
            if not self._timers or self._timers[0][0] > end:
                self._passed = end
                return
            at, _, timer = heapq.heappop(self._timers)
            self._passed = max(self._passed, at)
            timer.run()
        raise RuntimeError(f"{MAX_DUE} timers within {seconds} seconds, and still no end")
