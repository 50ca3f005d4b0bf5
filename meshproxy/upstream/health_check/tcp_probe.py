"""`tcp_health_check`: whether a host accepts, or answers some bytes with others.

Owns the exchange. Refuses to know thresholds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from meshproxy.upstream.health_check.config import TcpHealthCheck
from meshproxy.upstream.health_check.host_health import Failure
from meshproxy.upstream.health_check.payload import has_in_order
from meshproxy.upstream.health_check.probe import ProbeOwner, Target

MAX_ANSWER: Final = 64 * 1024
"""Bytes that are looked at; a host that says more without the expected ones has failed by time."""


class TcpProbe:
    """The checks of one host. Implements `Probe` and `network.connector.ConnectingOwner`."""

    __slots__ = ("_check", "_connecting", "_owner", "_received", "_target", "_wire")

    def __init__(self, target: Target, check: TcpHealthCheck, owner: ProbeOwner) -> None:
        self._target = target
        self._check = check
        self._owner = owner
        self._connecting: Any = None
        self._wire: Any = None
        self._received = bytearray()

    # -- Probe -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, or say it again on the last one's connection."""
        if self._wire is not None:
            self._say()
        elif self._connecting is None:
            self._connecting = self._target.connect(self)

    def _say(self) -> None:
        if self._wire is not None and self._check.send:
            self._wire.write(self._check.send)

    def give_up(self) -> None:
        """It has taken too long."""
        self.close()

    def close(self) -> None:
        """End the connection, if there is one; nobody hears of it."""
        connecting, self._connecting = self._connecting, None
        wire, self._wire = self._wire, None
        self._received.clear()
        if wire is not None:
            wire.abort()
        elif connecting is not None:
            connecting.cancel()

    # -- ConnectingOwner -------------------------------------------------------------------------

    def on_connected(self, connection: Any) -> Callable[[bytes], None]:
        """The host has accepted."""
        self._connecting = None
        self._wire = connection
        # Not from here: the transport is not ready before this returns.
        self._target.connector.dispatcher.call_later(0, self._begin)
        return self._on_data

    def _begin(self) -> None:
        if self._wire is None:
            return
        if self._check.receive:
            self._say()
        else:
            self.close()
            self._owner.on_passed(False)

    def _on_data(self, data: bytes) -> None:
        if self._wire is None:
            return
        self._received += data[: MAX_ANSWER - len(self._received)]
        if self._check.receive and has_in_order(self._check.receive, self._received):
            self._received.clear()
            if not self._target.config.reuse_connection:
                self.close()
            self._owner.on_passed(False)

    def on_connect_failure(self, reason: str, text: str) -> None:
        """The host could not be reached."""
        if self._connecting is not None:
            self._connecting = None
            self._owner.on_failed(Failure.NETWORK)

    def on_eof(self) -> bool:
        """The host sends no more: then it closes."""
        return False

    def on_watermark(self, high: bool) -> None:
        """What we send is short."""

    def on_closed(self, local: bool) -> None:
        """The host has closed, which is a failure even where nothing was asked at that time."""
        if self._wire is None:
            return
        self._wire = None
        self._received.clear()
        self._owner.on_failed(Failure.NETWORK)
