import ctypes
import gc

import pytest
import wasmtime

from meshproxy.wasm.engine import Engine
from meshproxy.wasm.errors import GuestTrap, ModuleError, Refused
from meshproxy.wasm.instance import Instance, shim_text
from meshproxy.wasm.limits import Limits
from meshproxy.wasm.raw_call import MemoryWindow, parse_trap
from meshproxy.wasm.signatures import Import

ENGINE = Engine()


def instance(text: str, limits: Limits | None = None, **functions) -> Instance:
    """An instance whose imports are answered by keyword."""

    def resolve(item: Import):
        if item.name not in functions:
            raise LookupError(f"no {item}")
        return functions[item.name]

    module = ENGINE.compile(bytes(wasmtime.wat2wasm(text)), "m.wasm")
    return Instance(ENGINE, module, resolve, limits or Limits())


MEMORY = '(memory (export "memory") 1)'
F = '(import "env" "f" (func $f (param i32 i64 i32) (result i32)))'


def test_arguments_arrive_as_unsigned_i32_and_signed_i64():
    seen = []

    def f(*arguments: int) -> int:
        seen.append(arguments)
        return 0xFFFFFFFF

    guest = instance(
        f"""(module {F} {MEMORY} (func (export "g") (param i32) (result i32)
        (call $f (local.get 0) (i64.const -5) (i32.const -1))))""",
        f=f,
    )
    assert guest.function("g")(7) == 0xFFFFFFFF
    assert seen == [(7, -5, 0xFFFFFFFF)]


@pytest.mark.parametrize("count", range(8))
def test_functions_of_every_arity_can_be_called(count):
    sum_of = "(i32.const 1)"
    for index in range(count):
        sum_of = f"(i32.add {sum_of} (i32.mul (i32.const {10**index}) (local.get {index})))"
    guest = instance(
        f'(module {MEMORY} (func (export "g") (param{" i32" * count}) (result i32) {sum_of}))'
    )
    arguments = [(index * 3 + 1) % 10 for index in range(count)]
    assert guest.function("g")(*arguments) == 1 + sum(
        value * 10**index for index, value in enumerate(arguments)
    )


@pytest.mark.parametrize("signature", ["(param i64)", "(result i64) (i64.const 1)"])
def test_functions_of_other_types_are_refused(signature):
    guest = instance(f'(module {MEMORY} (func (export "g") {signature}))')
    with pytest.raises(ModuleError, match="exports g, but only i32"):
        guest.function("g")


def test_a_refusal_is_an_answer():
    def f(*_: int) -> int:
        raise Refused(6)

    guest = instance(
        f"""(module {F} {MEMORY} (func (export "g") (result i32)
        (call $f (i32.const 0) (i64.const 0) (i32.const 0))))""",
        f=f,
    )
    assert guest.function("g")() == 6


@pytest.mark.parametrize("answer", [-1, 2**32, None, "x"])
def test_an_answer_that_is_no_u32_is_a_trap(answer):
    guest = instance(
        f"""(module {F} {MEMORY} (func (export "g") (result i32)
        (call $f (i32.const 0) (i64.const 0) (i32.const 0))))""",
        f=lambda *_: answer,
    )
    with pytest.raises(GuestTrap, match="host function failed"):
        guest.function("g")()


def test_an_exception_of_a_host_function_is_the_cause_of_the_trap():
    def f(*_: int) -> int:
        raise ValueError("oops")

    guest = instance(
        f"""(module $m {F} {MEMORY} (func $outer (export "g") (result i32)
        (call $f (i32.const 0) (i64.const 0) (i32.const 0))))""",
        f=f,
    )
    with pytest.raises(GuestTrap, match="host function failed: ValueError: oops") as caught:
        guest.function("g")()
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.backtrace == ("host!f.0", "m!outer")


def test_nothing_is_left_over_for_the_call_after_a_trap():
    guest = instance(
        f"""(module {MEMORY} (func (export "bad") unreachable)
        (func (export "good") (result i32) (i32.const 3)))"""
    )
    for _ in range(3):
        with pytest.raises(GuestTrap, match="unreachable"):
            guest.function("bad")()
        assert guest.function("good")() == 3


