"""A guest's memory as hostcalls use it: bytes in, bytes out, and room for what is given.

Owns bounds and the order of writing. Refuses to trap: an address outside the memory is a status.
"""

from __future__ import annotations

import struct
from typing import Final, NoReturn

import wasmtime

from meshproxy.proxy_wasm.abi import INVALID_MEMORY_ACCESS, OK
from meshproxy.wasm.errors import Refused
from meshproxy.wasm.raw_call import Call, Gate, MemoryWindow

_pack_u32: Final = struct.Struct("<I").pack_into
_pack_u64: Final = struct.Struct("<Q").pack_into
_pack_two: Final = struct.Struct("<II").pack_into


def _no_allocator(size: int) -> int:
    raise Refused(INVALID_MEMORY_ACCESS)


class Memory(MemoryWindow):
    """`fault` is the status of an access outside the memory (WASI has its own)."""

    __slots__ = ("allocate", "fault")

    def __init__(
        self, gate: Gate, memory: wasmtime.Memory, fault: int = INVALID_MEMORY_ACCESS
    ) -> None:
        super().__init__(gate, memory)
        self.fault = fault
        self.allocate: Call = _no_allocator

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes from `address`; Refused where they are not all there."""
        data: bytes = self.chars[address : address + size]
        return data if len(data) == size else self.read_again(address, size)

    def read_again(self, address: int, size: int) -> bytes:
        """The same after a look at the memory's present size."""
        self.refresh()  # also where nothing has changed: another argument's look came first
        data: bytes = self.chars[address : address + size]
        if len(data) == size:
            return data
        raise Refused(self.fault)

    def write(self, address: int, data: bytes) -> None:
        """Put `data` at `address`; Refused where it does not fit."""
        try:
            self.view[address : address + len(data)] = data
        except ValueError:
            if not self.refresh():
                self._fault()
            self.write(address, data)

    def write_u32(self, address: int, value: int) -> int:
        """Store a little-endian u32 and return OK."""
        try:
            _pack_u32(self.view, address, value)
        except struct.error:
            if not self.refresh():
                self._fault()
            return self.write_u32(address, value)
        return OK

    def write_u64(self, address: int, value: int) -> int:
        """Store a little-endian u64 and return OK."""
        try:
            _pack_u64(self.view, address, value)
        except struct.error:
            if not self.refresh():
                self._fault()
            return self.write_u64(address, value)
        return OK

    def give(self, data: bytes, data_at: int, size_at: int) -> int:
        """Hand `data` to the guest: room by its own allocator, address and size to where it wants.

        Nothing is allocated for no bytes (Go's allocator panics on 0); the guest then gets (0, 0).
        """
        size = len(data)
        address = 0
        if size:
            address = self.allocate(size)
            if not address:
                self._fault()
            try:
                self.view[address : address + size] = data
            except ValueError:
                self.write(address, data)
        if size_at - data_at == 4:  # hot: they are neighbours in almost every guest
            try:
                _pack_two(self.view, data_at, address, size)
                return OK
            except struct.error:
                pass
        self.write_u32(data_at, address)
        return self.write_u32(size_at, size)

    def _fault(self) -> NoReturn:
        raise Refused(self.fault)
