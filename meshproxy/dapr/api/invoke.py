"""InvokeService: a method of an app, in one message each way. Knows no protocol of the caller.

Owns the way to the callee, whatever it speaks. Invocations over HTTP and proxied gRPC do not come
here: they stream through the router.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from meshproxy.dapr import invocation
from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.app_settings import APP_CLUSTER
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.concurrency import place
from meshproxy.dapr.exchange import Answer, Unreachable, exchange
from meshproxy.dapr.http_api.table import clean_path
from meshproxy.dapr.invocation import Target
from meshproxy.dapr.invoker import CLUSTER_HEADER
from meshproxy.dapr.resiliency.policy import CodeError
from meshproxy.http.header_map import HeaderMap

if TYPE_CHECKING:
    from meshproxy.dapr.grpc_api.app_channel import GrpcAppChannel
    from meshproxy.dapr.invoker import Invoker
    from meshproxy.router.async_client import AsyncClient

_NOT_HEADERS: Final = frozenset((b"content-type", b"content-length", b"host", b"te"))
_GRPC: Final = b"grpc-"


@dataclass(frozen=True, slots=True)
class ServiceCall:
    """What is invoked: `method` is a path without the slash before it, `verb` HTTP's.

    `metadata` are those of the caller's request.
    """

    app_id: str
    method: str
    verb: str
    query: str = ""
    data: bytes = b""
    content_type: str = ""
    metadata: HeaderMap = field(default_factory=HeaderMap)


class _Refused(CodeError):
    """An answer that counts as a failure for the app's policies."""

    def __init__(self, answer: Answer) -> None:
        code = answer.headers.get(invocation.GRPC_STATUS)
        super().__init__("", answer.status if code is None else int(code))
        self.answer: Final = answer


class InvokeApi:
    """InvokeService, under the policies of the callee.

    `grpc_app` is the app beside where it speaks gRPC; `most` bytes are taken.
    """

    def __init__(
        self,
        invoker: Invoker,
        client: AsyncClient,
        most: int,
        grpc_app: GrpcAppChannel | None = None,
    ) -> None:
        self._invoker = invoker
        self._client = client
        self._most = most
        self._grpc_app = grpc_app

    async def invoke(self, call: ServiceCall) -> Answer:
        """The answer of the app, whatever its status. Raises ApiError without one."""
        headers = _headers(call)
        invoker = self._invoker
        named = invoker.ways.externals.endpoints
        target = invocation.target_of(headers, invoker.sidecar.identity, named)
        if isinstance(target, ApiError):
            raise target

        async def attempt() -> Answer:
            try:
                answer = await self._send(headers.copy(), target, call.data)
            except Unreachable:
                invoker.unreachable(target)  # perhaps it is elsewhere before the next attempt
                raise
            if not 200 <= answer.status < 300:  # over HTTP a redirect is an answer, as in daprd
                raise _Refused(answer)
            return answer

        try:
            return await invoker.policy_of(target).run(attempt)
        except _Refused as refused:
            return refused.answer
        except Unreachable as error:
            text = invocation.failed(call.app_id, str(error)).message
            raise ApiError("ERR_DIRECT_INVOKE", text, 500, Grpc.UNAVAILABLE) from error
        except ComponentError as error:
            raise invocation.failed(call.app_id, str(error)) from error

    async def _send(self, headers: HeaderMap, target: Target, body: bytes) -> Answer:
        invoker = self._invoker
        cluster = invoker.cluster_of(target)
        if cluster is None:
            cluster = await invoker.look_up(target)
        if isinstance(cluster, ApiError):
            raise cluster
        invoker.prepare(headers, target, cluster)
        if cluster != APP_CLUSTER:
            headers.remove(CLUSTER_HEADER)
            return await exchange(self._client, cluster, headers, body, self._most)
        if self._grpc_app is not None:
            from meshproxy.dapr.grpc_api.on_invoke import on_invoke

            return await on_invoke(self._grpc_app, headers, body)
        headers.remove(CLUSTER_HEADER)
        async with place(invoker.slots):
            return await exchange(self._client, cluster, headers, body, self._most)


def _headers(call: ServiceCall) -> HeaderMap:
    """The call as a request over HTTP."""
    method = quote(clean_path("/" + call.method).removeprefix("/"), safe="/!$&'()*+,;=:@-._~")
    path = f"/v1.0/invoke/{quote(call.app_id, safe='')}/method/{method}"
    pairs = [
        (b":method", call.verb.encode()),
        (b":path", f"{path}?{call.query}".encode() if call.query else path.encode()),
        (b":scheme", b"http"),
        (b":authority", call.app_id.encode()),
    ]
    pairs += (
        (name, value)
        for name, value in call.metadata.pairs
        if name not in _NOT_HEADERS and not name.startswith((b":", _GRPC))
    )
    if call.content_type:
        pairs.append((b"content-type", call.content_type.encode()))
    if call.data or call.verb not in ("GET", "HEAD", "OPTIONS"):
        pairs.append((b"content-length", b"%d" % len(call.data)))
    return HeaderMap(pairs)
