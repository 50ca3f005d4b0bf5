"""A guest's memory, read and written within its bounds. Knows no function of the ABI."""

from __future__ import annotations

from meshproxy.http_wasm.exchange import HostError
from meshproxy.wasm.instance import Instance
from meshproxy.wasm.raw_call import MemoryWindow


class GuestMemory:
    """The memory of one guest, which `attach` brings."""

    __slots__ = ("_window",)

    def __init__(self) -> None:
        self._window: MemoryWindow | None = None

    def attach(self, instance: Instance) -> None:
        """The instance exists."""
        self._window = MemoryWindow(instance.gate, instance.memory)

    def close(self) -> None:
        """The memory is about to be unmapped."""
        if self._window is not None:
            self._window.close()

    def read(self, at: int, size: int) -> bytes:
        """Bytes. Raises HostError where they are not all inside."""
        if not size:
            return b""
        window = self._inside(at, size)
        data: bytes = window.chars[at : at + size]
        return data

    def write(self, at: int, data: bytes) -> None:
        """Put bytes there. Raises HostError where they would not all be inside."""
        if data:
            self._inside(at, len(data)).view[at : at + len(data)] = data

    def give(self, at: int, limit: int, data: bytes) -> int:
        """Write what is not longer than the guest's buffer; its size in any case."""
        if len(data) <= limit:
            self.write(at, data)
        return len(data)

    def _inside(self, at: int, size: int) -> MemoryWindow:
        window = self._window
        assert window is not None, "no guest runs before it is attached"
        if at + size > window.size:
            window.refresh()
            if at + size > window.size:
                raise HostError("out of memory")
        return window
