"""Any hostcalls with any arguments in any phase: a status, never an exception, never a dead VM."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from meshproxy.config.cel import CelEngine
from meshproxy.proxy_wasm import wire_format as wire
from meshproxy.proxy_wasm.abi import HOSTCALLS
from meshproxy.proxy_wasm.expressions import VARIABLES
from meshproxy.proxy_wasm.foreign import FUNCTIONS
from meshproxy.proxy_wasm.hostcalls import Hostcalls
from meshproxy.proxy_wasm.pairs import encode
from meshproxy.proxy_wasm.services import HttpCallResponse
from meshproxy.wasm.errors import Refused
from tests.conformance.probe import kinds
from tests.support.fake_grpc import FakeGrpcClient
from tests.support.fuzz import examples
from tests.support.wat_filter import Request, World, filter_text

# Every callback asks the host for what it is to do, and answers with what the host left at 0.
HOOK = 99
PHASES = {
    "request_headers": 3, "request_body": 3, "request_trailers": 2,
    "response_headers": 3, "response_body": 3, "response_trailers": 2,
}  # fmt: skip
TELLING = {"tick": 1, "http_call_response": 5, "grpc_receive": 3, "grpc_close": 3, "log": 1,
           "delete": 1, "queue_ready": 2}  # fmt: skip
CALL = f"(call $proxy_log (i32.const {HOOK}) (i32.const 0) (i32.const 0))"
FILTER = filter_text(
    "\n".join(
        f'(func (export "proxy_on_{name}") (param{" i32" * arity}) (result i32)'
        f" (drop {CALL}) (i32.load (i32.const 0)))"
        for name, arity in PHASES.items()
    )
    + "\n".join(
        f'(func (export "proxy_on_{name}") (param{" i32" * arity}) (drop {CALL}))'
        for name, arity in TELLING.items()
    )
    + f'(func (export "proxy_on_done") (param i32) (result i32) (drop {CALL}) (i32.const 1))'
)

HEAD = [(b":method", b"GET"), (b":path", b"/"), (b":authority", b"up")]
BLOBS = [
    b"", b"x", b":path", b":status", b"x-many", b"content-length", b"up", b"vm", b"plugin_name",
    b"request\0path", b"request\0headers", b"request.path", b"response\0code", b"\xff\0\r\n",
    b"xds\0node", b"metadata", b"x" * 3000, encode(HEAD), encode([]), encode([(b"a", b"b")] * 3),
    b"\xff\xff\xff\xff", b"\0\0\0\0", b"\1\0\0\0", b'{"ns": {"key": [1]}}',
    wire.bytes_field(1, b"name") + wire.bytes_field(2, b"value"), *FUNCTIONS,
]  # fmt: skip
BASE = 4096
PLACES = []
for blob in BLOBS:
    PLACES.append((BASE + sum(len(each) for each in BLOBS[: len(PLACES)]), len(blob)))
OUT = 60_000

numbers = st.sampled_from([*range(13), 16, 200, 204, 404, 1000, 1 << 31, (1 << 32) - 1]) | (
    st.integers(0, (1 << 32) - 1)
)
places = st.sampled_from(PLACES) | st.tuples(numbers, numbers)
outs = st.sampled_from([(OUT, OUT + 4), (OUT, OUT + 64)]) | st.tuples(numbers, numbers)


@st.composite
def calls(draw: Any) -> tuple[str, tuple[int, ...]]:
    """A hostcall with arguments of the right kinds, or wild ones."""
    name = draw(st.sampled_from([*HOSTCALLS]))
    words: list[int] = []
    for kind in kinds(HOSTCALLS[name]):
        if kind == "s":
            words += draw(places)
        elif kind == "p":
            words += draw(outs)
        elif kind in "oO":
            words.append(draw(outs)[0])
        elif kind == "I":
            words.append(draw(st.integers(-(1 << 63), (1 << 63) - 1)))
        else:
            words.append(draw(numbers))
    return name, tuple(words)


steps = st.lists(st.tuples(st.lists(calls(), max_size=4), st.integers(0, 5)), max_size=14)


class Caller:
    """Takes every HTTP call; `answer` ends those that are open."""

    def __init__(self) -> None:
        self.open: list[Any] = []

    def call(self, request: Any, done: Any) -> Caller | None:
        if request.upstream != "up":
            return None
        self.open.append(done)
        return self

    def cancel(self) -> None:
        """It is not answered any more; the root knows."""

    def answer(self) -> None:
        waiting, self.open = self.open, []
        for done in waiting:
            done(HttpCallResponse([(b":status", b"200"), (b"a", b"b")], b"body", [(b"t", b"1")]))


class Script:
    """What the callbacks do, one entry each; stands in for `proxy_log` with the level HOOK."""

    def __init__(self, entries: list[Any]) -> None:
        self.entries = iter(entries)
        self.statuses: list[Any] = []

    def run(self, hostcalls: Hostcalls) -> None:
        commands, answer = next(self.entries, ([], 0))
        for name, arguments in commands:
            try:
                status = getattr(hostcalls, name)(*arguments)
            except Refused as refusal:
                status = refusal.status
            except BaseException as error:
                self.statuses.append((name, arguments, error))
                raise
            self.statuses.append(status)
        hostcalls.memory.write_u32(0, answer)


@pytest.fixture
def hooked(monkeypatch: pytest.MonkeyPatch) -> list[Script]:
    """The script that is being played, as the only entry."""
    playing: list[Script] = []
    log = Hostcalls.proxy_log

    def hook(self: Hostcalls, level: int, data: int, size: int) -> int:
        if level == HOOK and playing:
            playing[0].run(self)
            return 0
        return log(self, level, data, size)

    monkeypatch.setattr(Hostcalls, "proxy_log", hook)
    return playing


def make(strict: bool) -> tuple[World, Request, Caller, FakeGrpcClient]:
    world = World()
    caller = world.services.http_caller = Caller()
    grpc = world.services.grpc_client = FakeGrpcClient()
    world.services.expressions = CelEngine(VARIABLES)
    request = Request(world.plugin(FILTER, strict=strict, vm_id="vm"))
    memory = request.plugin.vm.memory
    for (at, _), blob in zip(PLACES, BLOBS, strict=True):
        memory.write(at, blob)
    return world, request, caller, grpc


def play(world: World, request: Request, caller: Caller, grpc: FakeGrpcClient) -> None:
    """The life of a stream, with everything in it that can call the guest."""
    request.headers(end_stream=False)
    world.dispatcher.advance(0.01)
    request.body(b"some")
    caller.answer()
    request.body(b"more", end_stream=True)
    request.trailers((b"t", b"1"))
    for stream in grpc.streams[:]:
        stream.receiver.on_message(b"message")
        stream.receiver.on_close(0, "")
    request.answer()
    request.answer_body(b"answer")
    caller.answer()
    request.answer_body(b"", end_stream=True)
    request.filter.encode_trailers(request.response)
    world.dispatcher.advance(0.01)
    request.end()
    world.dispatcher.advance(0.01)


UNHURRIED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@examples(200, suppress_health_check=UNHURRIED)
@given(entries=steps, strict=st.booleans())
def test_every_sequence_of_hostcalls_gets_statuses_and_leaves_the_vm_alive(
    entries: list[Any], strict: bool, hooked: list[Script]
):
    script = Script(entries)
    hooked[:] = []
    world, request, caller, grpc = make(strict)
    vm = request.plugin.vm
    hooked[:] = [script]
    play(world, request, caller, grpc)
    assert all(type(status) is int and 0 <= status <= 12 for status in script.statuses)
    assert vm.failed is None


def test_the_script_is_played(hooked: list[Script]):
    script = Script([([("proxy_get_log_level", (OUT,)), ("proxy_get_log_level", (1 << 31,))], 0)])
    world, request, caller, grpc = make(strict=False)
    hooked[:] = [script]
    play(world, request, caller, grpc)
    assert script.statuses == [0, 6]
