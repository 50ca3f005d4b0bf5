"""Several attempts at one request, against a router that does as the test says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.router.attempts import AttemptsFactory
from tests.support.fake_stream import FakeDispatcher

REQUEST = [(b":method", b"POST"), (b":path", b"/x"), (b"x-cluster", b"c")]
DOWN = LocalReply(503, "down")
LATE = LocalReply(504, "late")
REFUSED = LocalReply(500, "refused")


class FakeRouter:
    """Writes down what it is sent; like the real one it changes the headers."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.request: list[Any] = []
        self.destroyed = False
        self.watermarks: list[bool] = []
        self.timeouts = 0

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        self.request.append((list(headers.pairs), end_stream))
        headers.remove(b"x-cluster")

    def decode_data(self, data: bytes, end_stream: bool) -> None:
        self.request.append((data, end_stream))

    def decode_trailers(self, trailers: HeaderMap) -> None:
        self.request.append(list(trailers.pairs))

    def on_downstream_watermark(self, high: bool) -> None:
        self.watermarks.append(high)

    def on_timeout(self) -> None:
        self.timeouts += 1

    def on_destroy(self) -> None:
        self.destroyed = True

    def answer(self, status: bytes, end_stream: bool = True) -> None:
        self.stream.encode_headers(HeaderMap([(b":status", status)]), end_stream)


class ScriptedPlan:
    """Retries what is not 200, as often as it has waits."""

    def __init__(self, *waits: float, timeout: float = 0.0) -> None:
        self.waits = list(waits)
        self.timeout = timeout
        self.timeout_reply = LATE
        self.may_retry = bool(waits)
        self.refusal: LocalReply | None = None
        self.heard: list[Any] = []

    def admit(self) -> LocalReply | None:
        self.heard.append("admit")
        return self.refusal

    def answered(self, headers: HeaderMap) -> float | None:
        status = headers.get(b":status")
        self.heard.append(status)
        return None if status == b"200" or not self.waits else self.waits.pop(0)

    def answered_at_last(self, headers: HeaderMap) -> None:
        self.heard.append(("last", headers.get(b":status")))

    def unanswered(self, *, timed_out: bool) -> float | None:
        self.heard.append("late" if timed_out else "down")
        return self.waits.pop(0) if self.waits else None

    def abandoned(self) -> None:
        self.heard.append("abandoned")


class FakeStream:
    """What `Attempts` asks of a stream."""

    def __init__(self, plan: ScriptedPlan | None) -> None:
        self.info = SimpleNamespace(attempts=plan)
        self.manager = SimpleNamespace(dispatcher=FakeDispatcher())
        self.buffer_limit = 10
        self.encoder = self
        self.random = 7
        self.route = "route"
        self.cluster_entry = "entry"
        self.deadline: float | None = None
        self.paused = 0
        self.cleared = 0
        self.answers: list[Any] = []
        self.routers: list[FakeRouter] = []
        self.terminal: Any = AttemptsFactory(self._router)(self)  # type: ignore[arg-type]

    def _router(self, stream: Any) -> Any:
        self.routers.append(FakeRouter(stream))
        return self.routers[-1]

    def read_disable(self, disable: bool) -> None:
        self.paused += 1 if disable else -1

    def clear_route_cache(self) -> None:
        self.cleared += 1

    def send_local_reply(self, reply: LocalReply) -> None:
        self.answers.append(reply.details)
        self.terminal.on_destroy()

    def encode_1xx(self, headers: HeaderMap) -> None:
        self.answers.append(headers.get(b":status"))

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        self.answers.append((headers.get(b":status"), end_stream))

    def encode_data(self, data: bytes, end_stream: bool) -> None:
        self.answers.append((data, end_stream))

    def request(self, *body: bytes, end_stream: bool = True) -> None:
        self.terminal.decode_headers(HeaderMap(list(REQUEST)), not body and end_stream)
        for index, piece in enumerate(body):
            self.terminal.decode_data(piece, end_stream and index == len(body) - 1)

    def wait(self, seconds: float) -> None:
        self.manager.dispatcher.advance(seconds)


def test_without_a_plan_it_is_the_routers_alone():
    stream = FakeStream(None)
    stream.request(b"a")
    (router,) = stream.routers
    assert stream.terminal is router
    assert router.stream is stream
    assert router.request == [(REQUEST, False), (b"a", True)]


def test_an_answer_that_passes_goes_on_without_it():
    plan = ScriptedPlan(1.0)
    stream = FakeStream(plan)
    stream.request(b"a")
    (router,) = stream.routers
    router.stream.encode_1xx(HeaderMap([(b":status", b"103")]))
    router.answer(b"200", end_stream=False)
    assert stream.terminal is router
    assert router.stream is stream
    router.stream.encode_data(b"body", True)
    assert stream.answers == [b"103", (b"200", False), (b"body", True)]
    assert plan.heard == ["admit", b"200"]


