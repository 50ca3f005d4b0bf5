"""Header blocks (RFC 7541), read and written fast over the tables and codes of the library `hpack`.

Owns the two compression states of a connection, and the bounds on what a block may unpack to.
Refuses to know what the fields mean.

hot: `hpack.Decoder` and `hpack.Encoder` take 16 and 11 us for the seven fields of a small request
(views, named tuples, log calls); these take 3 and 2. The library's own coders are their oracle in
the tests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from hpack.exceptions import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

Pair = tuple[bytes, bytes]

STATIC: Final[tuple[Pair, ...]] = tuple(HeaderTable.STATIC_TABLE)
_STATIC_SIZE: Final = len(STATIC)
_ENTRY_OVERHEAD: Final = 32  # RFC 7541, 4.1


TOO_LARGE: Final = "http2.header_list_size_too_large"
TOO_MANY: Final = "http2.too_many_headers"


class BlockError(Exception):
    """The block cannot be decoded: the compression state is lost, and the connection with it."""


class BombError(BlockError):
    """The block unpacks to far more than any limit."""


class HeaderDecoder:
    """The decoding side: blocks of one connection, in their order."""

    __slots__ = ("_dynamic", "_hard_bytes", "_hard_count", "_known", "_max_size", "_size",
                 "max_bytes", "max_count", "table_limit")  # fmt: skip

    def __init__(self, table_limit: int, max_bytes: int, max_count: int) -> None:
        self.table_limit = table_limit
        self.max_bytes = max_bytes
        self.max_count = max_count
        # A block that is a little too large costs its stream, one that is far too large all.
        self._hard_bytes = max(4 * max_bytes, 256 * 1024)
        self._hard_count = max(4 * max_count, 4096)
        self._dynamic: deque[Pair] = deque()
        self._size = 0
        self._max_size = table_limit
        # hot: clients repeat themselves. Valid until the dynamic table changes.
        self._known: dict[bytes, list[Pair]] = {}

    def decode(self, block: bytes) -> list[Pair] | str:
        """The fields of a block; or Envoy's word for their excess. Raises BlockError."""
        known = self._known.get(block)
        if known is not None:
            return known.copy()
        try:
            pairs, stable, size = self._decode(block)
        except (IndexError, HPACKError) as error:
            raise BlockError(str(error)) from None
        if size > self.max_bytes:
            return TOO_LARGE
        if len(pairs) > self.max_count:
            return TOO_MANY
        if stable and len(block) < 256 and len(self._known) < 64:
            self._known[block] = pairs
            return pairs.copy()
        return pairs

    def _decode(self, block: bytes) -> tuple[list[Pair], bool, int]:
        dynamic = self._dynamic
        pairs: list[Pair] = []
        at, end = 0, len(block)
        unpacked = 0
        stable = True
        while at < end:
            byte = block[at]
            if byte & 0x80:
                index = byte & 0x7F
                at += 1
                if index == 0x7F:
                    index, at = _integer(block, at, index)
                if index <= _STATIC_SIZE:
                    if not index:
                        raise BlockError("index 0")
                    pair = STATIC[index - 1]
                else:
                    pair = dynamic[index - _STATIC_SIZE - 1]
            elif byte & 0xE0 == 0x20:
                if pairs:
                    raise BlockError("a table size update after a field")
                at = self._resize(block, at)
                stable = False
                continue
            else:
                indexed = byte & 0x40
                pair, at = self._literal(block, at, 0x3F if indexed else 0x0F)
                if indexed:
                    self._insert(pair)
                    stable = False
            unpacked += len(pair[0]) + len(pair[1])
            pairs.append(pair)
            if unpacked > self._hard_bytes or len(pairs) > self.max_count:
                unpacked = self._pass_over(block, at, len(pairs), unpacked)
                break
        return pairs, stable, unpacked

    def _pass_over(self, block: bytes, at: int, count: int, unpacked: int) -> int:
        """The rest of a block that is refused: what it does to the table, and no more.

        Returns how many octets of fields there are, those that are not decoded as they come.
        """
        dynamic = self._dynamic
        end = len(block)
        while at < end and unpacked <= self._hard_bytes and count <= self._hard_count:
            byte = block[at]
            count += 1
            if byte & 0x80:
                index = byte & 0x7F
                at += 1
                if index == 0x7F:
                    index, at = _integer(block, at, index)
                if not index:
                    raise BlockError("index 0")
                if index > _STATIC_SIZE:
                    name, value = dynamic[index - _STATIC_SIZE - 1]
                    unpacked += len(name) + len(value)
            elif byte & 0x40:
                pair, at = self._literal(block, at, 0x3F)
                self._insert(pair)
                unpacked += len(pair[0]) + len(pair[1])
            elif byte & 0x20:
                raise BlockError("a table size update after a field")
            else:
                before = at
                at = _literal_end(block, at, _STATIC_SIZE + len(dynamic))
                unpacked += at - before
        if at < end:
            raise BombError("too much in one block")
        return unpacked

    def _literal(self, block: bytes, at: int, mask: int) -> tuple[Pair, int]:
        index = block[at] & mask
        at += 1
        if index == mask:
            index, at = _integer(block, at, mask)
        if index == 0:
            name, at = _string(block, at)
        elif index <= _STATIC_SIZE:
            name = STATIC[index - 1][0]
        else:
            name = self._dynamic[index - _STATIC_SIZE - 1][0]
        value, at = _string(block, at)
        return (name, value), at

    def _insert(self, pair: Pair) -> None:
        size = len(pair[0]) + len(pair[1]) + _ENTRY_OVERHEAD
        dynamic = self._dynamic
        self._known.clear()
        if size > self._max_size:
            dynamic.clear()
            self._size = 0
            return
        dynamic.appendleft(pair)
        self._size += size
        self._evict()

    def _evict(self) -> None:
        dynamic = self._dynamic
        while self._size > self._max_size:
            name, value = dynamic.pop()
            self._size -= len(name) + len(value) + _ENTRY_OVERHEAD

    def _resize(self, block: bytes, at: int) -> int:
        size = block[at] & 0x1F
        at += 1
        if size == 0x1F:
            size, at = _integer(block, at, size)
        if size > self.table_limit:
            raise BlockError("a table larger than allowed")
        self._max_size = size
        self._known.clear()
        self._evict()
        return at


