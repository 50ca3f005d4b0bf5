"""The part of WASI that guests of Go, Rust and C need to start and to print. Knows no handler.

Owns stdout and stderr as log lines, clocks and randomness. Files, sockets and waiting are not
there. `strict`: clocks and randomness tell nothing, as in Dapr's strict sandbox.
"""

from __future__ import annotations

import logging
import os
import random
import time
from typing import Final

from meshproxy.http_wasm.exchange import HostError
from meshproxy.http_wasm.memory import GuestMemory
from meshproxy.wasm.signatures import Import

MODULE: Final = "wasi_snapshot_preview1"
_OK: Final = 0
_BADF: Final = 8
_INVAL: Final = 28
_NOSYS: Final = 52
_MAX: Final = 64 * 1024
_LEVELS: Final = {1: logging.INFO, 2: logging.ERROR}
_STRICT_EPOCH: Final = 1_640_995_200_000_000_000
_NAMES: Final = frozenset(
    (
        "args_get", "args_sizes_get", "clock_time_get", "environ_get", "environ_sizes_get",
        "fd_write", "proc_exit", "random_get", "sched_yield",
    )
)  # fmt: skip


class ProcExit(HostError):
    """The guest called `proc_exit`."""

    def __init__(self, code: int) -> None:
        super().__init__(f"proc_exit({code})")
        self.code = code


class Wasi:
    """The functions by their WASI names; each returns an errno."""

    def __init__(self, memory: GuestMemory, logger: logging.Logger, *, strict: bool) -> None:
        self._memory = memory
        self._logger = logger
        self._random = random.Random(42) if strict else None  # noqa: S311 (predictable is the point)
        self._strict_now = _STRICT_EPOCH

    def resolve(self, item: Import) -> object:
        """The function of an import; what is not here answers ENOSYS."""
        if item.name in _NAMES:
            return getattr(self, item.name)
        return lambda *_: _BADF if item.name.startswith("fd_") else _NOSYS

    def fd_write(self, fd: int, iovs: int, count: int, written: int) -> int:
        """Standard output is logged as info, standard error as error."""
        level = _LEVELS.get(fd)
        if level is None:
            return _BADF
        if count > 1024:
            return _INVAL
        total, text = 0, b""
        for index in range(count):
            entry = self._memory.read(iovs + 8 * index, 8)
            at, size = (int.from_bytes(entry[i : i + 4], "little") for i in (0, 4))
            text += self._memory.read(at, size)[: _MAX - len(text)]
            total += size
        self._memory.write(written, total.to_bytes(4, "little"))
        if text.strip():
            self._logger.log(level, "%s", text.decode("utf-8", "replace").removesuffix("\n"))
        return _OK

    def random_get(self, at: int, size: int) -> int:
        """At most 64 KiB."""
        if size > _MAX:
            return _INVAL
        chance = self._random
        self._memory.write(at, os.urandom(size) if chance is None else chance.randbytes(size))
        return _OK

    def clock_time_get(self, clock: int, precision: int, at: int) -> int:
        """0 is Unix time, 1 monotonic, both in nanoseconds."""
        if clock > 1:
            return _INVAL
        if self._random is not None:
            self._strict_now += 1_000_000
            now = self._strict_now
        else:
            now = time.time_ns() if clock == 0 else time.monotonic_ns()
        self._memory.write(at, now.to_bytes(8, "little"))
        return _OK

    def args_sizes_get(self, count: int, size: int) -> int:
        """There are none."""
        self._memory.write(count, bytes(4))
        self._memory.write(size, bytes(4))
        return _OK

    environ_sizes_get = args_sizes_get

    def args_get(self, pointers: int, buffer: int) -> int:
        """There are none."""
        return _OK

    environ_get = args_get

    def sched_yield(self) -> int:
        """There is nobody to yield to."""
        return _OK

    def proc_exit(self, code: int) -> int:
        """End the guest: a trap, but from `_start` with 0 a success."""
        raise ProcExit(code)
