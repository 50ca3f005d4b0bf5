"""One circuit breaker: which calls are let through, by how the last ones went. Knows no clock.

Source: github.com/sony/gobreaker, which daprd uses: counts belong to a generation, and what a call
of an earlier one has to report is not counted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Final

logger: Final = logging.getLogger("meshproxy.dapr.runtime.resiliency")

OPEN_ERROR: Final = "circuit breaker is open"
TOO_MANY_ERROR: Final = "too many requests"
_DEFAULT_FAILURES: Final = 5


@dataclass(slots=True)
class Counts:
    """What a trip's expression sees, under the names of Dapr's documentation."""

    requests: int = 0
    totalSuccesses: int = 0
    totalFailures: int = 0
    consecutiveSuccesses: int = 0
    consecutiveFailures: int = 0


Trip = Callable[[Mapping[str, int]], bool]


def default_trip(counts: Mapping[str, int]) -> bool:
    """`consecutiveFailures > 5`."""
    return counts["consecutiveFailures"] > _DEFAULT_FAILURES


@dataclass(frozen=True, slots=True)
class CircuitBreakerPolicy:
    """`policies.circuitBreakers`. Times are seconds; `interval` 0: counts are never cleared."""

    max_requests: int = 1
    interval: float = 0.0
    timeout: float = 60.0
    trip: Trip = default_trip


class State(Enum):
    """Where a breaker is; the values are daprd's words, in metrics too."""

    CLOSED = "closed"
    HALF_OPEN = "half-open"
    OPEN = "open"


NEXT: Final[dict[State, frozenset[State]]] = {
    State.CLOSED: frozenset({State.OPEN}),
    State.OPEN: frozenset({State.HALF_OPEN}),
    State.HALF_OPEN: frozenset({State.CLOSED, State.OPEN}),
}


class CircuitBreaker:
    """A breaker. Every `now` is seconds of one monotonic clock."""

    __slots__ = ("_counts", "_expiry", "_generation", "_policy", "_state", "name")

    def __init__(self, name: str, policy: CircuitBreakerPolicy, now: float) -> None:
        self.name = name
        self._policy = policy
        self._state = State.CLOSED
        self._generation = 0
        self._counts = Counts()
        self._expiry = 0.0
        self._begin(now)

    def state(self, now: float) -> State:
        """Where it is: time alone may close a period, or half open it."""
        if self._expiry and self._expiry < now:
            if self._state is State.OPEN:
                self._enter(State.HALF_OPEN, now)
            elif self._state is State.CLOSED:
                self._begin(now)
        return self._state

    def admit(self, now: float) -> int | str:
        """The generation of a call that may go, to be given back with its outcome; or why not."""
        state = self.state(now)
        if state is State.OPEN:
            return OPEN_ERROR
        if state is State.HALF_OPEN and self._counts.requests >= self._policy.max_requests:
            return TOO_MANY_ERROR
        self._counts.requests += 1
        return self._generation

    def succeeded(self, generation: int, now: float) -> None:
        """A call has gone well."""
        state = self.state(now)
        if generation != self._generation:
            return
        counts = self._counts
        counts.totalSuccesses += 1
        counts.consecutiveSuccesses += 1
        counts.consecutiveFailures = 0
        enough = counts.consecutiveSuccesses >= self._policy.max_requests
        if state is State.HALF_OPEN and enough:
            self._enter(State.CLOSED, now)

    def failed(self, generation: int, now: float) -> None:
        """A call has failed."""
        state = self.state(now)
        if generation != self._generation:
            return
        counts = self._counts
        counts.totalFailures += 1
        counts.consecutiveFailures += 1
        counts.consecutiveSuccesses = 0
        if state is State.HALF_OPEN or self._policy.trip(asdict(counts)):
            self._enter(State.OPEN, now)

    def abandoned(self, generation: int) -> None:
        """Nobody waits for that call any more: it says nothing, and leaves its place."""
        if generation == self._generation:
            self._counts.requests -= 1

    def _enter(self, state: State, now: float) -> None:
        before = self._state
        assert state in NEXT[before], f"{self.name}: {before} to {state}"
        text = 'Circuit breaker "%s" changed state from %s to %s'
        logger.info(text, self.name, before.value, state.value)
        self._state = state
        self._begin(now)

    def _begin(self, now: float) -> None:
        """A new generation."""
        self._generation += 1
        self._counts = Counts()
        lasts = {State.OPEN: self._policy.timeout, State.CLOSED: self._policy.interval}
        seconds = lasts.get(self._state, 0.0)
        self._expiry = now + seconds if seconds else 0.0
