"""Durations as Go writes them (`1h2m3.5s`), which Dapr's resources use. Knows nothing else.

Source: https://pkg.go.dev/time#ParseDuration.
"""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


class DurationError(ValueError):
    """The text is no duration."""


def seconds_of(text: str) -> float:
    """A duration in seconds. Raises DurationError saying what was expected."""
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text[1:] if text[:1] in {"-", "+"} else text
    if rest == "0":
        return 0.0
    total, at = 0.0, 0
    for match in _PART.finditer(rest):
        if match.start() != at:
            break
        total += float(match[1]) * _UNITS[match[2]]
        at = match.end()
    if not rest or at != len(rest):
        raise DurationError(f"'{text}' is not a duration; expected one such as 500ms, 5s or 1h30m")
    return sign * total
