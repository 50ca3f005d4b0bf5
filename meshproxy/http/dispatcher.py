"""What sans-I/O code needs of a running process: time, chance, timers and a place for coroutines.

Owns the seam. `network/` implements it over the event loop, tests over a fake clock.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol


class Timer(Protocol):
    """A callback that is still to come."""

    def cancel(self) -> object:
        """It shall not come."""


class Dispatcher(Protocol):
    """Envoy's word for the event loop, seen from above."""

    def now(self) -> float:
        """Monotonic seconds; may be as old as the current turn of the loop."""

    def time(self) -> float:
        """Unix seconds."""

    def random(self) -> int:
        """64 random bits, fast and not for secrets."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Run `callback` once."""

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> Timer:
        """Run a coroutine; `cancel()` of the result cancels it."""
