"""When a plugin whose VM has failed may have a fresh one: the failure policies, decided purely.

Owns the arithmetic of time. Refuses to start anything: `plugin.py` does, and only asks here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from meshproxy.proxy_wasm.config import FAIL_RELOAD, UNSPECIFIED, PluginConfig

if TYPE_CHECKING:
    from meshproxy.http.dispatcher import Dispatcher

MAX_RESTARTS: Final = 10
"""Fresh VMs per interval where no policy is given: beyond them requests are refused, or requests
that trap would make the proxy do nothing but start VMs."""


class Restart(Protocol):
    """Asked by every stream that finds its plugin without a VM."""

    def begin(self) -> bool:
        """Whether a fresh VM may be started now; it is counted as started then."""

    def failed(self) -> None:
        """The fresh VM could not be started."""


class Backoff:
    """FAIL_RELOAD, as Envoy waits (JitteredLowerBoundBackOffStrategy): the base interval and a
    random part of up to half of it, counted from when the failed VM was loaded.
    """

    def __init__(self, dispatcher: Dispatcher, interval: float) -> None:
        self._dispatcher = dispatcher
        self._base = max(1, round(interval * 1000))
        self._loaded = dispatcher.now()

    def begin(self) -> bool:
        """Whether the wait is over."""
        now = self._dispatcher.now()
        wait = self._base + self._dispatcher.random() % max(1, self._base // 2)
        if (now - self._loaded) * 1000 < wait:
            return False
        self._loaded = now
        return True

    def failed(self) -> None:
        """The next attempt waits as long, too."""


class Budget:
    """No policy: at once, but not more than MAX_RESTARTS times per interval (seconds)."""

    def __init__(self, dispatcher: Dispatcher, interval: float) -> None:
        self._dispatcher = dispatcher
        self._interval = interval
        self._window = dispatcher.now()
        self._left = 0

    def begin(self) -> bool:
        """Whether there are restarts left in this interval."""
        now = self._dispatcher.now()
        if now >= self._window:
            self._window = now + self._interval
            self._left = MAX_RESTARTS
        if not self._left:
            return False
        self._left -= 1
        return True

    def failed(self) -> None:
        """It will not get better within the interval."""
        self._left = 0


def restart_policy(config: PluginConfig, dispatcher: Dispatcher) -> Restart | None:
    """The policy of a plugin. None where what failed stays so until it is reloaded: FAIL_OPEN and
    FAIL_CLOSED, which is Envoy's answer to an unspecified policy and the strict profile's.
    """
    if config.failure_policy == FAIL_RELOAD:
        return Backoff(dispatcher, config.reload_interval)
    if config.failure_policy == UNSPECIFIED and not config.vm.strict:
        return Budget(dispatcher, config.reload_interval)
    return None
