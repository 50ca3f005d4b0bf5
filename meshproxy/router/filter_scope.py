"""`typed_per_filter_config`: what a place in the route table says about the HTTP filters.

Owns which of several places counts. Refuses to know filters: their names and configurations pass
through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from meshproxy.http.header_map import HeaderMap


@dataclass(frozen=True, slots=True)
class FilterOverride:
    """One entry: off here, or on, and then with another configuration unless `config` is None.

    `type_name` is the full name of the configuration's message, empty where there is none.
    """

    disabled: bool = False
    type_name: str = ""
    config: Any = None


PerFilterConfig = Mapping[str, FilterOverride]
"""By the name that the filter has in its chain."""
NO_OVERRIDES: Final[PerFilterConfig] = {}
PickScope = Callable[["HeaderMap", int], "FilterScope | None"]
"""The scope of the weighted cluster that a request with this random value will take."""


class FilterScope:
    """A route (or virtual host, or weighted cluster) with what it is in; compared by identity."""

    __slots__ = ("outer", "own")

    def __init__(self, own: PerFilterConfig, outer: FilterScope | None) -> None:
        self.own = own
        self.outer = outer

    def find(self, name: str) -> FilterOverride | None:
        """What is said about a filter in the most specific place that says something.

        As in Envoy an entry that only switches a filter on or off hides no configuration of the
        places around it.
        """
        entries = list(self._entries(name))
        if not entries:
            return None
        first = entries[0]
        if first.disabled or first.config is not None:
            return first
        with_config = (each for each in entries if each.config is not None)
        return next(with_config, first)

    def names(self) -> Iterator[str]:
        """Every name that is mentioned here or around."""
        yield from self.own
        if self.outer is not None:
            yield from self.outer.names()

    def _entries(self, name: str) -> Iterator[FilterOverride]:
        scope: FilterScope | None = self
        while scope is not None:
            entry = scope.own.get(name)
            if entry is not None:
                yield entry
            scope = scope.outer


def inside(own: PerFilterConfig, outer: FilterScope | None) -> FilterScope | None:
    """The scope of a place within another; that one's where it has nothing to add."""
    return FilterScope(own, outer) if own else outer
