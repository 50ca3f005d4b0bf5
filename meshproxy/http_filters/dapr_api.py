"""Dapr's HTTP API as an HTTP filter: the seam between a stream and `dapr/http_api/`.

Owns the token, the reading of the body up to its limit, and the way from an answer to the client.
Refuses to know any call: the table does, and what is not in it is an invocation.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from meshproxy.dapr import invocation
from meshproxy.dapr.api import Api
from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.http_api import perform
from meshproxy.dapr.http_api.messages import HttpRequest, error_response
from meshproxy.dapr.http_api.table import BadEscape, Endpoint, Table
from meshproxy.dapr.invoker import Invoker
from meshproxy.dapr.tracing.context import BAGGAGE, is_baggage
from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import CONTINUE, STOP_ITERATION, STOP_ITERATION_NO_BUFFER
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.http_filters.dapr_invoke import TOO_LARGE, InvokingFilter, declares_more, reply_of
from meshproxy.http_filters.dapr_token import BAD_TOKEN
from meshproxy.http_filters.dapr_tracing import NO_BAGGAGE, echo_trace

_BAD_PATH = LocalReply(
    400,
    "dapr_bad_escape",
    b"400 Bad Request",
    headers=((b"content-type", b"text/plain; charset=utf-8"),),
    close=True,
)
_INVOCATION = "InvokeService"
_NOT_FOUND = LocalReply(404, "dapr_not_found", b"404 page not found\n")


@dataclass(frozen=True, slots=True)
class DaprFilterConfig:
    """One API listener. `token` empty: none is asked for; `max_body` is bytes.

    `may_invoke`: what is not in the table is an invocation.
    """

    api: Api
    table: Table
    invoker: Invoker
    token: str = ""
    max_body: int = 4 * 1024 * 1024
    may_invoke: bool = True


class DaprFilter(InvokingFilter):
    """One request to the API.

    For a call of the table the body is collected, then the operation runs as a task; an invocation
    goes on to the router.
    """

    __slots__ = ("_baggage", "_chunks", "_config", "_endpoint", "_params", "_size")

    def __init__(self, config: DaprFilterConfig) -> None:
        super().__init__(config.invoker, config.max_body)
        self._config = config
        self._endpoint: Endpoint | None = None
        self._baggage: bytes | None = None
        self._params: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._size = 0

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Find the operation, or the app; refuse what may not go on."""
        method = (headers.get(b":method") or b"").decode("latin-1")
        path = (headers.get(b":path") or b"").decode("latin-1").partition("?")[0]
        try:
            found = self._config.table.match(method, path)
        except BadEscape:
            return self.refuse(_BAD_PATH)
        if (found is None or not found[0].public) and not self._may_pass(headers):
            return self.refuse(BAD_TOKEN)
        baggage = self._baggage = headers.joined(BAGGAGE)
        if baggage is not None and not is_baggage(baggage):
            self._baggage = None
            return self.refuse(NO_BAGGAGE)
        if found is None and not self._config.may_invoke:
            return self.refuse(_NOT_FOUND)
        if found is None:
            invoker = self.invoker
            named = invoker.ways.externals.endpoints
            target = invocation.target_of(headers, invoker.sidecar.identity, named)
            if isinstance(target, ApiError):
                self.callbacks.info.operation = _INVOCATION
                return self.refuse(reply_of(error_response(target)))
            self.callbacks.info.operation = f"{_INVOCATION}/{target.app_id}"
            return self.invoke(headers, target)
        self._endpoint, self._params = found
        self.callbacks.info.operation = found[0].name
        if declares_more(headers, self._config.max_body):
            return self.refuse(reply_of(TOO_LARGE))
        if end_stream:
            self._run(self._endpoint)
        return STOP_ITERATION

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Whoever calls within a trace gets its context back, also where nothing is traced."""
        super().encode_headers(headers, end_stream)
        if self.target is not None and headers.pairs[0][1] >= b"4":
            for name in invocation.BETWEEN_SIDECARS:
                headers.remove(name)
        asked, endpoint = self.callbacks.info.request_headers, self._endpoint
        if asked is not None and (endpoint is None or not endpoint.public):
            echo_trace(asked, headers)
            if self._baggage is not None:
                headers.replace(BAGGAGE, self._baggage)
        return CONTINUE

    def _may_pass(self, headers: HeaderMap) -> bool:
        token = self._config.token
        if not token:
            return True
        given = headers.get(invocation.API_TOKEN) or b""
        return hmac.compare_digest(given, token.encode())

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """A piece of the body: kept for an operation, passed on for an app."""
        endpoint = self._endpoint
        if endpoint is None:
            return super().decode_data(data, end_stream)
        self._size += data.length
        if self._size > self._config.max_body:
            self._chunks.clear()
            return self.refuse(reply_of(TOO_LARGE))
        self._chunks.append(data.take())
        if end_stream:
            self._run(endpoint)
        return STOP_ITERATION_NO_BUFFER

    def decode_trailers(self, trailers: HeaderMap) -> int:
        """The request is complete."""
        if self._endpoint is None:
            return CONTINUE
        self._run(self._endpoint)
        return STOP_ITERATION

    def _run(self, endpoint: Endpoint) -> None:
        headers = self.callbacks.info.request_headers
        assert headers is not None
        headers.remove(invocation.API_TOKEN)
        query = (headers.get(b":path") or b"").decode("latin-1").partition("?")[2]
        method = (headers.get(b":method") or b"").decode("latin-1")
        body = b"".join(self._chunks)
        request = HttpRequest.of(method, self._params, query, headers, body)
        self._chunks.clear()
        self.callbacks.spawn(self._answer(endpoint, request), f"dapr {endpoint.path}")

    async def _answer(self, endpoint: Endpoint, request: HttpRequest) -> None:
        response = await perform(self._config.api, endpoint, request)
        self.callbacks.send_local_reply(reply_of(response))
