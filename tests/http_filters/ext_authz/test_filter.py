"""When the server is asked, and what happens when it cannot be: one filter without a proxy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import (
    CONTINUE,
    STOP_ALL_ITERATION_AND_WATERMARK,
    STOP_ITERATION,
    STOP_ITERATION_AND_BUFFER,
    STOP_ITERATION_AND_WATERMARK,
)
from meshproxy.http.header_map import HeaderMap
from meshproxy.http_filters.ext_authz.decision import DENIED, ERROR, OK, Decision
from meshproxy.http_filters.ext_authz.filter import ExtAuthz, ExtAuthzShared
from meshproxy.http_filters.ext_authz.messages import Attributes
from meshproxy.http_filters.ext_authz.settings import (
    BodySettings,
    ExtAuthzConfig,
    ExtAuthzPerRoute,
)
from meshproxy.stats.ext_authz_metrics import ExtAuthzStats
from meshproxy.stats.store import Store
from tests.support.fake_stream import FakeCallbacks, FakeDispatcher

PARTLY = BodySettings(max_request_bytes=4, allow_partial_message=True)


class FakeService:
    """A server that has the answer when the test says so; `there`: it can be asked at all."""

    def __init__(self) -> None:
        self.there = True
        self.asked: list[Attributes] = []
        self.cancelled = 0
        self.done: Callable[[Decision], None] | None = None

    def check(
        self, attributes: Attributes, info: Any, done: Callable[[Decision], None]
    ) -> Callable[[], None] | None:
        if not self.there:
            return None
        self.asked.append(attributes)
        self.done = done
        return self.cancel

    def cancel(self) -> None:
        self.cancelled += 1

    def say(self, status: int, **fields: Any) -> None:
        assert self.done is not None
        self.done(Decision(status, **fields))


class World:
    def __init__(self, at_route: ExtAuthzPerRoute | None = None, **config: Any) -> None:
        self.service = FakeService()
        self.dispatcher = FakeDispatcher()
        self.stats = Store().scope("x.").block(ExtAuthzStats)
        shared = ExtAuthzShared(ExtAuthzConfig(**config), self.service, self.stats, self.dispatcher)
        self.filter = ExtAuthz(shared, at_route or ExtAuthzPerRoute())
        self.callbacks = FakeCallbacks()
        self.filter.set_callbacks(self.callbacks)
        self.headers = HeaderMap([(b":method", b"POST"), (b":path", b"/"), (b":authority", b"h")])

    def begin(self, end_stream: bool = True) -> int:
        return self.filter.decode_headers(self.headers, end_stream)

    def data(self, data: bytes, end_stream: bool = False) -> int:
        """As a stream does it: what is not let through is held back."""
        status = self.filter.decode_data(Buffer(data), end_stream)
        if status != CONTINUE:
            self.callbacks.decoding_buffer = held = self.callbacks.decoding_buffer or Buffer()
            held.append(data)
        return status


def test_a_request_waits_until_it_is_allowed():
    world = World()
    assert world.begin() == STOP_ALL_ITERATION_AND_WATERMARK
    assert world.callbacks.events == []
    world.service.say(OK, headers_to_set=[(b"a", b"1")])
    assert world.callbacks.events == ["continue_decoding"]
    assert world.headers.get(b"a") == b"1"
    assert world.stats.ok.value == 1


def test_nobody_hears_of_a_decision_about_a_request_that_has_gone():
    world = World()
    world.begin()
    world.filter.on_destroy()
    assert world.service.cancelled == 1


def test_a_question_that_has_been_answered_is_not_given_up():
    world = World()
    world.begin()
    world.service.say(DENIED, status_code=401)
    world.filter.on_destroy()
    assert world.service.cancelled == 0
    assert world.callbacks.events == [401]


def test_a_server_that_is_not_there_is_an_error_at_once():
    world = World()
    world.service.there = False
    world.begin()
    assert world.callbacks.events == [403]
    assert world.stats.error.value == 1


def test_a_request_goes_on_at_once_where_failures_allow_it():
    world = World(failure_mode_allow=True, failure_mode_allow_header_add=True)
    world.service.there = False
    assert world.begin() == CONTINUE
    assert world.callbacks.events == []  # to continue what has not stopped would be a mistake
    assert world.headers.get(b"x-envoy-auth-failure-mode-allowed") == b"true"
    assert (world.stats.error.value, world.stats.failure_mode_allowed.value) == (1, 1)


def test_a_body_is_read_up_to_its_limit_and_then_shown_once():
    world = World(with_request_body=PARTLY)
    assert world.begin(end_stream=False) == STOP_ITERATION
    assert world.data(b"abc") == STOP_ITERATION_AND_BUFFER
    assert world.service.asked == []
    assert world.data(b"def") == STOP_ITERATION_AND_WATERMARK
    assert world.data(b"ghi", end_stream=True) == STOP_ITERATION_AND_WATERMARK
    [asked] = world.service.asked
    assert asked.body == b"abcd"
    assert asked.headers[-1] == (b"x-envoy-auth-partial-body", b"true")
    world.service.say(OK)
    assert world.callbacks.events == ["continue_decoding"]
    # What was held back is shown again as it goes on.
    assert world.filter.decode_data(Buffer(b"abcdefghi"), True) == CONTINUE


def test_trailers_end_the_wait_for_a_body():
    world = World(with_request_body=PARTLY)
    world.begin(end_stream=False)
    world.data(b"ab")
    assert world.filter.decode_trailers(HeaderMap()) == STOP_ITERATION
    [asked] = world.service.asked
    assert (asked.body, asked.headers[-1][1]) == (b"ab", b"false")


def test_a_body_that_must_be_whole_has_its_own_limit():
    world = World(with_request_body=BodySettings(max_request_bytes=9))
    world.begin(end_stream=False)
    assert world.callbacks.events == ["limit 9"]


def test_the_same_share_of_the_requests_is_asked_about():
    world = World(filter_enabled=(4, 100))  # the dispatcher's chance is 4
    assert world.begin() == CONTINUE
    assert world.stats.disabled.value == 1
    assert World(filter_enabled=(5, 100)).begin() == STOP_ALL_ITERATION_AND_WATERMARK


def test_a_bad_decision_is_a_500():
    world = World()
    world.begin()
    world.service.say(OK, headers_to_set=[(b"a", b"\r\n")])
    assert world.callbacks.events == [500]
    assert world.headers.get(b"a") is None
    assert world.stats.invalid.value == 1


def test_an_error_may_have_its_own_answer():
    world = World(status_on_error=502)
    world.begin()
    world.service.say(ERROR, body=b"x")
    assert world.callbacks.reply is not None
    assert (world.callbacks.reply.status, world.callbacks.reply.body) == (502, b"x")
