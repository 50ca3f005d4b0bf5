"""Who made a module: the custom section `producers` (WebAssembly tool conventions).

Owns the reading of it. Refuses to guess: a module without the section has no maker.
"""

from __future__ import annotations

from meshproxy.wasm.binary import MalformedBinaryError, read_leb, sections


def read_producers(code: bytes) -> list[str]:
    """`language Rust 1.80`, `processed-by clang 18.1` …; empty where there are none, or garbage."""
    for kind, _, payload, end in sections(code):
        if kind:
            continue
        try:
            name, at = _text(code, payload, end)
            if name == "producers":
                return _fields(code, at, end)
        except (MalformedBinaryError, IndexError):
            return []
    return []


def _fields(code: bytes, at: int, end: int) -> list[str]:
    found = []
    count, at = read_leb(code, at)
    for _ in range(count):
        field, at = _text(code, at, end)
        values, at = read_leb(code, at)
        for _ in range(values):
            name, at = _text(code, at, end)
            version, at = _text(code, at, end)
            found.append(f"{field} {name} {version}".rstrip())
    return found


def _text(code: bytes, at: int, end: int) -> tuple[str, int]:
    size, at = read_leb(code, at)
    if at + size > end:
        raise MalformedBinaryError(f"a name at {at} ends behind its section")
    return code[at : at + size].decode("utf-8", "replace"), at + size
