"""One HTTP request to a cluster and its whole answer, awaited. Knows neither apps nor sidecars.

Owns the wait and the bound on the answer. Connections, hosts and failures are the router's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from meshproxy.dapr.component import ComponentError
from meshproxy.http.header_map import HeaderMap
from meshproxy.router.async_client import AsyncClient, AsyncStream

_FROM_UPSTREAM: Final = "via_upstream"


class Unreachable(ComponentError):
    """Nobody has answered, or not to the end; the text is the router's."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What has come back."""

    status: int
    headers: HeaderMap
    body: bytes


async def exchange(
    client: AsyncClient, cluster: str, headers: HeaderMap, body: bytes, most: int
) -> Answer:
    """Send a request and read its answer of at most `most` bytes.

    Raises Unreachable without an answer, ComponentError for a longer one. Whoever is cancelled
    gives the request up.
    """
    receiver = _Receiver(most)
    stream = client.start(cluster, receiver)
    if stream is None:
        raise Unreachable(f"no cluster {cluster}")
    receiver.stream = stream
    stream.send_headers(headers, not body)
    if body:
        stream.send_data(body, True)
    try:
        return await receiver.answer
    finally:
        stream.cancel()  # where it has ended, this is nothing


class _Receiver:
    """Collects the answer. Implements `async_client.AsyncReceiver`."""

    stream: AsyncStream

    def __init__(self, most: int) -> None:
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._most = most
        self._headers = HeaderMap()
        self._chunks: list[bytes] = []
        self._size = 0

    def on_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Of the peer, or the router's own for nobody's."""
        details = self.stream.info.response_code_details
        if details != _FROM_UPSTREAM:
            self._fail(Unreachable(details or "no answer"))
            return
        self._headers = headers
        if end_stream:
            self._finish()

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of the body."""
        self._size += len(data)
        if self._size > self._most:
            self._chunks.clear()
            self._fail(ComponentError(f"the answer has more than {self._most} bytes"))
            return
        self._chunks.append(data)
        if end_stream:
            self._finish()

    def on_trailers(self, trailers: HeaderMap) -> None:
        """Nobody asked for them."""
        self._finish()

    def on_reset(self, details: str) -> None:
        """It will not be complete."""
        self._fail(Unreachable(details))

    def _finish(self) -> None:
        if not self.answer.done():
            status = int(self._headers.get(b":status") or b"0")
            self.answer.set_result(Answer(status, self._headers, b"".join(self._chunks)))

    def _fail(self, error: ComponentError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
