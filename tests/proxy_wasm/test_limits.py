"""Guests that do not behave: what they do ends with their callback, and others are served on."""

import pytest

from meshproxy.http.filter import CONTINUE
from meshproxy.proxy_wasm.plugin import Plugin
from meshproxy.proxy_wasm.restart import MAX_RESTARTS
from meshproxy.proxy_wasm.services import HttpCallResponse
from meshproxy.wasm.errors import ModuleError
from tests.support.wat_filter import ALLOCATOR, Request, World, filter_text

QUIET = filter_text("")
LOOP = "(loop (br 0))"
RECURSION = "(call $deeper)"
BOMB = """(loop $grow (br_if $grow (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
  unreachable"""
TRAP = "unreachable"
DEEPER = "(func $deeper (call $deeper) (call $deeper))"
ATTACKS = {"loop": LOOP, "recursion": RECURSION, "memory bomb": BOMB, "trap": TRAP}
TYPES = {
    "context_create": "(param i32 i32)",
    "vm_start": "(param i32 i32) (result i32)",
    "configure": "(param i32 i32) (result i32)",
    "request_headers": "(param i32 i32 i32) (result i32)",
    "request_body": "(param i32 i32 i32) (result i32)",
    "request_trailers": "(param i32 i32) (result i32)",
    "response_headers": "(param i32 i32 i32) (result i32)",
    "response_body": "(param i32 i32 i32) (result i32)",
    "response_trailers": "(param i32 i32) (result i32)",
    "log": "(param i32)",
    "done": "(param i32) (result i32)",
    "delete": "(param i32)",
    "tick": "(param i32)",
    "queue_ready": "(param i32 i32)",
    "http_call_response": "(param i32 i32 i32 i32 i32)",
}
# Of a root no callback but the attacked one is to be attacked: 1 is the root's id.
ROOT = (
    "(if (i32.eq (local.get 0) (i32.const 1)) (then (return {})))".format,
    {"context_create": "", "done": "(i32.const 1)", "delete": ""},
)
STARTING = """(func (export "proxy_on_configure") (param i32 i32) (result i32)
  (drop (call $proxy_set_tick_period_milliseconds (i32.const {tick})))
  (drop (call $proxy_register_shared_queue "q"/ (i32.const 32)))
  (i32.const 1))
(func (export "proxy_on_foreign_function") (param i32 i32 i32))"""


def attacker(callback: str, attack: str) -> str:
    """A filter that attacks from one callback."""
    spare, answers = ROOT
    before = spare(answers[callback]) if callback in answers else ""
    answer = "(i32.const 0)" if "result" in TYPES[callback] else ""
    starting = STARTING.format(tick=10 if callback == "tick" else 0)
    return filter_text(f"""{DEEPER} {starting}
      (func (export "proxy_on_{callback}") {TYPES[callback]} {before} {attack} {answer})""")


class Caller:
    """Answers every call of a guest when told."""

    def __init__(self) -> None:
        self.done = []

    def call(self, request, done):
        self.done.append(done)
        return self

    def cancel(self) -> None:
        pass