@pytest.mark.parametrize("failure", ["answer", "local reply"])
def test_a_failure_is_followed_by_the_same_request_after_the_wait(failure):
    plan = ScriptedPlan(1.0, 2.0)
    stream = FakeStream(plan)
    stream.terminal.decode_headers(HeaderMap(list(REQUEST)), False)
    stream.terminal.decode_data(b"a", False)
    stream.terminal.decode_data(b"b", False)
    stream.terminal.decode_trailers(HeaderMap([(b"t", b"1")]))
    first = stream.routers[0]
    if failure == "answer":
        first.answer(b"503", end_stream=False)
    else:
        first.stream.send_local_reply(DOWN)
    assert first.destroyed
    first.stream.encode_data(b"rest of what was dropped", True)
    stream.wait(0.9)
    assert len(stream.routers) == 1
    stream.wait(0.1)
    second = stream.routers[1]
    assert second.request == first.request
    assert second.request[0] == (REQUEST, False)
    assert stream.cleared == 1
    second.answer(b"200")
    assert stream.answers == [(b"200", True)]


def test_the_last_failure_passes_as_it_is():
    stream = FakeStream(ScriptedPlan(1.0))
    stream.request()
    stream.routers[0].answer(b"500")
    stream.wait(1.0)
    stream.routers[1].answer(b"503")
    assert stream.answers == [(b"503", True)]


def test_without_an_answer_at_last_the_routers_own_is_given():
    stream = FakeStream(ScriptedPlan(1.0))
    stream.request()
    stream.routers[0].stream.send_local_reply(REFUSED)
    stream.wait(1.0)
    stream.routers[1].stream.send_local_reply(DOWN)
    assert stream.answers == ["down"]


def test_a_body_that_is_too_long_is_not_kept_and_there_is_one_attempt():
    plan = ScriptedPlan(1.0)
    stream = FakeStream(plan)
    stream.request(b"123456", b"789012")
    assert stream.routers[0].request[1:] == [(b"123456", False), (b"789012", True)]
    stream.routers[0].answer(b"503")
    assert stream.answers == [(b"503", True)]
    assert plan.heard == ["admit", ("last", b"503")]


def test_a_body_that_is_too_long_is_not_kept_where_there_is_no_answer_either():
    stream = FakeStream(ScriptedPlan(1.0))
    stream.request(b"12345678901")
    stream.routers[0].stream.send_local_reply(DOWN)
    assert stream.answers == ["down"]


def test_what_the_client_sends_while_the_next_attempt_is_waited_for_is_not_lost():
    stream = FakeStream(ScriptedPlan(1.0))
    stream.request(b"a", end_stream=False)
    stream.routers[0].answer(b"503")
    assert stream.paused == 1
    stream.terminal.decode_data(b"was under way, and is long", False)
    stream.wait(1.0)
    assert stream.paused == 0
    stream.terminal.decode_data(b"end", True)
    assert stream.routers[1].request[1:] == [
        (b"a", False),
        (b"was under way, and is long", False),
        (b"end", True),
    ]


def test_an_attempt_that_takes_too_long_is_given_up():
    plan = ScriptedPlan(1.0, timeout=3.0)
    stream = FakeStream(plan)
    stream.request()
    stream.wait(3.0)
    assert stream.routers[0].destroyed
    stream.wait(1.0)
    stream.wait(3.0)
    assert stream.answers == ["late"]
    assert plan.heard == ["admit", "late", "admit", "late"]


def test_the_time_ends_with_the_beginning_of_the_response():
    stream = FakeStream(ScriptedPlan(timeout=3.0))
    stream.request()
    stream.routers[0].answer(b"200", end_stream=False)
    stream.wait(10.0)
    assert stream.answers == [(b"200", False)]
    assert not stream.routers[0].destroyed


def test_an_attempt_that_is_not_admitted_is_not_made():
    plan = ScriptedPlan(1.0)
    plan.refusal = REFUSED
    stream = FakeStream(plan)
    stream.request(b"a")
    assert stream.answers == ["refused"]
    assert not stream.routers


def test_a_later_attempt_that_is_not_admitted_ends_it():
    plan = ScriptedPlan(1.0)
    stream = FakeStream(plan)
    stream.request(b"a", end_stream=False)
    stream.routers[0].answer(b"503")
    plan.refusal = REFUSED
    stream.wait(1.0)
    assert stream.answers == ["refused"]
    assert stream.paused == 0
    assert len(stream.routers) == 1


@pytest.mark.parametrize("waiting", [False, True])
def test_with_the_client_everything_ends(waiting):
    plan = ScriptedPlan(1.0, timeout=5.0)
    stream = FakeStream(plan)
    stream.request(b"a", end_stream=False)
    if waiting:
        stream.routers[0].answer(b"503")
    stream.terminal.on_destroy()
    stream.wait(10.0)
    assert len(stream.routers) == 1
    assert stream.routers[0].destroyed
    assert (plan.heard[-1] == "abandoned") is not waiting
    assert stream.paused == 0


def test_the_attempt_hears_of_downstream_and_of_the_clock():
    stream = FakeStream(ScriptedPlan(1.0))
    stream.request()
    attempt = stream.routers[0].stream
    assert (attempt.route, attempt.cluster_entry, attempt.random) == ("route", "entry", 7)
    attempt.deadline = 5.0
    assert stream.deadline == 5.0
    stream.terminal.on_downstream_watermark(True)
    stream.terminal.on_timeout()
    assert (stream.routers[0].watermarks, stream.routers[0].timeouts) == ([True], 1)
    stream.routers[0].answer(b"503")
    stream.terminal.on_downstream_watermark(False)
    stream.terminal.on_timeout()
    assert (stream.routers[0].watermarks, stream.routers[0].timeouts) == ([True], 1)
