"""What one request costs inside the Proxy-Wasm host: run by hand, prints microseconds.

    python -m tests.perf.proxy_wasm_micro [--profile]

The filter does the work of the prototype: three header reads, all headers, one added and one
replaced in the request; all headers and one added in the response; create, log, done, delete.
"""

from __future__ import annotations

import cProfile
import sys
import time

import wasmtime

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.stream_info import StreamInfo
from meshproxy.proxy_wasm.config import PluginConfig, VmConfig
from meshproxy.proxy_wasm.plugin import Plugin
from meshproxy.proxy_wasm.services import Services
from meshproxy.proxy_wasm.vm_pool import VmPool
from meshproxy.stats.store import Store
from meshproxy.wasm.code_source import InlineCode
from meshproxy.wasm.engine import Engine
from tests.support.fake_stream import FakeDispatcher

FILTER = """(module
 (import "env" "proxy_get_header_map_value"
   (func $get (param i32 i32 i32 i32 i32) (result i32)))
 (import "env" "proxy_add_header_map_value"
   (func $add (param i32 i32 i32 i32 i32) (result i32)))
 (import "env" "proxy_replace_header_map_value"
   (func $replace (param i32 i32 i32 i32 i32) (result i32)))
 (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
 (memory (export "memory") 2)
 (data (i32.const 1024) ":path") (data (i32.const 1040) ":authority")
 (data (i32.const 1056) "user-agent") (data (i32.const 1072) "x-filter")
 (data (i32.const 1088) "hello")
 (global $heap (mut i32) (i32.const 8192))
 (func (export "proxy_abi_version_0_2_1"))
 (func (export "proxy_on_memory_allocate") (param i32) (result i32) (local $at i32)
   (local.set $at (global.get $heap))
   (global.set $heap (i32.and (i32.const -16)
     (i32.add (i32.add (global.get $heap) (local.get 0)) (i32.const 15))))
   (if (i32.gt_u (global.get $heap) (i32.const 120000))
     (then (global.set $heap (i32.const 8192))))
   (local.get $at))
 (func (export "proxy_on_context_create") (param i32 i32))
 (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
   (drop (call $get (i32.const 0)
     (i32.const 1024) (i32.const 5) (i32.const 16) (i32.const 20)))
   (drop (call $get (i32.const 0)
     (i32.const 1040) (i32.const 10) (i32.const 16) (i32.const 20)))
   (drop (call $get (i32.const 0)
     (i32.const 1056) (i32.const 10) (i32.const 16) (i32.const 20)))
   (drop (call $pairs (i32.const 0) (i32.const 16) (i32.const 20)))
   (drop (call $add (i32.const 0)
     (i32.const 1072) (i32.const 8) (i32.const 1088) (i32.const 5)))
   (drop (call $replace (i32.const 0)
     (i32.const 1056) (i32.const 10) (i32.const 1088) (i32.const 5)))
   (i32.const 0))
 (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
   (drop (call $pairs (i32.const 2) (i32.const 16) (i32.const 20)))
   (drop (call $add (i32.const 2)
     (i32.const 1072) (i32.const 8) (i32.const 1088) (i32.const 5)))
   (i32.const 0))
 (func (export "proxy_on_done") (param i32) (result i32) (i32.const 1))
 (func (export "proxy_on_log") (param i32))
 (func (export "proxy_on_delete") (param i32)))"""

REQUEST = [
    (b":authority", b"localhost:9002"),
    (b":path", b"/foo"),
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b"user-agent", b"curl/8.0"),
    (b"accept", b"*/*"),
    (b"x-forwarded-proto", b"http"),
    (b"x-request-id", b"f47ac10b-58cc-4372-a567-0e02b2c3d479"),
]
RESPONSE = [
    (b":status", b"200"),
    (b"content-type", b"text/plain"),
    (b"content-length", b"35"),
    (b"server", b"x"),
]


class Callbacks:
    """The cheapest stream there can be."""

    def __init__(self) -> None:
        self.info = StreamInfo()

    def request_headers_changed(self, names: list[bytes]) -> None:
        pass


def make_plugin(text: str) -> Plugin:
    """A plugin in an engine of its own."""
    pool = VmPool(Services(FakeDispatcher(), Store(), Engine()))
    code = bytes(wasmtime.wat2wasm(text))
    return Plugin(pool, PluginConfig(VmConfig(InlineCode(code)), "micro"))


def run(plugin: Plugin, count: int) -> None:
    """As many requests."""
    for _ in range(count):
        request, response = HeaderMap(REQUEST.copy()), HeaderMap(RESPONSE.copy())
        context = plugin.new_filter()
        context.set_callbacks(Callbacks())  # type: ignore[arg-type]
        context.decode_headers(request, True)
        context.encode_headers(response, False)
        context.on_stream_complete()
        context.on_destroy()


def idle(count: int) -> None:
    """What the loop costs without a filter."""
    for _ in range(count):
        HeaderMap(REQUEST.copy()), HeaderMap(RESPONSE.copy())
        Callbacks()


def main() -> None:
    """Print the best of several rounds."""
    plugin = make_plugin(FILTER)
    run(plugin, 2000)
    if "--profile" in sys.argv:
        cProfile.runctx("run(plugin, 50000)", globals(), {"plugin": plugin}, sort="tottime")
        return
    best, base = 1e9, 1e9
    for _ in range(10):
        start = time.perf_counter()
        run(plugin, 5000)
        middle = time.perf_counter()
        idle(5000)
        best = min(best, middle - start)
        base = min(base, time.perf_counter() - middle)
    print(
        f"{(best - base) / 5000 * 1e6:.1f} us a request (+ {base / 5000 * 1e6:.1f} us of the loop)"
    )


if __name__ == "__main__":
    main()
