"""Modules that cannot be used, limits, traps: each ends with a text that names the culprit."""

import time

import pytest
import wasmtime

from meshproxy.proxy_wasm.hostcalls import Hostcalls
from meshproxy.wasm.errors import ModuleError
from tests.support.wat_filter import ALLOCATOR, Request, World, filter_text

HEADERS = '(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {})'
GOOD = bytes(wasmtime.wat2wasm(filter_text("")))


def refused(code: str | bytes, **settings) -> str:
    """Why a module is not taken; the text names it."""
    with pytest.raises(ModuleError) as caught:
        World().plugin(code, **settings)
    assert str(caught.value).startswith("filter.wasm: ")
    return str(caught.value)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (b"not wasm at all", "not a Wasm module"),
        (b"\0asm", "only 4 bytes"),
        (b"\0asm\x0d\0\1\0", "not a core Wasm module"),
        (GOOD[:-3], "truncated"),
        (GOOD[:10] + b"\xff" + GOOD[11:], "offset"),
        (b"", "is empty"),
        (b"\0" * ((64 << 20) + 1), "larger than 64 MiB"),
    ],
)
def test_bytes_that_are_no_module_are_refused(code, reason):
    assert reason in refused(code)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (filter_text("", marker=""), "Missing or unknown Proxy-Wasm ABI version"),
        (
            filter_text('(func (export "proxy_abi_version_9_9_9"))', marker=""),
            "Missing or unknown Proxy-Wasm ABI version",
        ),
        (filter_text("", memory="(memory 1)"), "exports no memory named 'memory'"),
        (filter_text("", allocator=""), "exports no allocator: neither proxy_on_memory_allocate"),
        (filter_text('(import "env" "nope" (func))'), "missing import: env.nope () -> nothing"),
        (filter_text('(import "other" "proxy_log" (func))'), "missing import: other.proxy_log"),
        (
            filter_text('(import "env" "proxy_log" (func (param i32) (result i32)))'),
            "bad import: env.proxy_log (i32) -> i32, want (i32, i32, i32) -> i32",
        ),
        (
            filter_text('(import "wasi_unstable" "fd_write" (func (param i32)))'),
            "bad import: wasi_unstable.fd_write (i32) -> nothing, want (i32, i32, i32, i32) -> i32",
        ),
        (filter_text('(import "env" "g" (global i32))'), "imports the global env.g"),
        (
            filter_text('(func (export "proxy_on_log") (param i64))'),
            "Bad function signature for: proxy_on_log, it is (i64) -> nothing",
        ),
        (
            filter_text(
                '(func (export "proxy_on_request_body") (param i32 i32) (result i32) i32.const 0)'
            ),
            "Bad function signature for: proxy_on_request_body",
        ),
        (filter_text("(func $s unreachable) (start $s)"), "meshproxy:start failed"),
        (filter_text('(func (export "_initialize") unreachable)'), "_initialize failed"),
        (
            filter_text('(func (export "proxy_on_context_create") (param i32 i32) unreachable)'),
            "proxy_on_context_create failed: wasm `unreachable` instruction executed",
        ),
        (
            filter_text(
                '(func (export "proxy_on_vm_start") (param i32 i32) (result i32) i32.const 0)'
            ),
            "proxy_on_vm_start returned false",
        ),
        (
            filter_text(
                '(func (export "proxy_on_configure") (param i32 i32) (result i32) i32.const 0)'
            ),
            "proxy_on_configure returned false",
        ),
        (
            filter_text(
                '(func (export "proxy_on_configure") (param i32 i32) (result i32) unreachable)'
            ),
            "proxy_on_configure failed",
        ),
        (filter_text("", memory='(memory (export "memory") 2000)'), "memory"),
        (filter_text('(data (i32.const 0x7fffff00) "x")'), "out of bounds memory access"),
    ],
)
def test_a_module_that_cannot_be_used_is_refused_with_the_reason(text, reason):
    assert reason in refused(text)


def test_a_proposal_that_no_filter_needs_is_refused():
    text = '(module (memory (export "memory") i64 1))'
    assert "memory64" in refused(bytes(wasmtime.wat2wasm(text)))


def test_an_unknown_hostcall_answers_12_and_is_named_once_or_refuses_the_module(caplog):
    text = filter_text(
        '(import "env" "proxy_vendor" (func $vendor (param i32 i64 f64) (result i32)))\n'
        + HEADERS.format(
            """(drop (call $vendor (i32.const 1) (i64.const 2) (f64.const 3)))
            (i32.store (i32.const 0) (call $vendor (i32.const 1) (i64.const 2) (f64.const 3)))
            (i32.const 0)"""
        )
    )
    request = Request(World().plugin(text))
    request.headers()
    assert request.words(0) == [12]
    assert caplog.text.count("env.proxy_vendor (i32, i64, f64) -> i32") == 1
    assert "missing import" in refused(text, strict_imports=True)


