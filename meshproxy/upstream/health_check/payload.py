"""Whether an answer has the parts that were expected of it. Knows no protocol."""

from __future__ import annotations

from collections.abc import Iterable


def has_in_order(segments: Iterable[bytes], answer: bytes | bytearray) -> bool:
    """Whether every segment is in `answer`, each behind the one before; anything in between."""
    at = 0
    for segment in segments:
        found = answer.find(segment, at)
        if found < 0:
            return False
        at = found + len(segment)
    return True
