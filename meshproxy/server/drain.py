"""Ending: stop accepting, finish what is in flight, and be gone in time.

Owns the order of a drain. Refuses to know signals and processes (`server.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from meshproxy.network.listener import Listener

logger = logging.getLogger("meshproxy.main")

# What SIGTERM grants by default. Envoy's --drain-time-s (600 s) is meant for hot restarts; a
# sidecar that outlives its pod's grace period would be killed in the middle of an answer.
DEFAULT_GRACE: Final = 30.0


class State(StrEnum):
    """`envoy.admin.v3.ServerInfo.State`."""

    PRE_INITIALIZING = "PRE_INITIALIZING"
    INITIALIZING = "INITIALIZING"
    LIVE = "LIVE"
    DRAINING = "DRAINING"


# Which state may follow which; whatever is not here does not happen.
NEXT: Final[dict[State, frozenset[State]]] = {
    State.PRE_INITIALIZING: frozenset((State.INITIALIZING, State.DRAINING)),
    State.INITIALIZING: frozenset((State.LIVE, State.DRAINING)),
    State.LIVE: frozenset((State.DRAINING,)),
    State.DRAINING: frozenset((State.LIVE,)),
}


async def drain(listeners: Sequence[Listener], grace: float) -> bool:
    """Stop accepting and wait for the answers in flight, at most `grace` seconds.

    Returns whether all were given; what was not is cut off.
    """
    for listener in listeners:
        listener.stop_accepting()
    # One turn of the loop: connections that the kernel had accepted for us get their protocol.
    await asyncio.sleep(0)
    done = asyncio.Event()

    def look() -> None:
        if not any(listener.connections for listener in listeners):
            done.set()

    for listener in listeners:
        listener.on_idle = look
        listener.drain()
    look()
    try:
        async with asyncio.timeout(grace):
            await done.wait()
    except TimeoutError:
        left = sum(listener.requests_active for listener in listeners)
        logger.warning("drain time is over: cutting off %d requests", left)
        return False
    finally:
        for listener in listeners:
            listener.close()
    return True
