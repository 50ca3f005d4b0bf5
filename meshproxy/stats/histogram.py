"""Histograms: counts in log-linear bins, and what can be read off them afterwards.

Owns the arithmetic of bins, quantiles and buckets, which is libcirclhist's, so that every figure
equals Envoy's. Refuses to know names, and how a figure is written (`admin/`).

A bin is known by its two significant digits: 0, then 1.0 1.1 .. 9.9, 10 11 .. 99, 100 110 .. and so
on. Only whole numbers are recorded, so a bin's lower bound is a whole number too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

# Upper bounds in the unit that is recorded (milliseconds almost everywhere): Envoy's defaults.
DEFAULT_BUCKETS: Final[tuple[float, ...]] = (
    0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000,
    1800000, 3600000,
)  # fmt: skip

QUANTILES: Final[tuple[float, ...]] = (
    0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0,
)  # fmt: skip

Distribution = Sequence[tuple[int, int]]
"""Sorted (lower bound of the bin, count) of the bins that are not empty."""


def bin_width(lower: int) -> float:
    """How far the bin of this lower bound reaches."""
    if lower == 0:
        return 0.0
    return 0.1 if lower < 10 else float(bin_scale(lower))


def bin_scale(value: int) -> int:
    """The width of the bin of a value of 10 or more."""
    return int(10 ** (len(str(value)) - 2))


def total(distribution: Distribution) -> int:
    """How many values were recorded."""
    return sum(count for _, count in distribution)


def approximate_sum(distribution: Distribution) -> float:
    """The sum of all values, each taken as the middle of its bin that errs least relatively."""
    result = 0.0
    for lower, count in distribution:
        if lower:
            upper = lower + bin_width(lower)
            interval = upper - lower
            result += (lower + interval * (lower / (lower + upper))) * count
    return result


def count_below(distribution: Distribution, bounds: Iterable[float]) -> list[int]:
    """For each ascending bound, how many values are not above it; a bin counts by its lower end."""
    counts: list[int] = []
    running = index = 0
    for bound in bounds:
        while index < len(distribution) and distribution[index][0] <= bound:
            running += distribution[index][1]
            index += 1
        counts.append(running)
    return counts


def quantiles(distribution: Distribution, wanted: Sequence[float] = QUANTILES) -> list[float]:
    """The values at the ascending quantiles `wanted`; nan where nothing was recorded.

    The n values of a bin are taken to lie evenly inside it, at 1/(n+1) .. n/(n+1) of its width.
    """
    count = total(distribution)
    if not count:
        return [float("nan")] * len(wanted)
    results: list[float] = []
    index = below = 0
    lower, held = distribution[0]
    for quantile in wanted:
        rank = max(_ceil(count * quantile), 1)
        while below + held < rank:
            below += held
            index += 1
            lower, held = distribution[index]
        results.append(lower + bin_width(lower) * (rank - below) / (held + 1))
    return results


def difference(now: Distribution, before: Distribution) -> list[tuple[int, int]]:
    """What was recorded between two looks at the same histogram."""
    old = dict(before)
    return [(low, count - old.get(low, 0)) for low, count in now if count != old.get(low, 0)]


def _ceil(value: float) -> int:
    whole = int(value)
    return whole if whole == value else whole + 1
