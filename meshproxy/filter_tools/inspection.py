"""What a module is, found without running it: ABI, imports, exports, sections, what it lacks.

Owns the verdict and its reasons, by the very tables that loading uses. Refuses to print
(`report.py`) and to instantiate.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import wasmtime

from meshproxy.filter_tools.custom_sections import read_producers
from meshproxy.proxy_wasm.abi import ALLOCATORS, CALLBACKS, MARKERS
from meshproxy.proxy_wasm.exports import misfit
from meshproxy.proxy_wasm.linking import UNKNOWN, answered_by
from meshproxy.wasm.binary import START_EXPORT, check_header, read_leb, sections
from meshproxy.wasm.engine import CompiledModule, Engine
from meshproxy.wasm.signatures import Import, type_names, type_text

SECTION_NAMES: Final = (
    "custom", "type", "import", "function", "table", "memory", "global", "export", "start",
    "element", "code", "data", "data count", "tag",
)  # fmt: skip
VENDORS: Final = {
    "proxy_inject_encoded_data_to_filter_chain": "Higress",
    "proxy_get_upstream_hosts": "Higress",
    "proxy_set_upstream_override_host": "Higress",
    "proxy_redis_init": "Higress",
    "proxy_redis_call": "Higress",
    "proxy_get_state": "MOSN",
    "proxy_invoke_service": "MOSN",
    "proxy_set_active_span_tag": "an early Envoy, never in an ABI",
    "envoy_resolve_dns": "Envoy, as of Istio 1.5",
}
"""Functions outside of every ABI version, and whose hosts have them."""
VENDOR_MARKERS: Final = {"proxy_abi_mosn_version_0_2_0": "MOSN"}
START_FUNCTIONS: Final = ("_initialize", "_start", "main", "__main_void")
PAGE: Final = 65536


@dataclass(frozen=True, slots=True)
class ImportedFunction:
    """One import. `answered_by` is empty where nobody does: `problem` says why.

    `vendor` names the host that has the function, where no ABI version does.
    """

    name: str
    type: str
    answered_by: str
    vendor: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ExportedCallback:
    """One callback of the ABI that the module exports."""

    name: str
    type: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the binary; a custom one has a name of its own."""

    name: str
    size: int


@dataclass(slots=True)
class Inspection:
    """Everything there is to say about a module. Sizes in bytes, times in seconds.

    problems: why it cannot be loaded; empty where it can. notes: what differs from Envoy, or will
    surprise. memory: (pages at the start, pages at most or None), None where none is exported.
    """

    file: str
    size: int
    sha256: str
    compile_seconds: float
    native_size: int
    abi: str = ""
    producers: list[str] = field(default_factory=list)
    allocator: str = ""
    start: list[str] = field(default_factory=list)
    memory: tuple[int, int | None] | None = None
    imports: list[ImportedFunction] = field(default_factory=list)
    callbacks: list[ExportedCallback] = field(default_factory=list)
    other_exports: list[str] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def inspect_module(code: bytes, file: str, engine: Engine | None = None) -> Inspection:
    """Look into a module. Raises ModuleError where it is no (valid) Wasm at all.

    The compile time is that of a compiler without a cache.
    """
    engine = engine or Engine()
    started = time.perf_counter()
    module = engine.compile(code, file)
    seconds = time.perf_counter() - started
    found = Inspection(
        file, len(code), module.digest, seconds, len(module.module.serialize()),
        sections=list(_sections(code)), producers=read_producers(code),
    )  # fmt: skip
    _look_at_exports(module, found)
    _look_at_imports(module, found)
    return found


def _sections(code: bytes) -> Iterator[Section]:
    check_header(code)
    for kind, begin, payload, end in sections(code):
        name = SECTION_NAMES[kind] if kind < len(SECTION_NAMES) else f"section {kind}"
        if kind == 0:
            size, at = read_leb(code, payload)
            name = code[at : at + size].decode("utf-8", "replace")
        yield Section(name, end - begin)


# -- exports -----------------------------------------------------------------------------------


