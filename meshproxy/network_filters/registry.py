"""Which network filter answers to which `@type`. Filled at import time, read at configuration time.

Owns the names. Refuses to know any filter: `network_filters/__init__.py` is the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from meshproxy.network_filters.filter import NetworkFilterFactory


@dataclass(frozen=True, slots=True)
class NetworkFactoryContext:
    """What a filter's configuration may use while it is built.

    `name` is the filter's name in its chain; `connector` makes upstream connections;
    `http_manager` makes a connection manager of its configuration; `services` is what plugins share
    in this process (see `proxy_wasm/services.py`); `access_logs` opens the files of access logs.
    """

    name: str
    store: Any
    cluster_manager: Any
    dispatcher: Any
    connector: Any
    http_manager: Callable[[Any], Any]
    access_logs: Callable[[Any], tuple[Any, ...]]
    services: Any = None
    direction: int = 0


NetworkFilterConfigFactory = Callable[[Any, NetworkFactoryContext], NetworkFilterFactory]


class Registry:
    """Makers of network filters by the type of their configuration."""

    def __init__(self) -> None:
        self._factories: dict[str, NetworkFilterConfigFactory] = {}

    def register(
        self, type_name: str
    ) -> Callable[[NetworkFilterConfigFactory], NetworkFilterConfigFactory]:
        """Decorate a factory `(config, context) -> NetworkFilterFactory`. A second one raises.

        `type_name` is the full name of the filter's message; `config` is what the configuration
        makes of it.
        """

        def add(factory: NetworkFilterConfigFactory) -> NetworkFilterConfigFactory:
            if type_name in self._factories:
                raise ValueError(f"two network filters for {type_name}")
            self._factories[type_name] = factory
            return factory

        return add

    def __getitem__(self, type_name: str) -> NetworkFilterConfigFactory:
        try:
            return self._factories[type_name]
        except KeyError:
            known = ", ".join(sorted(self._factories))
            raise LookupError(f"no network filter for {type_name}; there are: {known}") from None

    def __contains__(self, type_name: object) -> bool:
        return type_name in self._factories

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._factories))


NETWORK_FILTERS = Registry()
