"""The ABI core against its oracle: the same hostcalls, answered by Python alone."""

import struct
from typing import NamedTuple

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.stream_info import StreamInfo
from meshproxy.proxy_wasm.abi import HOSTCALLS
from meshproxy.proxy_wasm.config import PluginConfig, VmConfig
from meshproxy.proxy_wasm.core import link
from meshproxy.proxy_wasm.core.abi_core import decode_texts, encode_texts
from meshproxy.proxy_wasm.core.link import HOT
from meshproxy.proxy_wasm.pairs import encode
from meshproxy.proxy_wasm.plugin import Plugin, VmPool
from meshproxy.proxy_wasm.services import Services
from meshproxy.resources import abi_core_file
from meshproxy.stats.store import Store
from meshproxy.wasm.code_source import InlineCode
from meshproxy.wasm.engine import Engine
from meshproxy.wasm.errors import GuestTrap
from meshproxy.wasm.limits import Limits
from tests.support.fake_stream import FakeDispatcher
from tests.support.fuzz import examples
from tests.support.wat_filter import Request, World, filter_text

SCRIPT = 1024  # u32 count, then a row of eight words for each hostcall: which, arguments, status
TEXTS = 1 << 15
RESULTS = 1 << 16
OTHERS = ("proxy_set_header_map_pairs", "proxy_set_effective_context", "proxy_get_property")
CALLS = (*HOT, *OTHERS)


def guest(allocate="(local.get $at)"):
    """A module whose headers callbacks make the hostcalls of a script in its memory."""
    lines = ["(module"]
    for name in CALLS:
        parameters = " ".join(HOSTCALLS[name].types)
        lines.append(f'(import "env" "{name}" (func ${name} (param {parameters}) (result i32)))')
    lines += [
        '(memory (export "memory") 3)',
        f"(global $heap (mut i32) (i32.const {RESULTS + 4096}))",
        '(func (export "proxy_abi_version_0_2_1"))',
        '(func (export "proxy_on_memory_allocate") (param $size i32) (result i32) (local $at i32)',
        "(local.set $at (global.get $heap))",
        "(global.set $heap (i32.add (local.get $at) (local.get $size)))",
        f"{allocate})",
        "(func $run (param i32 i32 i32) (result i32) (local $row i32) (local $status i32)",
        f"(local.set $row (i32.const {SCRIPT + 4}))",
        f"(global.set $heap (i32.const {RESULTS + 4096}))",
        f"(block $end (loop $next (br_if $end (i32.eqz (i32.load (i32.const {SCRIPT}))))",
        f"(i32.store (i32.const {SCRIPT}) (i32.sub (i32.load (i32.const {SCRIPT})) (i32.const 1)))",
    ]
    for number, name in enumerate(CALLS):
        arguments = " ".join(
            f"(i32.load offset={4 * at + 4} (local.get $row))"
            for at in range(len(HOSTCALLS[name].types))
        )
        lines.append(
            f"(if (i32.eq (i32.load (local.get $row)) (i32.const {number}))"
            f" (then (local.set $status (call ${name} {arguments}))))"
        )
    lines += [
        "(i32.store offset=28 (local.get $row) (local.get $status))",
        "(local.set $row (i32.add (local.get $row) (i32.const 32))) (br $next))) (i32.const 0))",
        '(export "proxy_on_request_headers" (func $run))',
        '(export "proxy_on_response_headers" (func $run)))',
    ]
    return bytes(wasmtime.wat2wasm("\n".join(lines)))


class Callbacks:
    """A stream that notes what it is told of changes of its request's headers."""

    def __init__(self, request, response):
        self.info = StreamInfo()
        self.info.request_headers = request
        self.info.response_headers = response
        self.changes = []
        self.replies = []

    def request_headers_changed(self, names):
        self.changes.append(frozenset(names))

    def add_decoded_trailers(self):
        raise ValueError("there is no body")

    add_encoded_trailers = add_decoded_trailers

    def send_local_reply(self, reply):
        self.replies.append(reply.details)


