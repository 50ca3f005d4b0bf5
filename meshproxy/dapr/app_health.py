"""Whether the app is well, by the looks that were taken at it. Knows no HTTP and no clock.

As in daprd an app is not well until it has once said so, and is not well any more after
`threshold` failures in a row.
"""

from __future__ import annotations


class AppHealth:
    """Counts looks. `healthy` is the verdict."""

    def __init__(self, threshold: int) -> None:
        self.healthy = False
        self._threshold = threshold
        self._failures = 0

    def record(self, ok: bool) -> bool:
        """Take one look into account; returns whether the verdict has changed."""
        before = self.healthy
        if ok:
            self._failures = 0
            self.healthy = True
        else:
            self._failures += 1
            if self._failures >= self._threshold:
                self.healthy = False
        return self.healthy != before
