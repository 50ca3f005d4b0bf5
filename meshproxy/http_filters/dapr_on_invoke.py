"""Invocations over HTTP for an app that speaks gRPC, on a stream: the seam to `grpc_api/on_invoke`.

It stands last before the router and takes what is bound for the app; who calls, and whether it may,
was decided before. As in daprd the body is collected, up to its limit, and the answer comes in one
piece.
"""

from __future__ import annotations

from meshproxy.dapr.app_settings import APP_CLUSTER
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.grpc_api.app_channel import GrpcAppChannel
from meshproxy.dapr.grpc_api.on_invoke import on_invoke
from meshproxy.dapr.http_api.messages import error_response
from meshproxy.dapr.invocation import failed
from meshproxy.dapr.invoker import CLUSTER_HEADER
from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import (
    CONTINUE,
    STOP_ITERATION,
    STOP_ITERATION_NO_BUFFER,
    FilterFactory,
    StreamFilter,
)
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.status import is_grpc
from meshproxy.http_filters.dapr_attempts import ON_INVOKE
from meshproxy.http_filters.dapr_invoke import TOO_LARGE, reply_of


def on_invoke_filter(channel: GrpcAppChannel, app_id: str, max_body: int) -> FilterFactory:
    """The filter of a listener; `max_body` is bytes."""
    return lambda: OnInvokeFilter(channel, app_id, max_body)


class OnInvokeFilter(StreamFilter):
    """One request; where it is not bound for the app, or is gRPC already, it passes."""

    __slots__ = ("_app_id", "_channel", "_chunks", "_headers", "_left")

    def __init__(self, channel: GrpcAppChannel, app_id: str, max_body: int) -> None:
        self._channel = channel
        self._app_id = app_id
        self._left = max_body
        self._chunks: list[bytes] = []
        self._headers: HeaderMap | None = None

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Take what is for the app."""
        bound = headers.get(CLUSTER_HEADER) == APP_CLUSTER.encode()
        if not bound or is_grpc(headers.get(b"content-type") or b""):
            return CONTINUE
        self._headers = headers
        if end_stream:
            self._run(headers)
        return STOP_ITERATION

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """A piece of the body."""
        headers = self._headers
        if headers is None:
            return CONTINUE
        self._left -= data.length
        if self._left < 0:
            self._chunks.clear()
            self.callbacks.send_local_reply(reply_of(TOO_LARGE))
            return STOP_ITERATION
        self._chunks.append(data.take())
        if end_stream:
            self._run(headers)
        return STOP_ITERATION_NO_BUFFER

    def decode_trailers(self, trailers: HeaderMap) -> int:
        """The request is complete."""
        if self._headers is None:
            return CONTINUE
        self._run(self._headers)
        return STOP_ITERATION

    def _run(self, headers: HeaderMap) -> None:
        body = b"".join(self._chunks)
        self._chunks.clear()
        self.callbacks.spawn(self._call(headers, body), "OnInvoke")

    async def _call(self, headers: HeaderMap, body: bytes) -> None:
        try:
            answer = await on_invoke(self._channel, headers, body, has_place=True)
        except ComponentError as error:
            reply = reply_of(error_response(failed(self._app_id, str(error))))
        else:
            pairs = tuple(answer.headers.pairs)
            reply = LocalReply(answer.status, ON_INVOKE, answer.body, headers=pairs)
        self.callbacks.send_local_reply(reply)
