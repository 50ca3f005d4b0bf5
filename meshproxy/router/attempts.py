"""Several attempts at one request: the router again and again, until somebody is content.

Owns what another attempt needs: the request as it came, body included up to a bound, and the wait.
Refuses to know when there is another one, and why (`Plan`), and what an attempt is (`router.py`).

An attempt is all that a route does, its own retries included (`tries.py`): what may change from one
to the next is also where it goes.

It is a terminal filter that stands between a stream and the router of each attempt, to which it is
the stream. With the answer that passes it steps aside, so that the rest goes the usual way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.metadata import MetadataMap

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshproxy.http.local_reply import LocalReply


class Plan(Protocol):
    """Decides about the attempts at one request: in the stream's facts as `attempts`."""

    @property
    def timeout(self) -> float:
        """Seconds that an attempt may take until its response begins, 0 for no limit."""

    @property
    def timeout_reply(self) -> LocalReply:
        """The answer to the client where the last attempt has taken longer."""

    @property
    def may_retry(self) -> bool:
        """Whether a failure could be followed by another attempt, so that the body is kept."""

    def admit(self) -> LocalReply | None:
        """None where the next attempt may go, else the answer to the client."""

    def answered(self, headers: HeaderMap) -> float | None:
        """A response begins: None lets it pass, else it is dropped, and the next attempt comes
        after so many seconds.
        """

    def unanswered(self, *, timed_out: bool) -> float | None:
        """There was no response: None gives up."""

    def answered_at_last(self, headers: HeaderMap) -> None:
        """The same where no other attempt is possible: the response passes."""

    def abandoned(self) -> None:
        """The client has gone in the middle of an attempt."""


class AttemptsFactory:
    """Makes the terminal filter of each stream."""

    __slots__ = ("factory",)

    def __init__(self, factory: Callable[[Any], Any]) -> None:
        """`factory` makes the router of one attempt, to which it gives its stream."""
        self.factory = factory

    def __call__(self, stream: Any) -> Attempts:
        """The attempts of one stream."""
        return Attempts(self.factory, stream)


