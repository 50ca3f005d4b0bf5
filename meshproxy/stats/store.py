"""Counters, gauges and histograms as plain slots, and the tree of scopes that names them.

Owns the values and their two names: Envoy's dotted one (`cluster.web.upstream_rq_total`) and the
tag-extracted one with labels that Prometheus shows. Refuses to know what is counted
(`stats/metrics.py`), how a label is found (`stats/tags.py`) and how it is rendered (`admin/`).

A use is an attribute: `stats.upstream_rq_total.value += 1` costs 25 ns; a call would double it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Final, TypeVar

from meshproxy.stats.histogram import DEFAULT_BUCKETS, Distribution, bin_scale, difference
from meshproxy.stats.tags import Labels, TagProducer, sanitize

Block = TypeVar("Block")
BucketRule = tuple[Callable[[str], bool], tuple[float, ...]]
"""One of `stats_config.histogram_bucket_settings`: names it is for, ascending upper bounds."""


class Metric:
    """What every metric has: its dotted name, its tag-extracted name and its labels."""

    __slots__ = ("labels", "name", "tagged_name")

    kind: ClassVar[str] = ""

    def __init__(self, name: str = "", tagged_name: str = "", labels: Labels = ()) -> None:
        self.name = name
        self.tagged_name = tagged_name
        self.labels = labels

    @property
    def used(self) -> bool:
        """Whether it ever moved (`/stats?usedonly`)."""
        raise NotImplementedError


class Counter(Metric):
    """A value that only grows, until somebody resets it."""

    __slots__ = ("_was_used", "value")
    kind: ClassVar[str] = "counter"

    def __init__(self, name: str = "", tagged_name: str = "", labels: Labels = ()) -> None:
        super().__init__(name, tagged_name, labels)
        self.value = 0
        self._was_used = False

    @property
    def used(self) -> bool:
        """Whether it ever moved, before or after a reset."""
        return self._was_used or self.value != 0

    def reset(self) -> None:
        """Start from 0 again (`/reset_counters`)."""
        self._was_used = self.used
        self.value = 0


class Gauge(Metric):
    """A value that goes up and down.

    `moves_with` is the counter of what the gauge counts the living of: a gauge that is back at 0
    cannot tell by itself that it moved, and asking on each move would cost more than the move.
    """

    __slots__ = ("moves_with", "value")
    kind: ClassVar[str] = "gauge"

    def __init__(self, name: str = "", tagged_name: str = "", labels: Labels = ()) -> None:
        super().__init__(name, tagged_name, labels)
        self.value = 0
        self.moves_with: Metric | None = None

    @property
    def used(self) -> bool:
        """Whether it is not 0, or what it goes with has moved."""
        return self.value != 0 or (self.moves_with is not None and self.moves_with.used)


class Histogram(Metric):
    """A distribution of whole numbers (milliseconds, bytes), see `stats/histogram.py`."""

    __slots__ = ("_flushed", "bins", "count", "interval", "small")
    kind: ClassVar[str] = "histogram"

    def __init__(self, name: str = "", tagged_name: str = "", labels: Labels = ()) -> None:
        super().__init__(name, tagged_name, labels)
        self.small = [0] * 100
        self.bins: dict[int, int] = {}
        self.count = 0
        self.interval: Distribution = ()
        self._flushed: Distribution = ()

    def record(self, value: int) -> None:
        """Count one value; a negative one counts as 0."""
        self.count += 1
        if 0 <= value < 100:
            self.small[value] += 1
        elif value < 0:
            self.small[0] += 1
        else:
            floor = value - value % bin_scale(value)
            self.bins[floor] = self.bins.get(floor, 0) + 1

    @property
    def used(self) -> bool:
        """Whether a value was ever recorded."""
        return self.count != 0

    def distribution(self) -> list[tuple[int, int]]:
        """Sorted (lower bound of the bin, count) of the bins that are not empty."""
        small = [(value, count) for value, count in enumerate(self.small) if count]
        return small + sorted(self.bins.items())

    def flush(self) -> None:
        """Make `interval` what was recorded since the last flush."""
        if not self.count:
            return
        now = self.distribution()
        self.interval = difference(now, self._flushed)
        self._flushed = now


class Store:
    """Every metric of the process, by dotted name. One name is one metric, whoever asks for it."""

    def __init__(self, tags: TagProducer | None = None, buckets: Sequence[BucketRule] = ()) -> None:
        self.metrics: dict[str, Metric] = {}
        self.tags = tags or TagProducer()
        self._bucket_rules = tuple(buckets)
        # Called before the metrics are read, for what is only worth knowing then (memory, uptime).
        self.refreshers: list[Callable[[], None]] = []

    def scope(self, prefix: str) -> Scope:
        """A scope at the root; `prefix` ends in a dot."""
        return Scope(self, sanitize(prefix))

    def buckets(self, name: str) -> tuple[float, ...]:
        """The upper bounds of the histogram of this dotted name: of the first rule that fits."""
        for fits, bounds in self._bucket_rules:
            if fits(name):
                return bounds
        return DEFAULT_BUCKETS

    def refresh(self) -> None:
        """Bring up to date what is not counted but looked up."""
        for refresher in self.refreshers:
            refresher()

    def flush(self) -> None:
        """End an interval of `stats_flush_interval`."""
        for metric in self.metrics.values():
            if type(metric) is Histogram:
                metric.flush()

    def reset_counters(self) -> None:
        """Start every counter from 0 again."""
        for metric in self.metrics.values():
            if type(metric) is Counter:
                metric.reset()

    def __iter__(self) -> Iterator[Metric]:
        return iter(self.metrics.values())

    def metric(self, kind: type[Any], name: str) -> Any:
        """The metric of this dotted name; made on first use."""
        found = self.metrics.get(name)
        if found is None:
            found = self.metrics[name] = kind(name, *self.tags.produce(name))
        elif type(found) is not kind:
            raise TypeError(f"{name} is a {found.kind} already")
        return found

    def remove(self, prefix: str) -> None:
        """Forget every metric below `prefix`: what they counted is gone."""
        prefix = sanitize(prefix)
        for name in [name for name in self.metrics if name.startswith(prefix)]:
            del self.metrics[name]


class Scope:
    """A named corner of the store. Its labels follow from its name (`stats/tags.py`)."""

    __slots__ = ("prefix", "store")

    def __init__(self, store: Store, prefix: str) -> None:
        self.store = store
        self.prefix = prefix

    def scope(self, prefix: str) -> Scope:
        """A scope below this one; `prefix` ends in a dot."""
        return Scope(self.store, self.prefix + sanitize(prefix))

    def counter(self, name: str) -> Counter:
        """The counter of this name; made on first use."""
        return self.store.metric(Counter, self.prefix + name)  # type: ignore[no-any-return]

    def gauge(self, name: str) -> Gauge:
        """The gauge of this name; made on first use."""
        return self.store.metric(Gauge, self.prefix + name)  # type: ignore[no-any-return]

    def histogram(self, name: str) -> Histogram:
        """The histogram of this name; made on first use."""
        return self.store.metric(Histogram, self.prefix + name)  # type: ignore[no-any-return]

    def block(self, block: type[Block]) -> Block:
        """A stats block (a dataclass of metrics, see `stats/metrics.py`) with its metrics here."""
        made: dict[str, Any] = {}
        for field in dataclasses.fields(block):  # type: ignore[arg-type]
            kind = KINDS[field.type if isinstance(field.type, str) else field.type.__name__]
            made[field.name] = self.store.metric(kind, self.prefix + field.name)
        for name, metric in made.items():
            if type(metric) is Gauge:
                # downstream_cx_active counts the living of downstream_cx_total.
                total = MOVES_WITH.get(name, f"{name.removesuffix('_active')}_total")
                metric.moves_with = made.get(total)
        return block(**made)


MOVES_WITH: Final = {
    "downstream_cx_rx_bytes_buffered": "downstream_cx_rx_bytes_total",
    "upstream_cx_rx_bytes_buffered": "upstream_cx_rx_bytes_total",
    "membership_degraded": "membership_change",
    "membership_excluded": "membership_change",
    "warming_state": "membership_change",
}
"""Gauges that go with a counter of another stem in the same block."""

KINDS: Final[dict[str, type[Metric]]] = {
    "Counter": Counter, "Gauge": Gauge, "Histogram": Histogram,
}  # fmt: skip
