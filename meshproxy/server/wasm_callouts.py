"""The calls that filters make, over the proxy's own clients: `proxy_http_call`, `proxy_grpc_*`.

Owns the way between a hostcall's values and a request on a cluster. Refuses to know the ABI: tokens
and callbacks are the root context's (`proxy_wasm/root_context.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from meshproxy.http.header_map import HeaderMap
from meshproxy.proxy_wasm.grpc_client import GrpcReceiver, GrpcRequest
from meshproxy.proxy_wasm.services import HttpCallRequest, HttpCallResponse
from meshproxy.router.async_client import AsyncClient, AsyncStream
from meshproxy.router.grpc_client import GrpcCall, GrpcClient, GrpcStream

MAX_BODY: Final = 16 << 20
"""Bytes of an answer's body: the guest gets it as a whole, and its memory is limited as well."""

Done = Callable[[HttpCallResponse], None]


class HttpCalls:
    """`proxy_wasm.services.HttpCaller` over clusters."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    def call(self, request: HttpCallRequest, done: Done) -> HttpCall | None:
        """Start the call; None where the cluster is unknown."""
        call = HttpCall(done)
        stream = self._client.start(request.upstream, call, request.timeout)
        if stream is None:
            return None
        call.stream = stream
        body, trailers = request.body, request.trailers
        stream.send_headers(HeaderMap(request.headers), not body and not trailers)
        if body:
            stream.send_data(body, not trailers)
        if trailers:
            stream.send_trailers(HeaderMap(trailers))
        return call


class HttpCall:
    """One call; collects the answer."""

    __slots__ = ("_body", "_done", "_headers", "_size", "stream")

    stream: AsyncStream

    def __init__(self, done: Done) -> None:
        self._done = done
        self._headers: HeaderMap | None = None
        self._body: list[bytes] = []
        self._size = 0

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        self.stream.cancel()

    def on_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The answer begins."""
        self._headers = headers
        if end_stream:
            self._finish(HeaderMap())

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of its body."""
        self._size += len(data)
        if self._size > MAX_BODY:
            self.stream.cancel()
            self.on_reset(f"response body of more than {MAX_BODY} bytes")
            return
        self._body.append(data)
        if end_stream:
            self._finish(HeaderMap())

    def on_trailers(self, trailers: HeaderMap) -> None:
        """Its trailers."""
        self._finish(trailers)

    def on_reset(self, details: str) -> None:
        """It will not be completed."""
        self._done(HttpCallResponse([], failure=details))

    def _finish(self, trailers: HeaderMap) -> None:
        assert self._headers is not None
        self._done(HttpCallResponse(self._headers.pairs, b"".join(self._body), trailers.pairs))


class GrpcCalls:
    """`proxy_wasm.grpc_client.GrpcClient` over clusters."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = GrpcClient(client)

    def knows(self, cluster: str) -> bool:
        """Whether there is such a cluster."""
        return self._client.knows(cluster)

    def open(self, request: GrpcRequest, receiver: GrpcReceiver) -> GrpcStream | None:
        """Open a stream; None where the cluster is unknown."""
        target = request.target
        call = GrpcCall(
            target.cluster, request.path, target.authority, request.metadata, request.timeout
        )
        return self._client.open(call, receiver)