class Attempts:
    """The attempts at one request. Without a plan it is the router's alone."""

    __slots__ = (
        "_attempt",
        "_body",
        "_ended",
        "_factory",
        "_headers",
        "_headers_only",
        "_paused",
        "_plan",
        "_size",
        "_timer",
        "_trailers",
        "_whole",
        "stream",
    )

    def __init__(self, factory: Callable[[Any], Any], stream: Any) -> None:
        self.stream = stream
        self._factory = factory
        self._attempt: _Attempt | None = None  # None while the next one is waited for
        self._plan: Plan | None = None
        self._whole: list[tuple[bytes, bytes]] = []  # the headers before the router has them
        self._headers: HeaderMap | None = None
        self._headers_only = False
        self._body: list[bytes] | None = None  # None where it is too long to be kept
        self._size = 0
        self._ended = False
        self._trailers: HeaderMap | None = None
        self._paused = False
        self._timer: Any = None

    # -- the request -----------------------------------------------------------------------------

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Begin the first attempt."""
        plan: Plan | None = self.stream.info.attempts
        # The plan knows the stream: held by its facts, too, they would keep each other.
        self.stream.info.attempts = None
        if plan is None:
            self.stream.terminal = router = self._factory(self.stream)
            router.decode_headers(headers, end_stream)
            return
        self._plan = plan
        self._headers, self._headers_only = headers, end_stream
        self._ended = end_stream
        if plan.may_retry:
            self._whole = list(headers.pairs)
            self._body = []
        self._begin()

    def _begin(self) -> None:
        plan, headers = self._plan, self._headers
        assert plan is not None
        assert headers is not None
        self._timer = None
        refused = plan.admit()
        if refused is not None:
            self._plan = None
            self.stream.send_local_reply(refused)
            return
        attempt = self._attempt = _Attempt(self, self._factory)
        if plan.timeout:
            later = self.stream.manager.dispatcher.call_later
            self._timer = later(plan.timeout, self._on_attempt_timeout)
        attempt.router.decode_headers(headers, self._headers_only)

    def _begin_again(self) -> None:
        headers, stream = self._headers, self.stream
        assert headers is not None
        headers.pairs = list(self._whole)
        stream.clear_route_cache()  # a cluster may have gone, or come
        self._begin()
        body, trailers = self._body or (), self._trailers
        for index, piece in enumerate(body):
            last = self._ended and trailers is None and index == len(body) - 1
            if self._attempt is not None:
                self._attempt.router.decode_data(piece, last)
        if trailers is not None and self._attempt is not None:
            self._attempt.router.decode_trailers(trailers)
        if self._attempt is not None:
            self._pause(False)

    def decode_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of the request's body: kept, and sent."""
        self._ended = end_stream
        if self._body is not None:
            self._size += len(data)
            if self._size > self.stream.buffer_limit and self._attempt is not None:
                self._body = None  # there will be no other attempt
            else:
                self._body.append(data)
        if self._attempt is not None:
            self._attempt.router.decode_data(data, end_stream)

    def decode_trailers(self, trailers: HeaderMap) -> None:
        """The request's trailers."""
        self._ended, self._trailers = True, trailers
        if self._attempt is not None:
            self._attempt.router.decode_trailers(trailers)

    def decode_metadata(self, metadata: MetadataMap) -> None:
        """METADATA beside the request, for the attempt that is under way."""
        if self._attempt is not None:
            self._attempt.router.decode_metadata(metadata)

    # -- outcomes --------------------------------------------------------------------------------

    def on_headers(self, attempt: _Attempt, headers: HeaderMap, end_stream: bool) -> None:
        """An attempt is answered."""
        plan, stream = self._plan, self.stream
        assert plan is not None
        if self._body is None:
            plan.answered_at_last(headers)
        elif (wait := plan.answered(headers)) is not None:
            self._wait(wait)
            return
        self._end_timer()
        self._plan = self._attempt = None
        attempt.router.stream = stream
        stream.terminal = attempt.router
        stream.encode_headers(headers, end_stream)

    def on_failure(self, reply: LocalReply, *, timed_out: bool = False) -> None:
        """An attempt has ended without an answer; `reply` is what the client gets at last."""
        plan = self._plan
        if plan is None:
            return
        wait = plan.unanswered(timed_out=timed_out)
        if wait is not None and self._body is not None:
            self._wait(wait)
            return
        self._plan = None
        self.stream.send_local_reply(reply)

    def _on_attempt_timeout(self) -> None:
        self._timer = None
        if self._plan is not None:
            self.on_failure(self._plan.timeout_reply, timed_out=True)

    def _wait(self, seconds: float) -> None:
        self._end_timer()
        self._end_attempt()
        if not self._ended:
            self._pause(True)
        self._timer = self.stream.manager.dispatcher.call_later(seconds, self._begin_again)

    def _pause(self, pause: bool) -> None:
        """What the client sends meanwhile waits with it."""
        if pause != self._paused:
            self._paused = pause
            self.stream.encoder.read_disable(pause)

    # -- the stream's other words ------------------------------------------------------------

    def on_downstream_watermark(self, high: bool) -> None:
        """Downstream is full, or no more."""
        if self._attempt is not None:
            self._attempt.router.on_downstream_watermark(high)

    def on_timeout(self) -> None:
        """The time that the route allows is over."""
        if self._attempt is not None:
            self._attempt.router.on_timeout()

    def on_destroy(self) -> None:
        """The stream has ended, or has been answered by somebody else."""
        plan, self._plan = self._plan, None
        if plan is not None and self._attempt is not None:
            plan.abandoned()
        self._end_timer()
        self._end_attempt()
        self._pause(False)

    def _end_attempt(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.end()

    def _end_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


class _Attempt:
    """One attempt: to its router it is the stream (`router.RouterStream`)."""

    __slots__ = (
        "_owner", "_stream", "cluster_entry", "encoder", "headers_sent", "info", "manager",
        "random", "router",
    )  # fmt: skip

    def __init__(self, owner: Attempts, factory: Callable[[Any], Any]) -> None:
        self._owner: Attempts | None = owner
        self._stream = stream = owner.stream
        self.info: Any = stream.info
        self.headers_sent = False
        self.random = stream.random
        self.manager: Any = stream.manager
        self.encoder: Any = stream.encoder
        self.cluster_entry: Any = None
        self.router: Any = factory(self)

    def end(self) -> None:
        """Nobody listens any more."""
        self._owner = None
        self.router.on_destroy()

    @property
    def deadline(self) -> float | None:
        """When the stream's time is over."""
        deadline: float | None = self._stream.deadline
        return deadline

    @deadline.setter
    def deadline(self, deadline: float | None) -> None:
        self._stream.deadline = deadline

    @property
    def route(self) -> Any:
        """The route of the request, with which the cluster is known too."""
        route = self._stream.route
        self.cluster_entry = self._stream.cluster_entry
        return route

    @property
    def buffer_limit(self) -> int:
        """How many bytes of a body may be kept."""
        limit: int = self._stream.buffer_limit
        return limit

    def set_max_duration(self, seconds: float | None) -> None:
        """How long the whole stream may live."""
        self._stream.set_max_duration(seconds)

    def encode_1xx(self, headers: HeaderMap) -> None:
        """An informational response."""
        if self._owner is not None:
            self._stream.encode_1xx(headers)

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response's headers; with them this is over, in one way or the other."""
        if self._owner is not None:
            self._owner.on_headers(self, headers, end_stream)

    def encode_data(self, data: bytes, end_stream: bool) -> None:
        """The rest of a response that was dropped."""

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """The same."""

    def encode_metadata(self, metadata: MetadataMap) -> None:
        """METADATA beside the response."""
        if self._owner is not None:
            self._stream.encode_metadata(metadata)

    def send_local_reply(self, reply: LocalReply) -> None:
        """The router could not reach a host."""
        if self._owner is not None:
            self._owner.on_failure(reply)

    def reset(self, details: str) -> None:
        """Never: it follows a response's headers, with which this is over."""
        raise AssertionError(f"an attempt was reset: {details}")
