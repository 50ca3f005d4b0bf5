"""The metrics that guests define, by the numbers they know them by.

Owns the numbers of one VM. The values are ordinary metrics of the store, shared by name with every
other VM: `wasmcustom.<name>`.
"""

from __future__ import annotations

from typing import Final

from meshproxy.proxy_wasm.abi import BAD_ARGUMENT, COUNTER, GAUGE, HISTOGRAM, NOT_FOUND, OK
from meshproxy.stats.store import Counter, Gauge, Histogram, Scope

MAX_METRICS: Final = 65536
"""Definitions per VM: a filter that defines one per request would otherwise end the process."""
_KIND: Final = 3  # the two lowest bits of a number are the metric's type


class MetricTable:
    """One VM's definitions. Every definition has a new number: 4, 8 … counters, 5, 9 … gauges,
    6, 10 … histograms, as Envoy counts.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._metrics: dict[int, Counter | Gauge | Histogram] = {}
        self._next = [4, 5, 6]

    def define(self, metric_type: int, name: str) -> int | None:
        """The number of a new definition, None where the type or the name cannot be."""
        if len(self._metrics) >= MAX_METRICS:
            return None
        metric: Counter | Gauge | Histogram
        try:
            if metric_type == COUNTER:
                metric = self._scope.counter(name)
            elif metric_type == GAUGE:
                metric = self._scope.gauge(name)
            elif metric_type == HISTOGRAM:
                metric = self._scope.histogram(name)
            else:
                return None
        except TypeError:  # the name is taken by a metric of another type
            return None
        number = self._next[metric_type]
        self._next[metric_type] = number + 4
        self._metrics[number] = metric
        return number

    def increment(self, number: int, offset: int) -> int:
        """Add to a counter (only upwards) or a gauge. Returns a status."""
        metric = self._metrics.get(number)
        if metric is None:
            return unknown(number)
        if type(metric) is Histogram or (type(metric) is Counter and offset <= 0):
            return BAD_ARGUMENT
        metric.value += offset  # type: ignore[union-attr]
        return OK

    def record(self, number: int, value: int) -> int:
        """Set a gauge, add to a counter, record in a histogram. Returns a status."""
        metric = self._metrics.get(number)
        if metric is None:
            return NOT_FOUND
        if type(metric) is Histogram:
            metric.record(value)
        elif type(metric) is Counter:
            metric.value += value
        else:
            metric.value = value  # type: ignore[union-attr]
        return OK

    def get(self, number: int) -> tuple[int, int]:
        """(status, value); a histogram has no value."""
        metric = self._metrics.get(number)
        if metric is None:
            return unknown(number), 0
        if type(metric) is Histogram:
            return BAD_ARGUMENT, 0
        return OK, metric.value  # type: ignore[union-attr]


def unknown(number: int) -> int:
    """The status of using a number that was never given as something that has a value."""
    return BAD_ARGUMENT if number & _KIND >= HISTOGRAM else NOT_FOUND
