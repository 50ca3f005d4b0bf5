"""Metrics that are known by their labels' values, as Dapr's are: families, series, buckets.

Owns the values and a bound on their number: label values come from clients. Refuses to know what
is counted (`stats/dapr_metrics.py`) and how it is written (`admin/labelled_prometheus.py`).

A use is `family.at("GET", "/x").value += 1`: one look in a dictionary, by the values themselves.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Final

MAX_SERIES: Final = 2000
"""Series of one family; what is beyond counts in one more, each of whose values is `OVERFLOW`."""
OVERFLOW: Final = "_"

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"

Rewrite = Callable[[str], str]
"""Makes a label's value another one, so that there are fewer."""


class Series:
    """One combination of label values: a number, and for a histogram its distribution."""

    __slots__ = ("bounds", "buckets", "count", "value")

    def __init__(self, bounds: Sequence[float] = ()) -> None:
        self.value = 0.0  # of a histogram: the sum
        self.count = 0
        self.bounds = bounds
        self.buckets = [0] * len(bounds)

    def record(self, value: float) -> None:
        """Count one value of a histogram."""
        self.count += 1
        self.value += value
        index = bisect_left(self.bounds, value)
        if index < len(self.buckets):
            self.buckets[index] += 1

    def cumulative(self) -> list[int]:
        """For each upper bound, how many values are not above it."""
        total, counts = 0, []
        for count in self.buckets:
            total += count
            counts.append(total)
        return counts


class Family:
    """All series of one name. `constant` are labels that every series has."""

    def __init__(
        self,
        name: str,
        kind: str,
        help: str,
        labels: Sequence[str],
        constant: Mapping[str, str],
        bounds: Sequence[float] = (),
    ) -> None:
        self.name: Final = name
        self.kind: Final = kind
        self.help: Final = help
        self.labels: Final = tuple(labels)
        self.constant: Final = constant
        self.rewrites: dict[str, Rewrite] = {}
        self._bounds: Final = bounds
        self._known: dict[tuple[str, ...], Series] = {}
        self.series: dict[tuple[str, ...], Series] = {}

    def at(self, *values: str) -> Series:
        """The series of these values of `labels`, in their order; made on first use."""
        found = self._known.get(values)
        return found if found is not None else self._make(values)

    def _make(self, values: tuple[str, ...]) -> Series:
        assert len(values) == len(self.labels), f"{self.name} {values}"
        if len(self._known) >= MAX_SERIES:
            return self._shown((OVERFLOW,) * len(values))
        shown = tuple(
            self.rewrites[label](value) if label in self.rewrites else value
            for label, value in zip(self.labels, values, strict=True)
        )
        series = self._known[values] = self._shown(shown)
        return series

    def _shown(self, values: tuple[str, ...]) -> Series:
        found = self.series.get(values)
        if found is None:
            found = self.series[values] = Series(self._bounds)
        return found
