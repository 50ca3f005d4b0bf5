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
MAX_MODULE_SIZE: Final = 16 * MIB
TICK: Final = 0.010
"""Seconds between two epochs. A thread that wakes 100 times a second costs 0.2 % of a core."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one VM may use.

    memory_size: bytes of linear memory; `memory.grow` beyond it fails inside the guest.
    callback_timeout: seconds that one callback may run (measured in ticks of 10 ms, never shorter).
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


class Ticker:
    """Counts epochs: a daemon thread that runs from the first VM on, and calls `increment`."""

    __slots__ = ("_increment", "_thread", "epoch")

    def __init__(self, increment: Callable[[], None]) -> None:
        self.epoch = 0
        self._increment = increment
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to tick, unless it ticks already (a forked child has to begin anew)."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="wasm-epoch", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(TICK)
            self.epoch += 1
            self._increment()
