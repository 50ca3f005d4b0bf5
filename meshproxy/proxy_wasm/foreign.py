"""The foreign functions: what a guest can call by name beyond the ABI.

Owns the list of names. A function gets the context and the argument bytes and returns bytes, or a
status.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from meshproxy.proxy_wasm.abi import SERIALIZATION_FAILURE

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.context import Context

MAX_UNCOMPRESSED: Final = 16 << 20


def compress(context: Context, arguments: bytes) -> bytes | int:
    """Bytes to a zlib stream."""
    return zlib.compress(arguments)


def uncompress(context: Context, arguments: bytes) -> bytes | int:
    """A zlib stream to bytes; SERIALIZATION_FAILURE where it is none, or too large."""
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(arguments, MAX_UNCOMPRESSED)
    except zlib.error:
        return SERIALIZATION_FAILURE
    return data if inflater.eof else SERIALIZATION_FAILURE


def clear_route_cache(context: Context, arguments: bytes) -> bytes | int:
    """Match the route again."""
    return context.clear_route_cache() or b""


FUNCTIONS: Final[dict[bytes, Callable[[Context, bytes], bytes | int]]] = {
    b"compress": compress,
    b"uncompress": uncompress,
    b"clear_route_cache": clear_route_cache,
}
"""Lacking of Envoy's: expr_create, expr_evaluate, expr_delete, declare_property,
set_envoy_filter_state, sign, verify_signature."""
