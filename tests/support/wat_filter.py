"""Proxy-Wasm filters written in WAT, and the plugin that runs one under test.

`filter_text` adds what every filter must have (marker, memory, allocator) to the functions of a
test.
Strings are placed with `text`: `$name` in the WAT becomes `(i32.const address) (i32.const size)`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import wasmtime

from meshproxy.http.buffer import Buffer
from meshproxy.http.header_map import HeaderMap
from meshproxy.proxy_wasm.abi import HOSTCALLS
from meshproxy.proxy_wasm.config import PluginConfig, VmConfig
from meshproxy.proxy_wasm.memory import Memory
from meshproxy.proxy_wasm.plugin import Plugin
from meshproxy.proxy_wasm.services import Services
from meshproxy.proxy_wasm.stream_context import StreamContext
from meshproxy.proxy_wasm.vm_pool import VmPool
from meshproxy.stats.store import Store
from meshproxy.wasm.code_source import InlineCode
from meshproxy.wasm.engine import Engine
from meshproxy.wasm.limits import Limits
from tests.support.fake_stream import FakeCallbacks, FakeDispatcher

ENGINE = Engine()
MARKER = '(func (export "proxy_abi_version_0_2_1"))'
MEMORY = '(memory (export "memory") 2)'
ALLOCATOR = """(global $heap (mut i32) (i32.const 65536))
 (func (export "proxy_on_memory_allocate") (param i32) (result i32)
   (global.get $heap)
   (global.set $heap (i32.and (i32.const -16)
     (i32.add (global.get $heap) (i32.add (local.get 0) (i32.const 15))))))"""


def filter_text(
    functions: str, *, marker: str = MARKER, memory: str = MEMORY, allocator: str = ALLOCATOR
) -> str:
    """A module: hostcalls used as `(call $proxy_x …)` are imported, `"text"/` is a string's
    place."""
    strings: dict[str, int] = {}
    at = 4096

    def place(match: re.Match[str]) -> str:
        nonlocal at
        value = match[1]
        size = len(value.encode().decode("unicode_escape"))
        if value not in strings:
            strings[value] = at
            at += (size + 16) & ~15
        return f"(i32.const {strings[value]}) (i32.const {size})"

    body = re.sub(r'"([^"\n]*)"/', place, functions)
    imports = []
    for name in sorted(set(re.findall(r"\(call \$(proxy_\w+)", body))):
        types = " ".join(HOSTCALLS[name].types)
        imports.append(f'(import "env" "{name}" (func ${name} (param {types}) (result i32)))')
    data = [f'(data (i32.const {where}) "{_wat(text)}")' for text, where in strings.items()]
    # What a test's function defines as an import has to stand first.
    own = re.findall(r"^\s*\(import .*\)\s*$", body, re.MULTILINE)
    body = re.sub(r"^\s*\(import .*\)\s*$", "", body, flags=re.MULTILINE)
    parts = ["(module $filter", *own, *imports, memory, *data, marker, allocator, body, ")"]
    return "\n".join(parts)


def _wat(text: str) -> str:
    raw = text.encode().decode("unicode_escape").encode("latin-1")
    return "".join(f"\\{byte:02x}" for byte in raw)


@dataclass
class World:
    """Services and pool of one test."""

    dispatcher: FakeDispatcher = field(default_factory=FakeDispatcher)
    store: Store = field(default_factory=Store)
    services: Services = field(init=False)
    pool: VmPool = field(init=False)

    def __post_init__(self) -> None:
        self.services = Services(self.dispatcher, self.store, ENGINE, monotonic=self.nanoseconds)
        self.pool = VmPool(self.services)

    def nanoseconds(self) -> int:
        """The dispatcher's clock: what a VM does takes no time."""
        return round(self.dispatcher.now() * 1e9)

    def plugin(self, wat: str | bytes, **settings: Any) -> Plugin:
        """A started plugin; settings of VmConfig and PluginConfig by name, `memory_size` too."""
        code = wat if isinstance(wat, bytes) else bytes(wasmtime.wat2wasm(wat))
        vm_names = {*VmConfig.__dataclass_fields__} - {"configuration"}
        limits = {name: settings.pop(name) for name in LIMITS if name in settings}
        vm = {name: settings.pop(name) for name in vm_names if name in settings}
        if limits:
            vm["limits"] = Limits(**limits)
        vm["configuration"] = settings.pop("vm_configuration", b"")
        source = vm.pop("code", None) or InlineCode(code, "filter.wasm")
        return Plugin(self.pool, PluginConfig(VmConfig(source, **vm), **settings))


