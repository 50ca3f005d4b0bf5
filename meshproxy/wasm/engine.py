"""The process's wasmtime engine: how modules are compiled, and the epoch they run under.

Owns the one `Config`, compiled modules by content, and the ticker. Refuses to link or run anything.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import wasmtime
from wasmtime import Config, FuncType, Module, WasmtimeError

from meshproxy.wasm.binary import MalformedBinaryError, export_start
from meshproxy.wasm.errors import ModuleError
from meshproxy.wasm.limits import Ticker
from meshproxy.wasm.module_cache import ModuleCache, default_directory
from meshproxy.wasm.signatures import Import, Signature, type_names

# What no filter needs is off: less to attack, and a module that wants it is refused by name.
OFF: Final = (
    "wasm_threads", "shared_memory", "wasm_memory64", "wasm_component_model", "wasm_gc",
    "wasm_function_references", "wasm_exceptions", "wasm_wide_arithmetic",
    "wasm_custom_page_sizes", "wasm_stack_switching",
)  # fmt: skip
ON: Final = (
    "epoch_interruption", "wasm_bulk_memory", "wasm_multi_value", "wasm_multi_memory",
    "wasm_reference_types", "wasm_simd", "wasm_relaxed_simd", "wasm_tail_call",
)  # fmt: skip
OPT_LEVEL: Final = "speed"


@dataclass(frozen=True)
class CompiledModule:
    """Native code of one module. `name` is for messages; `digest` is the SHA-256 of its source.

    What it imports and exports is asked once: a VM may be started many times.
    """

    name: str
    digest: str
    module: Module

    @property
    def imports(self) -> list[wasmtime.ImportType]:
        """What it wants, in order."""
        return self.module.imports

    @functools.cached_property
    def function_imports(self) -> tuple[Import, ...]:
        """The functions it wants, in order. Raises ModuleError where it wants something else."""
        found = []
        for item in self.imports:
            if not isinstance(item.type, FuncType):
                kind = type(item.type).__name__.removesuffix("Type").lower()
                what = f"{kind} {item.module}.{item.name}"
                raise ModuleError(self.name, f"imports the {what}; only functions exist")
            found.append(Import(item.module, item.name or "", *type_names(item.type)))
        return tuple(found)

    @functools.cached_property
    def function_types(self) -> Mapping[str, Signature]:
        """The types of the functions it exports."""
        return {
            item.name: type_names(item.type)
            for item in self.module.exports
            if isinstance(item.type, FuncType)
        }

    @functools.cached_property
    def exports(self) -> frozenset[str]:
        """The names of everything it exports."""
        return frozenset(item.name for item in self.module.exports)


class Engine:
    """Compiles modules. One per process is enough: stores of all VMs share it.

    `cache` keeps compiled code on disk; None compiles anew in every process.
    """

    def __init__(self, cache: ModuleCache | None = None) -> None:
        self.wasmtime = wasmtime.Engine(make_config())
        self.ticker = Ticker(self.wasmtime.increment_epoch)
        self._cache = cache
        self._modules: dict[str, Module] = {}
        self._assembled: dict[str, bytes] = {}

    def compile(self, code: bytes, name: str) -> CompiledModule:
        """The compiled form of `code`. Raises ModuleError with the compiler's reason.

        Takes seconds for megabytes, without the GIL; may be called from any thread.
        """
        digest = hashlib.sha256(code).hexdigest()
        module = self._modules.get(digest)
        if module is None:
            try:
                module = self._module(export_start(code))
            except (WasmtimeError, MalformedBinaryError) as error:
                reason = " ".join(filter(None, map(str.strip, str(error).splitlines())))
                raise ModuleError(name, reason) from error
            # Two threads may compile the same code; both results are good and the first is kept.
            module = self._modules.setdefault(digest, module)
        return CompiledModule(name, digest, module)

    def forget(self, digest: str) -> None:
        """Let go of compiled code that no configuration uses any more; running VMs keep theirs."""
        self._modules.pop(digest, None)

    def assemble(self, text: str) -> bytes:
        """WAT to binary; texts repeat, so results are kept."""
        found = self._assembled.get(text)
        if found is None:
            found = self._assembled[text] = bytes(wasmtime.wat2wasm(text))
        return found

    def _module(self, code: bytes) -> Module:
        if self._cache is None:
            return Module(self.wasmtime, code)
        compiled = self._cache.get(code, self._serialized)
        try:
            return Module.deserialize(self.wasmtime, compiled)
        except WasmtimeError:
            # Ours and intact, but made by another build of the same version: compile again.
            self._cache.discard(code)
            return Module(self.wasmtime, code)

    def _serialized(self, code: bytes) -> bytes:
        return bytes(Module(self.wasmtime, code).serialize())


def make_config() -> Config:
    """The engine's configuration; `fingerprint` names everything that changes compiled code."""
    config = Config()
    for option in OFF:
        setattr(config, option, False)
    for option in ON:
        setattr(config, option, True)
    config.strategy = "cranelift"
    config.cranelift_opt_level = OPT_LEVEL
    config.memory_may_move = False  # raw_call.py relies on it
    return config


def fingerprint() -> str:
    """What compiled code depends on besides its source."""
    return f"wasmtime {importlib.metadata.version('wasmtime')} cranelift {OPT_LEVEL} -{OFF} +{ON}"


@functools.cache
def process_engine() -> Engine:
    """The engine of this process, with the compile cache of this user."""
    return Engine(ModuleCache(default_directory(), fingerprint()))
