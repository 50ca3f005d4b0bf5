"""Calls under policies, without waiting: the clock is the test's."""

import asyncio

import pytest

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.resiliency import (
    CircuitBreakerPolicy,
    CircuitOpen,
    CodeError,
    DeadlineExceeded,
    Permanent,
    Policy,
    RetryPolicy,
    Target,
)
from meshproxy.dapr.resiliency.circuit_breaker import CircuitBreaker, State
from meshproxy.network.tasks import TaskOwner, spawn
from tests.dapr.resiliency.support import FakeTime, Seen, means
from tests.dapr.support import run


@pytest.fixture
def time():
    return FakeTime()


class Flaky:
    """Fails with what it is told, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def breaker(time: FakeTime, failures: int = 1) -> CircuitBreaker:
    policy = CircuitBreakerPolicy(trip=lambda c: c["consecutiveFailures"] >= failures)
    return CircuitBreaker("b", policy, time.now)


def test_an_empty_policy_calls_once():
    operation = Flaky(ComponentError("no"))
    with pytest.raises(ComponentError, match="no"):
        run(Policy().run(operation))
    assert operation.calls == 1
    assert run(Policy().run(operation)) == "done"


def test_failures_are_tried_again_after_the_wait(time):
    policy = Policy(retry=RetryPolicy(duration=2.0), means=means(time))
    operation = Flaky(ComponentError("a"), CodeError("b", 503))
    assert run(policy.run(operation)) == "done"
    assert (operation.calls, time.slept) == (3, [2.0, 2.0])


def test_the_last_failure_is_raised_when_the_retries_are_used_up(time):
    policy = Policy(retry=RetryPolicy(duration=1.0, max_retries=1), means=means(time))
    operation = Flaky(ComponentError("first"), ComponentError("second"))
    with pytest.raises(ComponentError, match="second"):
        run(policy.run(operation))
    assert operation.calls == 2


def test_a_status_that_does_not_match_is_not_tried_again(time):
    policy = Policy(retry=RetryPolicy(http_codes=((503, 503),)), means=means(time))
    operation = Flaky(CodeError("missing", 404))
    with pytest.raises(CodeError):
        run(policy.run(operation))
    assert operation.calls == 1


def test_a_permanent_failure_is_not_tried_again_and_opens_no_breaker(time):
    watched = breaker(time)
    policy = Policy(retry=RetryPolicy(), breaker=watched, means=means(time))
    with pytest.raises(Permanent):
        run(policy.run(Flaky(Permanent("wrong etag"))))
    assert watched.state(time.now) is State.CLOSED


def test_what_is_no_component_error_passes_at_once(time):
    policy = Policy(retry=RetryPolicy(), breaker=breaker(time), means=means(time))
    with pytest.raises(ZeroDivisionError):
        run(policy.run(Flaky(ZeroDivisionError())))


def test_an_attempt_that_takes_too_long_is_ended_and_tried_again(time):
    ended = []

    async def hang() -> str:
        if len(ended) == 2:
            return "done"
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)
        return "never"

    policy = Policy(timeout=0.001, retry=RetryPolicy(duration=1.0), means=means(time))
    assert run(policy.run(hang)) == "done"
    assert time.slept == [1.0, 1.0]
    ended.clear()
    with pytest.raises(DeadlineExceeded, match="context deadline exceeded"):
        run(Policy(timeout=0.001, means=means(time)).run(hang))


def test_an_open_breaker_ends_the_retries(time):
    watched = breaker(time, failures=2)
    policy = Policy(retry=RetryPolicy(duration=1.0), breaker=watched, means=means(time))
    operation = Flaky(*[ComponentError("no")] * 5)
    with pytest.raises(CircuitOpen, match="circuit breaker is open"):
        run(policy.run(operation))
    assert operation.calls == 2
    time.now += 60.1
    operation.errors.clear()
    assert run(policy.run(operation)) == "done"
    assert watched.state(time.now) is State.CLOSED


def test_a_cancelled_call_says_nothing_and_leaves_its_place(time):
    watched = breaker(time)
    policy = Policy(breaker=watched, means=means(time))

    async def scenario() -> None:
        watched.failed(watched.admit(time.now), time.now)
        time.now += 60.1
        task = spawn(TaskOwner(), policy.run(asyncio.Event().wait), "call")
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(scenario())
    assert watched.state(time.now) is State.HALF_OPEN
    assert run(policy.run(Flaky())) == "done"


def test_only_calls_without_an_answer_are_tried_again_where_the_policy_says_so(time):
    policy = Policy(retry=RetryPolicy(), only_unreachable=True, means=means(time))
    execution = policy.begin()
    assert execution.admit() == ""
    assert execution.failed(None) == 5.0
    assert execution.failed(503) is None


def test_the_observer_does_not_hear_of_a_policy_that_is_for_nobody(time):
    seen = Seen()
    Policy(retry=RetryPolicy(duration=1.0), means=means(time, seen)).begin()
    assert seen.executed_ == []


def test_the_observer_hears_of_every_policy_and_once_that_it_has_stepped_in(time):
    seen = Seen()
    policy = Policy(
        timeout=1.0,
        retry=RetryPolicy(duration=1.0),
        breaker=breaker(time, failures=2),
        target=Target("statestore_s"),
        means=means(time, seen),
    )
    execution = policy.begin()
    for _ in range(2):
        execution.admit()
        execution.failed(None, timed_out=True)
    name = "statestore_s"
    assert seen.executed_ == [
        ("timeout", name, ""),
        ("retry", name, ""),
        ("circuitbreaker", name, "closed"),
    ]
    assert seen.activated_ == [
        ("timeout", name, ""),
        ("retry", name, ""),
        ("circuitbreaker", name, "open"),
    ]
