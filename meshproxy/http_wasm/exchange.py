"""One request and its response as a guest sees them: what may be changed when. Knows no Wasm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from meshproxy.http.header_map import HeaderMap

BUFFER_REQUEST: Final = 1
BUFFER_RESPONSE: Final = 2
SUPPORTED: Final = BUFFER_REQUEST | BUFFER_RESPONSE
"""Features that can be enabled; trailers cannot."""

REQUEST: Final = 0
RESPONSE: Final = 1


class HostError(Exception):
    """A guest has asked for what is not allowed now; it traps."""


class Body:
    """A body that is complete: read piece by piece, replaced by the first write."""

    __slots__ = ("_at", "data", "written")

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.written = False
        self._at = 0

    def read(self, size: int) -> tuple[bytes, bool]:
        """The next bytes, and whether they are the last ones."""
        piece = bytes(self.data[self._at : self._at + size])
        self._at += len(piece)
        return piece, len(piece) < size

    def write(self, data: bytes) -> None:
        """Add to what was written; what was there before goes with the first write."""
        if not self.written:
            self.written = True
            self.data.clear()
            self._at = 0
        self.data += data


@dataclass(slots=True)
class Exchange:
    """`after_next`: the next handler was called, and `response` is its own.

    `protocol` is `HTTP/1.1` or `HTTP/2.0`, `source` the client's address with its port.
    """

    request: HeaderMap
    protocol: str = "HTTP/1.1"
    source: str = ""
    features: int = 0
    request_body: Body = field(default_factory=Body)
    response: HeaderMap = field(default_factory=HeaderMap)
    response_body: Body = field(default_factory=Body)
    status: int = 200
    after_next: bool = False

    def before_next(self, what: str) -> None:
        """Raises HostError once the next handler was called."""
        if self.after_next:
            raise HostError(f"can't {what} after next handler")

    def with_response(self, what: str) -> None:
        """Raises HostError where the response is another's, and is not buffered."""
        if self.after_next and not self.features & BUFFER_RESPONSE:
            raise HostError(f"can't {what} after next handler unless buffer_response is enabled")

    def headers(self, kind: int) -> HeaderMap:
        """The headers of a kind; trailers are none."""
        if kind == REQUEST:
            return self.request
        if kind == RESPONSE:
            return self.response
        if kind in (2, 3):
            return HeaderMap()
        raise HostError(f"unsupported header kind: {kind}")

    def changeable(self, kind: int) -> HeaderMap:
        """The headers of a kind that may be changed now. Raises HostError."""
        if kind == REQUEST:
            self.before_next("change request headers")
        elif kind == RESPONSE:
            self.with_response("change response headers")
        else:
            raise HostError("trailers are not supported")
        return self.headers(kind)

    def body(self, kind: int, what: str) -> Body:
        """The body of a kind. Raises HostError where it may not be touched now."""
        if kind == REQUEST:
            if what == "write" or not self.features & BUFFER_REQUEST:
                self.before_next(f"{what} request body")
            return self.request_body
        if kind == RESPONSE:
            self.with_response(f"{what} response body")
            return self.response_body
        raise HostError(f"unsupported body kind: {kind}")
