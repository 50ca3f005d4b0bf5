"""A number of bytes as Kubernetes writes quantities: `4Mi`, `64Ki`, `1000`. Knows no setting."""

from __future__ import annotations

import re
from typing import Final

UNITS: Final = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30,
}  # fmt: skip
_QUANTITY: Final = re.compile(r"(\d+)(k|M|G|Ki|Mi|Gi|)")


def quantity_of(text: str) -> int | None:
    """Bytes, or None where it is no such quantity."""
    match = _QUANTITY.fullmatch(text)
    return None if match is None else int(match[1]) * UNITS[match[2]]
