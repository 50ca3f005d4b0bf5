"""Counters, gauges and histograms as plain slots, and the tree of scopes that names them.

Owns the values and their two names: Envoy's dotted one (`cluster.web.upstream_rq_total`) and the
tag-extracted one with labels that Prometheus shows. Refuses to know what is counted
(`stats/metrics.py`) and how it is rendered (`admin/`).

A use is an attribute: `stats.upstream_rq_total.value += 1` costs 25 ns; a method call would double it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final, TypeVar

Labels = tuple[tuple[str, str], ...]
Block = TypeVar("Block")

# Upper bounds in the unit that is recorded (milliseconds almost everywhere): Envoy's defaults.
DEFAULT_BUCKETS: Final[tuple[float, ...]] = (
    0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000,
    1800000, 3600000,
)  # fmt: skip


class Metric:
    """What every metric has: its dotted name, its tag-extracted name and its labels."""

    __slots__ = ("labels", "name", "tagged_name", "used")

    kind: str = ""

    def __init__(self, name: str, tagged_name: str, labels: Labels) -> None:
        self.name = name
        self.tagged_name = tagged_name
        self.labels = labels
        self.used = False


class Counter(Metric):
    """A value that only grows."""

    __slots__ = ("value",)
    kind = "counter"

    def __init__(self, name: str = "", tagged_name: str = "", labels: Labels = ()) -> None:
        super().__init__(name, tagged_name, labels)
        self.value = 0


class Gauge(Metric):
    """A value that goes up and down."""

    __slots__ = ("value",)
    kind = "gauge"

    def __init__(self, name: str = "", tagged_name: str = "", labels: Labels = ()) -> None:
        super().__init__(name, tagged_name, labels)
        self.value = 0


class Histogram(Metric):
    """A distribution of non-negative integers (milliseconds, bytes).

    Kept as log-linear bins of two significant digits, as Envoy's libcirclhist does, so that quantiles
    and any set of buckets can be made when somebody looks: values below 100 have a bin each.
    """

    __slots__ = ("bins", "count", "small", "sum")
    kind = "histogram"

    def __init__(self, name: str = "", tagged_name: str = "", labels: Labels = ()) -> None:
        super().__init__(name, tagged_name, labels)
        self.small = [0] * 100
        self.bins: dict[int, int] = {}
        self.count = 0
        self.sum = 0

    def record(self, value: int) -> None:
        """Count one value."""
        self.count += 1
        self.sum += value
        if value < 100:
            self.small[value] += 1
        else:
            scale = 10 ** (len(str(value)) - 2)
            floor = value // scale * scale
            self.bins[floor] = self.bins.get(floor, 0) + 1

    def distribution(self) -> list[tuple[int, int]]:
        """Sorted (lower bound of the bin, count) of the bins that are not empty."""
        small = [(value, count) for value, count in enumerate(self.small) if count]
        return small + sorted(self.bins.items())


class Store:
    """Every metric of the process, by dotted name. One name is one metric, whoever asks for it."""

    def __init__(self) -> None:
        self.metrics: dict[str, Metric] = {}
        self.buckets: tuple[float, ...] = DEFAULT_BUCKETS

    def scope(self, prefix: str, tagged_prefix: str = "", **labels: str) -> Scope:
        """A scope at the root; `tagged_prefix` is `prefix` without its variable parts."""
        return Scope(self, prefix, tagged_prefix or prefix, tuple(labels.items()))

    def __iter__(self) -> Iterator[Metric]:
        return iter(self.metrics.values())


class Scope:
    """A named corner of the store. Labels are fixed here, never per request."""

    __slots__ = ("labels", "prefix", "store", "tagged_prefix")

    def __init__(self, store: Store, prefix: str, tagged_prefix: str, labels: Labels) -> None:
        self.store = store
        self.prefix = prefix
        self.tagged_prefix = tagged_prefix
        self.labels = labels

    def scope(self, prefix: str, tagged_prefix: str | None = None, **labels: str) -> Scope:
        """A scope below this one."""
        tagged = prefix if tagged_prefix is None else tagged_prefix
        return Scope(
            self.store, self.prefix + prefix, self.tagged_prefix + tagged,
            self.labels + tuple(labels.items()),
        )  # fmt: skip

    def counter(self, name: str, tagged_name: str | None = None, **labels: str) -> Counter:
        """The counter of this name; made on first use."""
        return self._metric(Counter, name, tagged_name, labels)

    def gauge(self, name: str, tagged_name: str | None = None, **labels: str) -> Gauge:
        """The gauge of this name; made on first use."""
        return self._metric(Gauge, name, tagged_name, labels)

    def histogram(self, name: str, tagged_name: str | None = None, **labels: str) -> Histogram:
        """The histogram of this name; made on first use."""
        return self._metric(Histogram, name, tagged_name, labels)

    def block(self, block: type[Block]) -> Block:
        """A stats block (a dataclass of metrics, `stats/metrics.py`) with its metrics in this scope."""
        fields: dict[str, Any] = {}
        for field in dataclasses.fields(block):  # type: ignore[arg-type]
            kind = KINDS[field.type if isinstance(field.type, str) else field.type.__name__]
            fields[field.name] = self._metric(kind, field.metadata.get("name", field.name), None, {})
        return block(**fields)

    def _metric(
        self, kind: type[Any], name: str, tagged_name: str | None, labels: dict[str, str]
    ) -> Any:
        full = self.prefix + name
        found = self.store.metrics.get(full)
        if found is None:
            tagged = self.tagged_prefix + (name if tagged_name is None else tagged_name)
            found = kind(full, tagged, self.labels + tuple(labels.items()))
            self.store.metrics[full] = found
        elif type(found) is not kind:
            raise TypeError(f"{full} is a {found.kind} already")
        return found


KINDS: Final[dict[str, type[Metric]]] = {
    "Counter": Counter, "Gauge": Gauge, "Histogram": Histogram,
}  # fmt: skip
