"""The metrics of `stats/labelled.py` in Prometheus' text format. Owns the writing; knows no HTTP.

The figures of the process follow, from prometheus-client's registry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from meshproxy.admin.endpoint import Query
from meshproxy.admin.prometheus import client_families, escape, number
from meshproxy.admin.selection import Selection
from meshproxy.stats.labelled import HISTOGRAM, Family, Series

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


def exposition(families: Iterable[Family]) -> str:
    """The whole page; families that have no series yet are left out."""
    shown = [_family(family) for family in families if family.series]
    return "".join([*shown, *client_families(Selection(Query()), set())])


def _family(family: Family) -> str:
    text = family.help.replace("\\", r"\\").replace("\n", r"\n")
    lines = [f"# HELP {family.name} {text}\n# TYPE {family.name} {family.kind}\n"]
    for values, series in family.series.items():
        labels = {**family.constant, **dict(zip(family.labels, values, strict=True))}
        if family.kind == HISTOGRAM:
            lines += _histogram(family.name, labels, series)
        else:
            lines.append(f"{family.name}{_labels(labels)} {number(series.value)}\n")
    return "".join(lines)


def _histogram(name: str, labels: Mapping[str, str], series: Series) -> Iterator[str]:
    for bound, count in zip(series.bounds, series.cumulative(), strict=True):
        yield f"{name}_bucket{_labels({**labels, 'le': number(bound)})} {count}\n"
    yield f"{name}_bucket{_labels({**labels, 'le': '+Inf'})} {series.count}\n"
    yield f"{name}_sum{_labels(labels)} {number(series.value)}\n"
    yield f"{name}_count{_labels(labels)} {series.count}\n"


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{key}="{escape(value)}"' for key, value in labels.items()) + "}"
