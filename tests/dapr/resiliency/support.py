"""A clock that moves when somebody sleeps, and an observer that writes down."""

from __future__ import annotations

from meshproxy.dapr.resiliency import Means, Target


class FakeTime:
    """Seconds that pass only by `sleep`, which takes no time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Seen:
    """What an observer has heard."""

    def __init__(self) -> None:
        self.executed_: list[tuple[str, str, str]] = []
        self.activated_: list[tuple[str, str, str]] = []

    def executed(self, policy: str, target: Target, status: str) -> None:
        self.executed_.append((policy, target.name, status))

    def activated(self, policy: str, target: Target, status: str) -> None:
        self.activated_.append((policy, target.name, status))


def means(time: FakeTime, seen: Seen | None = None, random: float = 0.5) -> Means:
    made = Means(lambda: time.now, lambda: random, time.sleep)
    if seen is not None:
        made.observer = seen
    return made
