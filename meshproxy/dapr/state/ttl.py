"""The metadata `ttlInSeconds` of a write, and `ttlExpireTime` of a read. Knows no store."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from meshproxy.dapr.component import ComponentError

TTL_IN_SECONDS: Final = "ttlInSeconds"
TTL_EXPIRE_TIME: Final = "ttlExpireTime"
_LONGEST: Final = 2**31 - 1


def parse_ttl(metadata: Mapping[str, str]) -> int | None:
    """Seconds, or None where none is given or -1 or 0 say that there is no end."""
    text = metadata.get(TTL_IN_SECONDS, "")
    if not text:
        return None
    try:
        seconds = int(text)
    except ValueError:
        seconds = -2
    if not -1 <= seconds <= _LONGEST:
        raise ComponentError(
            f"error parsing TTL: incorrect value for metadata '{TTL_IN_SECONDS}': '{text}' "
            f"is not a number of seconds from -1 to {_LONGEST}"
        )
    return seconds if seconds > 0 else None


def expire_time(expires: float) -> str:
    """RFC 3339 of a time in seconds since 1970."""
    return datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
