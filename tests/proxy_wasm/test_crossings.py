"""How a request crosses into Wasm and back: by raw calls, past wasmtime's own Python layer."""

import sys
from pathlib import Path

import pytest
import wasmtime

from meshproxy.resources import filters_directory
from tests.support.wat_filter import Request, World

PACKAGE = str(Path(wasmtime.__file__).parent)


class Watch:
    """The functions of the package `wasmtime` that Python runs in this thread meanwhile."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def __enter__(self) -> set[str]:
        sys.setprofile(self._note)
        return self.seen

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame, event, _argument) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            self.seen.add(frame.f_code.co_qualname)


def exchange(plugin) -> None:
    """One whole request."""
    request = Request(plugin)
    request.headers(end_stream=False)
    request.body(b"body", end_stream=True)
    request.answer()
    request.answer_body(b"body", end_stream=True)
    request.end()


@pytest.mark.parametrize("abi_core", [True, False])
@pytest.mark.parametrize("name", ["bench_headers", "json_redact", "rate_limit"])
def test_no_request_runs_code_of_wasmtimes_python_package(name, abi_core):
    code = (filters_directory() / f"{name}.wasm").read_bytes()
    configuration = {"json_redact": b"request field card", "rate_limit": b"requests 5"}
    plugin = World().plugin(code, abi_core=abi_core, configuration=configuration.get(name, b""))
    exchange(plugin)
    with Watch() as seen:
        exchange(plugin)
    assert seen == set()


def test_what_the_watch_looks_for_is_seen():
    store = wasmtime.Store()
    text = '(module (import "" "f" (func $f)) (func (export "g") (call $f)))'
    module = wasmtime.Module(store.engine, text)
    host = wasmtime.Func(store, wasmtime.FuncType([], []), lambda: None)
    function = wasmtime.Instance(store, module, [host]).exports(store)["g"]
    with Watch() as seen:
        function(store)
    assert {"Func.__call__", "trampoline"} <= seen
