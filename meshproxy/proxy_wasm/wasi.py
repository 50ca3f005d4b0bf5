"""The part of WASI that filters import, under both of its module names.

Owns stdout and stderr as log lines, the environment of the configuration, clocks and randomness.
Refuses files, sockets and waiting: a filter has none.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any, Final

from meshproxy.proxy_wasm.abi import (
    ERRNO_BADF,
    ERRNO_INVAL,
    ERRNO_NOENT,
    ERRNO_NOSYS,
    ERRNO_NOTDIR,
    ERRNO_NOTSUP,
    ERRNO_SUCCESS,
    OK,
)
from meshproxy.proxy_wasm.memory import Memory

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.vm import Vm

INFO: Final = 2
ERROR: Final = 4
MAX_RANDOM: Final = 64 << 10
MAX_VECTORS: Final = 1024
MAX_WRITE: Final = 1 << 20
FD_WRITE_RIGHT: Final = 64
STREAMS: Final = {1: INFO, 2: ERROR}


class ProcExit(Exception):  # a guest's wish to end
    """The guest called `proc_exit`."""

    def __init__(self, code: int) -> None:
        super().__init__(f"proc_exit({code})")
        self.code = code


class GuestAbort(Exception):  # AssemblyScript's word
    """The guest called `env.abort`."""


class Wasi:
    """The functions by their WASI names; each returns an errno."""

    memory: Memory

    def __init__(self, vm: Vm) -> None:
        self._vm = vm
        variables = vm.plugin.vm.environment_variables.items()
        self._environment = [f"{key}={value}".encode() + b"\0" for key, value in variables]

    # -- what answers with something -----------------------------------------------------------

    def fd_write(self, fd: int, iovs: int, count: int, written: int) -> int:
        """Standard output is logged as info, standard error as error."""
        level = STREAMS.get(fd)
        if level is None:
            return ERRNO_BADF
        memory = self.memory
        if count > MAX_VECTORS:
            memory.read(iovs + 8 * (count - 1), 8)  # whether they are there at all
            return ERRNO_INVAL
        vectors = struct.iter_unpack("<II", memory.read(iovs, 8 * count))
        text = b"".join(memory.read(address, size) for address, size in vectors)
        memory.write_u32(written, len(text))
        message = text[:MAX_WRITE].removesuffix(b"\n")
        if message:
            self._vm.context.log(level, message)
        return ERRNO_SUCCESS

    def fd_pwrite(self, fd: int, iovs: int, count: int, offset: int, written: int) -> int:
        """There are no places in a log to write at."""
        return self.fd_write(fd, iovs, count, written)

    def environ_sizes_get(self, count: int, size: int) -> int:
        """The number of variables, and the bytes they need."""
        self.memory.write_u32(count, len(self._environment))
        return self.memory.write_u32(size, sum(map(len, self._environment)))

    def environ_get(self, pointers: int, buffer: int) -> int:
        """The variables, and where each begins."""
        for entry in self._environment:
            self.memory.write_u32(pointers, buffer)
            self.memory.write(buffer, entry)
            pointers += 4
            buffer += len(entry)
        return ERRNO_SUCCESS

    def args_sizes_get(self, count: int, size: int) -> int:
        """There are no arguments."""
        self.memory.write_u32(count, 0)
        return self.memory.write_u32(size, 0)

    def args_get(self, pointers: int, buffer: int) -> int:
        """There are no arguments."""
        return ERRNO_SUCCESS

    def clock_time_get(self, clock: int, precision: int, at: int) -> int:
        """0 is Unix time, 1 monotonic, both in nanoseconds."""
        if clock == 0:
            return self.memory.write_u64(at, self._vm.services.realtime())
        if clock == 1:
            return self.memory.write_u64(at, self._vm.services.monotonic())
        return ERRNO_NOTSUP

    def clock_res_get(self, clock: int, at: int) -> int:
        """One nanosecond."""
        return self.memory.write_u64(at, 1) if clock in (0, 1) else ERRNO_NOTSUP

    def random_get(self, address: int, size: int) -> int:
        """At most 64 KiB of good randomness."""
        if size > MAX_RANDOM:
            return ERRNO_INVAL
        self.memory.write(address, os.urandom(size))
        return ERRNO_SUCCESS

    def poll_oneoff(self, subscriptions: int, events: int, count: int, happened: int) -> int:
        """Nothing has happened; Go's scheduler asks, and must not wait."""
        return self.memory.write_u32(happened, 0)

    def proc_exit(self, code: int) -> int:
        """End the guest: a trap, but from `_start` with 0 a success."""
        raise ProcExit(code)

    def sched_yield(self) -> int:
        """There is nobody to yield to."""
        return ERRNO_SUCCESS

    # -- file descriptors: only the two that are logged ----------------------------------------

    def fd_fdstat_get(self, fd: int, at: int) -> int:
        """A stream that may be written."""
        if fd not in STREAMS:
            return ERRNO_BADF
        self.memory.write(at, struct.pack("<QQQ", 0, FD_WRITE_RIGHT, 0))
        return ERRNO_SUCCESS

    def fd_tell(self, fd: int, at: int) -> int:
        """Always at the beginning."""
        return self.memory.write_u64(at, 0) if fd in STREAMS else ERRNO_BADF

    def fd_readdir(self, fd: int, buffer: int, size: int, cookie: int, used: int) -> int:
        """Nothing is a directory."""
        self.memory.write_u32(used, 0)
        return ERRNO_NOTDIR

    # -- helpers that emscripten and AssemblyScript import from env ----------------------------

    def emscripten_notify_memory_growth(self, index: int) -> int:
        """Growth is noticed without."""
        return OK

    def pthread_equal(self, one: int, other: int) -> int:
        """There is one thread."""
        return int(one == other)

    def abort(self, message: int, file: int, line: int, column: int) -> int:
        """Trap with the text, which AssemblyScript keeps as UTF-16 with its size before it."""
        raise GuestAbort(f"abort: {self._text(message)} at {self._text(file)}:{line}:{column}")

    def _text(self, at: int) -> str:
        if at < 4:
            return "?"
        size = int.from_bytes(self.memory.read(at - 4, 4), "little")
        return self.memory.read(at, min(size, 4096)).decode("utf-16-le", "replace")