LIMITS = tuple(Limits.__dataclass_fields__)

REQUEST = [
    (b":authority", b"shop.example"),
    (b":path", b"/cart?item=7"),
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b"user-agent", b"curl/8.0"),
    (b"x-many", b"one"),
    (b"x-many", b"two"),
]
RESPONSE = [(b":status", b"200"), (b"content-type", b"text/plain"), (b"content-length", b"5")]


class Request:
    """One stream through one plugin, driven phase by phase."""

    def __init__(self, plugin: Plugin) -> None:
        self.plugin = plugin
        self.callbacks = FakeCallbacks()
        self.filter = plugin.new_filter()
        self.filter.set_callbacks(self.callbacks)
        self.request = HeaderMap(list(REQUEST))
        self.response = HeaderMap(list(RESPONSE))

    @property
    def context(self) -> StreamContext:
        """The filter, which is the plugin's context."""
        assert isinstance(self.filter, StreamContext)
        return self.filter

    @property
    def events(self) -> list[Any]:
        """What the filter asked the stream for, routing aside."""
        return [each for each in self.callbacks.events if each != "clear_route_cache"]

    def headers(self, end_stream: bool = True) -> int:
        """The request's headers."""
        self.callbacks.info.request_headers = self.request
        return self.filter.decode_headers(self.request, end_stream)

    def body(self, data: bytes, end_stream: bool = False) -> tuple[int, bytes]:
        """A piece of the request's body; the status, and what is left in the piece."""
        buffer = Buffer(data)
        self.callbacks.last_data = end_stream
        status = self.filter.decode_data(buffer, end_stream)
        self.callbacks.last_data = False
        if status in (1, 2):
            held = self.callbacks.decoding_buffer = self.callbacks.decoding_buffer or Buffer()
            held.append_buffer(buffer)
        return status, buffer.peek()

    def trailers(self, *pairs: tuple[bytes, bytes]) -> int:
        """The request's trailers."""
        self.callbacks.info.request_trailers = HeaderMap(pairs)
        return self.filter.decode_trailers(self.callbacks.info.request_trailers)

    def answer(self, end_stream: bool = False) -> int:
        """The response's headers."""
        self.callbacks.info.response_headers = self.response
        return self.filter.encode_headers(self.response, end_stream)

    def answer_body(self, data: bytes, end_stream: bool = False) -> tuple[int, bytes]:
        """A piece of the response's body."""
        buffer = Buffer(data)
        self.callbacks.last_data = end_stream
        status = self.filter.encode_data(buffer, end_stream)
        self.callbacks.last_data = False
        if status in (1, 2):
            held = self.callbacks.encoding_buffer = self.callbacks.encoding_buffer or Buffer()
            held.append_buffer(buffer)
        return status, buffer.peek()

    def end(self) -> None:
        """Log, done, delete."""
        self.filter.on_stream_complete()
        self.filter.on_destroy()

    def words(self, address: int, count: int = 1) -> list[int]:
        """u32 words of the guest's memory."""
        memory = memory_of(self.plugin)
        data = memory.read(address, 4 * count)
        return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]

    def text(self, address: int) -> bytes:
        """The bytes that the (pointer, size) pair at `address` stands for."""
        at, size = self.words(address, 2)
        return memory_of(self.plugin).read(at, size)


def memory_of(plugin: Plugin) -> Memory:
    """The memory of a plugin's VM."""
    assert plugin.vm is not None
    return plugin.vm.memory
