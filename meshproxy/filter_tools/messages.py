"""Headers, requests and answers as a filter's author reads them: text, in order, by any case.

Owns the values that go into a driven filter and come out of it. Refuses to know how they travel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

HeadersInput = Mapping[str, str] | Iterable[tuple[str, str]]
"""Headers to send: a mapping, or pairs where a name comes more than once."""

ENCODING: Final = "utf-8"


class Headers:
    """Header fields in their order, pseudo headers (`:path`) included. Immutable.

    `headers["x"]` is the first value and raises KeyError where there is none; `values("x")` has all
    of them; iterating gives (name, value) pairs.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs: tuple[tuple[str, str], ...] = tuple(pairs)

    @classmethod
    def of(cls, raw: Iterable[tuple[bytes, bytes]]) -> Headers:
        """The same from bytes; what is no UTF-8 stays recognisable."""
        return cls((text(name), text(value)) for name, value in raw)

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of `name`."""
        return next(iter(self.values(name)), default)

    def values(self, name: str) -> list[str]:
        """Every value of `name`, in order."""
        wanted = name.lower()
        return [value for known, value in self.pairs if known == wanted]

    def __getitem__(self, name: str) -> str:
        found = self.get(name)
        if found is None:
            known = ", ".join(sorted({known for known, _ in self.pairs})) or "none"
            raise KeyError(f"no header {name}; there are: {known}")
        return found

    def __contains__(self, name: str) -> bool:
        return bool(self.values(name))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self.pairs == other.pairs

    def __hash__(self) -> int:
        return hash(self.pairs)

    def __repr__(self) -> str:
        return f"Headers({list(self.pairs)!r})"


@dataclass(slots=True)
class Message:
    """A request or an answer, as far as it has come. `headers` is None before they have.

    `complete`: all of it has come. `reset`: it never will be, it was given up.
    """

    headers: Headers | None = None
    body: bytes = b""
    trailers: Headers | None = None
    complete: bool = False
    reset: bool = False

    @property
    def status(self) -> int:
        """The `:status` of an answer; 0 before there is one."""
        found = self.headers.get(":status") if self.headers is not None else None
        return int(found) if found is not None and found.isdigit() else 0


@dataclass(frozen=True, slots=True)
class Response:
    """An answer for an upstream or a callout to give. `trailers` empty: none are sent."""

    status: int = 200
    headers: HeadersInput = field(default_factory=dict)
    body: bytes | str = b""
    trailers: HeadersInput = field(default_factory=dict)


def raw_pairs(headers: HeadersInput) -> list[tuple[bytes, bytes]]:
    """Headers as the data plane has them: bytes, lower-case names."""
    items = headers.items() if isinstance(headers, Mapping) else headers
    return [(raw(name.lower()), raw(value)) for name, value in items]


def raw(value: str | bytes) -> bytes:
    """Text as bytes."""
    return value if isinstance(value, bytes) else value.encode(ENCODING, "surrogateescape")


def text(value: bytes) -> str:
    """Bytes as text; what is no UTF-8 comes back by `raw`."""
    return value.decode(ENCODING, "surrogateescape")


def with_length(headers: HeadersInput, body: bytes | str) -> list[tuple[str, str]]:
    """The headers of a whole message: with the `content-length` that its sender would set."""
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    framing = {"content-length", "transfer-encoding"}
    if body and framing.isdisjoint(name.lower() for name, _ in pairs):
        pairs.append(("content-length", str(len(raw(body)))))
    return pairs