def test_a_hostcall_may_be_imported_without_its_result():
    text = filter_text(
        '(import "env" "proxy_continue_request" (func $go))\n'
        + HEADERS.format("(call $go) (i32.const 0)")
    )
    assert Request(World().plugin(text)).headers() == 0


# -- start -----------------------------------------------------------------------------------


def test_the_start_function_can_use_hostcalls_that_need_memory(caplog):
    caplog.set_level("INFO", "meshproxy.wasm")
    World().plugin(
        filter_text('(func $s (drop (call $proxy_log (i32.const 2) "from start"/))) (start $s)'),
        name="as",
    )
    assert "wasm log as: from start" in caplog.text


NOTE = """(func $note (param i32)
    (i32.store8 (i32.add (i32.const 256) (i32.load (i32.const 252))) (local.get 0))
    (i32.store (i32.const 252) (i32.add (i32.const 1) (i32.load (i32.const 252)))))
  (func (export "proxy_on_context_create") (param i32 i32) (call $note (i32.const 99)))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
    (i32.store (i32.const 0) (local.get 1)) (call $note (i32.const 118)) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (i32.store (i32.const 4) (local.get 1)) (call $note (i32.const 103)) (i32.const 1))"""


@pytest.mark.parametrize(
    ("functions", "wanted"),
    [
        ('(func (export "_initialize") (call $note (i32.const 105)))', b"icvg"),
        ('(func (export "_start") (call $note (i32.const 115)))', b"scvg"),
        (
            '(func (export "_start") unreachable)'
            '(func (export "_initialize") (call $note (i32.const 105)))'
            '(func (export "main") (param i32 i32) (result i32) (call $note (i32.const 109))'
            " (i32.const 0))",
            b"imcvg",
        ),
        (
            '(func (export "_initialize") (call $note (i32.const 105)))'
            '(func (export "__main_void") (result i32) (call $note (i32.const 77)) (i32.const 0))',
            b"iMcvg",
        ),
        ("(func $s (call $note (i32.const 36))) (start $s)", b"$cvg"),
    ],
)
def test_start_functions_run_in_envoys_order(functions, wanted):
    plugin = World().plugin(
        filter_text(NOTE + functions), vm_configuration=b"vm", configuration=b"plugin"
    )
    assert plugin.vm.memory.read(256, len(wanted)) == wanted
    assert plugin.vm.memory.read(0, 8) == b"\2\0\0\0\6\0\0\0"


def test_what_emscriptens_library_imports_is_there():
    text = filter_text(
        """(import "env" "pthread_equal" (func $equal (param i32 i32) (result i32)))
        (import "env" "emscripten_notify_memory_growth" (func $grown (param i32)))
        (func (export "_initialize") (call $grown (i32.const 0))
          (i32.store (i32.const 0) (call $equal (i32.const 7) (i32.const 7)))
          (i32.store (i32.const 4) (call $equal (i32.const 7) (i32.const 8))))"""
    )
    assert World().plugin(text).vm.memory.read(0, 8) == b"\1\0\0\0" + bytes(4)


def test_proc_exit_0_in_start_is_a_success_and_1_is_not():
    text = """(import "wasi_unstable" "proc_exit" (func $exit (param i32)))
    (func (export "_start") (call $exit (i32.const {})) unreachable)"""
    assert World().plugin(filter_text(text.format(0))).vm is not None
    assert "_start failed: host function failed: ProcExit" in refused(filter_text(text.format(1)))


def test_configurations_can_be_read_only_while_they_are_given():
    text = filter_text("""
      (func $get (param i32 i32) (i32.store (local.get 1)
        (call $proxy_get_buffer_bytes (local.get 0) (i32.const 0) (i32.const -1)
          (i32.add (local.get 1) (i32.const 4)) (i32.add (local.get 1) (i32.const 8)))))
      (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
        (call $get (i32.const 6) (i32.const 16)) (call $get (i32.const 7) (i32.const 32))
        (i32.const 1))
      (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (call $get (i32.const 6) (i32.const 48)) (call $get (i32.const 7) (i32.const 64))
        (i32.const 1))""")
    plugin = World().plugin(text, vm_configuration=b"vm", configuration=b"plugin")
    request = Request(plugin)
    assert [request.words(at)[0] for at in (16, 32, 48, 64)] == [0, 1, 0, 0]
    assert request.text(20) == request.text(52) == b"vm"
    assert request.text(68) == b"plugin"


