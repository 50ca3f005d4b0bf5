"""The outline of a Wasm binary: header, sections, start function.

Owns the few bytes that must be read or rewritten before compiling. Refuses to validate: the
compiler does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

MAGIC: Final = b"\0asm"
VERSION: Final = b"\1\0\0\0"
EXPORT_SECTION: Final = 7
START_SECTION: Final = 8
START_EXPORT: Final = b"meshproxy:start"


class MalformedBinaryError(ValueError):
    """The bytes are not a Wasm module; the text says why."""


def check_header(code: bytes) -> None:
    """Raise MalformedBinaryError unless `code` begins like a core Wasm module."""
    if len(code) < 8:
        raise MalformedBinaryError(f"not a Wasm module: only {len(code)} bytes")
    if code[:4] != MAGIC:
        raise MalformedBinaryError(f"not a Wasm module: begins with {code[:4]!r}, not {MAGIC!r}")
    if code[4:8] != VERSION:
        raise MalformedBinaryError(
            f"not a core Wasm module of version 1: version {code[4:8].hex()}"
        )


def read_leb(code: bytes, at: int) -> tuple[int, int]:
    """The unsigned LEB128 number at `at`, and the position behind it."""
    value = shift = 0
    while True:
        if at >= len(code) or shift > 28:
            raise MalformedBinaryError(f"truncated or too long number at offset {at}")
        byte = code[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def write_leb(value: int) -> bytes:
    """`value` as unsigned LEB128."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def sections(code: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(id, offset of the section, offset of its payload, end) of every section."""
    at = 8
    while at < len(code):
        payload_size, payload = read_leb(code, at + 1)
        end = payload + payload_size
        if end > len(code):
            raise MalformedBinaryError(
                f"truncated: section {code[at]} at {at} ends at {end}, the file at {len(code)}"
            )
        yield code[at], at, payload, end
        at = end


def export_start(code: bytes) -> bytes:
    """Turn the start function into an export named START_EXPORT; other modules come back unchanged.

    A start function runs while the module is instantiated, before anybody can have its memory, and
    AssemblyScript filters call `proxy_log` from there. Called by us right after, with the memory at
    hand, it can do all that and is limited like every callback.
    """
    check_header(code)
    start = exports = None
    for kind, begin, payload, end in sections(code):
        if kind == START_SECTION:
            start = begin, payload, end
        elif kind == EXPORT_SECTION:
            exports = begin, payload, end
    if start is None:
        return code
    function, _ = read_leb(code, start[1])
    entry = write_leb(len(START_EXPORT)) + START_EXPORT + b"\0" + write_leb(function)
    if exports is None:
        section = write_leb(1) + entry
        before, after = code[: start[0]], code[start[2] :]
    else:
        count, first = read_leb(code, exports[1])
        section = write_leb(count + 1) + code[first : exports[2]] + entry
        before, after = code[: exports[0]], code[exports[2] : start[0]] + code[start[2] :]
    return before + bytes((EXPORT_SECTION,)) + write_leb(len(section)) + section + after
