"""The metadata `ttl` or `ttlInSeconds` of a message, of a queue, of a binding's write.

Unlike that of state (`state/ttl.py`) it may be a duration, its name has any case, and 0 is no TTL
that ends another. Knows no component. Source: components-contrib, metadata, TryGetTTL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from meshproxy.dapr.component import ComponentError, Metadata
from meshproxy.dapr.duration import DurationError, seconds_of

_NAMES: Final = ("ttl", "ttlInSeconds")


def message_ttl(metadata: Mapping[str, str]) -> float | None:
    """Seconds, or None where there is none. Raises ComponentError for what is neither a duration
    nor a number of seconds above 0.
    """
    text = Metadata(metadata).first(*_NAMES)
    if not text:
        return None
    if text == "0":
        return 0.0  # of durations Go takes this one without a unit
    try:
        return max(seconds_of(text), 0.0)
    except DurationError:
        return _seconds(text)


def _seconds(text: str) -> float:
    try:
        seconds = int(text)
    except ValueError:
        raise ComponentError(f"ttl value must be a valid integer: actual is '{text}'") from None
    if seconds <= 0:
        raise ComponentError(f"ttl value must be higher than zero: actual is '{seconds}'")
    return float(seconds)