def _integer(block: bytes, at: int, value: int) -> tuple[int, int]:
    """The rest of an integer whose prefix is full (RFC 7541, 5.1)."""
    shift = 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
        if shift > 28:
            raise BlockError("an integer that is too large")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    byte = block[at]
    size = byte & 0x7F
    at += 1
    if size == 0x7F:
        size, at = _integer(block, at, size)
    end = at + size
    text = block[at:end]
    if len(text) != size:
        raise BlockError("a truncated string")
    if byte & 0x80:
        text = decode_huffman(text)
    return text, end


def _literal_end(block: bytes, at: int, indices: int) -> int:
    """Where a literal that leaves the table alone ends; it may refer to so many names."""
    index = block[at] & 0x0F
    at += 1
    if index == 0x0F:
        index, at = _integer(block, at, index)
    if index > indices:
        raise BlockError("an index without an entry")
    for _ in range(1 if index else 2):
        size = block[at] & 0x7F
        at += 1
        if size == 0x7F:
            size, at = _integer(block, at, size)
        at += size
    if at > len(block):
        raise BlockError("a truncated string")
    return at


# Fields that change with every message, or are secret, stay out of the dynamic table.
_VOLATILE: Final = frozenset(
    b":path age content-length content-range date etag if-modified-since if-none-match location"
    b" set-cookie x-request-id x-envoy-upstream-service-time grpc-timeout grpc-message traceparent"
    b" tracestate x-b3-spanid x-b3-traceid".split()
)
_SECRET: Final = frozenset((b"authorization", b"proxy-authorization", b"cookie"))
# What a message of HTTP/2 may not have (RFC 9113, 8.2.2).
CONNECTION_SPECIFIC: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)


