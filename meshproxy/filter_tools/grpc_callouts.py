"""The far end of a filter's gRPC calls and streams: what was sent, and what somebody answers.

Owns recorded calls, scripted answers and the timeout of those that nobody answers. Refuses to know
guests (`proxy_wasm.grpc_client.GrpcClient` is the seam), HTTP/2 and message types.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from meshproxy.filter_tools.clock import FakeClock, FakeTimer
from meshproxy.filter_tools.messages import Headers, HeadersInput, raw_pairs
from meshproxy.http.status import grpc_status
from meshproxy.proxy_wasm.grpc_client import GrpcReceiver, GrpcRequest

OK: Final = 0
UNAVAILABLE: Final = 14
TIMED_OUT: Final = (grpc_status(504), "upstream request timeout")


@dataclass(frozen=True, slots=True)
class GrpcResponse:
    """An answer to a call. `status` is gRPC's code; `message` is sent where it is 0."""

    message: bytes = b""
    status: int = OK
    text: str = ""
    metadata: HeadersInput = field(default_factory=dict)
    trailers: HeadersInput = field(default_factory=dict)


class GrpcCallout:
    """One `proxy_grpc_call` or `proxy_grpc_stream`. `timeout` in seconds, 0 for none.

    `messages` are those that the filter has sent; `half_closed` says that it will send no more,
    `cancelled` that it gave the call up. `path` is `/service/method`; `status` is how the call
    ended, None before.
    """

    def __init__(self, request: GrpcRequest, receiver: GrpcReceiver, clock: FakeClock) -> None:
        self.upstream = request.target.cluster
        self.path = request.path
        self.metadata = Headers.of(request.metadata)
        self.timeout = request.timeout
        self.messages: list[bytes] = []
        self.half_closed = False
        self.cancelled = False
        self.status: int | None = None
        self._receiver = receiver
        self._clock = clock
        self._begun = False
        self._timer: FakeTimer | None = None
        if request.timeout:
            self._timer = clock.call_later(request.timeout, lambda: self._end(*TIMED_OUT))

    @property
    def pending(self) -> bool:
        """True while the call is open."""
        return self.status is None and not self.cancelled

    # -- answering -----------------------------------------------------------------------------

    def respond(self, message: bytes, metadata: HeadersInput = ()) -> None:
        """Answer a unary call: one message, and the end of it with OK."""
        self.give(GrpcResponse(message, metadata=metadata))
        self._clock.advance(0)

    def fail(self, status: int = UNAVAILABLE, text: str = "") -> None:
        """End the call with an error and no message."""
        self.give(GrpcResponse(status=status, text=text))
        self._clock.advance(0)

    def send_metadata(self, metadata: HeadersInput = ()) -> None:
        """Begin to answer a stream; `send` does it by itself."""
        self._need_pending()
        if self._begun:
            raise RuntimeError(f"the answer to {self.path} has begun already")
        self._begin(metadata)
        self._clock.advance(0)

    def send(self, message: bytes) -> None:
        """One message of a stream."""
        self._need_pending()
        self._begin()
        self._receiver.on_message(message)
        self._clock.advance(0)

    def close(self, status: int = OK, text: str = "", trailers: HeadersInput = ()) -> None:
        """The end of a stream."""
        self._need_pending()
        self._begin()
        self._end(status, text, trailers)
        self._clock.advance(0)

    def give(self, answer: GrpcResponse) -> None:
        """Hand a whole answer to the filter."""
        self._need_pending()
        self._begin(answer.metadata)
        if answer.status == OK and self.pending:
            self._receiver.on_message(answer.message)
        if self.pending:  # the filter may have given up in between
            self._end(answer.status, answer.text, answer.trailers)

    def _begin(self, metadata: HeadersInput = ()) -> None:
        if not self._begun:
            self._begun = True
            self._receiver.on_initial_metadata(raw_pairs(metadata))

    def _end(self, status: int, text: str, trailers: HeadersInput = ()) -> None:
        if self._begun:
            self._receiver.on_trailing_metadata(raw_pairs(trailers))
        if self.pending:
            self._stop()
            self.status = status
            self._receiver.on_close(status, text)

    def _need_pending(self) -> None:
        if not self.pending:
            state = "was cancelled" if self.cancelled else f"has ended with {self.status}"
            raise RuntimeError(f"the gRPC call {self.path} to {self.upstream} {state}")

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def __repr__(self) -> str:
        return f"<GrpcCallout {self.upstream}: {self.path}>"


class _Stream:
    """The filter's side of a call (`grpc_client.GrpcStream`)."""

    __slots__ = ("_callout",)

    def __init__(self, callout: GrpcCallout) -> None:
        self._callout = callout

    @property
    def paused(self) -> bool:
        """The peer takes everything."""
        return False

    def send(self, message: bytes, end_stream: bool) -> None:
        """The filter sends a message."""
        self._callout.messages.append(message)
        self._callout.half_closed = end_stream

    def close(self) -> None:
        """The filter will send no more."""
        self._callout.half_closed = True

    def reset(self) -> None:
        """The filter gives up."""
        if self._callout.pending:
            self._callout.cancelled = True
            self._callout._stop()


GrpcAnswer = GrpcResponse | Callable[[GrpcCallout], GrpcResponse]
"""What to answer a call with: always the same, or what a function makes of it."""


class ScriptedGrpc:
    """Every gRPC call of a harness, in order (`calls`). `clusters` as in `ScriptedUpstreams`."""

    def __init__(self, clock: FakeClock, clusters: Collection[str] | None = None) -> None:
        self.calls: list[GrpcCallout] = []
        self._clock = clock
        self._clusters = None if clusters is None else frozenset(clusters)
        self._answers: dict[str, GrpcAnswer] = {}

    def script(self, upstream: str, answer: GrpcAnswer) -> None:
        """From now on answer every call to `upstream`."""
        self._answers[upstream] = answer

    def knows(self, cluster: str) -> bool:
        """`GrpcClient.knows`."""
        return self._clusters is None or cluster in self._clusters

    def open(self, request: GrpcRequest, receiver: GrpcReceiver) -> _Stream:
        """`GrpcClient.open`: record it, and answer it where there is a script."""
        callout = GrpcCallout(request, receiver, self._clock)
        self.calls.append(callout)
        answer = self._answers.get(request.target.cluster)
        if answer is not None:
            self._clock.call_later(0.0, lambda: self._answer(callout, answer))
        return _Stream(callout)

    def _answer(self, callout: GrpcCallout, answer: GrpcAnswer) -> None:
        if callout.pending:
            callout.give(answer if isinstance(answer, GrpcResponse) else answer(callout))
