"""What the checks of one host add up to.

Owns the thresholds, the flags of active checks and when the next check is due. Refuses to know how
a host is asked: it hears results, and says what has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, StrEnum
from typing import Final

from meshproxy.upstream.health_check.config import HealthCheckConfig
from meshproxy.upstream.host import (
    ACTIVE_HC_TIMEOUT,
    DEGRADED_ACTIVE_HC,
    EXCLUDED_VIA_IMMEDIATE_HC_FAIL,
    FAILED_ACTIVE_HC,
    PENDING_ACTIVE_HC,
    Host,
)


class Transition(Enum):
    """What a result has done to a host: nothing, something, or something is on its way."""

    UNCHANGED = 0
    CHANGED = 1
    CHANGE_PENDING = 2


class Failure(StrEnum):
    """`data.core.v3.HealthCheckFailureType`: the host said so to us or to a client, or was not
    reached, or not in time.
    """

    ACTIVE = "ACTIVE"
    PASSIVE = "PASSIVE"
    NETWORK = "NETWORK"
    NETWORK_TIMEOUT = "NETWORK_TIMEOUT"


NETWORK_FAILURES: Final = frozenset((Failure.NETWORK, Failure.NETWORK_TIMEOUT))


class Event(StrEnum):
    """What is told about a host: the fields of `data.core.v3.HealthCheckEvent`."""

    EJECT = "eject_unhealthy_event"
    ADD = "add_healthy_event"
    SUCCESS = "successful_health_check_event"
    FAILURE = "health_check_failure_event"
    DEGRADED = "degraded_healthy_host"
    NO_LONGER_DEGRADED = "no_longer_degraded_host"


class HostHealth:
    """Counts results. `first`: there has been none yet. `tell` hears the events of a result."""

    __slots__ = ("_config", "_failures", "_host", "_successes", "_tell", "first")

    def __init__(
        self, host: Host, config: HealthCheckConfig, tell: Callable[[Event, Failure | None], None]
    ) -> None:
        self._host = host
        self._config = config
        self._tell = tell
        self._successes = 0
        self._failures = 0
        self.first = True

    def passed(self, degraded: bool) -> Transition:
        """A check has succeeded. The first one ever makes the host healthy at once."""
        self._failures = 0
        flags = self._host.health_flags
        transition = Transition.UNCHANGED
        if flags & FAILED_ACTIVE_HC:
            self._successes += 1
            if self.first or self._successes == self._config.healthy_threshold:
                flags &= ~(FAILED_ACTIVE_HC | ACTIVE_HC_TIMEOUT | EXCLUDED_VIA_IMMEDIATE_HC_FAIL)
                transition = Transition.CHANGED
                self._tell(Event.ADD, None)
            else:
                transition = Transition.CHANGE_PENDING
        if transition is not Transition.CHANGED and self._config.always_log_success:
            self._tell(Event.SUCCESS, None)
        if flags & PENDING_ACTIVE_HC:
            flags &= ~PENDING_ACTIVE_HC
            transition = Transition.CHANGED
        if degraded != bool(flags & DEGRADED_ACTIVE_HC):
            flags ^= DEGRADED_ACTIVE_HC
            self._tell(Event.DEGRADED if degraded else Event.NO_LONGER_DEGRADED, None)
            if transition is Transition.UNCHANGED:
                transition = Transition.CHANGED
        self._end(flags)
        return transition

    def failed(self, failure: Failure, retriable: bool = False) -> Transition:
        """A check has failed. What the host itself said counts at once, unless `retriable`."""
        self._successes = 0
        flags = self._host.health_flags
        transition = Transition.UNCHANGED
        if not flags & FAILED_ACTIVE_HC:
            certain = failure not in NETWORK_FAILURES and not retriable
            if not certain:
                self._failures += 1
            if certain or self._failures == self._config.unhealthy_threshold:
                flags |= FAILED_ACTIVE_HC
                transition = Transition.CHANGED
                self._tell(Event.EJECT, failure)
            else:
                transition = Transition.CHANGE_PENDING
        if failure is Failure.NETWORK_TIMEOUT and flags & FAILED_ACTIVE_HC:
            flags |= ACTIVE_HC_TIMEOUT
        else:
            flags &= ~ACTIVE_HC_TIMEOUT
        if flags & PENDING_ACTIVE_HC:
            flags &= ~PENDING_ACTIVE_HC
            transition = Transition.CHANGED
        if self.first or self._config.always_log_failures:
            self._tell(Event.FAILURE, failure)
        self._end(flags)
        return transition

    def _end(self, flags: int) -> None:
        self.first = False
        self._host.set_health_flags(flags)


def next_interval(
    config: HealthCheckConfig, *, passed: bool, transition: Transition, traffic: bool
) -> float:
    """Seconds until the next check, without jitter. `traffic`: the cluster has ever had any."""
    pending = transition is Transition.CHANGE_PENDING
    if not traffic:
        healthy = passed and not pending
        return config.no_traffic_healthy_interval if healthy else config.no_traffic_interval
    if passed:
        return config.healthy_edge_interval if pending else config.interval
    return config.unhealthy_edge_interval if pending else config.unhealthy_interval


def with_jitter(
    config: HealthCheckConfig, seconds: float, jitter: float, random: Callable[[], int]
) -> float:
    """An interval in whole milliseconds with its jitter, within the runtime's bounds; never 0."""
    base = int(seconds * 1000)
    share = config.interval_jitter_percent * base // 100
    if share > 0:
        base += random() % share
    most = int(jitter * 1000)
    if most > 0:
        base += random() % most
    if config.max_interval is not None:
        base = min(base, int(config.max_interval * 1000))
    return max(1, base, int(config.min_interval * 1000)) / 1000
