"""The foreign functions: what a guest can call by name beyond the ABI.

Owns the list of names. A function gets the context and the argument bytes and returns bytes, or a
status.
"""

from __future__ import annotations

import importlib
import sys
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from meshproxy.proxy_wasm.abi import BAD_ARGUMENT, SERIALIZATION_FAILURE
from meshproxy.proxy_wasm.foreign_state import (
    declare_property,
    set_dynamic_metadata,
    set_envoy_filter_state,
)

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.context import Context

MAX_UNCOMPRESSED: Final = 16 << 20
_CRYPTO: Final = "meshproxy.proxy_wasm.foreign_crypto"


def compress(context: Context, arguments: bytes) -> bytes | int:
    """Bytes to a zlib stream."""
    deflater = zlib.compressobj()
    packed = [deflater.compress(piece) for piece in context.vm.pieces(arguments)]
    return b"".join([*packed, deflater.flush()])


def uncompress(context: Context, arguments: bytes) -> bytes | int:
    """A zlib stream to bytes; SERIALIZATION_FAILURE where it is none, or too large."""
    inflater = zlib.decompressobj()
    unpacked: list[bytes] = []
    room = MAX_UNCOMPRESSED
    try:
        for piece in context.vm.pieces(arguments):
            if inflater.eof:
                break
            # 0 would mean without a limit; one byte too many says that there are too many.
            unpacked.append(inflater.decompress(piece, room + 1))
            room -= len(unpacked[-1])
            if room < 0:
                return SERIALIZATION_FAILURE
    except zlib.error:
        return SERIALIZATION_FAILURE
    return b"".join(unpacked) if inflater.eof else SERIALIZATION_FAILURE


def clear_route_cache(context: Context, arguments: bytes) -> bytes | int:
    """Match the route again."""
    return context.clear_route_cache() or b""


def verify_signature(context: Context, arguments: bytes) -> bytes | int:
    """Whether a text was signed with a key."""
    answer: bytes | int = _crypto(context).verify_signature(context.vm, arguments)
    return answer


def sign(context: Context, arguments: bytes) -> bytes | int:
    """Sign a text with a key."""
    answer: bytes | int = _crypto(context).sign(context.vm, arguments)
    return answer


def _crypto(context: Context) -> Any:
    """Not at the top: OpenSSL's bindings are megabytes that few filters need."""
    found = sys.modules.get(_CRYPTO)
    if found is None:
        found = importlib.import_module(_CRYPTO)
        context.vm.rearm()  # loading them is not the guest's time
    return found


def expr_create(context: Context, arguments: bytes) -> bytes | int:
    """The text of a CEL expression to its token, a little-endian u32."""
    try:
        return context.vm.expressions.create(arguments).to_bytes(4, "little")
    except ValueError as error:
        context.debug(f"no expression: {error}")
        return BAD_ARGUMENT


def expr_evaluate(context: Context, arguments: bytes) -> bytes | int:
    """A token to the value that its expression has on this stream now."""
    if len(arguments) != 4:
        return BAD_ARGUMENT
    return context.vm.expressions.evaluate(int.from_bytes(arguments, "little"), context)


def expr_delete(context: Context, arguments: bytes) -> bytes | int:
    """Forget an expression."""
    if len(arguments) != 4:
        return BAD_ARGUMENT
    context.vm.expressions.delete(int.from_bytes(arguments, "little"))
    return b""


FUNCTIONS: Final[dict[bytes, Callable[[Context, bytes], bytes | int]]] = {
    b"clear_route_cache": clear_route_cache,
    b"compress": compress,
    b"declare_property": declare_property,
    b"expr_create": expr_create,
    b"expr_delete": expr_delete,
    b"expr_evaluate": expr_evaluate,
    b"set_dynamic_metadata": set_dynamic_metadata,
    b"set_envoy_filter_state": set_envoy_filter_state,
    b"sign": sign,
    b"uncompress": uncompress,
    b"verify_signature": verify_signature,
}
"""Envoy's, and `set_dynamic_metadata`, which is ours."""
