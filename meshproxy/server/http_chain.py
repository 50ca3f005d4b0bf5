"""The HTTP filter chains: of a connection manager, with what its routes say, and of a cluster.

Owns which filters stand in the chain of which scope. Refuses to know any filter.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NoReturn

from meshproxy.errors import StartupError
from meshproxy.http.filter import FactoryByScope, FilterFactory
from meshproxy.http.filter_chain import FilterChain
from meshproxy.http_filters import HTTP_FILTERS, FactoryContext

if TYPE_CHECKING:
    from meshproxy.config import HttpFilterConfig
    from meshproxy.router.filter_scope import FilterScope
    from meshproxy.upstream.cluster import Cluster

logger: Final = logging.getLogger("meshproxy.config")

Chains = tuple[list[FilterFactory], dict["FilterScope", list[FilterFactory]]]
"""The chain without a word from a route, and those of the scopes."""


def build_chains(
    filters: Sequence[HttpFilterConfig], context: FactoryContext, scopes: Sequence[FilterScope]
) -> Chains:
    """Build every filter, and put the chains together.

    Raises StartupError for a filter that cannot be built, or does not take what a route says.
    """
    _warn_of_strangers(filters, scopes)
    default: list[FilterFactory] = []
    chains: dict[FilterScope, list[FilterFactory]] = {scope: [] for scope in scopes}
    for each in filters:
        overrides = {scope: _override(each, scope) for scope in scopes}
        mine = replace(
            context,
            name=each.name,
            overrides={scope: config for scope, config in overrides.items() if config is not None},
        )
        made = HTTP_FILTERS[each.type_name](each.config, mine)
        factory = made if isinstance(made, FactoryByScope) else FactoryByScope(made, {})
        if not each.disabled:
            default.append(factory.default)
        for scope, chain in chains.items():
            found = scope.find(each.name)
            if not (each.disabled if found is None else found.disabled):
                chain.append(factory.at(scope))
    return default, chains


def build_upstream_chain(cluster: Cluster, context: FactoryContext) -> FilterChain:
    """The chain of a cluster's own filters. Raises StartupError as `build_chains` does."""
    factories, _ = build_chains(cluster.config.http_filters, context, ())
    return FilterChain(factories, _no_terminal, cluster.config.per_connection_buffer_limit_bytes)


def _no_terminal(stream: Any) -> NoReturn:
    raise AssertionError("the filters of a cluster end in its connections")


def _override(filter_config: HttpFilterConfig, scope: FilterScope) -> Any:
    """The configuration of a filter in a scope, None where it is its usual one."""
    found = scope.find(filter_config.name)
    if found is None or found.config is None:
        return None
    taken = HTTP_FILTERS.per_route_type(filter_config.type_name)
    if found.type_name != taken:
        what = f"takes {taken} there" if taken else "takes no configuration there"
        raise StartupError(
            f"typed_per_filter_config of the HTTP filter '{filter_config.name}' is "
            f"{found.type_name}, but {filter_config.type_name} {what}"
        )
    return found.config


def _warn_of_strangers(filters: Sequence[HttpFilterConfig], scopes: Sequence[FilterScope]) -> None:
    """Envoy takes entries for filters that are not in the chain; most often they are typos."""
    names = {each.name for each in filters}
    strangers = {name for scope in scopes for name in scope.names()} - names
    for name in sorted(strangers):
        logger.warning(
            "typed_per_filter_config has an entry '%s', but no HTTP filter of that name is there",
            name,
        )
