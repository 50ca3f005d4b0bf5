"""Streams that wait for their guest: which do, for how long, and what they get then."""

import pytest

from meshproxy.http.filter import CONTINUE
from tests.support.fake_stream import FakeCallbacks
from tests.support.wat_filter import Request, World, filter_text

HEADERS = "(param i32 i32 i32) (result i32)"
TICKING = """(func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $proxy_set_tick_period_milliseconds (i32.const 3000))) (i32.const 1))
  (func (export "proxy_on_tick") (param i32)
    (drop (call $proxy_set_effective_context (i32.const 2)))
    (drop (call $proxy_continue_stream (i32.const {}))))"""


def returning(answers: dict[str, int], more: str = "") -> str:
    """A filter whose callbacks give these answers."""
    callbacks = [
        f'(func (export "proxy_on_{name}") '
        f"(param i32 i32{'' if 'trailers' in name else ' i32'}) (result i32) (i32.const {answer}))"
        for name, answer in answers.items()
    ]
    return filter_text("\n".join([*callbacks, more]))


class Paused:
    """One stream through a plugin whose streams may wait for 5 seconds."""

    def __init__(self, answers: dict[str, int], more: str = "", **settings) -> None:
        self.world = World()
        text = returning(answers, more)
        self.plugin = self.world.plugin(text, name="p", paused_timeout=5.0, **settings)
        self.request = Request(self.plugin)

    @property
    def waiting(self) -> int:
        return len(self.plugin.vm.context.root.paused)

    @property
    def given_up(self) -> int:
        return self.world.store.metrics["wasm.p.streams_paused_timeout"].value

    def wait(self, seconds: float) -> None:
        self.world.dispatcher.advance(seconds)


def drive(request: Request, phases: str) -> None:
    """`h b e t` are request headers, a body piece, the last one, trailers; capitals the answer."""
    steps = {
        "h": lambda: request.headers(end_stream=phases[:2] == "h"),
        "b": lambda: request.body(b"x"),
        "e": lambda: request.body(b"", end_stream=True),
        "t": lambda: request.trailers((b"a", b"b")),
        "H": lambda: request.answer(end_stream=phases[-1] == "H"),
        "B": lambda: request.answer_body(b"x"),
        "E": lambda: request.answer_body(b"", end_stream=True),
        "T": lambda: request.filter.encode_trailers(request.response),
    }
    for phase in phases:
        steps[phase]()


WAITS = [
    ({"request_headers": 1}, "hb", "request_headers"),
    ({"request_headers": 3}, "hb", "request_headers"),
    ({"request_headers": 4}, "h", "request_headers"),
    ({"request_body": 1}, "hbe", "request_body"),
    ({"request_body": 2}, "hb", "request_body"),
    ({"request_body": 3}, "he", "request_body"),
    ({"request_trailers": 1}, "hbt", "request_trailers"),
    ({"response_headers": 1}, "hH", "response_headers"),
    ({"response_body": 1}, "hHBE", "response_body"),
    ({"response_trailers": 1}, "hHBT", "response_trailers"),
]


@pytest.mark.parametrize(("answers", "phases", "callback"), WAITS)
def test_a_stream_that_only_its_guest_can_continue_is_answered_after_its_time(
    answers, phases, callback, caplog
):
    paused = Paused(answers)
    drive(paused.request, phases)
    assert paused.waiting == 1
    paused.wait(4.9)
    assert paused.request.callbacks.reply is None
    paused.wait(0.2)
    assert paused.request.callbacks.reply.status == 504
    assert paused.request.callbacks.reply.details == "wasm_paused_too_long"
    assert (paused.waiting, paused.given_up) == (0, 1)
    text = f"the stream POST shop.example/cart?item=7 (context 2) was paused by proxy_on_{callback}"
    assert f"wasm log p: {text} 5 s ago" in caplog.text


@pytest.mark.parametrize(
    ("answers", "phases"),
    [
        ({"request_body": 1}, "hbb"),  # the client has not sent everything
        ({"request_body": 3}, "hb"),
        ({"request_headers": 0}, "hbe"),
        ({"response_body": 1}, "hHBB"),
    ],
)
def test_a_stream_that_waits_for_its_sender_is_left_to_the_senders_timeouts(answers, phases):
    paused = Paused(answers)
    drive(paused.request, phases)
    assert paused.waiting == 0
    paused.wait(100)
    assert paused.request.callbacks.reply is None
    assert paused.world.dispatcher.timers == []


