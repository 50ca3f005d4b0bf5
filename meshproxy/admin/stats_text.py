"""`/stats`: metrics as Envoy's text and JSON.

Owns the two formats and the four ways to show a histogram. Refuses to know Prometheus
(`admin/prometheus.py`) and which metrics are asked for (`admin/selection.py`).

A histogram shows two figures each: of the last flush interval and of all times.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from meshproxy.stats.histogram import (
    QUANTILES,
    Distribution,
    bin_width,
    count_below,
    quantiles,
)
from meshproxy.stats.store import Counter, Gauge, Histogram, Metric

Buckets = Callable[[str], Sequence[float]]
"""The upper bounds that a histogram is shown with, by its dotted name."""

_PERCENTS: Final = tuple(f"{100 * quantile:g}" for quantile in QUANTILES)


def text(metrics: Sequence[Metric], mode: str, buckets: Buckets) -> Iterator[str]:
    """A line per metric, histograms last. `mode` is a value of `histogram_buckets`."""
    for metric in metrics:
        if type(metric) is Counter or type(metric) is Gauge:
            yield f"{metric.name}: {int(metric.value)}\n"
    show = {"": _summary, "summary": _summary, "detailed": _detailed}.get(mode)
    for metric in metrics:
        if type(metric) is not Histogram:
            continue
        if not metric.count:
            yield f"{metric.name}: No recorded values\n"
        elif show is not None:
            yield f"{metric.name}:{show(metric)}\n"
        else:
            yield f"{metric.name}:{_buckets(metric, mode, buckets(metric.name))}\n"


def as_json(metrics: Sequence[Metric], mode: str, buckets: Buckets) -> Iterator[str]:
    """One JSON object `{"stats": [...]}`, histograms in its last element."""
    separator = '{"stats":['
    for metric in metrics:
        if type(metric) is Counter or type(metric) is Gauge:
            yield f'{separator}{{"name":{json.dumps(metric.name)},"value":{int(metric.value)}}}'
            separator = ","
    histograms = [metric for metric in metrics if type(metric) is Histogram]
    if histograms:
        yield separator + '{"histograms":'
        yield from _histograms_json(histograms, mode, buckets)
        yield "}"
        separator = ""
    yield "{" + '"stats":[]}' if separator.startswith("{") else "]}"


def _summary(histogram: Histogram) -> str:
    interval, cumulative = quantiles(histogram.interval), quantiles(histogram.distribution())
    return "".join(
        f" P{percent}({_shortest(now)},{_shortest(ever)})"
        for percent, now, ever in zip(_PERCENTS, interval, cumulative, strict=True)
    )


def _detailed(histogram: Histogram) -> str:
    totals, intervals = _bins(histogram.distribution()), _bins(histogram.interval)
    return f"\n  totals={totals}\n  intervals={intervals}\n  summary={_summary(histogram)[1:]}"


def _bins(distribution: Distribution) -> str:
    return ", ".join(
        f"{lower},{_shortest(bin_width(lower))}:{count}" for lower, count in distribution
    )


def _buckets(histogram: Histogram, mode: str, bounds: Sequence[float]) -> str:
    interval, cumulative = _counts(histogram, mode, bounds)
    return "".join(
        f" B{bound:g}({now},{ever})"
        for bound, now, ever in zip(bounds, interval, cumulative, strict=True)
    )


def _counts(
    histogram: Histogram, mode: str, bounds: Sequence[float]
) -> tuple[Sequence[int], Sequence[int]]:
    interval = count_below(histogram.interval, bounds)
    cumulative = count_below(histogram.distribution(), bounds)
    if mode == "disjoint":
        return _differences(interval), _differences(cumulative)
    return interval, cumulative


def _differences(counts: Sequence[int]) -> list[int]:
    return [count - before for before, count in zip((0, *counts), counts, strict=False)]


def _histograms_json(histograms: Sequence[Histogram], mode: str, buckets: Buckets) -> Iterator[str]:
    percents = f"[{','.join(_PERCENTS)}]"
    if mode in ("cumulative", "disjoint"):
        pieces, start, end = _bucket_json, "[", "]"
    elif mode == "detailed":
        pieces, end = _detail_json, "]}"
        start = f'{{"supported_percentiles":{percents},"details":['
    else:
        pieces, end = _quantile_json, "]}"
        start = f'{{"supported_quantiles":{percents},"computed_quantiles":['
    for histogram in histograms:
        yield start + pieces(histogram, mode, buckets)
        start = ","
    yield end


def _bucket_json(histogram: Histogram, mode: str, buckets: Buckets) -> str:
    bounds = buckets(histogram.name)
    interval, cumulative = _counts(histogram, mode, bounds)
    shown = ",".join(
        f'{{"upper_bound":{_number(bound)},"interval":{now},"cumulative":{ever}}}'
        for bound, now, ever in zip(bounds, interval, cumulative, strict=True)
    )
    return f'{{"name":{json.dumps(histogram.name)},"buckets":[{shown}]}}'


def _detail_json(histogram: Histogram, mode: str, buckets: Buckets) -> str:
    totals, intervals = _bins_json(histogram.distribution()), _bins_json(histogram.interval)
    return (
        f'{{"name":{json.dumps(histogram.name)},"totals":[{totals}],"intervals":[{intervals}],'
        f'"percentiles":[{_values_json(histogram)}]}}'
    )


def _quantile_json(histogram: Histogram, mode: str, buckets: Buckets) -> str:
    return f'{{"name":{json.dumps(histogram.name)},"values":[{_values_json(histogram)}]}}'


def _values_json(histogram: Histogram) -> str:
    interval, cumulative = quantiles(histogram.interval), quantiles(histogram.distribution())
    return ",".join(
        f'{{"cumulative":{_number(ever)},"interval":{_number(now)}}}'
        for now, ever in zip(interval, cumulative, strict=True)
    )


def _bins_json(distribution: Distribution) -> str:
    return ",".join(
        f'{{"lower_bound":{_number(lower)},"width":{_number(bin_width(lower))},"count":{count}}}'
        for lower, count in distribution
    )


def _shortest(value: float) -> str:
    """The fewest digits that read back as `value`; whole numbers without a point."""
    return repr(value).removesuffix(".0")


def _number(value: float) -> str:
    """A JSON number in its shortest form, which may be `3e+05`; null for nan."""
    if math.isnan(value):
        return "null"
    plain = _shortest(float(value))
    if not plain.isdecimal():
        return plain
    digits = plain.rstrip("0") or "0"
    scientific = f"{value:.{len(digits) - 1}e}"
    return scientific if len(scientific) < len(plain) else plain