class Side:
    """One plugin, with the core or without, and one stream in it at a time."""

    def __init__(self, engine, *, abi_core, code=None, strict=False, allowed_capabilities=None):
        services = Services(FakeDispatcher(), Store(), engine)
        # A pause of the tests' own process must not end a callback of one side only.
        limits = Limits(callback_timeout=60.0)
        source = InlineCode(code or guest())
        vm = VmConfig(source, abi_core=abi_core, strict=strict, limits=limits)
        config = PluginConfig(vm, "x", allowed_capabilities=allowed_capabilities)
        self.plugin = Plugin(VmPool(services), config)

    def run(self, request, response, *scripts):
        """What became of each callback, and of the stream."""
        maps = HeaderMap(list(request)), HeaderMap(list(response))
        stream = self.plugin.new_filter()
        stream.set_callbacks(Callbacks(*maps))
        phases = []
        callbacks = (stream.decode_headers, stream.encode_headers)
        for calls, callback, own in zip(scripts, callbacks, maps, strict=False):
            write_script(stream.vm.memory, calls)
            verdict = callback(own, True)
            results = read_results(stream.vm.memory, calls)
            phases.append(Phase(verdict, results, *(headers.pairs.copy() for headers in maps)))
        stream.on_stream_complete()
        stream.on_destroy()
        return Seen(phases, stream.callbacks.changes, stream.callbacks.replies)


class Phase(NamedTuple):
    """One callback: its verdict, what each hostcall answered and gave, and the maps after it."""

    verdict: int
    results: list[tuple[int, object]]
    request: list[tuple[bytes, bytes]]
    response: list[tuple[bytes, bytes]]

    @property
    def statuses(self):
        return [status for status, _ in self.results]


class Seen(NamedTuple):
    """One stream."""

    phases: list[Phase]
    changes: list[frozenset[bytes]]  # of the request's headers, as the stream was told
    replies: list[str]


def write_script(memory, calls):
    at = TEXTS
    memory.write_u32(SCRIPT, len(calls))
    for row, (name, *arguments) in enumerate(calls):
        words = [CALLS.index(name)]
        for argument in arguments:
            if isinstance(argument, bytes):
                memory.write(at, argument)
                words += [at, len(argument)]
                at += len(argument)
            else:
                words.append(argument)
        words += [0] * (8 - len(words))
        memory.write(SCRIPT + 4 + 32 * row, struct.pack("<8I", *words))
    memory.write(RESULTS, bytes(8 * len(calls)))


def read_results(memory, calls):
    """(status, bytes given or number written) of every hostcall."""
    results = []
    for row, (name, *_) in enumerate(calls):
        status = int.from_bytes(memory.read(SCRIPT + 4 + 32 * row + 28, 4), "little")
        where, size = struct.unpack("<II", memory.read(RESULTS + 8 * row, 8))
        given = memory.read(where, size) if "size" not in name and size else (where, size)
        results.append((status, given))
    return results


def out(row):
    """Where hostcall number `row` has its answer put."""
    return RESULTS + 8 * row, RESULTS + 8 * row + 4


NAMES = st.sampled_from(
    [b":path", b":authority", b"Host", b"host", b":method", b":status", b":x", b":", b"", b"cookie",
     b"Accept", b"x-a", b"X-A", b"x-b", b"content-length", b"via", b"a b", b"\xff", b"n" * 300]
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from([b"", b"1", b"a, b", b"a\r\nb: c", b"\0", b"/new", b"v" * 5000]),
    st.binary(max_size=40),
)
PATHS = st.sampled_from([b"request\0path", b"request\0host"])
FIELDS = st.sampled_from([b"x-a", b"x-b", b"via", b"accept"])
PAIRS = st.lists(st.tuples(FIELDS, VALUES), max_size=6)


