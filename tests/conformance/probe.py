"""Builds the probe filter (`probe.c`) for one version of the ABI.

Owns `calls.h`, the table of hostcalls made from `abi.py`. Refuses to know what is asked of the
probe.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

from meshproxy.proxy_wasm.abi import HOSTCALLS, MARKERS, WASI, Hostcall
from tests.support.filter_build import compile_filter

HERE = Path(__file__).parent
WASI_MODULE = "wasi_snapshot_preview1"
LEFT_OUT = frozenset({"proc_exit", "path_link", "path_symlink"})
"""The first answers with nothing; for the others Envoy wants one parameter fewer than WASI has."""


def imports(version: int) -> dict[str, Hostcall]:
    """The hostcalls that a guest of this version has."""
    return {name: call for name, call in HOSTCALLS.items() if version in call.versions}


def wasi_imports() -> list[str]:
    """The WASI functions that the probe has."""
    return [name for name in WASI if name not in LEFT_OUT]


def kinds(call: Hostcall) -> str:
    """A letter for every argument of a command: bytes, number, i64, and what is written to."""
    return "".join(_kinds(list(call.parameters)))


def _kinds(names: list[str]) -> Iterator[str]:
    while names:
        name = names.pop(0)
        following = names[0] if names else ""
        if name.startswith("*"):
            if following.startswith("*") and following.endswith("size"):
                names.pop(0)
                yield "p"
            else:
                yield "O" if name == "*time" or (names == [] and name == "*value") else "o"
        elif name.endswith("data") and following.endswith("size"):
            names.pop(0)
            yield "s"
        else:
            yield "I" if name.endswith(":64") else "i"


def calls_header(version: int) -> str:
    """`calls.h`: declarations, the table, and the switch that calls."""
    types = {name: call.types for name, call in imports(version).items()}
    letters = {name: kinds(call) for name, call in imports(version).items()}
    modules = dict.fromkeys(types, "env")
    for name in wasi_imports():
        types[name] = WASI[name]
        letters[name] = "".join("I" if each == "i64" else "i" for each in WASI[name])
        modules[name] = WASI_MODULE
    lines = []
    for name, parameters in types.items():
        c_types = ", ".join("u64" if each == "i64" else "u32" for each in parameters) or "void"
        lines.append(f'IMPORT("{modules[name]}", "{name}") u32 {name}({c_types});')
    lines.append("static const struct { const char *name, *kinds; } calls[] = {")
    lines += [f'  {{"{name}", "{letters[name]}"}},' for name in types]
    lines += ["};", f"enum {{ CALLS = {len(types)} }};"]
    lines.append("static u32 invoke(u32 index, const u64 *words) {\n  switch (index) {")
    for index, (name, parameters) in enumerate(types.items()):
        words = ", ".join(
            f"words[{at}]" if each == "i64" else f"(u32)words[{at}]"
            for at, each in enumerate(parameters)
        )
        lines.append(f"    case {index}: return {name}({words});")
    lines.append("  }\n  (void)words;\n  return 99;\n}")
    return "\n".join(lines) + "\n"


@functools.cache
def build(version: int, *, short_headers: bool = False) -> bytes:
    """The probe as Wasm. `short_headers`: header callbacks have no end_of_stream."""
    marker = next(name for name, number in MARKERS.items() if number == version)
    defines = f'#define MARKER "{marker}"\n' + ("#define SHORT_HEADERS\n" if short_headers else "")
    with tempfile.TemporaryDirectory(prefix="meshproxy-probe-") as scratch:
        folder = Path(scratch)
        (folder / "probe.c").write_text(defines + (HERE / "probe.c").read_text())
        (folder / "calls.h").write_text(calls_header(version))
        compile_filter(folder, folder, folder / "probe.wasm")
        return (folder / "probe.wasm").read_bytes()