def drive(world: World, plugin: Plugin) -> Request:
    """One whole exchange, with everything that can happen to a root besides."""
    request = Request(plugin)
    request.headers(end_stream=False)
    if request.callbacks.reply is None:
        request.body(b"body")
        request.trailers((b"a", b"b"))
    if request.callbacks.reply is None:
        request.answer()
        request.answer_body(b"body")
        request.callbacks.info.response_trailers = request.response
        request.filter.encode_trailers(request.response)
    request.end()
    world.dispatcher.advance(0.02)
    token = world.services.shared_queues.resolve("", b"q")
    world.services.shared_queues.enqueue(token, b"item")
    world.dispatcher.advance(0.02)
    return request


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(
    "callback",
    [name for name in TYPES if name not in {"vm_start", "configure", "http_call_response"}],
)
def test_an_attack_from_any_callback_ends_its_vm_and_nobody_elses(callback, attack):
    world = World()
    other = world.plugin(QUIET, name="other", vm_id="other")
    before = other.vm
    limits = {"callback_timeout": 0.01, "memory_size": 1 << 20}
    plugin = world.plugin(attacker(callback, ATTACKS[attack]), name="p", **limits)
    drive(world, plugin)
    assert world.store.metrics["wasm.p.traps"].value == 1
    assert plugin.vm is None
    assert other.vm is before
    assert Request(other).headers() == CONTINUE
    Request(plugin)
    assert plugin.vm is not None


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_from_the_answer_to_a_call_ends_the_vm(attack):
    world = World()
    caller = world.services.http_caller = Caller()
    text = filter_text(f"""{DEEPER}
      (func (export "proxy_on_http_call_response") {TYPES["http_call_response"]}
        {ATTACKS[attack]})""")
    plugin = world.plugin(text, name="p", callback_timeout=0.01, memory_size=1 << 20)
    pairs = [(b":method", b"GET"), (b":path", b"/"), (b":authority", b"a")]
    plugin.vm.context.root.http_call("up", pairs, b"", [], 0)
    caller.done[0](HttpCallResponse([(b":status", b"200")]))
    assert world.store.metrics["wasm.p.traps"].value == 1
    assert plugin.vm is None


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(
    "place", ["start section", "_initialize", "_start", "context_create", "vm_start", "configure"]
)
def test_an_attack_at_the_start_refuses_the_plugin_and_leaves_no_vm(place, attack):
    body = ATTACKS[attack]
    if place == "start section":
        text = f"(func $s {body}) (start $s)"
    elif place.startswith("_"):
        text = f'(func (export "{place}") {body})'
    else:
        answer = "(i32.const 0)" if "result" in TYPES[place] else ""
        text = f'(func (export "proxy_on_{place}") {TYPES[place]} {body} {answer})'
    world = World()
    with pytest.raises(ModuleError, match="failed"):
        world.plugin(filter_text(DEEPER + text), start_timeout=0.02, memory_size=1 << 20)
    assert world.store.metrics["wasm.wasm_vm_count"].value == 0


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_from_the_allocator_ends_the_vm(attack):
    allocator = f"""{DEEPER}
      (func (export "malloc") (param i32) (result i32) {ATTACKS[attack]} (i32.const 0))"""
    text = filter_text(
        f"""(func (export "proxy_on_request_headers") {TYPES["request_headers"]}
          (drop (call $proxy_get_header_map_value (i32.const 0) ":path"/
            (i32.const 16) (i32.const 20))) (i32.const 0))""",
        allocator=allocator,
    )
    world = World()
    plugin = world.plugin(text, name="p", callback_timeout=0.01, memory_size=1 << 20)
    request = Request(plugin)
    request.headers()
    assert request.callbacks.reply.status == 503
    assert world.store.metrics["wasm.p.traps"].value == 1


def test_a_vm_that_starts_while_others_serve_has_less_time():
    # It starts at once the first time, and loops when it finds what it left behind.
    text = filter_text(f"""
      (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
        (if (i32.eqz (call $proxy_get_shared_data "k"/
            (i32.const 16) (i32.const 20) (i32.const 24))) (then {LOOP}))
        (drop (call $proxy_set_shared_data "k"/ "v"/ (i32.const 0))) (i32.const 1))
      (func (export "proxy_on_request_headers") {TYPES["request_headers"]} unreachable)""")
    world = World()
    world.plugin(QUIET, vm_id="v")  # keeps the shared data
    plugin = world.plugin(text, name="p", vm_id="v", start_timeout=3600.0, restart_timeout=0.01)
    Request(plugin).headers()
    Request(plugin)
    assert plugin.vm is None
    assert world.store.metrics["wasm.p.vm_reload_failure"].value == 1


def test_a_module_with_many_memories_does_not_get_the_limit_many_times():
    with pytest.raises(ModuleError, match="memory count"):
        World().plugin(filter_text("(memory 1)"))


def test_ten_thousand_traps_cost_no_more_vms_than_the_budget_and_no_other_request():
    world = World()
    other = world.plugin(QUIET, name="other", vm_id="other")
    plugin = world.plugin(attacker("request_headers", TRAP), name="p")
    for _ in range(10_000):
        request = Request(plugin)
        request.headers()
        assert request.callbacks.reply.status == 503
        assert Request(other).headers() == CONTINUE
    # One more was linked ahead.
    assert world.store.metrics["wasm.p.traps"].value == 1 + MAX_RESTARTS + 1
    assert world.store.metrics["wasm.envoy.wasm.runtime.wasmtime.created"].value == 3 + MAX_RESTARTS
    assert world.store.metrics["wasm.wasm_vm_count"].value == 1


LEAKING = filter_text(
    f"""(func (export "proxy_on_request_headers") {TYPES["request_headers"]}
      (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable)) (i32.const 0))""",
    allocator=ALLOCATOR,
)


@pytest.mark.parametrize("requests", [1_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_a_leaking_filter_stays_under_its_limit_and_serves_on(requests, caplog):
    caplog.set_level("CRITICAL", "meshproxy.wasm")  # a million traps are no reading
    world = World()
    plugin = world.plugin(LEAKING, name="p", memory_size=1 << 20)
    refused = 0
    for _ in range(requests):
        world.dispatcher.advance(1)
        request = Request(plugin)
        refused += request.headers() != CONTINUE
        if plugin.vm is not None:
            plugin.vm.memory.refresh()
            assert plugin.vm.memory.size <= 1 << 20
        request.end()
    assert refused == world.store.metrics["wasm.p.traps"].value
    assert 0.05 < refused / requests < 0.07
    assert world.store.metrics["wasm.wasm_vm_count"].value <= 1
