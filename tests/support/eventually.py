"""Waits for something outside this process to become true; the only place that polls for tests."""

import time
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 30.0
_POLL_S: Final = 0.01


def eventually(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Return as soon as `condition()` is true. Raises AssertionError when it never is."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {patience_s} s")
        time.sleep(_POLL_S)
