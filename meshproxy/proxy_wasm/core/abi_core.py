"""Python's side of the ABI core: gives it a header map before a callback and takes it back after.

Owns when the core has a map, and what Python must know of its changes. Refuses to know hostcalls.

The core has the map of the running headers callback or none. Python hostcalls that look at maps run
behind a guard that takes changes over first; those that change maps, or act on another context,
behind one which the core has no map until the next callback. So whoever looks, looks
at the truth, and no two truths exist at once.

A plugin that asks for no header pays nothing: the map is given only to callbacks whose predecessor
wanted it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from meshproxy.proxy_wasm.abi import MAP_TYPES, REQUEST_HEADERS, RESPONSE_HEADERS, V0_1_0
from meshproxy.proxy_wasm.context import INLINE
from meshproxy.proxy_wasm.core.link import HOT
from meshproxy.proxy_wasm.pairs import Pair
from meshproxy.wasm.errors import GuestTrap

if TYPE_CHECKING:
    from wasmtime import Func

    from meshproxy.proxy_wasm.context import Context
    from meshproxy.proxy_wasm.core.link import CoreLink
    from meshproxy.proxy_wasm.vm import Vm
    from meshproxy.wasm.instance import Instance

# struct state of core.c, as u32 words
MAP: Final = 0
CHANGED: Final = 1
SIZE: Final = 2
MISSING_IS_SLOW: Final = 3
UNCHANGED: Final = 4
UNSIZED: Final = 5
STATE_SIZE: Final = 24
_read_state: Final = struct.Struct("=6I").unpack_from

MAPS: Final = (REQUEST_HEADERS, RESPONSE_HEADERS)
READING: Final = frozenset(("proxy_get_property", "proxy_set_property"))
CHANGING: Final = frozenset(
    (
        "proxy_set_header_map_pairs",
        "proxy_set_effective_context",
        "proxy_send_local_response",
        "proxy_call_foreign_function",
    )
)
NONE: Final = 0xFFFFFFFF
CAPACITY: Final = 1 << 17
JOINED: Final = b"".join(b"%c%b" % (len(name), name) for name in sorted(INLINE)) + b"\0"
CALLBACK_MAPS: Final = {
    "proxy_on_request_headers": REQUEST_HEADERS,
    "proxy_on_response_headers": RESPONSE_HEADERS,
}


class AbiCore:
    """The core of one VM. Does nothing until it is connected, so hostcalls are Python's then."""

    __slots__ = (
        "_block", "_block_at", "_chars", "_given", "_state", "_vm", "_words", "link", "wanted",
    )  # fmt: skip

    def __init__(self, vm: Vm, link: CoreLink) -> None:
        self._vm = vm
        self.link = link
        self._state = memoryview(bytearray(b"\xff\xff\xff\xff" + bytes(STATE_SIZE - 4))).cast("I")
        self._block = memoryview(bytearray())
        self._words = self._block.cast("I")
        self._chars: Any = b""
        self._block_at = 0
        self._given: list[Pair] | None = None  # what the core's block holds
        self.wanted = [False] * MAP_TYPES  # by map type: a guest has asked for such a map

    def connect(self, instance: Instance, allocator: str) -> None:
        """The guest is there."""
        link = self.link
        if link.memory is None or link.exports is None:
            return
        store, view = instance.gate.store, link.memory.view
        names = ("state", "block", "joined")
        addresses = [cast("Func", link.exports[name])(store) for name in names]
        self._state = view[addresses[0] : addresses[0] + STATE_SIZE].cast("I")
        self._block = view[addresses[1] : addresses[1] + CAPACITY]
        self._words = self._block[:4].cast("I")
        self._chars, self._block_at = link.memory.chars, addresses[1]
        view[addresses[2] : addresses[2] + len(JOINED)] = JOINED
        self._state[MISSING_IS_SLOW] = self._vm.abi_version == V0_1_0
        link.connect(instance, allocator)

    def close(self) -> None:
        """The store is about to be freed."""
        self._state.release()
        self._words.release()
        self._block.release()
        self._chars = b""
        if self.link.memory is not None:
            self.link.memory.close()

    # -- hot: around every headers callback ------------------------------------------------------

    def give(self, map_type: int, context: Context) -> None:
        """The callback of this context begins: the core has its map, if that fits."""
        headers = context.maps[map_type]
        if headers is None:
            return
        state = self._state
        pairs = headers.pairs
        if pairs != self._given:  # in a chain of filters it mostly is what the last one left
            data = encode_texts(pairs)
            start = 4 + 8 * len(pairs)
            size = start + len(data)
            if size > CAPACITY:
                return
            self._block[start:size] = data
            self._given = pairs.copy()
            state[SIZE] = size
            state[UNSIZED] = len(pairs)
        state[MAP] = map_type

    def take_back(self) -> None:
        """The callback has ended: the core has no map."""
        state = self._state
        if state[CHANGED]:
            self._take()
        state[MAP] = NONE

    def _take(self) -> None:
        """Make the running context's map what the core's has become."""
        words: tuple[int, int, int, int, int, int] = _read_state(self._state)
        map_type, changed, size, _, unchanged, _ = words
        first = changed - 1
        self._state[CHANGED] = 0
        context = self._vm.current
        headers = context.maps[map_type] if context is not None else None
        if headers is None or context is None:
            return
        count = self._words[0]
        at = self._block_at
        data = self._chars[at + 4 + 8 * count + unchanged : at + size]
        tail = decode_texts(data, count - first)
        names = [pair[0] for pair in tail]
        pairs = headers.pairs
        if first == len(pairs):
            pairs.extend(tail)
        else:
            names += [pair[0] for pair in pairs[first:]]
            pairs[first:] = tail
        self._given = pairs.copy()
        context.encoded = None
        if map_type == REQUEST_HEADERS:
            # Nothing hangs on a response's fields but on its pseudo header, which the core leaves.
            context.map_changed(map_type, names)

    # -- around Python's hostcalls ---------------------------------------------------------------

    def guard(self, name: str, function: Callable[..., int]) -> Callable[..., int]:
        """Python's hostcall `name`, made to see and to leave one truth."""
        if name in HOT:
            return self._fallback(function, reads=name.startswith("proxy_get"))
        if name in READING:
            return self._synced(function)
        return self._dropped(function) if name in CHANGING else function

    def _synced(self, function: Callable[..., int]) -> Callable[..., int]:
        def with_current_maps(*arguments: int) -> int:
            if self._state[CHANGED]:
                self._take()
            return function(*arguments)

        return with_current_maps

    def _dropped(self, function: Callable[..., int]) -> Callable[..., int]:
        def without_core(*arguments: int) -> int:
            state = self._state
            if state[CHANGED]:
                self._take()
            state[MAP] = NONE
            return function(*arguments)

        return without_core

    def _fallback(self, function: Callable[..., int], *, reads: bool) -> Callable[..., int]:
        """A hostcall that the core passed on; its first argument is the map."""
        wanted, link = self.wanted, self.link
        guarded = self._synced(function) if reads else self._dropped(function)

        def noting_the_map(map_type: int, *arguments: int) -> int:
            if map_type in MAPS:
                wanted[map_type] = link.memory is not None  # a package may be without the core
            return guarded(map_type, *arguments)

        return noting_the_map


def encode_texts(pairs: list[Pair]) -> bytes:
    """Names and values, each with a NUL behind it: the ABI's encoding without its table of sizes.

    hot: the core finds the sizes itself, ten times as fast as they are written from here.
    """
    texts: list[bytes] = []
    for name, value in pairs:
        texts.append(name)
        texts.append(value)
    texts.append(b"")
    return b"\0".join(texts) if pairs else b""


def decode_texts(data: bytes, count: int) -> list[Pair]:
    """As many pairs as `encode_texts` gave these bytes for; GuestTrap where it is not so."""
    texts = data.split(b"\0")
    if len(texts) != 2 * count + 1 or texts[-1]:
        raise GuestTrap("the ABI core's map is damaged")
    return [(texts[at], texts[at + 1]) for at in range(0, 2 * count, 2)]
