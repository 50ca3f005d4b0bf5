"""Limits of guest code, and the clock that enforces the one on time.

Owns the numbers and the ticking thread. Refuses to know who is interrupted: wasmtime
compares epochs.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MIB: Final = 1 << 20
MAX_MODULE_SIZE: Final = 64 * MIB
"""Bytes: the largest filters of the field (a whole firewall, built with Go) have 25 MiB."""
TICK: Final = 0.010
"""Seconds between two epochs. A thread that wakes 100 times a second costs 0.2 % of a core."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one VM may use.

    memory_size: bytes of linear memory; `memory.grow` beyond it fails inside the guest.
    callback_timeout: seconds of the processor that one callback may use (measured in ticks of
        10 ms, never shorter), or ten times as long of the clock on the wall while the process runs.
    start_timeout: the same for `_initialize`, `_start`, `on_vm_start` and `on_configure` together.
    restart_timeout: the same for a VM that starts while others serve, if that is shorter.
    paused_timeout: seconds that a stream may wait for its guest to let it go on.
    done_timeout: seconds that a plugin may take to be done once it is not needed any more.
    memories: linear memories of its modules; multi-memory modules would multiply the limit.
    tables: tables of the guest, each of `table_elements` entries.
    """

    memory_size: int = 64 * MIB
    callback_timeout: float = 0.100
    start_timeout: float = 10.0
    restart_timeout: float = 1.0
    paused_timeout: float = 60.0
    done_timeout: float = 10.0
    table_elements: int = 1 << 20
    memories: int = 1
    tables: int = 16


def ticks(seconds: float) -> int:
    """The number of epochs after which at least `seconds` have passed."""
    return math.ceil(seconds / TICK) + 1


SLOWEST: Final = 10
"""How many times longer than by the processor's clock an epoch may last on the wall."""

LATE: Final = 5 * TICK
"""Seconds of real time that count between two looks at the clocks."""


def thread_clock() -> Callable[[], float]:
    """The processor time, in seconds, of the thread that asks; time itself where a system has no
    such clock."""
    find = getattr(time, "pthread_getcpuclockid", None)
    if find is None:
        return time.monotonic
    clock = find(threading.get_ident())

    def used() -> float:
        try:
            return time.clock_gettime(clock)
        except OSError:  # the thread has ended: real time counts alone
            return 0.0

    return used


class Meter:
    """Counts epochs of TICK: by the processor time of a thread, which is not its guests' fault when
    others have the processor; by a tenth of real time where that is longer, since a thread that
    the clock is not of may run guests as well. While even whoever asks did not get the processor,
    the whole process stood still, and a guest among it."""

    __slots__ = ("_processor", "_used", "_wall", "used", "wall")

    def __init__(self, processor: Callable[[], float], wall: Callable[[], float]) -> None:
        self._processor, self._wall = processor, wall
        self.used, self.wall = processor(), wall()
        self._used = 0.0

    def epochs(self) -> int:
        """Whole epochs that have passed since the last call."""
        used, wall = self._processor(), self._wall()
        real = min(wall - self.wall, LATE)
        self._used += max(used - self.used, real / SLOWEST)
        self.used, self.wall = used, wall
        passed = int(self._used / TICK)
        self._used -= passed * TICK
        return passed


class Ticker:
    """Counts epochs: a daemon thread that runs from the first VM on, and calls `increment`.

    Time is that of the thread which made the newest VM: where guests run.
    """

    __slots__ = ("_increment", "_meter", "_thread", "epoch")

    def __init__(self, increment: Callable[[], None]) -> None:
        self.epoch = 0
        self._increment = increment
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to tick, unless it ticks already (a forked child has to begin anew)."""
        self._meter = Meter(thread_clock(), time.monotonic)
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="wasm-epoch", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(TICK)
            for _ in range(self._meter.epochs()):
                self.epoch += 1
                self._increment()