def test_with_stop_iteration_allowed_paused_headers_wait_for_the_body():
    paused = Paused({"request_headers": 1}, allow_on_headers_stop_iteration=True)
    drive(paused.request, "hb")
    assert paused.waiting == 0
    alone = Paused({"request_headers": 1}, allow_on_headers_stop_iteration=True)
    drive(alone.request, "h")
    assert alone.waiting == 1


@pytest.mark.parametrize(
    ("answers", "phases", "stream"),
    [({"request_headers": 1}, "h", 0), ({"response_headers": 1}, "hH", 1)],
)
def test_a_stream_that_is_continued_in_time_goes_on(answers, phases, stream):
    paused = Paused(answers, TICKING.format(stream))
    drive(paused.request, phases)
    paused.wait(3)
    assert paused.waiting == 0
    paused.wait(10)
    assert paused.request.callbacks.reply is None


def test_the_time_begins_anew_with_every_pause():
    paused = Paused({"request_headers": 1, "response_headers": 1}, TICKING.format(0))
    drive(paused.request, "h")
    paused.wait(3)
    drive(paused.request, "H")
    paused.wait(4.9)
    assert paused.request.callbacks.reply is None
    paused.wait(0.2)
    assert paused.request.callbacks.reply.status == 504


def test_a_stream_that_waits_both_ways_is_answered_once():
    paused = Paused({"request_body": 2, "response_headers": 1})
    drive(paused.request, "hbH")
    assert paused.waiting == 2
    paused.wait(10)
    assert paused.request.events == [504]
    assert paused.given_up == 1


def test_a_stream_that_ends_is_forgotten():
    paused = Paused({"request_headers": 1})
    drive(paused.request, "h")
    paused.request.end()
    assert paused.waiting == 0
    paused.wait(10)
    assert paused.request.callbacks.reply is None


def test_an_answered_stream_does_not_wait():
    paused = Paused(
        {},
        f"""(func (export "proxy_on_request_headers") {HEADERS}
          (drop (call $proxy_send_local_response (i32.const 403) "no"/ "no"/
            (i32.const 0) (i32.const 0) (i32.const -1)))
          (i32.const 1))""",
    )
    drive(paused.request, "h")
    assert paused.request.callbacks.reply.status == 403
    assert paused.waiting == 0


class Answering(FakeCallbacks):
    """Shows the first local reply to its filter at once and ends, as a stream does that nobody
    holds up."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.request = request

    def send_local_reply(self, reply):
        is_first = self.reply is None
        super().send_local_reply(reply)
        if is_first and self.request.answer(end_stream=True) == CONTINUE:
            self.request.end()


@pytest.mark.parametrize("phases", ["h", "hb", "he", "ht"])
@pytest.mark.parametrize(("response", "waiting"), [(0, 0), (1, 1)])
def test_a_request_that_was_answered_within_its_callback_does_not_wait(phases, response, waiting):
    # What the SDKs' filters do: they answer, and return "pause".
    callback = {"h": "headers", "b": "body", "e": "body", "t": "trailers"}[phases[-1]]
    types = "i32 i32" if callback == "trailers" else "i32 i32 i32"
    paused = Paused(
        {"response_headers": response},
        f"""(func (export "proxy_on_request_{callback}") (param {types}) (result i32)
          (drop (call $proxy_send_local_response (i32.const 403) "no"/ "no"/
            (i32.const 0) (i32.const 0) (i32.const -1)))
          (i32.const 1))""",
    )
    callbacks = paused.request.callbacks = Answering(paused.request)
    paused.request.filter.set_callbacks(callbacks)
    drive(paused.request, phases)
    assert callbacks.events[-1] == 403
    assert paused.waiting == waiting  # the answer may wait, the request cannot any more
    paused.wait(10)
    assert paused.given_up == waiting


def test_streams_of_a_failed_vm_do_not_wait():
    paused = Paused(
        {"request_headers": 1, "response_headers": 0},
        """
      (func (export "proxy_on_log") (param i32) unreachable)""",
    )
    drive(paused.request, "h")
    other = Request(paused.plugin)
    other.headers()
    other.end()
    assert paused.request.callbacks.reply.status == 503
    paused.request.end()
    paused.wait(10)
    assert paused.given_up == 0
    assert paused.world.dispatcher.timers == []


def test_many_streams_need_one_timer():
    paused = Paused({"request_headers": 1})
    requests = []
    for _ in range(50):
        requests.append(Request(paused.plugin))
        requests[-1].headers()
        paused.wait(0.05)
    assert len(paused.world.dispatcher.timers) == 1
    paused.wait(2.6)  # the oldest one has had its time
    assert 0 < paused.given_up < 5
    paused.wait(5)
    assert paused.given_up == 50
    assert all(each.callbacks.reply.status == 504 for each in requests)
    assert paused.world.dispatcher.timers == []
