"""Listeners that answer a few questions and nothing else: public port, metrics. Knows no question.

Owns that whatever else is asked is refused: no invocation, no token, no body is read.
"""

from __future__ import annotations

from collections.abc import Callable

from meshproxy.dapr.api import Api
from meshproxy.dapr.http_api import perform
from meshproxy.dapr.http_api.messages import HttpRequest
from meshproxy.dapr.http_api.table import BadEscape, Endpoint, Table
from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import (
    STOP_ITERATION,
    STOP_ITERATION_NO_BUFFER,
    FilterFactory,
    StreamFilter,
)
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.http_filters.dapr_invoke import reply_of

_NOT_FOUND = LocalReply(404, "dapr_not_public", b"404 page not found\n")

_NO_PAGE = LocalReply(405, "dapr_no_page", b"method not allowed\n")


def public(api: Api, table: Table) -> FilterFactory:
    """The filter of the public port: the calls of `table`."""
    return lambda: PublicFilter(api, table)


def page(render: Callable[[], bytes], content_type: bytes) -> FilterFactory:
    """The filter of a port that has one page, whatever the path, as that of daprd's metrics."""
    return lambda: PageFilter(render, content_type)


class _AskedFilter(StreamFilter):
    """Takes no body."""

    __slots__ = ()

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """Nobody asked for it."""
        data.clear()
        return STOP_ITERATION_NO_BUFFER


class PageFilter(_AskedFilter):
    """One look at the page."""

    __slots__ = ("_content_type", "_render")

    def __init__(self, render: Callable[[], bytes], content_type: bytes) -> None:
        self._render = render
        self._content_type = content_type

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Show it."""
        if headers.get(b":method") not in (b"GET", b"HEAD"):
            self.callbacks.send_local_reply(_NO_PAGE)
            return STOP_ITERATION
        kind = ((b"content-type", self._content_type),)
        self.callbacks.send_local_reply(LocalReply(200, "dapr_page", self._render(), headers=kind))
        return STOP_ITERATION


class PublicFilter(_AskedFilter):
    """One question."""

    __slots__ = ("_api", "_table")

    def __init__(self, api: Api, table: Table) -> None:
        self._api = api
        self._table = table

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Answer, without waiting for a body."""
        method = (headers.get(b":method") or b"").decode("latin-1")
        path, _, query = (headers.get(b":path") or b"").decode("latin-1").partition("?")
        try:
            found = self._table.match(method, path)
        except BadEscape:
            found = None
        if found is None:
            self.callbacks.send_local_reply(_NOT_FOUND)
        else:
            endpoint, params = found
            self.callbacks.info.operation = endpoint.name
            request = HttpRequest.of(method, params, query, headers)
            self.callbacks.spawn(self._answer(endpoint, request), f"dapr {endpoint.path}")
        return STOP_ITERATION

    async def _answer(self, endpoint: Endpoint, request: HttpRequest) -> None:
        self.callbacks.send_local_reply(reply_of(await perform(self._api, endpoint, request)))
