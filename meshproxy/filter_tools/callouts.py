"""The far end of a filter's calls: what was called, and the answers somebody wrote for it.

Owns recorded callouts, scripted answers and the timeout of those that nobody answers. Refuses to
know guests (`proxy_wasm.services.HttpCaller` is the seam) and the network.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from meshproxy.filter_tools.clock import FakeClock, FakeTimer
from meshproxy.filter_tools.messages import Headers, HeadersInput, Response, raw, raw_pairs
from meshproxy.proxy_wasm.services import HttpCallRequest, HttpCallResponse

TIMED_OUT: Final = Response(504, {"content-type": "text/plain"}, b"upstream request timeout")
REFUSED: Final = Response(
    503,
    {"content-type": "text/plain"},
    b"upstream connect error or disconnect/reset before headers. reset reason: "
    b"remote connection failure",
)
"""What Envoy's client gives a filter whose call failed (synthetic, with a length of its own)."""


class Callout:
    """One `proxy_http_call`. `timeout` in seconds, 0 for none.

    `answer` is None while the call is under way; `cancelled` says that the plugin went away first.
    """

    def __init__(
        self, request: HttpCallRequest, clock: FakeClock, done: Callable[[HttpCallResponse], None]
    ) -> None:
        self.upstream = request.upstream
        self.headers = Headers.of(request.headers)
        self.body = request.body
        self.trailers = Headers.of(request.trailers)
        self.timeout = request.timeout
        self.answer: Response | None = None
        self.cancelled = False
        self._clock = clock
        self._done = done
        self._timer: FakeTimer | None = None
        if request.timeout:
            self._timer = clock.call_later(request.timeout, lambda: self.give(TIMED_OUT))

    @property
    def pending(self) -> bool:
        """True while the filter waits for the answer."""
        return self.answer is None and not self.cancelled

    def respond(
        self,
        status: int = 200,
        headers: HeadersInput = (),
        body: bytes | str = b"",
        trailers: HeadersInput = (),
    ) -> None:
        """Answer now: the filter's `proxy_on_http_call_response` runs before this returns.

        Raises RuntimeError where the call is not under way any more.
        """
        self.give(Response(status, headers, body, trailers))
        self._clock.advance(0)

    def fail(self) -> None:
        """Nobody listens there: the filter gets Envoy's synthetic 503."""
        self.give(REFUSED)
        self._clock.advance(0)

    def give(self, answer: Response) -> None:
        """Hand an answer to the filter."""
        if not self.pending:
            state = "was cancelled" if self.cancelled else "has its answer already"
            raise RuntimeError(f"the callout to {self.upstream} {state}")
        self.answer = answer
        if self._timer is not None:
            self._timer.cancel()
        body = raw(answer.body)
        headers = [(b":status", b"%d" % answer.status), *raw_pairs(answer.headers)]
        if body and not any(name == b"content-length" for name, _ in headers):
            headers.insert(1, (b"content-length", b"%d" % len(body)))
        self._done(HttpCallResponse(headers, body, raw_pairs(answer.trailers)))

    def cancel(self) -> None:
        """The plugin does not want it any more."""
        self.cancelled = True
        if self._timer is not None:
            self._timer.cancel()

    def __repr__(self) -> str:
        method, path = self.headers.get(":method"), self.headers.get(":path")
        return f"<Callout {self.upstream}: {method} {path}>"


Answer = Response | Callable[[Callout], Response]
"""What to answer a callout with: always the same, or what a function makes of the call."""


class ScriptedUpstreams:
    """Every callout of a harness, in order (`calls`).

    `clusters`: the names that exist; None where every name does. A call to another one gets
    BadArgument from the hostcall, as in Envoy.
    """

    def __init__(self, clock: FakeClock, clusters: Collection[str] | None = None) -> None:
        self.calls: list[Callout] = []
        self._clock = clock
        self._clusters = None if clusters is None else frozenset(clusters)
        self._answers: dict[str, Answer] = {}

    def script(self, upstream: str, answer: Answer) -> None:
        """From now on answer every callout to `upstream`."""
        self._answers[upstream] = answer

    def call(
        self, request: HttpCallRequest, done: Callable[[HttpCallResponse], None]
    ) -> Callout | None:
        """`HttpCaller.call`: record it, and answer it where there is a script."""
        if self._clusters is not None and request.upstream not in self._clusters:
            return None
        callout = Callout(request, self._clock, done)
        self.calls.append(callout)
        answer = self._answers.get(request.upstream)
        if answer is not None:
            self._clock.call_later(0.0, lambda: self._answer(callout, answer))
        return callout

    def _answer(self, callout: Callout, answer: Answer) -> None:
        if callout.pending:
            callout.give(answer if isinstance(answer, Response) else answer(callout))
