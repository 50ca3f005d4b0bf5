"""The header map: an ordered multimap of lower-case byte strings, pseudo headers included.

Owns the one in-memory form of a header block that every floor shares. Refuses to know how a header
travels on a wire: the codecs translate, so `host` is always `:authority` here (RFC 9113, 8.3.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class HeaderMap:
    """Header fields in wire order; pseudo headers, where there are any, come first.

    `pairs` is the only state and may be read and replaced directly. Names are lower case. A linear
    scan beats an index for the ten to twenty fields of a real request.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.pairs: list[tuple[bytes, bytes]] = pairs if type(pairs) is list else list(pairs)

    def get(self, name: bytes) -> bytes | None:
        """The first value of `name`, or None."""
        for key, value in self.pairs:
            if key == name:
                return value
        return None

    def get_all(self, name: bytes) -> list[bytes]:
        """Every value of `name`, in order."""
        return [value for key, value in self.pairs if key == name]

    def joined(self, name: bytes) -> bytes | None:
        """The values of `name` as one list value (RFC 9110, 5.3), or None where it is absent."""
        values = [value for key, value in self.pairs if key == name]
        return b",".join(values) if values else None

    def add(self, name: bytes, value: bytes) -> None:
        """Append one more field."""
        self.pairs.append((name, value))

    def replace(self, name: bytes, value: bytes) -> None:
        """Make `name` have exactly this value: in place of its first field, or as a new last
        one."""
        pairs = self.pairs
        names = [key for key, _ in pairs]
        found = names.count(name)
        if not found:
            pairs.append((name, value))
            return
        index = names.index(name)
        pairs[index] = (name, value)
        if found > 1:
            rest = index + 1
            pairs[rest:] = [pair for pair in pairs[rest:] if pair[0] != name]

    def remove(self, name: bytes) -> bool:
        """Drop every field of `name`; True if there was one."""
        pairs = self.pairs
        kept = [pair for pair in pairs if pair[0] != name]
        if len(kept) == len(pairs):
            return False
        pairs[:] = kept
        return True

    def byte_size(self) -> int:
        """The sum of the lengths of all names and values (what Proxy-Wasm calls the map's size)."""
        return sum(len(name) + len(value) for name, value in self.pairs)

    def copy(self) -> HeaderMap:
        """A map of its own with the same fields."""
        return HeaderMap(self.pairs.copy())

    def __contains__(self, name: bytes) -> bool:
        return any(key == name for key, _ in self.pairs)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HeaderMap) and self.pairs == other.pairs

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"HeaderMap({self.pairs!r})"