def test_get_configuration_of_abi_0_1_0_gives_what_is_being_started():
    text = filter_text("""
      (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
        (drop (call $proxy_get_configuration (i32.const 16) (i32.const 20))) (i32.const 1))
      (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (drop (call $proxy_get_configuration (i32.const 24) (i32.const 28))) (i32.const 1))""")
    request = Request(World().plugin(text, vm_configuration=b"vm", configuration=b"plugin"))
    assert (request.text(16), request.text(24)) == (b"vm", b"plugin")


def test_the_allocator_of_the_specification_is_preferred_to_malloc():
    text = filter_text(
        HEADERS.format(
            """(drop (call $proxy_get_header_map_value (i32.const 0) ":path"/
            (i32.const 16) (i32.const 20))) (i32.const 0)"""
        ),
        allocator=ALLOCATOR + '(func (export "malloc") (param i32) (result i32) unreachable)',
    )
    request = Request(World().plugin(text))
    request.headers()
    assert request.text(16) == b"/cart?item=7"


# -- traps and limits --------------------------------------------------------------------------


def failing(body: str, **settings) -> Request:
    """A request whose callback did not return."""
    plugin = World().plugin(filter_text(HEADERS.format(body)), name="bad", **settings)
    request = Request(plugin)
    request.headers()
    assert request.callbacks.reply.status == 503
    assert request.callbacks.reply.details == "wasm_fail_stream"
    assert plugin.vm is None
    return request


def test_a_trap_fails_the_vm_and_the_log_has_the_backtrace_with_names(caplog):
    plugin = World().plugin(
        filter_text(
            "(func $culprit unreachable)" + HEADERS.format("(call $culprit) (i32.const 0)")
        ),
        name="bad",
    )
    Request(plugin).headers()
    assert "Function: proxy_on_request_headers failed: wasm `unreachable`" in caplog.text
    assert "0:  filter!culprit" in caplog.text


def test_an_endless_loop_is_ended_after_its_time(caplog):
    began = time.monotonic()
    failing("(loop (br 0)) (i32.const 0)", callback_timeout=0.02)
    assert time.monotonic() - began < 5
    spent = "failed: interrupt after 0.02 s of the processor's time"
    assert f"{spent} (MESHPROXY_CALLBACK_TIMEOUT)" in caplog.text
    endless = filter_text('(func (export "_initialize") (loop (br 0)))')
    with pytest.raises(
        ModuleError, match=r"after 0\.03 s of .* \(MESHPROXY_START_TIMEOUT, \.\.\._RE"
    ):
        World().plugin(endless, start_timeout=0.03)


GREEDY = "(drop (memory.grow (i32.const 32))) unreachable"


def test_a_guest_that_ends_when_its_memory_does_is_told_about_with_its_limit(caplog):
    failing(GREEDY, memory_size=2 << 20)
    assert "instruction executed\n" in caplog.text  # far from its limit: it got none of the 2 MiB
    caplog.clear()
    failing(GREEDY, memory_size=(2 << 20) + (2 << 16))
    assert "(with 2.125 of at most 2.125 MiB of memory: MESHPROXY_MEMORY_LIMIT)" in caplog.text


def test_a_start_that_takes_all_memory_says_so():
    text = filter_text(
        f"""(func (export "_initialize") {GREEDY})""",
    )
    with pytest.raises(ModuleError, match=r"_initialize failed: .*2\.125 of at most 2\.5 MiB"):
        World().plugin(text, memory_size=5 << 19)


