import pytest

from meshproxy.proxy_wasm.abi import WASI
from meshproxy.proxy_wasm.wasi import Wasi
from tests.support.wat_filter import Request, World, filter_text


def imported(name: str, module: str) -> str:
    types = " ".join(WASI[name])
    result = "" if name == "proc_exit" else "(result i32)"
    return f'(import "{module}" "{name}" (func ${name} (param {types}) {result}))\n'


def errno(name: str, arguments: str, module: str = "wasi_snapshot_preview1", **settings) -> Request:
    """A request whose callback called a WASI function; its errno is at address 0."""
    text = filter_text(
        imported(name, module)
        + f"""(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (i32.store (i32.const 0) (call ${name} {arguments})) (i32.const 0))"""
    )
    request = Request(World().plugin(text, **settings))
    assert request.headers() == 0
    return request


def zeros(name: str) -> str:
    return " ".join(f"({kind}.const 0)" for kind in WASI[name])


EXPECTED = {
    "fd_read": 52, "fd_close": 0, "fd_seek": 0, "fd_advise": 0, "fd_allocate": 8, "fd_datasync": 8,
    "fd_sync": 8, "fd_fdstat_set_rights": 8, "fd_filestat_set_size": 8,
    "fd_filestat_set_times": 8, "fd_tell": 8, "fd_fdstat_get": 8, "fd_fdstat_set_flags": 52,
    "fd_filestat_get": 8, "fd_prestat_get": 8, "fd_prestat_dir_name": 52, "fd_pread": 52,
    "fd_pwrite": 8, "fd_readdir": 20, "fd_renumber": 8, "path_open": 44,
    "path_filestat_get": 58, "path_create_directory": 58, "path_filestat_set_times": 58,
    "path_link": 58, "path_readlink": 58, "path_remove_directory": 58, "path_rename": 58,
    "path_symlink": 58, "path_unlink_file": 58, "sock_accept": 58, "sock_recv": 58,
    "sock_send": 58, "sock_shutdown": 58, "fd_write": 8, "environ_get": 0,
    "environ_sizes_get": 0, "args_get": 0, "args_sizes_get": 0, "clock_time_get": 0,
    "clock_res_get": 0, "random_get": 0, "sched_yield": 0, "poll_oneoff": 0,
}  # fmt: skip


def test_every_function_of_the_table_exists_and_is_tested():
    assert EXPECTED.keys() | {"proc_exit"} == WASI.keys()
    assert all(callable(getattr(Wasi, name)) for name in WASI)


@pytest.mark.parametrize("module", ["wasi_snapshot_preview1", "wasi_unstable"])
@pytest.mark.parametrize(("name", "wanted"), EXPECTED.items())
def test_each_answers_zeros_with_its_errno_under_both_names(name, wanted, module):
    assert errno(name, zeros(name), module).words(0) == [wanted]


@pytest.mark.parametrize("name", ["fd_allocate", "fd_sync", "fd_tell", "fd_fdstat_get"])
def test_standard_output_is_open(name):
    arguments = zeros(name).replace("(i32.const 0)", "(i32.const 1)", 1)
    assert errno(name, arguments).words(0) == [0]


def test_the_stream_may_be_written():
    request = errno("fd_fdstat_get", "(i32.const 2) (i32.const 16)")
    assert request.words(16, 6) == [0, 0, 64, 0, 0, 0]


WRITE = """(func $w (param i32) (result i32)
  (i32.store (i32.const 16) (i32.const 100)) (i32.store (i32.const 20) (i32.const 5))
  (i32.store (i32.const 24) (i32.const 105)) (i32.store (i32.const 28) (i32.const 6))
  (call $fd_write (local.get 0) (i32.const 16) (i32.const 2) (i32.const 32)))
(data (i32.const 100) "hello world\\0a")"""


@pytest.mark.parametrize(("fd", "level"), [(1, "INFO"), (2, "ERROR")])
def test_what_a_guest_prints_is_logged_without_its_last_newline(fd, level, caplog):
    caplog.set_level("DEBUG", "meshproxy.wasm")
    text = filter_text(
        imported("fd_write", "wasi_unstable")
        + WRITE.replace("(i32.const 6))", "(i32.const 7))", 1)
        + f"""(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (i32.store (i32.const 0) (call $w (i32.const {fd}))) (i32.const 0))"""
    )
    request = Request(World().plugin(text, name="p"))
    request.headers()
    assert request.words(0) == [0]
    assert request.words(32) == [12]
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        (level, "wasm log p: hello world")
    ]


def test_the_environment_is_the_configurations():
    settings = {"environment_variables": {"A": "1", "LONG": "värde"}}
    text = filter_text(
        imported("environ_get", "wasi_unstable")
        + imported("environ_sizes_get", "wasi_unstable")
        + """(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (drop (call $environ_sizes_get (i32.const 0) (i32.const 4)))
          (drop (call $environ_get (i32.const 16) (i32.const 64))) (i32.const 0))"""
    )
    request = Request(World().plugin(text, **settings))
    request.headers()
    wanted = "A=1\0LONG=värde\0".encode()
    assert request.words(0, 2) == [2, len(wanted)]
    assert request.words(16, 2) == [64, 68]
    assert request.plugin.vm.memory.read(64, len(wanted)) == wanted


@pytest.mark.parametrize(("clock", "wanted"), [(0, 0), (1, 0), (2, 58)])
def test_there_are_two_clocks(clock, wanted):
    request = errno("clock_time_get", f"(i32.const {clock}) (i64.const 0) (i32.const 16)")
    assert request.words(0) == [wanted]
    assert any(request.words(16, 2)) is (wanted == 0)


@pytest.mark.parametrize(("size", "wanted"), [(64, 0), (65536, 0), (65537, 28)])
def test_random_bytes_are_bounded(size, wanted):
    request = errno("random_get", f"(i32.const 1024) (i32.const {size})")
    assert request.words(0) == [wanted]
    assert any(request.words(1024, 16)) is (wanted == 0)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("random_get", "(i32.const 0x7fffff00) (i32.const 9)"),
        ("fd_write", "(i32.const 1) (i32.const 0x7fffff00) (i32.const 1) (i32.const 0)"),
        ("clock_time_get", "(i32.const 0) (i64.const 0) (i32.const 0x7fffff00)"),
        ("poll_oneoff", "(i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0x7fffff00)"),
    ],
)
def test_an_address_outside_the_memory_is_efault(name, arguments):
    assert errno(name, arguments).words(0) == [21]


def test_assemblyscripts_abort_is_a_trap_with_its_text(caplog):
    text = filter_text("""
    (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
    (data (i32.const 100) "\\04\\00\\00\\00n\\00o\\00")
    (data (i32.const 120) "\\02\\00\\00\\00f\\00")
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (call $abort (i32.const 104) (i32.const 124) (i32.const 7) (i32.const 3)) (i32.const 0))""")
    request = Request(World().plugin(text))
    request.headers()
    assert request.callbacks.reply.status == 503
    assert "abort: no at f:7:3" in caplog.text
