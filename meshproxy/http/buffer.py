"""A body buffer: a rope of byte chunks that filters can read, cut and rewrite.

Owns the bytes a filter sees or holds back. Refuses to know limits: whoever buffers, checks.
"""

from __future__ import annotations


class Buffer:
    """A sequence of bytes kept as chunks; joined only when somebody asks for the whole."""

    __slots__ = ("chunks", "length")

    def __init__(self, data: bytes = b"") -> None:
        self.chunks: list[bytes] = [data] if data else []
        self.length = len(data)

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        if data:
            self.chunks.append(data)
            self.length += len(data)

    def prepend(self, data: bytes) -> None:
        """Add bytes at the beginning."""
        if data:
            self.chunks.insert(0, data)
            self.length += len(data)

    def append_buffer(self, other: Buffer) -> None:
        """Move everything of `other` to the end of this one; `other` is empty afterwards."""
        self.chunks += other.chunks
        self.length += other.length
        other.clear()

    def peek(self) -> bytes:
        """The whole content; the rope becomes one chunk."""
        chunks = self.chunks
        if len(chunks) > 1:
            self.chunks = chunks = [b"".join(chunks)]
        return chunks[0] if chunks else b""

    def splice(self, start: int, size: int, data: bytes) -> None:
        """Replace `size` bytes from `start` by `data`; both are clipped to the content."""
        whole = self.peek()
        self.set(whole[:start] + data + whole[start + size :])

    def set(self, data: bytes) -> None:
        """Make `data` the whole content."""
        self.chunks = [data] if data else []
        self.length = len(data)

    def drain(self, size: int) -> None:
        """Drop the first `size` bytes."""
        self.set(self.peek()[size:])

    def clear(self) -> None:
        """Drop everything."""
        self.chunks = []
        self.length = 0

    def take(self) -> bytes:
        """Return the whole content and leave the buffer empty."""
        data = self.peek()
        self.clear()
        return data

    def __len__(self) -> int:
        return self.length

    def __repr__(self) -> str:
        return f"Buffer({self.length} bytes in {len(self.chunks)} chunks)"
