"""`--wait`: look until a sidecar of this machine has its APIs up. Owns the looking, starts nothing.

For a script that comes before an app, as with daprd.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from typing import Final

PATH: Final = "/v1.0/healthz/outbound"
LONGEST: Final = 60.0  # seconds
_BETWEEN: Final = 0.1


def wait_until_ready(
    port: int,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Whether the sidecar whose HTTP API is at this port of loopback is up, within a minute."""
    end = now() + LONGEST
    while not _is_up(port):
        if now() >= end:
            return False
        sleep(_BETWEEN)
    return True


def _is_up(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", PATH)
        return connection.getresponse().status == 204
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
