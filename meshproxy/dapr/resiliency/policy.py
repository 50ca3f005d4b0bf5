"""The policies of one target together, and one call under them. Knows no configuration.

`Execution` decides and does nothing: who makes the call asks it before each attempt, and tells it
how the attempt went. `Policy.run` is that for coroutines; invoked services do it in the router.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from meshproxy.dapr.component import ComponentError, Permanent
from meshproxy.dapr.resiliency.circuit_breaker import CircuitBreaker
from meshproxy.dapr.resiliency.retry import Backoff, RetryPolicy

logger: Final = logging.getLogger("meshproxy.dapr.runtime.resiliency")

TIMEOUT: Final = "timeout"
RETRY: Final = "retry"
CIRCUIT_BREAKER: Final = "circuitbreaker"
OUTBOUND: Final = "outbound"
INBOUND: Final = "inbound"
_Result = TypeVar("_Result")
DEADLINE_ERROR: Final = "context deadline exceeded"


class CodeError(ComponentError):
    """A failure with a status: `code` is HTTP's (100-599) or gRPC's (0-16)."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code: Final = code


class CircuitOpen(Permanent):
    """A circuit breaker has not let the call through."""


class DeadlineExceeded(ComponentError):
    """The attempt has taken longer than its policy allows."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a policy is for, as metrics name it: `app_cart`, `statestore_orders`."""

    name: str = ""
    direction: str = OUTBOUND


class Observer(Protocol):
    """Told what policies do, for `dapr_resiliency_*`.

    `policy` is `timeout`, `retry` or `circuitbreaker`; `status` is the state of a circuit breaker,
    else empty.
    """

    def executed(self, policy: str, target: Target, status: str) -> None:
        """A call begins under a policy."""

    def activated(self, policy: str, target: Target, status: str) -> None:
        """It had to step in: a time is over, a retry begins, a breaker has changed."""


class Unobserved:
    """Nobody looks."""

    def executed(self, policy: str, target: Target, status: str) -> None:
        """See `Observer`."""

    def activated(self, policy: str, target: Target, status: str) -> None:
        """See `Observer`."""


@dataclass(slots=True)
class Means:
    """What policies use. `now` is monotonic seconds, `random` uniform in [0, 1)."""

    now: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    observer: Observer = field(default_factory=Unobserved)


@dataclass(frozen=True, slots=True)
class Policy:
    """What stands around the calls to one target. `timeout` is seconds, 0 for none.

    `only_unreachable`: of failures, only those without an answer are tried again.
    """

    name: str = ""
    timeout: float = 0.0
    retry: RetryPolicy | None = None
    breaker: CircuitBreaker | None = None
    target: Target = Target()
    means: Means = field(default_factory=Means)
    only_unreachable: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether calls go as they would without it."""
        return not self.timeout and self.retry is None and self.breaker is None

    def begin(self) -> Execution:
        """A call."""
        return Execution(self)

    async def run(self, operation: Callable[[], Awaitable[_Result]]) -> _Result:
        """The result of the operation, which is called once an attempt. Raises ComponentError."""
        if self.is_empty:
            return await operation()
        execution = self.begin()
        while True:
            refused = execution.admit()
            if refused:
                raise CircuitOpen(refused)
            try:
                result = await self._attempt(operation)
            except Permanent:
                execution.succeeded()
                raise
            except ComponentError as error:
                code = error.code if isinstance(error, CodeError) else None
                wait = execution.failed(code, timed_out=isinstance(error, DeadlineExceeded))
                if wait is None:
                    raise
                logger.debug("Error for operation %s was: %s", self.name, error)
            except BaseException:
                execution.abandoned()
                raise
            else:
                execution.succeeded()
                return result
            await self.means.sleep(wait)

    async def _attempt(self, operation: Callable[[], Awaitable[_Result]]) -> _Result:
        if not self.timeout:
            return await operation()
        try:
            async with asyncio.timeout(self.timeout) as scope:
                return await operation()
        except TimeoutError as error:
            if not scope.expired():
                raise ComponentError(str(error) or "timed out") from error
            raise DeadlineExceeded(DEADLINE_ERROR) from None


NO_POLICY: Final = Policy()
"""Calls go as they are."""


class Execution:
    """One call and its attempts: `admit`, then one of the others, again and again."""

    __slots__ = (
        "_attempts",
        "_backoff",
        "_begun",
        "_generation",
        "_policy",
        "_timed_out",
        "may_retry",
        "timeout",
    )

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._attempts = 0
        self._generation = 0
        self._backoff: Backoff | None = None  # there is none before the first failure
        self._timed_out = False
        means, retry = policy.means, policy.retry
        self._begun = means.now()
        self.timeout: Final = policy.timeout
        """Seconds that an attempt may take, 0 for no limit."""
        self.may_retry: Final = retry is not None and retry.max_retries != 0
        """Whether a failure could be followed by another attempt."""
        if policy.timeout:
            means.observer.executed(TIMEOUT, policy.target, "")
        # Built-in ones are nobody's policy.
        if retry is not None and policy.target.name and not policy.only_unreachable:
            means.observer.executed(RETRY, policy.target, "")
        if policy.breaker is not None:
            state = policy.breaker.state(self._begun)
            means.observer.executed(CIRCUIT_BREAKER, policy.target, state.value)

    def admit(self) -> str:
        """Empty where the next attempt may go; else why it may not, and there is no other."""
        breaker = self._policy.breaker
        if breaker is not None:
            admitted = breaker.admit(self._policy.means.now())
            if isinstance(admitted, str):
                return admitted
            self._generation = admitted
        self._attempts += 1
        return ""

    def succeeded(self) -> None:
        """The attempt has gone well."""
        self._tell_breaker(failed=False)
        if self._attempts > 1:
            text = "Recovered processing operation %s after %d attempts"
            logger.info(text, self._policy.name, self._attempts)

    def failed(self, code: int | None, *, timed_out: bool = False) -> float | None:
        """The attempt has failed; seconds until the next one, None where there is none.

        `code` is the status of the answer, None where there was none.
        """
        policy = self._policy
        self._tell_breaker(failed=True)
        if timed_out and not self._timed_out:
            self._timed_out = True
            policy.means.observer.activated(TIMEOUT, policy.target, "")
        retry, means = policy.retry, policy.means
        if retry is None or not retry.matches(code):
            return None
        if policy.only_unreachable and code is not None:
            return None
        if self._backoff is None:
            self._backoff = Backoff(retry, self._begun, means.random)
        wait = self._backoff.next(means.now())
        if wait is not None and self._attempts == 1:
            if not policy.only_unreachable:
                means.observer.activated(RETRY, policy.target, "")
            text = "Error processing operation %s. Retrying in %gs…"
            logger.info(text, policy.name, round(wait, 3))
        return wait

    def abandoned(self) -> None:
        """Nobody waits for this call any more."""
        if self._policy.breaker is not None:
            self._policy.breaker.abandoned(self._generation)

    def _tell_breaker(self, *, failed: bool) -> None:
        breaker, means = self._policy.breaker, self._policy.means
        if breaker is None:
            return
        now = means.now()
        before = breaker.state(now)
        if failed:
            breaker.failed(self._generation, now)
        else:
            breaker.succeeded(self._generation, now)
        after = breaker.state(now)
        if after is not before:
            means.observer.activated(CIRCUIT_BREAKER, self._policy.target, after.value)
