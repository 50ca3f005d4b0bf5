"""`middleware.http.uppercase`: the body of a request in capitals, to see a pipeline at work."""

from __future__ import annotations

import codecs

from meshproxy.dapr.component import ComponentContext, Metadata
from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import CONTINUE, StreamFilter
from meshproxy.http.header_map import HeaderMap

_DECODER = codecs.getincrementaldecoder("utf-8")


class Uppercase:
    """Has no settings."""

    def __init__(self, context: ComponentContext) -> None:
        pass

    async def init(self, metadata: Metadata) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing is held."""

    def filter(self) -> StreamFilter:
        """The filter of one request."""
        return UppercaseFilter()


class UppercaseFilter(StreamFilter):
    """One request, whose characters may arrive in pieces."""

    __slots__ = ("_decoder",)

    def __init__(self) -> None:
        self._decoder = _DECODER("replace")

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """A character may have another length in capitals."""
        if not end_stream:
            headers.remove(b"content-length")
        return CONTINUE

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """A piece of the body."""
        text = self._decoder.decode(data.take(), end_stream)
        data.set("".join(map(_upper, text)).encode())
        return CONTINUE


def _upper(char: str) -> str:
    """One character for one, as Go's `unicode.ToUpper`."""
    upper = char.upper()
    return upper if len(upper) == 1 else char
