"""Which partition of a topic a record of Kafka goes to: that which daprd's client would choose.

So one key keeps its order also where publishers of both kinds share a topic. Knows no connection.
Source: sarama, HashPartitioner (FNV-1a of 32 bits, its absolute value as a signed number).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Final

from meshproxy.dapr.component import ComponentError

NUMBER: Final = "partitionNumber"
_OFFSET: Final = 0x811C9DC5
_PRIME: Final = 0x01000193
_BITS: Final = 0xFFFFFFFF
_SIGN: Final = 0x80000000
_HIGHEST: Final = 2**31 - 1
_DIGITS: Final = 10  # of that


def partition_of(key: bytes | None, every: Sequence[int], available: Sequence[int]) -> int:
    """One of `every`, the partitions in their order; without a key any that is `available`."""
    if key is None:
        return random.choice(available or every)  # noqa: S311 (nobody has to guess it)
    found = _OFFSET
    for byte in key:
        found = ((found ^ byte) * _PRIME) & _BITS
    return every[(found if found < _SIGN else _BITS + 1 - found) % len(every)]


def asked_for(metadata: Mapping[str, str]) -> int | None:
    """The partition that a publish names itself. Raises ComponentError."""
    text = metadata.get(NUMBER)
    if text is None:
        return None
    known = text.isascii() and text.isdecimal() and len(text) <= _DIGITS
    if not known or int(text) > _HIGHEST:
        raise ComponentError(f"{NUMBER} is '{text}'; expected a number from 0 to {_HIGHEST}")
    return int(text)
