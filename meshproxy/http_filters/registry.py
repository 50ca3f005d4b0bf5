"""Which HTTP filter answers to which `@type`. Filled at import time, read at configuration time.

Owns the names. Refuses to know any filter: `http_filters/__init__.py` is the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from meshproxy.http.filter import FilterFactory


@dataclass(frozen=True, slots=True)
class FactoryContext:
    """What a filter's configuration may use while it is built.

    `scope` is `http.<stat_prefix>.`; `name` is the filter's name in its chain; `services` is what
    plugins share in this process (see `proxy_wasm/services.py`), None while only validating.
    """

    name: str
    scope: Any
    store: Any
    cluster_manager: Any
    dispatcher: Any
    services: Any = None
    direction: int = 0


HttpFilterConfigFactory = Callable[[Any, FactoryContext], FilterFactory]


class Registry:
    """Names of HTTP filters by the type of their configuration."""

    def __init__(self) -> None:
        self._factories: dict[str, HttpFilterConfigFactory] = {}

    def register(
        self, type_url: str
    ) -> Callable[[HttpFilterConfigFactory], HttpFilterConfigFactory]:
        """Decorate a factory `(config, context) -> FilterFactory`. A second one for a type raises.

        `type_url` is the full name of the filter's message, with or without a type URL's prefix;
        `config` is what `config/listener.py` makes of it.
        """
        type_url = type_url.rpartition("/")[2]

        def add(factory: HttpFilterConfigFactory) -> HttpFilterConfigFactory:
            if type_url in self._factories:
                raise ValueError(f"two HTTP filters for {type_url}")
            self._factories[type_url] = factory
            return factory

        return add

    def __getitem__(self, type_url: str) -> HttpFilterConfigFactory:
        try:
            return self._factories[type_url.rpartition("/")[2]]
        except KeyError:
            known = ", ".join(sorted(self._factories))
            raise LookupError(f"no HTTP filter for {type_url}; there are: {known}") from None

    def __contains__(self, type_url: object) -> bool:
        return type_url in self._factories

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._factories))


HTTP_FILTERS = Registry()
