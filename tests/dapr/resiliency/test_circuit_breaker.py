"""Circuit breakers: the whole grid of states, and what the counts are."""

from itertools import product

import pytest

from meshproxy.dapr.resiliency.circuit_breaker import (
    NEXT,
    OPEN_ERROR,
    TOO_MANY_ERROR,
    CircuitBreaker,
    CircuitBreakerPolicy,
    State,
)


class Clock:
    now = 10.0


def breaker(**settings) -> CircuitBreaker:
    return CircuitBreaker("b", CircuitBreakerPolicy(**settings), Clock.now)


def brought_to(state: State, **settings) -> tuple[CircuitBreaker, float]:
    """A breaker in a state, and the time it is then."""
    made = breaker(timeout=5.0, trip=lambda counts: True, **settings)
    now = Clock.now
    if state is not State.CLOSED:
        made.failed(made.admit(now), now)
    if state is State.HALF_OPEN:
        now += 5.1
    assert made.state(now) is state
    return made, now


@pytest.mark.parametrize(
    ("state", "event", "after"),
    [
        (State.CLOSED, "success", State.CLOSED),
        (State.CLOSED, "failure", State.OPEN),
        (State.CLOSED, "time", State.CLOSED),
        (State.HALF_OPEN, "success", State.CLOSED),
        (State.HALF_OPEN, "failure", State.OPEN),
        (State.HALF_OPEN, "time", State.HALF_OPEN),
        (State.OPEN, "time", State.HALF_OPEN),
    ],
)
def test_events_move_it(state, event, after):
    made, now = brought_to(state)
    if event == "time":
        now += 5.1
    else:
        generation = made.admit(now)
        assert isinstance(generation, int)
        (made.succeeded if event == "success" else made.failed)(generation, now)
    assert made.state(now) is after


def test_an_open_one_lets_nobody_through():
    made, now = brought_to(State.OPEN)
    assert made.admit(now) == OPEN_ERROR == "circuit breaker is open"
    assert made.admit(now + 5.0) == OPEN_ERROR


@pytest.mark.parametrize(("before", "after"), list(product(State, State)))
def test_no_other_move_is_possible(before, after):
    made, now = brought_to(before)
    if after in NEXT[before]:
        made._enter(after, now)
        assert made.state(now) is after
    else:
        with pytest.raises(AssertionError):
            made._enter(after, now)


def test_a_half_open_one_lets_as_many_through_as_it_may_and_closes_when_all_went_well():
    made, now = brought_to(State.HALF_OPEN, max_requests=2)
    first, second = made.admit(now), made.admit(now)
    assert made.admit(now) == TOO_MANY_ERROR == "too many requests"
    made.succeeded(first, now)
    assert made.state(now) is State.HALF_OPEN
    made.succeeded(second, now)
    assert made.state(now) is State.CLOSED


def test_a_call_that_was_given_up_leaves_its_place():
    made, now = brought_to(State.HALF_OPEN)
    generation = made.admit(now)
    made.abandoned(generation)
    assert isinstance(made.admit(now), int)


def test_the_default_trips_after_more_than_five_failures_in_a_row():
    made = breaker()
    for _ in range(5):
        made.failed(made.admit(Clock.now), Clock.now)
    made.succeeded(made.admit(Clock.now), Clock.now)
    for _ in range(5):
        made.failed(made.admit(Clock.now), Clock.now)
    assert made.state(Clock.now) is State.CLOSED
    made.failed(made.admit(Clock.now), Clock.now)
    assert made.state(Clock.now) is State.OPEN
    assert made.state(Clock.now + 60.0) is State.OPEN
    assert made.state(Clock.now + 60.1) is State.HALF_OPEN


def test_the_trip_sees_every_count():
    seen: list[dict[str, int]] = []

    def trip(counts):
        seen.append(dict(counts))
        return False

    made = breaker(trip=trip)
    made.succeeded(made.admit(Clock.now), Clock.now)
    made.succeeded(made.admit(Clock.now), Clock.now)
    made.failed(made.admit(Clock.now), Clock.now)
    assert seen == [
        {
            "requests": 3,
            "totalSuccesses": 2,
            "totalFailures": 1,
            "consecutiveSuccesses": 0,
            "consecutiveFailures": 1,
        }
    ]


def test_counts_are_cleared_after_the_interval_and_late_outcomes_do_not_count():
    made = breaker(interval=10.0, trip=lambda counts: counts["totalFailures"] > 1)
    made.failed(made.admit(Clock.now), Clock.now)
    late = made.admit(Clock.now)
    later = Clock.now + 10.1
    made.failed(late, later)
    made.failed(made.admit(later), later)
    assert made.state(later) is State.CLOSED
    made.failed(made.admit(later), later)
    assert made.state(later) is State.OPEN