@st.composite
def scripts(draw, own):
    maps = st.sampled_from([own] * 8 + [0, 1, 2, 3, 6, 9])
    names = st.one_of(FIELDS, FIELDS, FIELDS, NAMES)
    calls = []
    for row in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from([*HOT, *HOT, *OTHERS]))
        data, size = out(row)
        if kind == "proxy_set_effective_context":
            calls.append((kind, draw(st.sampled_from([0, 1, 77]))))
        elif kind == "proxy_get_property":
            calls.append((kind, draw(PATHS), *out(row)))
        elif kind == "proxy_set_header_map_pairs":
            calls.append((kind, draw(maps), encode(draw(PAIRS))))
        elif kind.endswith("size"):
            calls.append((kind, draw(maps), data))
        elif kind.endswith("pairs"):
            calls.append((kind, draw(maps), data, size))
        elif kind.startswith("proxy_get"):
            calls.append((kind, draw(maps), draw(names), data, size))
        elif kind.startswith("proxy_remove"):
            calls.append((kind, draw(maps), draw(names)))
        else:
            calls.append((kind, draw(maps), draw(names), draw(VALUES)))
    return calls


STATUS = (b":status", b"200")
REQUEST = [(b":authority", b"h"), (b":path", b"/p"), (b":method", b"GET"), (b":scheme", b"http")]
ENGINE = Engine()
SIDES = {
    strict: [Side(ENGINE, abi_core=core, strict=strict) for core in (True, False)]
    for strict in (True, False)
}


@examples(400)
@given(PAIRS, PAIRS, scripts(0), scripts(2), st.booleans())
def test_core_and_python_give_the_same(request_fields, response_fields, first, second, strict):
    request = [*REQUEST, *((name, clean(value)) for name, value in request_fields)]
    response = [STATUS, *((name, clean(value)) for name, value in response_fields)]
    # Twice, because only the second stream has its maps in the core from the start.
    for _ in range(2):
        with_core, without = (side.run(request, response, first, second) for side in SIDES[strict])
        assert with_core.phases == without.phases
        assert with_core.replies == without.replies
        # With the core changes come back together.
        assert bool(with_core.changes) == bool(without.changes)
        for side in (with_core, without):
            assert differing(request, side.phases[-1].request) <= frozenset().union(*side.changes)


def differing(before, after):
    """The names whose values are not the same."""
    names = {name for name, _ in (*before, *after)}
    values = [[[v for n, v in pairs if n == name] for name in names] for pairs in (before, after)]
    return {name for name, *two in zip(names, *values, strict=True) if two[0] != two[1]}


def clean(value):
    return value.translate(None, b"\r\n\0")


def taken(script):
    """How often a warm stream's request headers are brought back to Python, changed."""
    side = Side(ENGINE, abi_core=True)
    side.run(REQUEST, [STATUS], script)
    return len(side.run(REQUEST, [STATUS], script).changes)


READ = ("proxy_get_header_map_value", 0, b":path", *out(0))
ADD = ("proxy_add_header_map_value", 0, b"x-a", b"1")


def test_the_core_was_built():
    assert abi_core_file().is_file()


def test_without_the_core_python_answers_every_request(monkeypatch):
    monkeypatch.setattr(link, "core_code", lambda path: None)
    plugin = World().plugin(
        filter_text("""(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (call $proxy_add_header_map_value (i32.const 0) "x-a"/ "b"/))""")
    )
    for _ in range(3):
        request = Request(plugin)
        assert request.headers() == 0
        assert request.request.get(b"x-a") == b"b"


def test_reading_takes_nothing_back():
    assert taken([READ]) == 0


def test_changes_come_back_once_for_a_callback():
    assert taken([ADD, READ, ("proxy_add_header_map_value", 0, b"x-b", b"2")]) == 1


def test_a_second_value_is_appended_or_joined_as_python_does():
    fields = [*REQUEST, (b"x-a", b"0"), (b"via", b"0")]
    again = ("proxy_add_header_map_value", 0, b"via", b"1")
    assert [
        Side(ENGINE, abi_core=core).run(fields, [STATUS], [ADD, again]).phases[0].request[4:]
        for core in (True, False)
    ] == [[(b"x-a", b"0"), (b"via", b"0,1"), (b"x-a", b"1")]] * 2


