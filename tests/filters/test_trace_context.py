import re
from pathlib import Path

import pytest

from meshproxy.wasm.errors import ModuleError
from tests.support import toolchains
from tests.support.conf import FILTERS
from tests.support.wasm_traces import assert_same_calls
from tests.support.wat_filter import Request

FILTER = "trace_context"
TARGET = "wasm32-wasip1"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FORMAT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])")


@pytest.fixture(scope="module")
def wasm(tmp_path_factory):
    """The filter as cargo makes it."""
    toolchains.need("rustc", "cargo")
    command = ["rustc", "--print", "target-libdir", "--target", TARGET]
    library = toolchains.said(command)
    if not library or not Path(library).is_dir():
        toolchains.without(f"Rust has no library for {TARGET}")
    made = tmp_path_factory.mktemp(FILTER)
    folder = toolchains.copied(FILTERS / FILTER, made, "Cargo.toml", "src/*.rs")
    environment = {"RUSTFLAGS": "-D warnings", "CARGO_TARGET_DIR": str(folder / "target")}
    toolchains.fetch(["cargo", "fetch", f"--target={TARGET}"], folder, environment)
    toolchains.build(["cargo", "build", "--release", f"--target={TARGET}"], folder, environment)
    return folder / "target" / TARGET / "release" / f"{FILTER}.wasm"


def traced(request):
    """The ids of trace and parent, and the flags, that the app was told."""
    [header] = request.values("traceparent")
    match = FORMAT.fullmatch(header)
    assert match, header
    return match.groups()


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        (f"00-{TRACE}-{PARENT}-01", "01"),
        (f"00-{TRACE}-{PARENT}-00", "00"),
        (f"00-{TRACE}-{PARENT}-03", "01"),
        (f"cc-{TRACE}-{PARENT}-01-what-comes-later", "01"),
    ],
)
def test_the_clients_trace_goes_on_with_a_parent_of_our_own(running, header, flags):
    sent = (("traceparent", header), ("tracestate", "a=1"))
    received, answer = running.get("/", *sent)
    trace, parent, recorded = traced(received)
    assert (trace, recorded) == (TRACE, flags)
    assert parent not in (PARENT, "0" * 16)
    assert received.values("tracestate") == ["a=1"]
    assert answer.values("x-trace-id") == [TRACE]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-0g",
        f"00-{TRACE}+{PARENT}-01",
        f"00-{TRACE}-{PARENT}-é1",
    ],
)
def test_what_is_no_trace_begins_a_new_one_without_its_state(running, header):
    received, answer = running.get("/", ("traceparent", header), ("tracestate", "a=1"))
    trace, _, _ = traced(received)
    assert trace != TRACE
    assert received.values("tracestate") == []
    assert answer.values("x-trace-id") == [trace]


def test_a_new_trace_has_the_number_of_the_request_id(running):
    received, _ = running.get("/")
    assert traced(received)[0] == received.get("x-request-id").replace("-", "")


def test_every_request_has_ids_of_its_own(running):
    ids = [traced(running.get("/")[0])[:2] for _ in range(20)]
    assert len({trace for trace, _ in ids}) == len({parent for _, parent in ids}) == 20


def test_so_many_new_traces_are_recorded_as_the_configuration_says(configure):
    plugin = configure("sample 25")
    recorded = 0
    for number in range(1, 1001):
        request = Request(plugin)
        request.request.add(b"x-request-id", f"{number:032x}".encode())
        request.headers()
        recorded += request.request.get(b"traceparent").endswith(b"01")
        request.end()
    assert 195 < recorded < 305  # four standard deviations; the same in every run


@pytest.mark.parametrize("line", ["sample", "sample 101", "sample x", "answer a b", "drop x"])
def test_a_line_that_cannot_be_read_is_named(configure, caplog, line):
    with pytest.raises(ModuleError, match="proxy_on_configure returned false"):
        configure(f"# fine\n{line}")
    assert "line 2: expected: " in caplog.text
    assert f", got '{line}'" in caplog.text


def test_the_calls_are_those_of_envoy_in_their_order(wasm):
    assert_same_calls(FILTER, wasm)
