"""Keep-alive PINGs (`connection_keepalive`): is the peer still there?

Owns when to ask and when to give up. Refuses to know what giving up means. The clock is looked at
now and then (`sweep`), so the times are kept to the sweep's interval.
"""

from __future__ import annotations

import random
from typing import Final, Protocol

from meshproxy.http.http2.settings import Keepalive

_PAYLOAD: Final = b"keepaliv"


class Pinged(Protocol):
    """A connection, seen from here."""

    last_received: int

    def send_ping(self, payload: bytes) -> None:
        """Send a PING."""

    def on_keepalive_timeout(self) -> None:
        """There was no sign of life."""


class KeepalivePing:
    """The PINGs of one connection."""

    __slots__ = ("_config", "_connection", "_deadline", "_due", "_seen", "_seen_at")

    def __init__(self, connection: Pinged, config: Keepalive) -> None:
        self._connection = connection
        self._config = config
        self._due: float | None = None
        self._deadline: float | None = None
        self._seen = -1
        self._seen_at = 0.0

    def sweep(self, now: float) -> None:
        """Look at the clock. Any frame is a sign of life, as in Envoy."""
        received = self._connection.last_received
        if received != self._seen:
            self._seen, self._seen_at = received, now
            self._deadline = None
        elif self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self._connection.on_keepalive_timeout()
            return
        interval = self._config.interval
        if not interval:
            return
        if self._due is None:
            self._due = now + self._jittered(interval)
        elif now >= self._due:
            self._due = now + self._jittered(interval)
            self.ping(now)

    def ask_before_use(self, now: float) -> None:
        """A request is about to use the connection after a long silence."""
        idle = self._config.connection_idle_interval
        if idle and now - self._seen_at >= idle:
            self.ping(now)

    def ping(self, now: float) -> None:
        """Ask, unless a question is open already."""
        if self._deadline is None:
            self._deadline = now + self._config.timeout
            self._seen = self._connection.last_received
            self._connection.send_ping(_PAYLOAD)

    def _jittered(self, interval: float) -> float:
        return interval * (1 + self._config.jitter * random.random())  # noqa: S311  # spread only
