"""Thresholds and flags of one host, walked as a grid; and when the next check is due."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from meshproxy.upstream.health_check.host_health import (
    Event,
    Failure,
    HostHealth,
    Transition,
    next_interval,
    with_jitter,
)
from meshproxy.upstream.host import (
    ACTIVE_HC_TIMEOUT,
    DEGRADED_ACTIVE_HC,
    EXCLUDED_VIA_IMMEDIATE_HC_FAIL,
    FAILED_ACTIVE_HC,
    FAILED_EDS_HEALTH,
    PENDING_ACTIVE_HC,
)
from tests.upstream.health_check.world import config, host

UNCHANGED, CHANGED, PENDING = Transition.UNCHANGED, Transition.CHANGED, Transition.CHANGE_PENDING


class Health:
    def __init__(self, flags: int = 0, *, first: bool = False, **fields) -> None:
        self.host = host()
        self.host.set_health_flags(flags)
        self.events: list[Event] = []
        self.health = HostHealth(self.host, config(**fields), self._tell)
        self.health.first = first

    def _tell(self, event: Event, failure: Failure | None) -> None:
        self.events.append(event)

    @property
    def flags(self) -> int:
        return self.host.health_flags


def test_the_first_check_of_a_host_decides_alone():
    one = Health(FAILED_ACTIVE_HC, first=True)
    assert one.health.passed(False) is CHANGED
    assert (one.flags, one.events, one.health.first) == (0, [Event.ADD], False)
    other = Health(FAILED_ACTIVE_HC, first=True)
    assert other.health.failed(Failure.NETWORK) is UNCHANGED
    assert (other.flags, other.events) == (FAILED_ACTIVE_HC, [Event.FAILURE])
    assert other.health.passed(False) is PENDING


def test_an_ill_host_is_well_after_as_many_successes_as_the_threshold():
    one = Health(FAILED_ACTIVE_HC | ACTIVE_HC_TIMEOUT | EXCLUDED_VIA_IMMEDIATE_HC_FAIL)
    assert [one.health.passed(False) for _ in range(2)] == [PENDING, PENDING]
    assert one.health.failed(Failure.NETWORK) is UNCHANGED  # and they are counted anew
    assert [one.health.passed(False) for _ in range(3)] == [PENDING, PENDING, CHANGED]
    assert one.flags == 0
    assert one.health.passed(False) is UNCHANGED


@pytest.mark.parametrize("failure", [Failure.NETWORK, Failure.NETWORK_TIMEOUT])
def test_a_host_that_is_not_reached_is_ill_after_as_many_failures_as_the_threshold(failure):
    one = Health()
    assert one.health.failed(failure) is PENDING
    assert one.health.passed(False) is UNCHANGED
    assert [one.health.failed(failure) for _ in range(2)] == [PENDING, CHANGED]
    late = ACTIVE_HC_TIMEOUT if failure is Failure.NETWORK_TIMEOUT else 0
    assert one.flags == FAILED_ACTIVE_HC | late
    assert one.events == [Event.EJECT]


@pytest.mark.parametrize("failure", [Failure.ACTIVE, Failure.PASSIVE])
def test_a_host_that_says_so_itself_is_ill_at_once(failure):
    one = Health()
    assert one.health.failed(failure) is CHANGED
    assert one.flags == FAILED_ACTIVE_HC


def test_a_retriable_status_counts_like_the_network():
    one = Health()
    assert [one.health.failed(Failure.ACTIVE, True) for _ in range(2)] == [PENDING, CHANGED]


def test_an_ill_host_is_late_or_not_by_its_last_failure():
    one = Health(FAILED_ACTIVE_HC)
    one.health.failed(Failure.NETWORK_TIMEOUT)
    assert one.flags == FAILED_ACTIVE_HC | ACTIVE_HC_TIMEOUT
    one.health.failed(Failure.NETWORK)
    assert one.flags == FAILED_ACTIVE_HC


def test_a_degraded_host_changes_at_once_both_ways():
    one = Health()
    assert one.health.passed(True) is CHANGED
    assert one.flags == DEGRADED_ACTIVE_HC
    assert one.health.passed(True) is UNCHANGED
    assert one.health.passed(False) is CHANGED
    assert one.events == [Event.DEGRADED, Event.NO_LONGER_DEGRADED]


@pytest.mark.parametrize("passed", [True, False])
def test_a_pending_host_is_so_until_its_first_result_whatever_that_is(passed):
    one = Health(FAILED_ACTIVE_HC | PENDING_ACTIVE_HC, first=True)
    result = one.health.passed(False) if passed else one.health.failed(Failure.NETWORK)
    assert result is CHANGED
    assert not one.flags & PENDING_ACTIVE_HC


def test_the_flags_of_others_are_left_alone():
    one = Health(FAILED_EDS_HEALTH | FAILED_ACTIVE_HC, first=True)
    one.health.passed(False)
    assert one.flags == FAILED_EDS_HEALTH


def test_every_result_is_told_where_that_is_asked_for():
    one = Health(always_log_success=True, always_log_failures=True)
    one.health.passed(False)
    one.health.failed(Failure.ACTIVE)
    one.health.failed(Failure.ACTIVE)
    assert one.events == [Event.SUCCESS, Event.EJECT, Event.FAILURE, Event.FAILURE]


INTERVALS = config(
    interval=1.0,
    no_traffic_interval=2.0,
    no_traffic_healthy_interval=3.0,
    unhealthy_interval=4.0,
    unhealthy_edge_interval=5.0,
    healthy_edge_interval=6.0,
)


@pytest.mark.parametrize(
    ("passed", "transition", "traffic"),
    list(product([True, False], Transition, [True, False])),
)
def test_the_interval_is_that_of_the_state(passed, transition, traffic):
    pending = transition is PENDING
    if traffic:
        expected = (6.0 if pending else 1.0) if passed else (5.0 if pending else 4.0)
    else:
        expected = 3.0 if passed and not pending else 2.0
    found = next_interval(INTERVALS, passed=passed, transition=transition, traffic=traffic)
    assert found == expected


def test_jitter_is_a_part_of_the_interval_and_a_part_of_a_second():
    one = config(interval=1.0, interval_jitter=0.1, interval_jitter_percent=50)
    assert with_jitter(one, 1.0, 0.1, lambda: 1049) == pytest.approx(1.0 + 0.049 + 0.049)
    assert with_jitter(config(), 1.0, 0.0, lambda: 1049) == 1.0


def test_the_runtime_bounds_the_interval_which_is_never_0():
    one = config(interval=1.0)
    assert with_jitter(replace(one, min_interval=2.0), 1.0, 0.0, lambda: 0) == 2.0
    assert with_jitter(replace(one, max_interval=0.5), 1.0, 0.0, lambda: 0) == 0.5
    assert with_jitter(one, 0.0, 0.0, lambda: 0) == 0.001
