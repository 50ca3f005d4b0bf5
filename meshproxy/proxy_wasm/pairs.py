"""The ABI's encoding of header maps, both ways.

    u32 count | count x (u32 key size, u32 value size) | count x (key 0x00 value 0x00)

Owns these bytes, little endian. Refuses to know which map they are.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain
from typing import Final

Pair = tuple[bytes, bytes]

MAX_PAIRS: Final = 1024
MAX_SIZE: Final = 1 << 20

# hot: a prepared Struct saves the cache lookup of struct.pack, and a chain the loop over pairs.
_PACKERS: Final = [struct.Struct(f"<{2 * count + 1}I").pack for count in range(129)]
_flatten: Final = chain.from_iterable


def encode(pairs: Sequence[Pair]) -> bytes:
    """The map as the guest gets it; four zero bytes for an empty one."""
    flat = [*_flatten(pairs)]
    count = len(pairs)
    pack = _PACKERS[count] if count <= 128 else struct.Struct(f"<{2 * count + 1}I").pack
    return b"%b%b\0" % (pack(count, *map(len, flat)), b"\0".join(flat)) if count else b"\0\0\0\0"


def decode(data: bytes) -> list[Pair] | None:
    """The map a guest wrote, or None where the bytes are not exactly one map.

    Strict as Envoy: at most 1024 pairs and 1 MiB, every NUL in place, nothing behind the last pair.
    No bytes at all are an empty map.
    """
    size = len(data)
    if not size:
        return []
    if size < 4 or size > MAX_SIZE:
        return None
    count = int.from_bytes(data[:4], "little")
    at = 4 + 8 * count
    if count > MAX_PAIRS or at > size:
        return None
    sizes = struct.unpack_from(f"<{2 * count}I", data, 4)
    if at + sum(sizes) + 2 * count != size:
        return None
    pairs = []
    for key_size, value_size in zip(sizes[::2], sizes[1::2], strict=True):
        value = at + key_size + 1
        end = value + value_size
        if data[value - 1] or data[end]:
            return None
        pairs.append((data[at : value - 1], data[value:end]))
        at = end + 1
    return pairs
