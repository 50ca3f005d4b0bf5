import pytest

from meshproxy.proxy_wasm.pairs import encode
from meshproxy.proxy_wasm.services import HttpCallResponse
from tests.support.wat_filter import Request, World, filter_text


class Caller:
    """Remembers calls and answers when told to."""

    def __init__(self) -> None:
        self.requests = []
        self.done = []
        self.cancelled = 0

    def call(self, request, done):
        if request.upstream != "auth":
            return None
        self.requests.append(request)
        self.done.append(done)
        return self

    def cancel(self) -> None:
        self.cancelled += 1


def escaped(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


GOOD = [(b":method", b"GET"), (b":path", b"/check"), (b"Host", b"auth")]


def calling(headers=GOOD, upstream="auth", timeout=500, body="") -> str:
    """A filter that calls, waits, and goes on with what the answer says."""
    return filter_text(f"""
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (i32.store (i32.const 0) (call $proxy_http_call "{upstream}"/ "{escaped(encode(headers))}"/
        "{body}"/ ""/ (i32.const {timeout}) (i32.const 4)))
      (i32.const 1))
    (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
      (i32.store (i32.const 8) (local.get 1)) (i32.store (i32.const 12) (local.get 2))
      (i32.store (i32.const 16) (local.get 3)) (i32.store (i32.const 20) (local.get 4))
      (drop (call $proxy_get_header_map_value (i32.const 6) ":status"/
        (i32.const 24) (i32.const 28)))
      (drop (call $proxy_get_buffer_bytes (i32.const 4) (i32.const 0) (i32.const 99)
        (i32.const 32) (i32.const 36)))
      (i32.store (i32.const 40) (call $proxy_set_effective_context (i32.const 2)))
      (i32.store (i32.const 44) (call $proxy_get_header_map_value (i32.const 6) ":status"/
        (i32.const 24) (i32.const 28)))
      (drop (call $proxy_continue_stream (i32.const 0))))""")


def start(text: str) -> tuple[Request, Caller]:
    world = World()
    caller = world.services.http_caller = Caller()
    request = Request(world.plugin(text))
    request.headers()
    return request, caller


def test_a_call_comes_back_to_the_root_and_the_stream_goes_on():
    request, caller = start(calling(body="question"))
    assert request.words(0, 2) == [0, 4]
    (sent,) = caller.requests
    assert (sent.upstream, sent.body, sent.timeout) == ("auth", b"question", 0.5)
    assert (b"content-length", b"8") in sent.headers
    caller.done[0](HttpCallResponse([(b":status", b"200"), (b"a", b"b")], b"yes", [(b"t", b"1")]))
    assert request.words(8, 4) == [4, 2, 3, 1]
    assert request.text(24) == b"200"
    assert request.text(32) == b"yes"
    assert request.words(40, 2) == [0, 0]
    assert request.events == ["continue_decoding"]


@pytest.mark.parametrize(
    "broken",
    [
        {"upstream": "nobody"},
        {"timeout": -1},
        {"headers": GOOD[1:]},
        {"headers": GOOD[:1] + GOOD[2:]},
        {"headers": GOOD[:2]},
    ],
)
def test_a_call_that_cannot_be_made_is_bad_argument_without_a_token(broken):
    request, caller = start(calling(**broken))
    assert request.words(0, 2) == [2, 0]
    assert caller.requests == []


def test_without_a_caller_every_cluster_is_unknown():
    request = Request(World().plugin(calling()))
    request.headers()
    assert request.words(0) == [2]


def test_what_belongs_to_the_clients_connection_is_not_copied():
    request, caller = start(
        calling([*GOOD, (b"content-length", b"999"), (b"connection", b"x"), (b"keep", b"1")])
    )
    assert [name for name, _ in caller.requests[0].headers] == [
        b":method", b":path", b":authority", b"keep",
    ]  # fmt: skip
    assert request.words(0) == [0]


def test_an_answer_after_the_stream_has_gone_still_comes():
    request, caller = start(calling())
    request.end()
    caller.done[0](HttpCallResponse([(b":status", b"200")]))
    assert request.words(8) == [4]
    assert request.words(40) == [2]


def test_maps_and_body_of_an_answer_are_there_during_its_callback_only():
    request, caller = start(calling())
    caller.done[0](HttpCallResponse([(b":status", b"200")], b"x"))
    root = request.context.root
    assert root.call_body is None
    assert root.readable(6) is None


def test_every_answer_shows_its_own_headers():
    request, caller = start(
        filter_text(f"""
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (drop (call $proxy_http_call "auth"/ "{escaped(encode(GOOD))}"/ ""/ ""/ (i32.const 5)
        (i32.const 4)))
      (i32.const 1))
    (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
      (drop (call $proxy_get_header_map_pairs (i32.const 6) (i32.const 24) (i32.const 28)))
      (drop (call $proxy_set_effective_context (i32.const 2)))
      (drop (call $proxy_get_header_map_pairs (i32.const 6) (i32.const 32) (i32.const 36))))""")
    )
    request.headers()
    for done, status in zip(caller.done, (b"200", b"403"), strict=True):
        headers = [(b":status", status)]
        done(HttpCallResponse(headers))
        assert [request.text(24), request.text(32)] == [encode(headers)] * 2


def test_calls_end_with_the_root_and_an_answer_comes_once():
    request, caller = start(calling())
    caller.done[0](HttpCallResponse([(b":status", b"200")]))
    caller.done[0](HttpCallResponse([(b":status", b"200")]))
    assert request.events == ["continue_decoding"]
    again = Request(request.plugin)
    again.headers()
    assert again.words(4) == [8]
    request.plugin.close()
    assert caller.cancelled == 0  # its streams wait for it
    request.end()
    again.end()
    request.plugin._dispatcher.advance(0)
    assert caller.cancelled == 1


@pytest.mark.parametrize(("strict", "headers", "body"), [(True, 0, 0), (False, 3, 83)])
def test_an_answer_that_broke_off_is_a_503_or_in_the_strict_profile_nothing(strict, headers, body):
    world = World()
    caller = world.services.http_caller = Caller()
    request = Request(world.plugin(calling(), strict=strict))
    request.headers()
    caller.done[0](HttpCallResponse([], failure="connection"))
    assert request.words(12, 2) == [headers, body]
    assert request.plugin.vm.context.root.call_status == (0, b"")


def test_what_a_callback_saw_is_not_seen_after_it():
    pairs = "(call $proxy_get_header_map_pairs (i32.const 6) (i32.const 64) (i32.const 68))"
    text = filter_text(f"""
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $proxy_http_call "auth"/ "{escaped(encode(GOOD))}"/ ""/ ""/ (i32.const 1)
          (i32.const 4))) (i32.const 0))
      (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32) (drop {pairs}))
      (func (export "proxy_on_tick") (param i32) (drop {pairs}))""")
    request, caller = start(text)
    caller.done[0](HttpCallResponse([(b":status", b"200")]))
    assert request.text(64) == encode([(b":status", b"200")])
    vm = request.plugin.vm
    vm.exports.proxy_on_tick(vm.context.root)
    assert request.text(64) == encode([])


def test_a_call_that_cannot_be_made_takes_no_token():
    world = World()
    caller = world.services.http_caller = Caller()
    root = world.plugin(calling()).vm.context.root
    assert root.http_call("nobody", GOOD, b"", [], 0) is None
    assert root.http_call("auth", GOOD, b"", [], 0) == 4
    assert len(caller.requests) == 1
