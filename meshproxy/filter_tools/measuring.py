"""How long a filter's callbacks take: every call timed, told by its middle and its tail.

Owns the timing and the arithmetic. Refuses to know which requests are sent.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from meshproxy.proxy_wasm.abi import CALLBACKS
from meshproxy.proxy_wasm.exports import HeadersEntry
from meshproxy.proxy_wasm.vm import Vm


@dataclass(frozen=True, slots=True)
class Phase:
    """One callback's figures. Times in seconds.

    mean: of the calls that are not above p99; those are the machine's, which did something else.
    """

    name: str
    calls: int
    mean: float
    p50: float
    p99: float

    @property
    def total(self) -> float:
        """What all calls take."""
        return self.mean * self.calls


class Stopwatch:
    """Times every callback of a VM from `attach` on; costs 0.2 us a call, which is taken off.

    Of a headers callback the time counts in which its map is given to it and taken back.
    """

    def __init__(self) -> None:
        self._times: dict[str, list[int]] = {}
        self._overhead = _overhead()

    def attach(self, vm: Vm) -> None:
        """Begin: every callback that the VM will call goes through here."""
        for name in CALLBACKS:
            entry = getattr(vm.exports, name)
            if entry is None:
                continue
            note = self._times.setdefault(name, []).append
            if isinstance(entry, HeadersEntry):
                entry.note = partial(_note_own, note, self._overhead)
            else:
                setattr(vm.exports, name, timed(entry, note))

    def clear(self) -> None:
        """Forget what was timed so far."""
        for times in self._times.values():
            times.clear()

    def phases(self) -> list[Phase]:
        """The callbacks that were called, in the ABI's order."""
        return [self._phase(name, times) for name, times in self._times.items() if times]

    def _phase(self, name: str, times: Sequence[int]) -> Phase:
        ordered = sorted(max(each - self._overhead, 0) for each in times)
        p99 = quantile(ordered, 0.99)
        usual = ordered[: bisect_right(ordered, p99)]
        mean = sum(usual) / len(usual)
        return Phase(name, len(ordered), mean / 1e9, quantile(ordered, 0.5) / 1e9, p99 / 1e9)


def timed(entry: Callable[..., int], note: Callable[[int], None]) -> Callable[..., int]:
    """The callback, and a note of its nanoseconds for every call."""
    clock = time.perf_counter_ns

    def timing(*arguments: object) -> int:
        before = clock()
        result = entry(*arguments)
        note(clock() - before)
        return result

    return timing


def _note_own(note: Callable[[int], None], overhead: int, nanoseconds: int) -> None:
    """A time that the entry has taken itself, without what is taken off the others."""
    note(nanoseconds + overhead)


def quantile(ordered: Sequence[int], share: float) -> int:
    """The value that `share` of all are not above (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _overhead() -> int:
    """What timing itself costs: nanoseconds of an empty call, the middle of many."""
    times: list[int] = []
    empty = timed(lambda *_: 0, times.append)
    for _ in range(1000):
        empty(None, 0, 0)
    return quantile(sorted(times), 0.5)
