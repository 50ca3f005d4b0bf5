"""The API's token, asked for before a pipeline of middleware runs. Knows no middleware.

The API asks for it as well; but what has none shall not even get to a middleware, as in daprd.
"""

from __future__ import annotations

import hmac
from typing import Final

from meshproxy.dapr import invocation
from meshproxy.dapr.http_api.table import BadEscape, Table
from meshproxy.http.filter import CONTINUE, STOP_ITERATION, FilterFactory, StreamFilter
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply

BAD_TOKEN: Final = LocalReply(
    401,
    "dapr_invalid_api_token",
    b"invalid api token\n",
    headers=(
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"x-content-type-options", b"nosniff"),
    ),
)


def token_filter(token: str, table: Table) -> FilterFactory:
    """The filter; what the table says is public passes without a token."""
    return lambda: TokenFilter(token.encode(), table)


class TokenFilter(StreamFilter):
    """One request."""

    __slots__ = ("_table", "_token")

    def __init__(self, token: bytes, table: Table) -> None:
        self._token = token
        self._table = table

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Refuse a request without the token."""
        given = headers.get(invocation.API_TOKEN) or b""
        if hmac.compare_digest(given, self._token) or self._is_public(headers):
            return CONTINUE
        self.callbacks.send_local_reply(BAD_TOKEN)
        return STOP_ITERATION

    def _is_public(self, headers: HeaderMap) -> bool:
        method = (headers.get(b":method") or b"").decode("latin-1")
        path = (headers.get(b":path") or b"").decode("latin-1").partition("?")[0]
        try:
            found = self._table.match(method, path)
        except BadEscape:
            return False
        return found is not None and found[0].public
