"""When a plugin whose VM has failed may have a fresh one: the failure policies, decided purely.

Owns the arithmetic of time. Refuses to start anything: `plugin.py` does, and only asks here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from meshproxy.proxy_wasm.config import FAIL_RELOAD, UNSPECIFIED, PluginConfig

if TYPE_CHECKING:
    from meshproxy.http.dispatcher import Dispatcher

MAX_RESTARTS: Final = 10
"""Fresh VMs at once, and per interval, where no policy is given: beyond them requests are refused,
or requests that trap would make the proxy do nothing but start VMs."""
SHARE: Final = 0.00125
"""Of the loop's time, what they may take: an eighth of what a hundredth of all requests notices.
Clearing away what trapped takes half as long again, and who waits for it on a loop that is half
busy waits as long for the requests that came meanwhile."""
LINKED_SHARE: Final = 0.005
"""Of the loop's time, what VMs take that were linked ahead. The loop is held up for a fifth of the
time of others, too short for anybody to notice."""
SLOW_SHARE: Final = 0.05
"""The same for VMs of which even one per interval takes more than its SHARE."""


class Restart(Protocol):
    """Asked by every stream that finds its plugin without a VM."""

    spares: bool
    """Whether it is worth to link VMs ahead."""

    def begin(self, *, linked: bool = False) -> bool:
        """Whether a fresh VM may be started now; it is counted as started then. `linked`: it waits
        already, and only its own code has to run."""

    def took(self, seconds: float) -> None:
        """The fresh VM was started, or could not be, in this time; everybody else waited."""

    def failed(self) -> None:
        """The fresh VM could not be started."""


class Backoff:
    """FAIL_RELOAD, as Envoy waits (JitteredLowerBoundBackOffStrategy): the base interval and a
    random part of up to half of it, counted from when the failed VM was loaded.
    """

    spares = False

    def __init__(self, dispatcher: Dispatcher, interval: float) -> None:
        self._dispatcher = dispatcher
        self._base = max(1, round(interval * 1000))
        self._loaded = dispatcher.now()

    def begin(self, *, linked: bool = False) -> bool:
        """Whether the wait is over."""
        now = self._dispatcher.now()
        wait = self._base + self._dispatcher.random() % max(1, self._base // 2)
        if (now - self._loaded) * 1000 < wait:
            return False
        self._loaded = now
        return True

    def took(self, seconds: float) -> None:
        """The wait is long enough for every VM."""

    def failed(self) -> None:
        """The next attempt waits as long, too."""


class Budget:
    """No policy: at once, but not more than MAX_RESTARTS and then as many per interval (seconds),
    one by one. VMs that start slowly get fewer, so that all of them take a SHARE of the time; one
    per interval there always is, unless even that one would take more than a SLOW_SHARE. VMs that
    were linked ahead come on top, as fast as they are made (`spares.py`), for a LINKED_SHARE.
    """

    spares = True

    def __init__(self, dispatcher: Dispatcher, interval: float) -> None:
        self._dispatcher = dispatcher
        self._interval = interval
        self._cost = SHARE * interval / MAX_RESTARTS  # seconds that one of them may take
        self._left = float(MAX_RESTARTS)
        self._at = dispatcher.now()  # when `_left` was true
        self._began = self._at - interval
        self._not_before = self._at
        self._linked = False  # the one that is being started
        self._linked_not_before = self._at

    def begin(self, *, linked: bool = False) -> bool:
        """Whether there is a restart left now."""
        now = self._dispatcher.now()
        self._linked = linked and now >= self._linked_not_before
        if self._linked:
            return True
        earned = (now - self._at) * MAX_RESTARTS / self._interval
        self._left = min(self._left + earned, MAX_RESTARTS)
        self._at = now
        waited = now - self._began >= self._interval
        if now < self._not_before or (self._left < 1 and not waited):
            return False
        self._left -= 1
        self._began = now
        return True

    def took(self, seconds: float) -> None:
        """A slow start is paid with those that could have come in its time."""
        if self._linked:
            self._linked_not_before = self._dispatcher.now() + seconds / LINKED_SHARE
            return
        self._left -= max(0.0, seconds / self._cost - 1)
        self._not_before = max(self._not_before, self._dispatcher.now() + seconds / SLOW_SHARE)

    def failed(self) -> None:
        """It will not get better within the interval."""
        self._not_before = max(self._not_before, self._dispatcher.now() + self._interval)
        self._linked_not_before = self._not_before


def restart_policy(config: PluginConfig, dispatcher: Dispatcher) -> Restart | None:
    """The policy of a plugin. None where what failed stays so until it is reloaded: FAIL_OPEN and
    FAIL_CLOSED, which is Envoy's answer to an unspecified policy and the strict profile's.
    """
    if config.failure_policy == FAIL_RELOAD:
        return Backoff(dispatcher, config.reload_interval)
    if config.failure_policy == UNSPECIFIED and not config.vm.strict:
        return Budget(dispatcher, config.reload_interval)
    return None
