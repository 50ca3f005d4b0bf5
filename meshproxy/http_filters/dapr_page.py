"""Listeners that answer a few questions and nothing else: Dapr's public port. Knows no question.

Owns that whatever is not in its table is 404: no invocation, no token, no body is read.
"""

from __future__ import annotations

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


def public(api: Api, table: Table) -> FilterFactory:
    """The filter of the public port: the calls of `table`."""
    return lambda: PublicFilter(api, table)


class PublicFilter(StreamFilter):
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
            request = HttpRequest.of(method, params, query, headers)
            self.callbacks.spawn(self._answer(endpoint, request), f"dapr {endpoint.path}")
        return STOP_ITERATION

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """Nobody asked for it."""
        data.clear()
        return STOP_ITERATION_NO_BUFFER

    async def _answer(self, endpoint: Endpoint, request: HttpRequest) -> None:
        self.callbacks.send_local_reply(reply_of(await perform(self._api, endpoint, request)))