def test_a_host_function_may_call_the_guest():
    guest = instance(
        f"""(module {F} {MEMORY} (func (export "inner") (param i32) (result i32)
          (i32.mul (i32.const 2) (local.get 0)))
        (func (export "outer") (param i32) (result i32)
          (i32.add (local.get 0) (call $f (local.get 0) (i64.const 0) (i32.const 0)))))""",
        f=lambda value, *_: inner(value),
    )
    inner = guest.function("inner")
    assert guest.function("outer")(7) == 21


def test_the_deadline_interrupts():
    guest = instance(f'(module {MEMORY} (func (export "g") (loop (br 0))))')
    guest.gate.set_deadline(2)
    with pytest.raises(GuestTrap, match="interrupt"):
        guest.function("g")()


def test_memory_has_its_limit():
    guest = instance(
        f'(module {MEMORY} (func (export "g") (result i32) (memory.grow (i32.const 16))))',
        Limits(memory_size=1 << 19),
    )
    assert guest.function("g")() == 0xFFFFFFFF


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(module)", "exports no memory named 'memory'"),
        ('(module (func (export "memory")))', "exports no memory named 'memory'"),
        (f"(module {F} {MEMORY})", "no env.f"),
        ('(module (import "env" "memory" (memory 1)))', "imports the memory env.memory"),
        ('(module (import "env" "t" (table 1 funcref)))', "imports the table env.t"),
        ('(module (memory (export "memory") 9999))', "memory"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(text, reason):
    with pytest.raises(ModuleError, match=reason) as caught:
        instance(text)
    assert caught.value.module == "m.wasm"


def test_the_window_sees_what_the_guest_writes_and_grows_on_request():
    guest = instance(
        f"""(module {MEMORY} (func (export "g") (result i32)
        (i32.store (i32.const 8) (i32.const 0x64636261)) (memory.grow (i32.const 1))))"""
    )
    window = MemoryWindow(guest.gate, guest.memory)
    guest.function("g")()
    assert window.chars[8:12] == b"abcd"
    assert window.size == 1 << 16
    assert window.refresh()
    assert window.size == 2 << 16
    assert not window.refresh()
    with pytest.raises(ValueError, match="different structures"):
        window.view[(2 << 16) - 1 : (2 << 16) + 1] = b"xy"


def test_closing_frees_the_store_and_the_window_shows_nothing():
    guest = instance(f"(module {MEMORY})")
    window = MemoryWindow(guest.gate, guest.memory)
    window.close()
    guest.close()
    gc.collect()
    assert window.chars[0:4] == b""
    with pytest.raises(ValueError, match="closed"):
        guest.gate.store.ptr()


def test_types_that_are_no_integers_are_left_out_of_the_arguments():
    seen = []
    guest = instance(
        f"""(module (import "env" "f" (func $f (param f32 i32 f64) (result f64))) {MEMORY}
        (func (export "g") (drop (call $f (f32.const 1) (i32.const 2) (f64.const 3)))))""",
        f=lambda *arguments: seen.append(arguments) or 0,
    )
    guest.function("g")()
    assert seen == [(2,)]


def test_the_shim_names_its_functions_after_the_imports():
    text = shim_text((Import("env", "weird name", ("i32",), ()),))
    assert "$weird_name.0" in text
    wasmtime.wat2wasm(text)


def test_a_report_of_wasmtime_is_taken_apart():
    trap = parse_trap(
        "error while executing at wasm backtrace:\n"
        "    0:     0x2d - flt!inner\n    1: flt!outer\n\n"
        "Caused by:\n    wasm trap: call stack exhausted\n"
    )
    assert (trap.reason, trap.backtrace) == ("call stack exhausted", ("flt!inner", "flt!outer"))
    assert str(trap).splitlines()[1] == "    at flt!inner"
    assert parse_trap("something else").reason == "something else"


def test_an_offer_of_the_engine_is_no_frame():
    trap = parse_trap(
        "error while executing at wasm backtrace:\n    0: 0x12 - f!inner\n"
        "note: using the `WASMTIME_BACKTRACE_DETAILS=1` environment variable may show more"
        " debugging information\n\nCaused by:\n    wasm trap: out of fuel"
    )
    assert (trap.reason, trap.backtrace) == ("out of fuel", ("f!inner",))


def test_structs_have_the_sizes_that_the_raw_calls_assume():
    from wasmtime import _ffi as ffi

    assert ctypes.sizeof(ffi.wasmtime_val_raw_t) == 16
    assert ctypes.sizeof(ffi.wasmtime_func_t) == 16
