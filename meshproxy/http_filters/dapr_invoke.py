"""Service invocation on a stream: rewrite the request, go on to the router, speak of failures.

Owns what both ends share, and the end that other sidecars call. Nothing is held back but while a
name is looked up: bodies stream through in both directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from meshproxy.dapr import invocation
from meshproxy.dapr.access_control import SpiffeId, spiffe_id
from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.app_settings import APP_CLUSTER
from meshproxy.dapr.http_api.messages import HttpResponse, error_response
from meshproxy.dapr.invocation import Target
from meshproxy.dapr.invoker import CLUSTER_HEADER, Invoker
from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import (
    CONTINUE,
    STOP_ALL_ITERATION_AND_WATERMARK,
    STOP_ITERATION,
    StreamFilter,
)
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.status import is_grpc
from meshproxy.http.stream_info import ResponseFlag
from meshproxy.http_filters.dapr_attempts import DETAILS, InvocationPlan

_UNREACHABLE: Final = int(ResponseFlag.UpstreamConnectionFailure | ResponseFlag.NoHealthyUpstream)
_CODES: Final = {400: "InvalidArgument", 403: "PermissionDenied", 404: "NotFound"}
_FROM_UPSTREAM: Final = "via_upstream"
_OURS: Final = "dapr_"  # so begin the details of all that Dapr's filters answer

TOO_LARGE: Final = error_response(
    ApiError("ERR_BODY_READ", "failed reading the body: it is too large", 413)
)


def reply_of(response: HttpResponse) -> LocalReply:
    """An answer of the API as the stream sends it."""
    return LocalReply(response.status, DETAILS, response.body, headers=response.headers)


def declares_more(headers: HeaderMap, limit: int) -> bool:
    """Whether a request says beforehand that its body is over the limit."""
    length = headers.get(b"content-length")
    return length is not None and length.isdigit() and int(length) > limit


def too_large(target: Target) -> ApiError:
    """The body of an invocation is over the limit."""
    return invocation.failed(target.app_id, "stream too large")


def is_given(details: str) -> bool:
    """Whether somebody has answered: an app, a middleware or the sidecar, and not the router."""
    return details == _FROM_UPSTREAM or details.startswith(_OURS)


class InvokingFilter(StreamFilter):
    """Sends a request to an app. `target` is None until there is one."""

    __slots__ = ("_failure", "_holds", "_left", "_moved", "_waits", "gone", "invoker", "target")

    def __init__(self, invoker: Invoker, max_body: int) -> None:
        self.invoker = invoker
        self.target: Target | None = None
        self._left = max_body
        self._failure = b""
        self._moved = ""  # the cluster that was found after an attempt
        self.gone: ApiError | None = None
        """Why there is no such app any more."""
        self._holds = False  # a place at the app
        self._waits = False

    # -- the request -------------------------------------------------------------------------

    def refuse(self, reply: LocalReply) -> int:
        """Answer from here."""
        self.callbacks.send_local_reply(reply)
        return STOP_ITERATION

    def fail(self, error: ApiError) -> int:
        """Say why there is no other answer."""
        return self.refuse(self.reply(error))

    def reply(self, error: ApiError) -> LocalReply:
        """An error as the client expects it."""
        return reply_of(error_response(error))

    def invoke(self, headers: HeaderMap, target: Target) -> int:
        """Send the request on, at once or after the app has been looked up."""
        self.target = target
        if declares_more(headers, self._left):
            return self.fail(too_large(target))
        cluster = self.invoker.cluster_of(target)
        if cluster is None:
            self.callbacks.spawn(self._look_up(headers, target), f"look up {target.app_id}")
            return STOP_ALL_ITERATION_AND_WATERMARK
        return self.send(headers, target, cluster)

    def send(self, headers: HeaderMap, target: Target, cluster: str | ApiError) -> int:
        """Rewrite the request for its cluster."""
        if isinstance(cluster, ApiError):
            return self.fail(cluster)
        self.plan(target)
        self.prepare(headers, target, cluster)
        self.callbacks.clear_route_cache()
        return self.enter() if cluster == APP_CLUSTER else CONTINUE

    def prepare(self, headers: HeaderMap, target: Target, cluster: str) -> None:
        """Make the headers of a request what its callee shall see."""
        self.invoker.prepare(headers, target, cluster)

    def plan(self, target: Target) -> None:
        """Have the router try as often as the app's policies say."""
        invoker = self.invoker
        policy = invoker.policy_of(target)
        if not policy.is_empty:
            self.callbacks.info.attempts = InvocationPlan(target.app_id, policy.begin(), self)

    def look_again(self) -> None:
        """The app could not be reached: perhaps it is elsewhere before the next attempt."""
        target = self.target
        if target is not None and not self.invoker.is_own(target):
            self.invoker.unreachable(target)
            self.callbacks.spawn(self._find(target), f"look up {target.app_id}")

    async def _find(self, target: Target) -> None:
        found = await self.invoker.look_up(target)
        self.gone = found if isinstance(found, ApiError) else None
        self._moved = "" if isinstance(found, ApiError) else found

    def follow(self) -> None:
        """Send the next attempt where the app was found after the last one."""
        headers = self.callbacks.info.request_headers
        if self._moved and headers is not None:
            headers.replace(CLUSTER_HEADER, self._moved.encode())

    def caller(self) -> SpiffeId | None:
        """Who calls, by the certificate that was shown; None where none was."""
        tls = self.callbacks.info.connection.tls
        peer = None if tls is None else tls.peer
        for kind, value in () if peer is None else peer.sans:
            if kind == "URI" and (found := spiffe_id(value.decode("latin-1"))) is not None:
                return found
        return None

    def enter(self) -> int:
        """Take a place at the app, or wait for one."""
        slots = self.invoker.slots
        if slots is None:
            return CONTINUE
        self._holds = slots.take(self._proceed)
        self._waits = not self._holds
        return CONTINUE if self._holds else STOP_ALL_ITERATION_AND_WATERMARK

    def _proceed(self) -> None:
        """The place is there. Whoever gave it back is still at its own end: go on after that."""
        self._holds, self._waits = True, False
        self.callbacks.call_later(0.0, self.callbacks.continue_decoding)

    def on_destroy(self) -> None:
        """The answer is complete, or nobody waits for it any more."""
        slots = self.invoker.slots
        if slots is None:
            return
        if self._holds:
            slots.give_back()
        elif self._waits:
            slots.give_up(self._proceed)
        self._holds = self._waits = False

    async def _look_up(self, headers: HeaderMap, target: Target) -> None:
        cluster = await self.invoker.look_up(target)
        if self.send(headers, target, cluster) == CONTINUE:
            self.callbacks.continue_decoding()

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """A piece of the body, which passes up to the limit."""
        if self.target is None:
            return CONTINUE
        self._left -= data.length
        if self._left < 0:
            return self.fail(too_large(self.target))
        return CONTINUE

    # -- the response ------------------------------------------------------------------------

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """The router could not reach the app: say it as Dapr does. Answers of the app pass."""
        target, info = self.target, self.callbacks.info
        if target is None or not self.gave_up():
            return CONTINUE
        error = self.unreached(target, info.response_code_details or "unknown")
        self._failure = body = error.body()
        headers.pairs = [
            (b":status", b"%d" % error.status),
            (invocation.FAILED, b"1"),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
        return CONTINUE

    def unreached(self, target: Target, reason: str) -> ApiError:
        """The router has no answer of the app, for a reason in Envoy's words."""
        return invocation.failed(target.app_id, reason)

    def gave_up(self) -> bool:
        """Whether the answer is the router's own; where nobody could be reached, look again."""
        info = self.callbacks.info
        if is_given(info.response_code_details or ""):
            return False
        if info.response_flags & _UNREACHABLE and self.target is not None:
            self.invoker.unreachable(self.target)
        return True

    def encode_data(self, data: Buffer, end_stream: bool) -> int:
        """The text of the router gives way to that of `encode_headers`."""
        if self._failure:
            data.set(self._failure)
            self._failure = b""
        return CONTINUE


@dataclass(frozen=True, slots=True)
class InternalFilterConfig:
    """The listener for other sidecars. `max_body` is bytes."""

    invoker: Invoker
    max_body: int = 4 * 1024 * 1024


class InternalFilter(InvokingFilter):
    """A call from another sidecar to the app beside this one."""

    __slots__ = ()

    def __init__(self, config: InternalFilterConfig) -> None:
        super().__init__(config.invoker, config.max_body)

    def reply(self, error: ApiError) -> LocalReply:
        """What a caller's sidecar tells its app, as if it had been told by gRPC."""
        app_id = self.invoker.sidecar.identity.app_id
        reason = error.message.removeprefix(invocation.failed(app_id, "").message)
        text = f"rpc error: code = {_CODES.get(error.status, 'Internal')} desc = {reason}"
        reply = super().reply(invocation.failed(app_id, text, error.status))
        return reply.with_header(invocation.FAILED, b"1")

    def unreached(self, target: Target, reason: str) -> ApiError:
        """The app is there, as far as is known, and does not answer."""
        text = f"rpc error: code = Internal desc = {invocation.APP_FAILED}{reason}"
        return invocation.failed(target.app_id, text)

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Take what is for our app, and nothing else. gRPC is `InternalGrpcFilter`'s."""
        if is_grpc(headers.get(b"content-type") or b""):
            return CONTINUE
        own = self.invoker.sidecar.identity
        callee = (headers.get(invocation.CALLEE_APP_ID) or b"").decode("latin-1")
        if callee != own.app_id:
            return self.fail(invocation.no_app_id())
        self.target = Target(own.app_id, own.namespace, headers.get(b":path") or b"/")
        cluster = self.invoker.app_cluster(own.app_id)
        if isinstance(cluster, ApiError):
            return self.fail(cluster)
        verb = (headers.get(b":method") or b"").decode("latin-1")
        denied = self.invoker.judge(self.caller(), self.target.path, verb)
        if denied is not None:
            return self.fail(denied)
        headers.remove(b"x-dapr-cluster")
        self.invoker.prepare_for_app(headers)
        self.callbacks.clear_route_cache()
        return self.enter()
