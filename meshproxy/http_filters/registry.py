"""Which HTTP filter answers to which `@type`. Filled at import time, read at configuration time.

Owns the names. Refuses to know any filter: `http_filters/__init__.py` is the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshproxy.http.filter import FactoryByScope, FilterFactory
from meshproxy.http.local_info import LocalInfo
from meshproxy.router.filter_scope import FilterScope


@dataclass(frozen=True, slots=True)
class FactoryContext:
    """What a filter's configuration may use while it is built.

    `scope` is `http.<stat_prefix>.`; `name` is the filter's name in its chain; `services` is what
    plugins share in this process (see `proxy_wasm/services.py`), None while only validating.

    `client` makes requests of clusters (`router.async_client.AsyncClient`).

    `overrides`: the configurations that `typed_per_filter_config` has for this filter, by the scope
    (`router.filter_scope.FilterScope`) in which they count. A filter that differs as a whole
    returns a `FactoryByScope`; one that asks late looks up `callbacks.route.filter_scope`. Where it
    is off is not its business.
    """

    name: str
    scope: Any
    store: Any
    cluster_manager: Any
    dispatcher: Any
    services: Any = None
    client: Any = None
    direction: int = 0
    overrides: Mapping[FilterScope, Any] = field(default_factory=dict)
    local: LocalInfo = field(default_factory=LocalInfo)


HttpFilterConfigFactory = Callable[[Any, FactoryContext], FilterFactory | FactoryByScope]


class Registry:
    """Names of HTTP filters by the type of their configuration."""

    def __init__(self) -> None:
        self._factories: dict[str, HttpFilterConfigFactory] = {}
        self._per_route: dict[str, str] = {}

    def register(
        self, type_url: str, *, per_route: str = ""
    ) -> Callable[[HttpFilterConfigFactory], HttpFilterConfigFactory]:
        """Decorate a factory `(config, context) -> FilterFactory`. A second one for a type raises.

        `type_url` is the full name of the filter's message, with or without a type URL's prefix;
        `config` is what `config/listener.py` makes of it. `per_route` is the full name of the
        message that it takes in `typed_per_filter_config`, empty where it takes none.
        """
        type_url = type_url.rpartition("/")[2]

        def add(factory: HttpFilterConfigFactory) -> HttpFilterConfigFactory:
            if type_url in self._factories:
                raise ValueError(f"two HTTP filters for {type_url}")
            self._factories[type_url] = factory
            self._per_route[type_url] = per_route
            return factory

        return add

    def __getitem__(self, type_url: str) -> HttpFilterConfigFactory:
        try:
            return self._factories[type_url.rpartition("/")[2]]
        except KeyError:
            known = ", ".join(sorted(self._factories))
            raise LookupError(f"no HTTP filter for {type_url}; there are: {known}") from None

    def per_route_type(self, type_url: str) -> str:
        """The full name of the message that this filter takes per route, empty for none."""
        return self._per_route.get(type_url.rpartition("/")[2], "")

    def __contains__(self, type_url: object) -> bool:
        return type_url in self._factories

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._factories))


HTTP_FILTERS = Registry()
