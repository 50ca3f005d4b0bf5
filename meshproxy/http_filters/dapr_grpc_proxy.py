"""Calls of an app's own gRPC services, by metadata, from sidecar to sidecar to app.

Owns who the callee is, the limit of a message, and failures in gRPC's words. All four shapes of a
call stream through in both directions; no message is read or held back.
"""

from __future__ import annotations

from typing import Final

from meshproxy.dapr import invocation
from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.invocation import Target
from meshproxy.dapr.invoker import Invoker
from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import CONTINUE
from meshproxy.http.grpc import UNKNOWN, MessageCounter, encode_text
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.status import is_grpc
from meshproxy.http_filters.dapr_attempts import DETAILS
from meshproxy.http_filters.dapr_invoke import InternalFilterConfig, InvokingFilter

_OWN: Final = b"/dapr.proto."
"""The services whose calls are never an app's: one that is not here is not anywhere."""


class GrpcProxyFilter(InvokingFilter):
    """A call that an app makes of another one, on the port of the API."""

    __slots__ = ("_messages", "_most")

    def __init__(self, invoker: Invoker, max_message: int) -> None:
        super().__init__(invoker, max_message)
        self._most = max_message
        self._messages = MessageCounter()

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Find the app, and send the call on."""
        path = headers.get(b":path") or b""
        if path.startswith(_OWN):
            text = f"unknown method {path.decode('latin-1')}"
            return self.fail(ApiError("ERR_API_UNIMPLEMENTED", text, 501, Grpc.UNIMPLEMENTED))
        target = invocation.grpc_target_of(headers, self.invoker.sidecar.identity)
        if isinstance(target, ApiError):
            return self.fail(target)
        return self.invoke(headers, target)

    def send(self, headers: HeaderMap, target: Target, cluster: str | ApiError) -> int:
        """An app that does not speak gRPC has no such services."""
        if self.invoker.is_own(target) and not self.invoker.sidecar.app.port:
            text = "app channel is not initialized"
            return self.fail(ApiError("ERR_DIRECT_INVOKE", text, 503, Grpc.UNAVAILABLE))
        if self.invoker.is_own(target) and not self.invoker.sidecar.app.is_http2:
            protocol = self.invoker.sidecar.app.protocol
            text = f"the app speaks {protocol}; gRPC is proxied to --app-protocol grpc, grpcs, h2c"
            return self.fail(ApiError("ERR_DIRECT_INVOKE", text, 501, Grpc.UNIMPLEMENTED))
        return super().send(headers, target, cluster)

    def prepare(self, headers: HeaderMap, target: Target, cluster: str) -> None:
        """Metadata go on as they are."""
        self.invoker.prepare_grpc(headers, target, cluster)

    def reply(self, error: ApiError) -> LocalReply:
        """With trailers only, and as bare as daprd's: of no status of its own it says UNKNOWN."""
        app_id = self.target.app_id if self.target is not None else ""
        text = error.message.removeprefix(invocation.failed(app_id, "").message)
        code = UNKNOWN if error.grpc == Grpc.INTERNAL else error.grpc
        return LocalReply(error.status, DETAILS, text.encode(), grpc_status=code)

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """A piece of the messages, each of which may have `max_message` bytes."""
        if self.target is None:
            return CONTINUE
        messages = self._messages
        messages.feed(data.peek())
        if messages.largest <= self._most:
            return CONTINUE
        text = f"grpc: received message larger than max ({messages.largest} vs. {self._most})"
        return self.fail(ApiError("ERR_BODY_READ", text, 413, Grpc.RESOURCE_EXHAUSTED))

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """The router could not reach the app: say which. Its own status stays."""
        target, info = self.target, self.callbacks.info
        if target is None or not self.gave_up():
            return CONTINUE
        reason = info.response_code_details or "unknown"
        text = invocation.failed(target.app_id, reason).message
        headers.replace(b"grpc-message", encode_text(text.encode()))
        return CONTINUE

    def encode_data(self, data: Buffer, end_stream: bool) -> int:
        """Messages of the app."""
        return CONTINUE


class InternalGrpcFilter(GrpcProxyFilter):
    """A call of gRPC from another sidecar for the app beside this one; others pass."""

    __slots__ = ()

    def __init__(self, config: InternalFilterConfig) -> None:
        super().__init__(config.invoker, config.max_body)

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Take what is for our app, and nothing else."""
        if not is_grpc(headers.get(b"content-type") or b""):
            return CONTINUE
        own = self.invoker.sidecar.identity
        callee = (headers.get(invocation.CALLEE_APP_ID) or b"").decode("latin-1")
        if callee != own.app_id:
            return self.fail(invocation.no_app_id())
        self.target = target = Target(own.app_id, own.namespace, headers.get(b":path") or b"/")
        denied = self.invoker.judge(self.caller(), target.path, "NONE")
        if denied is not None:
            return self.fail(denied)
        headers.remove(b"x-dapr-cluster")
        return self.send(headers, target, self.invoker.app_cluster(own.app_id))

    def plan(self, target: Target) -> None:
        """The caller's sidecar has the policies."""

    def prepare(self, headers: HeaderMap, target: Target, cluster: str) -> None:
        """Who calls has been said by the caller's sidecar."""
        self.invoker.prepare_for_app(headers)