def _always(errno: int, text: str) -> Any:
    def answer(self: Wasi, *_: int) -> int:
        return errno

    answer.__doc__ = text
    return answer


def _on_streams_only(self: Wasi, fd: int, *_: int) -> int:
    """Nothing to do for a stream; everything else is not open."""
    return ERRNO_SUCCESS if fd in STREAMS else ERRNO_BADF


CONSTANT: Final = {
    ERRNO_SUCCESS: "fd_close fd_seek fd_advise",
    ERRNO_BADF: "fd_filestat_get fd_prestat_get fd_renumber",
    ERRNO_NOENT: "path_open",
    ERRNO_NOSYS: "fd_read fd_fdstat_set_flags fd_prestat_dir_name fd_pread",
    ERRNO_NOTSUP: "path_create_directory path_filestat_get path_filestat_set_times "
    "path_link path_readlink path_remove_directory path_rename path_symlink path_unlink_file "
    "sock_accept sock_recv sock_send sock_shutdown",
}
"""What always gets the same errno. 8 from fd_prestat_get ends a libc's search for directories."""

STREAMS_ONLY: Final = (
    "fd_allocate fd_datasync fd_sync fd_fdstat_set_rights fd_filestat_set_size "
    "fd_filestat_set_times"
)
"""What there is nothing to do for, and only with the two that are open."""

for _errno, _names in CONSTANT.items():
    for _name in _names.split():
        setattr(Wasi, _name, _always(_errno, f"`{_name}`: errno {_errno}."))
for _name in STREAMS_ONLY.split():
    setattr(Wasi, _name, _on_streams_only)
