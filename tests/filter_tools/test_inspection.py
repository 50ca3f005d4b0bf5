import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.filter_tools.inspection import Inspection, inspect_module, verdict
from meshproxy.resources import filters_directory
from meshproxy.wasm.errors import ModuleError
from tests.support.fuzz import examples
from tests.support.wat_filter import ENGINE, World, filter_text


def look(functions: str, **parts: str) -> Inspection:
    text = filter_text(functions, **parts)
    return inspect_module(bytes(wasmtime.wat2wasm(text)), "filter.wasm", ENGINE)


def test_an_installed_filter_is_described():
    path = filters_directory() / "header_tag.wasm"
    found = inspect_module(path.read_bytes(), "header_tag.wasm")
    assert (found.abi, found.allocator) == ("0.2.1", "proxy_on_memory_allocate")
    assert found.size == path.stat().st_size
    assert found.compile_seconds > 0
    assert found.native_size > found.size
    assert found.memory == (2, None)
    assert ("env.proxy_log", "hostcall") in [(one.name, one.answered_by) for one in found.imports]
    assert "proxy_on_request_headers" in [one.name for one in found.callbacks]
    assert "code" in [one.name for one in found.sections]
    assert (found.problems, found.notes) == ([], [])
    assert verdict(found) == "can be loaded"


MARKERS = '(func (export "proxy_abi_version_0_1_0")) (func (export "proxy_abi_version_0_2_0"))'
MOSN = '(func (export "proxy_abi_mosn_version_0_2_0"))'


def test_the_first_marker_counts():
    found = look("", marker=MARKERS)
    assert found.abi == "0.1.0"
    assert found.notes == ["exports proxy_abi_version_0_2_0 too; the first one counts"]


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"marker": ""}, "Missing or unknown Proxy-Wasm ABI version: it exports none of"),
        ({"marker": MOSN}, "(proxy_abi_mosn_version_0_2_0 is of MOSN only)"),
        ({"memory": ""}, "exports no memory named 'memory'"),
        ({"allocator": ""}, "exports no allocator: neither proxy_on_memory_allocate nor malloc"),
    ],
)
def test_what_a_module_lacks_is_said(parts, problem):
    found = look("", **parts)
    assert len(found.problems) == 1
    assert problem in found.problems[0]


IMPORTS = {
    '(import "env" "proxy_log" (func (param i32) (result i32)))': "bad import: env.proxy_log",
    '(import "env" "getpid" (func (result i32)))': "missing import: env.getpid",
    '(import "wasi_snapshot_preview1" "fd_dance" (func (result i32)))': "missing import: wasi_",
    '(import "other" "proxy_log" (func (param i32 i32 i32) (result i32)))': "import: other.proxy",
    '(import "env" "table" (table 1 funcref))': "imports the table env.table; only functions exist",
}


@pytest.mark.parametrize("line", IMPORTS)
def test_the_verdict_on_an_import_is_that_of_loading(line):
    found = look(f"\n{line}\n")
    assert IMPORTS[line] in found.problems[0]
    assert found.imports[0].answered_by == ""
    code = bytes(wasmtime.wat2wasm(filter_text(f"\n{line}\n")))
    with pytest.raises(ModuleError) as refused:
        World().plugin(code)
    assert found.problems[0] in str(refused.value)


def test_a_vendors_function_is_named_and_can_be_loaded():
    line = '\n(import "env" "proxy_redis_init" (func (param i32) (result i32)))\n'
    found = look(line)
    assert (found.imports[0].answered_by, found.imports[0].vendor) == ("unknown", "Higress")
    assert found.problems == []
    assert found.notes == [
        "env.proxy_redis_init, a function of Higress: answered with 12 (Unimplemented); Envoy "
        "refuses the module"
    ]
    World().plugin(bytes(wasmtime.wat2wasm(filter_text(line))))


def test_a_callback_of_another_type_is_refused_as_in_loading():
    functions = '(func (export "proxy_on_log") (param i64))'
    found = look(functions)
    assert found.problems[0].startswith("Bad function signature for: proxy_on_log, it is (i64)")
    with pytest.raises(ModuleError) as refused:
        World().plugin(bytes(wasmtime.wat2wasm(filter_text(functions))))
    assert found.problems[0] in str(refused.value)


def test_the_arity_that_envoy_refuses_is_noted():
    found = look(
        '(func (export "proxy_on_request_headers") (param i32 i32) (result i32) i32.const 0)'
    )
    assert found.problems == []
    assert found.notes == [
        "proxy_on_request_headers has 2 parameters, and ABI 0.2.1 has 3: Envoy refuses the module"
    ]


def test_several_reasons_are_counted():
    found = look("", marker="", allocator="")
    assert verdict(found) == "cannot be loaded: 2 reasons"


def test_a_start_section_is_named():
    found = look("(func $go) (start $go)")
    assert found.start == ["start section"]
    assert look('(func (export "_initialize"))').start == ["_initialize"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (b"#!/bin/sh\nexit", "f: not a Wasm module: begins with b'#!/b'"),
        (b"\0asm", "f: not a Wasm module: only 4 bytes"),
        (b"\0asm\x0d\0\1\0", "f: not a core Wasm module of version 1"),
        (bytes(wasmtime.wat2wasm(filter_text("")))[:-3], "f: truncated: section 0 at"),
    ],
)
def test_what_is_no_module_is_refused_with_file_and_reason(code, reason):
    with pytest.raises(ModuleError) as refused:
        inspect_module(code, "f", ENGINE)
    assert str(refused.value).startswith(reason)


WHOLE = (filters_directory() / "bench_headers.wasm").read_bytes()


@examples(150)
@given(
    cut=st.integers(0, len(WHOLE)),
    changes=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=4),
)
def test_whatever_a_file_holds_it_is_described_or_refused(cut, changes):
    code = bytearray(WHOLE)
    for at, value in changes:
        code[at] = value
    try:
        said = f"f: {verdict(inspect_module(bytes(code[:cut]), 'f', ENGINE))}"
    except ModuleError as error:
        said = str(error)
    assert said.startswith("f: ")
