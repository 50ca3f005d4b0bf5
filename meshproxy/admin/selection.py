"""Which metrics a request for statistics is about: `usedonly`, `filter`, `invert_filter`, `type`.

Owns the parameters that `/stats` and `/stats/prometheus` share. Refuses to know
how a metric is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from meshproxy.admin.endpoint import BadRequest, Param, Query
from meshproxy.router.regex import Regex, RegexError
from meshproxy.stats.store import Counter, Gauge, Histogram, Metric

if TYPE_CHECKING:
    from meshproxy.stats.store import Store

KINDS: Final[dict[str, tuple[type[Metric], ...]]] = {
    "All": (Counter, Gauge, Histogram),
    "Counters": (Counter,),
    "Histograms": (Histogram,),
    "Gauges": (Gauge,),
    "TextReadouts": (),
}

USED_ONLY: Final = Param(
    "usedonly", "Only include stats that have been written by system since restart", flag=True
)
FILTER: Final = Param("filter", "Regular expression (Google re2) for filtering stats")
INVERT_FILTER: Final = Param("invert_filter", "Invert the filter regex", flag=True)
TYPE: Final = Param("type", "Stat types to include.", tuple(KINDS))


class Selection:
    """The metrics that a query asks for.

    Raises:
        BadRequest: the filter is no regular expression, or the type is none.
    """

    def __init__(self, query: Query) -> None:
        self.used_only = "usedonly" in query
        self.inverted = "invert_filter" in query
        kinds = KINDS.get(query.get("type", "All"))
        if kinds is None:
            raise BadRequest("invalid &type= param")
        self.kinds = kinds
        self._pattern: Regex | None = None
        if text := query.get("filter"):
            try:
                self._pattern = Regex(text)
            except RegexError as error:
                raise BadRequest(f"Invalid re2 regex: {error}") from error

    def includes(self, name: str) -> bool:
        """Whether the filter lets this name pass."""
        return self._pattern is None or self._pattern.search(name.encode()) != self.inverted

    def metrics(self, store: Store) -> list[Metric]:
        """The metrics, by name; brought up to date first."""
        store.refresh()
        return sorted(self._chosen(store), key=_name)

    def _chosen(self, store: Store) -> Iterable[Metric]:
        for metric in store:
            if type(metric) in self.kinds and self.includes(metric.name):  # noqa: SIM102
                if not self.used_only or metric.used:
                    yield metric


def _name(metric: Metric) -> str:
    return metric.name
