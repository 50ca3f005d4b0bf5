"""Plain text in columns. Knows widths, and nothing of what stands in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(rows: Iterable[Sequence[str]], indent: int = 2) -> list[str]:
    """Rows as lines: columns as wide as their widest cell, two blanks apart."""
    cells = [[str(cell) for cell in row] for row in rows]
    if not cells:
        return []
    widths = [max(len(row[at]) for row in cells if at < len(row)) for at in range(_columns(cells))]
    margin = " " * indent
    return [
        (margin + "  ".join(cell.ljust(widths[at]) for at, cell in enumerate(row))).rstrip()
        for row in cells
    ]


def _columns(cells: Sequence[Sequence[str]]) -> int:
    return max(map(len, cells))


def printable(text: str) -> str:
    """Text that came from outside, safe for a terminal: control characters are escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def amount(size: int) -> str:
    """A number of bytes to read: `978 bytes`, `33.4 KiB`, `2.2 MiB`."""
    if size < 1024:
        return f"{size} bytes"
    if size < 1 << 20:
        return f"{size / 1024:.1f} KiB"
    return f"{size / (1 << 20):.1f} MiB"


def duration(seconds: float) -> str:
    """A time to read: `3.2 us`, `12.4 ms`, `1.25 s`."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.1f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds:.2f} s"
