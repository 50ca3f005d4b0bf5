"""The checks of one host: one after the other, each with its time.

Owns the clocks of a host and the counters of results. Refuses to know what a check is (the probes)
and what results add up to (`host_health.py`).
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

from meshproxy.upstream.health_check.config import HttpHealthCheck, TcpHealthCheck
from meshproxy.upstream.health_check.events import event_fields
from meshproxy.upstream.health_check.host_health import (
    NETWORK_FAILURES,
    Event,
    Failure,
    HostHealth,
    Transition,
    next_interval,
    with_jitter,
)
from meshproxy.upstream.health_check.http_probe import HttpProbe
from meshproxy.upstream.health_check.probe import Probe, ProbeOwner, Target
from meshproxy.upstream.health_check.tcp_probe import TcpProbe
from meshproxy.upstream.host import EXCLUDED_VIA_IMMEDIATE_HC_FAIL, Host

if TYPE_CHECKING:
    from meshproxy.http.dispatcher import Timer
    from meshproxy.upstream.health_check.checker import HealthChecker

logger = logging.getLogger("meshproxy.health_checker")

LATE: Final = 0.05
"""Seconds: a timer that comes later says that the loop stood still."""


class Session:
    """The checks of one host. Implements `ProbeOwner`."""

    __slots__ = (
        "_checker",
        "_due",
        "_host",
        "_interval",
        "_probe",
        "_status",
        "_stopped",
        "_timeout",
        "health",
    )

    def __init__(self, checker: HealthChecker, host: Host) -> None:
        self._checker = checker
        self._host = host
        self.health = HostHealth(host, checker.config, self._tell)
        target = Target(checker.cluster, host, checker.config, checker.connector)
        self._probe = make_probe(target, self)
        self._interval: Timer | None = None
        self._timeout: Timer | None = None
        self._status = 0  # of HTTP, in the last failure
        self._due = 0.0  # when the check has taken too long
        self._stopped = False

    def start(self) -> None:
        """Check for the first time: at once, or after a part of `initial_jitter`."""
        jitter = self._checker.config.initial_jitter
        if jitter:
            self._check_after(0.0, jitter)
        else:
            self._check()

    def stop(self) -> None:
        """Check no more."""
        self._stopped = True
        self._cancel()
        self._probe.close()

    def fail_passively(self) -> None:
        """The host has said by an answer to a client that it shall be left out."""
        self.exclude()
        self._status = 0
        self._fail(Failure.PASSIVE, False)

    def _check(self) -> None:
        checker = self._checker
        self._interval = None
        self._due = checker.dispatcher.now() + checker.config.timeout
        self._timeout = checker.dispatcher.call_later(checker.config.timeout, self._on_timeout)
        checker.stats.attempt.value += 1
        self._probe.start()

    def _on_timeout(self) -> None:
        dispatcher = self._checker.dispatcher
        late = dispatcher.now() - self._due
        if late > LATE:
            # It is us who were busy, and the answer may lie there unread: as long again, but once.
            self._due = math.inf
            extension = min(late, self._checker.config.timeout)
            self._timeout = dispatcher.call_later(extension, self._on_timeout)
            return
        self._timeout = None
        self._probe.give_up()
        self.on_failed(Failure.NETWORK_TIMEOUT)

    # -- ProbeOwner ------------------------------------------------------------------------------

    def on_passed(self, degraded: bool) -> None:
        """The host is well."""
        first = self.health.first
        transition = self.health.passed(degraded)
        self._checker.stats.success.value += 1
        self._after(transition, first)
        self._plan(True, transition)

    def on_failed(self, failure: Failure, retriable: bool = False, status: int = 0) -> None:
        """It is not."""
        self._status = status
        self._plan(False, self._fail(failure, retriable))

    def exclude(self) -> None:
        """It asks to be left out even where all hosts are tried."""
        self._host.set_health_flags(self._host.health_flags | EXCLUDED_VIA_IMMEDIATE_HC_FAIL)

    def count_verified(self) -> None:
        """Its service's name has been looked at."""
        self._checker.stats.verify_cluster.value += 1

    def _fail(self, failure: Failure, retriable: bool) -> Transition:
        first = self.health.first
        transition = self.health.failed(failure, retriable)
        stats = self._checker.stats
        stats.failure.value += 1
        if failure in NETWORK_FAILURES:
            stats.network_failure.value += 1
        elif failure is Failure.PASSIVE:
            stats.passive_failure.value += 1
        self._after(transition, first)
        return transition

    def _after(self, transition: Transition, first: bool) -> None:
        checker = self._checker
        if transition is Transition.CHANGED:
            logger.debug("%s: %r", checker.cluster.name, self._host)
            checker.on_changed(self._host)
        if first:
            checker.one_checked()

    # -- clocks ----------------------------------------------------------------------------------

    def _plan(self, passed: bool, transition: Transition) -> None:
        if self._stopped:
            return
        self._cancel()
        checker = self._checker
        seconds = next_interval(
            checker.config, passed=passed, transition=transition, traffic=checker.has_traffic()
        )
        self._check_after(seconds, checker.config.interval_jitter)

    def _check_after(self, seconds: float, jitter: float) -> None:
        checker = self._checker
        delay = with_jitter(checker.config, seconds, jitter, checker.dispatcher.random)
        self._interval = checker.dispatcher.call_later(delay, self._check)

    def _cancel(self) -> None:
        for timer in (self._interval, self._timeout):
            if timer is not None:
                timer.cancel()
        self._interval = self._timeout = None

    def _tell(self, event: Event, failure: Failure | None) -> None:
        fields = event_fields(event, failure, self.health.first, self._status)
        self._checker.tell(self._host, fields)


def make_probe(target: Target, owner: ProbeOwner) -> Probe:
    """What asks a host, by what its cluster wants to know."""
    check = target.config.check
    if isinstance(check, HttpHealthCheck):
        return HttpProbe(target, check, owner)
    if isinstance(check, TcpHealthCheck):
        return TcpProbe(target, check, owner)
    # Not at the top: it loads HTTP/2, which takes 20 ms and few clusters need.
    from meshproxy.upstream.health_check.grpc_probe import GrpcProbe

    return GrpcProbe(target, check, owner)