def test_an_allocator_that_has_nothing_is_an_invalid_memory_access():
    side = Side(ENGINE, abi_core=True, code=guest(allocate="(i32.const 0)"))
    for _ in range(2):
        assert side.run(REQUEST, [STATUS], [READ]).phases[0].statuses == [6]


@pytest.mark.parametrize("address", [0xFFFFFFFF, 3 << 16, (3 << 16) - 3])
def test_an_address_outside_of_the_memory_is_an_invalid_memory_access(address):
    side = Side(ENGINE, abi_core=True)
    bad_key = ("proxy_get_header_map_value", 0, address, 5, *out(0))
    bad_value = ("proxy_add_header_map_value", 0, b"x-a", address, 0xFFFFFFFF)
    bad_result = ("proxy_get_header_map_pairs", 0, address, address)
    for _ in range(2):
        phase = side.run(REQUEST, [STATUS], [bad_key, bad_value, bad_result]).phases[0]
        assert phase.statuses == [6, 6, 6]
        assert phase.request == REQUEST


def test_a_map_that_is_larger_than_the_core_stays_in_python():
    large = [*REQUEST, (b"x-large", b"v" * (1 << 17))]
    sides = [Side(ENGINE, abi_core=core) for core in (True, False)]
    for _ in range(2):
        first, second = (side.run(large, [STATUS], [READ, ADD]) for side in sides)
        assert first.phases == second.phases


def test_a_hostcall_that_is_not_allowed_does_not_reach_the_core():
    allowed = frozenset({"proxy_on_request_headers", "proxy_get_header_map_value"})
    side = Side(ENGINE, abi_core=True, allowed_capabilities=allowed)
    for _ in range(2):
        phase = side.run(REQUEST, [STATUS], [READ, ADD]).phases[0]
        assert phase.statuses == [0, 10]
        assert phase.request == REQUEST


@pytest.mark.parametrize("damage", [b"", b"a\0", b"a\0b", b"a\0b\0x", b"a\0b\0c\0d\0"])
def test_a_damaged_map_is_a_trap(damage):
    with pytest.raises(GuestTrap, match="damaged"):
        decode_texts(damage, 1)


@given(st.lists(st.tuples(FIELDS, st.binary(max_size=20).map(clean)), max_size=5))
def test_the_texts_of_a_map_are_its_encoding_without_the_table_and_come_back(pairs):
    assert encode_texts(pairs) == encode(pairs)[4 + 8 * len(pairs) :]
    assert decode_texts(encode_texts(pairs), len(pairs)) == pairs


def test_a_map_with_a_nul_in_it_stays_with_python():
    odd = [*REQUEST, (b"x-a", b"1\x002"), (b"x-b", b"3")]
    script = [("proxy_get_header_map_value", 0, b"x-b", *out(0)), ADD]
    sides = [Side(ENGINE, abi_core=core) for core in (True, False)]
    for _ in range(3):  # the second and third time the core has the same bytes before it
        first, second = (side.run(odd, [STATUS], script) for side in sides)
        assert first.phases == second.phases
        assert first.phases[0].results[0] == (0, b"3")


def test_without_the_compiled_core_every_hostcall_is_pythons(monkeypatch):
    monkeypatch.setattr("meshproxy.proxy_wasm.core.link.core_code", lambda path: None)
    text = filter_text("""
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (drop (call $proxy_add_header_map_value (i32.const 0) "x-a"/ "1"/))
      (call $proxy_get_header_map_value (i32.const 0) ":path"/ (i32.const 16) (i32.const 20)))""")
    plugin = World().plugin(text)
    for _ in range(3):
        request = Request(plugin)
        assert request.headers() == 0
        assert request.request.get_all(b"x-a") == [b"1"]
