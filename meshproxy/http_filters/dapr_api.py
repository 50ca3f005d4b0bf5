"""Dapr's HTTP API as an HTTP filter: the seam between a stream and `dapr/http_api/`.

Owns the token, the reading of the body up to its limit, and the way from an answer or an error to
the client. Refuses to know any call: the table does.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from meshproxy.dapr.api import Api
from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.http_api import perform
from meshproxy.dapr.http_api.messages import HttpRequest, HttpResponse, error_response
from meshproxy.dapr.http_api.table import BadEscape, Endpoint, Table
from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import (
    STOP_ITERATION,
    STOP_ITERATION_NO_BUFFER,
    StreamFilter,
)
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply

DETAILS: Final = "dapr_api"
_TOKEN: Final = b"dapr-api-token"

_BAD_TOKEN: Final = LocalReply(401, "dapr_invalid_api_token", b"invalid api token")
_TOO_LARGE: Final = error_response(
    ApiError("ERR_BODY_READ", "failed reading the body: it is too large", 413)
)
_NO_APP_ID: Final = error_response(
    ApiError(
        "ERR_DIRECT_INVOKE",
        "failed getting app id either from the URL path or the header dapr-app-id",
        404,
        Grpc.NOT_FOUND,
    )
)


@dataclass(frozen=True, slots=True)
class DaprFilterConfig:
    """One API listener. `token` empty: none is asked for; `max_body` is bytes."""

    api: Api
    table: Table
    token: str = ""
    max_body: int = 4 * 1024 * 1024


class DaprFilter(StreamFilter):
    """One request to the API: its body is collected, then the operation runs as a task."""

    __slots__ = ("_chunks", "_config", "_endpoint", "_params", "_size")

    _endpoint: Endpoint
    _params: dict[str, str]

    def __init__(self, config: DaprFilterConfig) -> None:
        self._config = config
        self._chunks: list[bytes] = []
        self._size = 0

    # -- the request -------------------------------------------------------------------------

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Find the operation; refuse what may not go on."""
        method = (headers.get(b":method") or b"").decode("latin-1")
        path = (headers.get(b":path") or b"").decode("latin-1").partition("?")[0]
        try:
            found = self._config.table.match(method, path)
        except BadEscape as error:
            text = f"failed to unescape path parameter: {error}".encode()
            return self._refuse(LocalReply(400, "dapr_bad_escape", text))
        if (found is None or not found[0].public) and not self._may_pass(headers):
            return self._refuse(_BAD_TOKEN)
        headers.remove(_TOKEN)
        if found is None:
            return self._refuse(_reply(_NO_APP_ID))
        self._endpoint, self._params = found
        length = headers.get(b"content-length")
        if length is not None and int(length) > self._config.max_body:
            return self._refuse(_reply(_TOO_LARGE))
        if end_stream:
            self._run()
        return STOP_ITERATION

    def _may_pass(self, headers: HeaderMap) -> bool:
        token = self._config.token
        if not token:
            return True
        given = headers.get(_TOKEN) or b""
        return hmac.compare_digest(given, token.encode())

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """Keep a piece of the body."""
        self._size += data.length
        if self._size > self._config.max_body:
            self._chunks.clear()
            return self._refuse(_reply(_TOO_LARGE))
        self._chunks.append(data.take())
        if end_stream:
            self._run()
        return STOP_ITERATION_NO_BUFFER

    def decode_trailers(self, trailers: HeaderMap) -> int:
        """The request is complete."""
        self._run()
        return STOP_ITERATION

    def _refuse(self, reply: LocalReply) -> int:
        self.callbacks.send_local_reply(reply)
        return STOP_ITERATION

    # -- the operation -----------------------------------------------------------------------

    def _run(self) -> None:
        headers = self.callbacks.info.request_headers
        assert headers is not None
        query = (headers.get(b":path") or b"").decode("latin-1").partition("?")[2]
        request = HttpRequest(
            method=(headers.get(b":method") or b"").decode("latin-1"),
            params=self._params,
            query=tuple(parse_qsl(query, keep_blank_values=True)) if query else (),
            headers=headers,
            body=b"".join(self._chunks),
        )
        self._chunks.clear()
        self.callbacks.spawn(self._answer(request), f"dapr {self._endpoint.path}")

    async def _answer(self, request: HttpRequest) -> None:
        response = await perform(self._config.api, self._endpoint, request)
        self.callbacks.send_local_reply(_reply(response))


def _reply(response: HttpResponse) -> LocalReply:
    return LocalReply(response.status, DETAILS, response.body, headers=response.headers)