def _integer_bytes(value: int, prefix: int, mask: int) -> bytes:
    if value < mask:
        return bytes((prefix | value,))
    out = bytearray((prefix | mask,))
    value -= mask
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_INDEXED: Final = tuple(_integer_bytes(index, 0x80, 0x7F) for index in range(512))
_LENGTH: Final = tuple(_integer_bytes(size, 0, 0x7F) for size in range(512))
_STATIC_PAIRS: Final = {
    pair: _INDEXED[at] for at, pair in reversed(list(enumerate(STATIC, 1))) if pair[1]
}
_STATIC_NAMES: Final = {name: at for at, (name, _) in reversed(list(enumerate(STATIC, 1)))}


class HeaderEncoder:
    """The encoding side. Strings go out without Huffman coding, which costs more than it saves."""

    __slots__ = ("_inserted", "_numbers", "_order", "_pending_size", "_size", "max_size")

    def __init__(self) -> None:
        self.max_size = 4096
        self._numbers: dict[Pair, int] = {}  # pair -> which insertion it was
        self._order: deque[Pair] = deque()
        self._inserted = 0
        self._size = 0
        self._pending_size: int | None = None

    def resize(self, allowed: int) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE; more than the default is not made use of."""
        size = min(allowed, 4096)
        if size != self.max_size:
            self.max_size = size
            self._pending_size = min(size, self._pending_size or size)
            self._evict()

    def encode(self, pairs: list[Pair]) -> bytes:
        """One block. Fields that only a connection may have are left out."""
        out: list[bytes] = []
        if self._pending_size is not None:
            out.append(_integer_bytes(self._pending_size, 0x20, 0x1F))
            if self._pending_size != self.max_size:
                out.append(_integer_bytes(self.max_size, 0x20, 0x1F))
            self._pending_size = None
        numbers = self._numbers
        for pair in pairs:
            code = _STATIC_PAIRS.get(pair)
            if code is None:
                number = numbers.get(pair)
                if number is not None:
                    # The newest entry follows the static table.
                    code = _INDEXED[_STATIC_SIZE + self._inserted - number]
                else:
                    code = self._literal(pair)
            out.append(code)
        return b"".join(out)

    def _literal(self, pair: Pair) -> bytes:
        name, value = pair
        if name in CONNECTION_SPECIFIC:
            return b""
        size = len(name) + len(value) + _ENTRY_OVERHEAD
        index = _STATIC_NAMES.get(name, 0)
        if name in _VOLATILE or size > self.max_size // 4:
            head = _integer_bytes(index, 0, 0x0F)
        elif name in _SECRET:
            head = _integer_bytes(index, 0x10, 0x0F)
        else:
            head = _integer_bytes(index, 0x40, 0x3F)
            self._numbers[pair] = self._inserted
            self._order.append(pair)
            self._inserted += 1
            self._size += size
            self._evict()
        length = len(value)
        tail = (_LENGTH[length] if length < 512 else _integer_bytes(length, 0, 0x7F)) + value
        if index:
            return head + tail
        return head + _integer_bytes(len(name), 0, 0x7F) + name + tail

    def _evict(self) -> None:
        while self._size > self.max_size:
            name, value = pair = self._order.popleft()
            del self._numbers[pair]
            self._size -= len(name) + len(value) + _ENTRY_OVERHEAD


def literal_block(pairs: Iterable[Pair]) -> bytes:
    """A block that leaves every table alone."""
    out: list[bytes] = []
    for name, value in pairs:
        out += (b"\0", _integer_bytes(len(name), 0, 0x7F), name)
        out += (_integer_bytes(len(value), 0, 0x7F), value)
    return b"".join(out)


__all__ = ["BlockError", "BombError", "HeaderDecoder", "HeaderEncoder", "literal_block"]
