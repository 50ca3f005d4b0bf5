"""`/stats/prometheus`: the metrics in Prometheus' text format, as Envoy writes it.

Owns the exposition: tag-extracted names, labels, no HELP, counters without `_total`. That suffix is
why prometheus-client cannot write these names; but its own registry, with the figures of the
process and the garbage collector, follows ours in the same style. Refuses to know HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from meshproxy.admin.endpoint import BadRequest
from meshproxy.stats.histogram import (
    QUANTILES,
    approximate_sum,
    count_below,
    quantiles,
)
from meshproxy.stats.store import Counter, Gauge, Histogram, Metric

if TYPE_CHECKING:
    from meshproxy.admin.selection import Selection
    from meshproxy.stats.store import Store

MODES: Final = ("cumulative", "summary")
CUSTOM_NAMESPACE: Final = "wasmcustom."
"""What a filter defines is shown under the name it chose, without the prefix `envoy_`."""

_UNFIT: Final = re.compile(r"[^a-zA-Z0-9_]")
# Kinds of prometheus-client that the text format has no word for.
_TYPES: Final = {
    "info": "gauge", "stateset": "gauge", "gaugehistogram": "histogram", "unknown": "untyped",
}  # fmt: skip


def exposition(store: Store, selection: Selection, mode: str = "") -> Iterator[str]:
    """The whole page in pieces of one family each.

    Raises:
        BadRequest: `mode` is not a way to show histograms here.
    """
    if mode == "prometheusnative":
        raise BadRequest(
            "unsupported prometheusnative histogram type when not using protobuf exposition format"
        )
    if mode and mode not in MODES:
        raise BadRequest("unsupported prometheus histogram bucket mode")
    return _exposition(store, selection, mode)


def _exposition(store: Store, selection: Selection, mode: str) -> Iterator[str]:
    metrics = selection.metrics(store)
    seen: set[str] = set()
    for kind in (Counter, Gauge, Histogram):
        # The sort by tagged name is stable: within a family the order is that of the full names.
        chosen = sorted((one for one in metrics if type(one) is kind), key=_tagged_name)
        for tagged_name, family in groupby(chosen, key=_tagged_name):
            name = metric_name(tagged_name)
            seen.add(name)
            if kind is Histogram:
                yield _histograms(name, family, store, mode)
            else:
                yield _values(name, kind.kind, family)
    yield from client_families(selection, seen)


def metric_name(tagged_name: str) -> str:
    """The family's name."""
    own = tagged_name.removeprefix(CUSTOM_NAMESPACE)
    name = _UNFIT.sub("_", own)
    if own is tagged_name or own == tagged_name:
        return f"envoy_{name}"
    return f"_{name}" if name[:1].isdigit() else name


def _values(name: str, kind: str, family: Iterable[Any]) -> str:
    lines = [f"# TYPE {name} {kind}\n"]
    lines += [f"{name}{{{_labels(metric)}}} {int(metric.value)}\n" for metric in family]
    return "".join(lines)


def _histograms(name: str, family: Iterable[Metric], store: Store, mode: str) -> str:
    lines = [f"# TYPE {name} {'summary' if mode == 'summary' else 'histogram'}\n"]
    for metric in family:
        assert isinstance(metric, Histogram)
        labels = _labels(metric)
        comma = "," if labels else ""
        seen = metric.distribution()
        if mode == "summary":
            lines += [
                f'{name}{{{labels}{comma}quantile="{quantile:.32g}"}} {number(value)}\n'
                for quantile, value in zip(QUANTILES, quantiles(seen), strict=True)
            ]
        else:
            bounds = store.buckets(metric.name)
            lines += [
                f'{name}_bucket{{{labels}{comma}le="{bound:.32g}"}} {count}\n'
                for bound, count in zip(bounds, count_below(seen, bounds), strict=True)
            ]
            lines.append(f'{name}_bucket{{{labels}{comma}le="+Inf"}} {metric.count}\n')
        lines.append(f"{name}_sum{{{labels}}} {number(approximate_sum(seen))}\n")
        lines.append(f"{name}_count{{{labels}}} {metric.count}\n")
    return "".join(lines)


def client_families(selection: Selection, seen: set[str]) -> Iterator[str]:
    """What prometheus-client's registry collects; a family whose name is taken is left out."""
    from prometheus_client import REGISTRY

    for family in REGISTRY.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        if name in seen or not selection.includes(name):
            continue
        lines = [f"# TYPE {name} {_TYPES.get(family.type, family.type)}\n"]
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                labels = ",".join(f'{key}="{escape(text)}"' for key, text in sample.labels.items())
                lines.append(f"{sample.name}{{{labels}}} {number(sample.value)}\n")
        yield "".join(lines)


def escape(value: str) -> str:
    """A label's value between its quotes."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _labels(metric: Metric) -> str:
    return ",".join(f'{name}="{escape(value)}"' for name, value in metric.labels)


def number(value: float) -> str:
    """A value as Envoy writes it."""
    return "NaN" if value != value else f"{value:.32g}"


def _tagged_name(metric: Metric) -> str:
    return metric.tagged_name