def _look_at_exports(module: CompiledModule, found: Inspection) -> None:
    functions: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for item in module.module.exports:
        if isinstance(item.type, wasmtime.FuncType):
            functions[item.name] = type_names(item.type)
        elif isinstance(item.type, wasmtime.MemoryType) and item.name == "memory":
            limits = item.type.limits
            found.memory = (limits.min, limits.max)
    _look_for_the_marker(functions, found)
    for name, callback in CALLBACKS.items():
        if name in functions:
            problem = misfit(callback, *functions[name])
            found.callbacks.append(ExportedCallback(name, type_text(*functions[name]), problem))
            if problem:
                found.problems.append(problem)
    _look_for_the_allocator(functions, found)
    if found.memory is None:
        found.problems.append("exports no memory named 'memory'")
    _compare_arity_with_envoy(functions, found)
    if START_EXPORT.decode() in functions:
        found.start.append("start section")
    found.start += [name for name in START_FUNCTIONS if name in functions]
    known = {*CALLBACKS, *MARKERS, *ALLOCATORS, *START_FUNCTIONS, START_EXPORT.decode()}
    found.other_exports = sorted(functions.keys() - known)


def _look_for_the_marker(functions: Collection[str], found: Inspection) -> None:
    markers = [name for name in MARKERS if name in functions]
    for marker in markers[:1]:
        found.abi = marker.removeprefix("proxy_abi_version_").replace("_", ".")
    for marker in markers[1:]:
        found.notes.append(f"exports {marker} too; the first one counts")
    if markers:
        return
    text = f"Missing or unknown Proxy-Wasm ABI version: it exports none of {', '.join(MARKERS)}"
    for name in functions:
        if name in VENDOR_MARKERS:
            text += f" ({name} is of {VENDOR_MARKERS[name]} only)"
    found.problems.append(text)


def _look_for_the_allocator(
    functions: dict[str, tuple[tuple[str, ...], tuple[str, ...]]], found: Inspection
) -> None:
    fitting = [name for name in ALLOCATORS if functions.get(name) == (("i32",), ("i32",))]
    found.allocator = fitting[0] if fitting else ""
    if not fitting:
        names = " nor ".join(ALLOCATORS)
        found.problems.append(f"exports no allocator: neither {names} (i32) -> i32")


def _compare_arity_with_envoy(
    functions: dict[str, tuple[tuple[str, ...], tuple[str, ...]]], found: Inspection
) -> None:
    expected = 2 if found.abi == "0.1.0" else 3
    for name in ("proxy_on_request_headers", "proxy_on_response_headers"):
        if found.abi and name in functions and len(functions[name][0]) != expected:
            found.notes.append(
                f"{name} has {len(functions[name][0])} parameters, and ABI {found.abi} has "
                f"{expected}: Envoy refuses the module"
            )


# -- imports -----------------------------------------------------------------------------------


def _look_at_imports(module: CompiledModule, found: Inspection) -> None:
    for item in module.imports:
        if isinstance(item.type, wasmtime.FuncType):
            wanted = Import(item.module, item.name or "", *type_names(item.type))
            _look_at_import(wanted, found)
        else:
            kind = type(item.type).__name__.removesuffix("Type").lower()
            problem = f"imports the {kind} {item.module}.{item.name}; only functions exist"
            found.problems.append(problem)
            found.imports.append(
                ImportedFunction(f"{item.module}.{item.name}", kind, "", problem=problem)
            )


def _look_at_import(item: Import, found: Inspection) -> None:
    vendor = VENDORS.get(item.name, "")
    answered = problem = ""
    try:
        answered = answered_by(item)
    except LookupError as error:
        problem = str(error.args[0])
        found.problems.append(problem)
    if answered == UNKNOWN:
        whose = f", a function of {vendor}" if vendor else ""
        found.notes.append(
            f"{item.module}.{item.name}{whose}: answered with 12 (Unimplemented); Envoy refuses "
            "the module"
        )
    shown = type_text(item.parameters, item.results)
    name = f"{item.module}.{item.name}"
    found.imports.append(ImportedFunction(name, shown, answered, vendor, problem))


def verdict(found: Inspection) -> str:
    """One line: can it be loaded?"""
    if not found.problems:
        return "can be loaded"
    return "cannot be loaded: " + _counted(found.problems)


def _counted(problems: Sequence[str]) -> str:
    return problems[0] if len(problems) == 1 else f"{len(problems)} reasons"
