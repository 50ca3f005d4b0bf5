"""How long to wait before the next attempt, and whether there is one. Knows no call and no clock.

Source: dapr/kit, retry (defaults); cenkalti/backoff v4 (the exponential policy).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

CodeRanges = tuple[tuple[int, int], ...]
"""Status codes as ranges, both ends included."""

GRPC_CODES: Final = (0, 16)
HTTP_CODES: Final = (100, 599)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`policies.retries`. Times are seconds; `max_retries` below 0: any number.

    `duration` is the wait of the constant policy; the exponential one begins with
    `initial_interval` and grows up to `max_interval`, for `max_elapsed` in all (0: for ever). Codes
    None: failures are tried again whatever their status.
    """

    exponential: bool = False
    duration: float = 5.0
    initial_interval: float = 0.5
    multiplier: float = 1.5
    randomization: float = 0.5
    max_interval: float = 60.0
    max_elapsed: float = 900.0
    max_retries: int = -1
    http_codes: CodeRanges | None = None
    grpc_codes: CodeRanges | None = None

    def matches(self, code: int | None) -> bool:
        """Whether a failure with this status, HTTP's or gRPC's, may be tried again.

        Without a status there was no answer at all, which always may.
        """
        if code is None:
            return True
        http = HTTP_CODES[0] <= code <= HTTP_CODES[1]
        ranges = self.http_codes if http else self.grpc_codes
        return ranges is None or any(low <= code <= high for low, high in ranges)


class Backoff:
    """The waits of one call, in their order."""

    __slots__ = ("_interval", "_left", "_policy", "_random", "_started")

    def __init__(self, policy: RetryPolicy, now: float, random: Callable[[], float]) -> None:
        """`now` is seconds of any clock; `random` is uniform in [0, 1)."""
        self._policy = policy
        self._random = random
        self._started = now
        self._interval = policy.initial_interval
        self._left = policy.max_retries

    def next(self, now: float) -> float | None:
        """Seconds until the next attempt, None where there is none."""
        if self._left == 0:
            return None
        policy = self._policy
        if policy.exponential:
            spread = policy.randomization * self._interval
            wait = self._interval - spread + self._random() * 2 * spread
            if policy.max_elapsed and now - self._started + wait > policy.max_elapsed:
                return None
            self._interval = min(self._interval * policy.multiplier, policy.max_interval)
        else:
            wait = policy.duration
        self._left -= 1
        return wait


def parse_codes(text: str, valid: tuple[int, int]) -> CodeRanges | None:
    """`429,500-599` as ranges; None for an empty text. Raises ValueError with the reason."""
    if not text:
        return None
    return tuple(_range(part.strip(), valid) for part in text.split(",") if part.strip())


def _range(text: str, valid: tuple[int, int]) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    ends = (first, last if dash else first)
    if not all(end.isascii() and end.isdigit() for end in ends):
        raise ValueError(f"'{text}' is neither a status code nor a range such as 500-599")
    low, high = int(ends[0]), int(ends[1])
    if not valid[0] <= low <= high <= valid[1]:
        raise ValueError(f"'{text}' does not lie in {valid[0]}-{valid[1]}, the lower end first")
    return low, high