def use_processor(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_the_deadline_is_new_for_every_callback():
    plugin = World().plugin(filter_text(HEADERS.format("(i32.const 0)")), callback_timeout=0.05)
    for _ in range(30):
        assert Request(plugin).headers() == 0
        use_processor(0.005)  # the ticker's time passes, and each request has its own
    assert plugin.vm is not None


def test_a_callback_that_begins_late_still_has_its_full_time():
    plugin = World().plugin(filter_text(HEADERS.format("(i32.const 0)")), callback_timeout=0.01)
    use_processor(0.1)  # many epochs: an old deadline would be over
    assert Request(plugin).headers() == 0
    assert plugin.vm is not None


def test_a_memory_bomb_gets_no_more_than_its_limit():
    text = filter_text(
        HEADERS.format(
            """(local $i i32)
            (loop $grow (br_if $grow (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
            (i32.store (i32.const 0) (memory.size)) (i32.const 0)"""
        )
    )
    request = Request(World().plugin(text, memory_size=4 << 20))
    assert request.headers() == 0
    assert 48 <= request.words(0)[0] <= 64


def test_endless_recursion_is_a_trap():
    text = "(func $down (result i32) (i32.add (i32.const 1) (call $down)))"
    plugin = World().plugin(filter_text(text + HEADERS.format("(call $down)")))
    request = Request(plugin)
    request.headers()
    assert request.callbacks.reply.status == 503


def test_recursion_through_the_allocator_is_a_trap_and_not_a_crash():
    text = filter_text(
        """(func $read (result i32) (call $proxy_get_header_map_pairs (i32.const 0)
          (i32.const 16) (i32.const 20)))"""
        + HEADERS.format("(call $read)"),
        allocator="""(func (export "malloc") (param i32) (result i32)
          (drop (call $read)) (i32.const 4096))""",
    )
    request = Request(World().plugin(text))
    request.headers()
    assert request.callbacks.reply.status == 503


def test_a_trap_in_the_allocator_is_the_reason_that_is_logged(caplog):
    text = filter_text(
        HEADERS.format(
            """(call $proxy_get_header_map_pairs (i32.const 0) (i32.const 16) (i32.const 20))"""
        ),
        allocator='(func $oom (export "malloc") (param i32) (result i32) unreachable)',
    )
    request = Request(World().plugin(text))
    request.headers()
    assert request.callbacks.reply.status == 503
    assert "wasm `unreachable` instruction executed" in caplog.text
    assert "filter!oom" in caplog.text
    assert "host!proxy_get_header_map_pairs" in caplog.text


def test_an_exception_in_a_hostcall_is_a_trap_with_its_traceback_in_the_log(monkeypatch, caplog):
    def broken(self, level, message_data, message_size):
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(Hostcalls, "proxy_log", broken)
    failing('(call $proxy_log (i32.const 2) "x"/)')
    assert "host function failed: ZeroDivisionError: a fault of ours" in caplog.text
    assert "Traceback" in caplog.text


def test_an_interrupt_from_the_keyboard_in_a_hostcall_reaches_the_caller(monkeypatch):
    def interrupted(self, level, message_data, message_size):
        raise KeyboardInterrupt

    monkeypatch.setattr(Hostcalls, "proxy_log", interrupted)
    plugin = World().plugin(filter_text(HEADERS.format('(call $proxy_log (i32.const 2) "x"/)')))
    with pytest.raises(KeyboardInterrupt):
        Request(plugin).headers()


def test_guest_code_cannot_be_entered_while_it_runs():
    plugin = World().plugin(filter_text(HEADERS.format("(i32.const 0)")))
    request = Request(plugin)
    plugin.vm.current = plugin.vm.context
    with pytest.raises(RuntimeError, match="while guest code is running"):
        request.headers()


@pytest.mark.parametrize(
    "body",
    [
        "(call $proxy_log (i32.const 2) (i32.const -4) (i32.const 8))",
        "(call $proxy_get_property (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 0))",
        f"(call $proxy_send_local_response {'(i32.const -1) ' * 8})",
        f"(call $proxy_http_call {'(i32.const -1) ' * 10})",
        "(call $proxy_set_tick_period_milliseconds (i32.const -1))",
    ],
)
def test_the_wildest_arguments_are_a_status(body):
    plugin = World().plugin(filter_text(HEADERS.format(f"(drop {body}) (i32.const 0)")))
    assert Request(plugin).headers() == 0
    assert plugin.vm is not None


# -- capabilities ------------------------------------------------------------------------------


def test_capabilities_that_are_not_allowed_answer_or_are_never_called(caplog):
    text = filter_text(
        HEADERS.format(
            """(i32.store (i32.const 0) (call $proxy_log (i32.const 2) "x"/))
            (i32.store (i32.const 4) (call $fd_close (i32.const 1))) (i32.const 0)"""
        )
        + '\n(import "wasi_unstable" "fd_close" (func $fd_close (param i32) (result i32)))\n'
        + '(func (export "proxy_on_log") (param i32) unreachable)'
    )
    allowed = frozenset({"proxy_on_request_headers"})
    plugin = World().plugin(text, allowed_capabilities=allowed)
    request = Request(plugin)
    assert request.headers() == 0
    request.end()
    assert request.words(0, 2) == [10, 76]
    assert "restricted proxy-wasm capability: proxy_log" in caplog.text
    assert plugin.vm is not None
