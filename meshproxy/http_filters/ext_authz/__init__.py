"""`envoy.filters.http.ext_authz`: a server of its own decides which requests may pass.

Owns how the filter is put together, and what its several places in the route table say together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from meshproxy.http.filter import FactoryByScope, FilterFactory
from meshproxy.http_filters.ext_authz.filter import AuthorizationService, ExtAuthz, ExtAuthzShared
from meshproxy.http_filters.ext_authz.grpc_service import GrpcAuthorization
from meshproxy.http_filters.ext_authz.http_service import ALWAYS_TOLD, HttpAuthorization
from meshproxy.http_filters.ext_authz.settings import (
    ExtAuthzConfig,
    ExtAuthzPerRoute,
    GrpcServiceConfig,
    HttpServiceConfig,
    NamePredicate,
)
from meshproxy.http_filters.registry import HTTP_FILTERS, FactoryContext
from meshproxy.stats.ext_authz_metrics import ExtAuthzStats

if TYPE_CHECKING:
    from meshproxy.router.filter_scope import FilterScope

TYPE: Final = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
PER_ROUTE: Final = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"


@HTTP_FILTERS.register(TYPE, per_route=PER_ROUTE)
def ext_authz(config: ExtAuthzConfig, context: FactoryContext) -> FilterFactory | FactoryByScope:
    """The filter of one chain."""
    scope = context.scope.scope("ext_authz.")
    if config.stat_prefix:
        scope = scope.scope(f"{config.stat_prefix}.")
    service = _service(config.grpc, config.http, context)
    assert service is not None
    shared = ExtAuthzShared(config, service, scope.block(ExtAuthzStats), context.dispatcher)
    shared.is_told = _told(config)
    default = _factory(shared, ExtAuthzPerRoute(), context)
    if not context.overrides:
        return default
    by_scope: dict[object, FilterFactory] = {
        scope: _factory(shared, _merged(context.name, scope), context)
        for scope in context.overrides
    }
    return FactoryByScope(default, by_scope)


def _factory(
    shared: ExtAuthzShared, at_route: ExtAuthzPerRoute, context: FactoryContext
) -> FilterFactory:
    other = _service(at_route.grpc, at_route.http, context)
    if other is not None:
        shared = shared.asking(other)
    return lambda: ExtAuthz(shared, at_route)


def _service(
    grpc: GrpcServiceConfig | None, http: HttpServiceConfig | None, context: FactoryContext
) -> AuthorizationService | None:
    if grpc is not None:
        return GrpcAuthorization(grpc, context.client)
    return HttpAuthorization(http, context.client) if http is not None else None


def _merged(name: str, scope: FilterScope) -> ExtAuthzPerRoute:
    """What counts in a scope: of the most specific place, with the extensions of all of them."""
    entries = list(_entries(name, scope))
    extensions: dict[str, str] = {}
    for entry in reversed(entries):
        extensions |= entry.context_extensions
    return replace(entries[0], context_extensions=extensions)


def _entries(name: str, scope: FilterScope) -> Iterator[ExtAuthzPerRoute]:
    at: FilterScope | None = scope
    while at is not None:
        entry = at.own.get(name)
        if entry is not None and isinstance(entry.config, ExtAuthzPerRoute):
            yield entry.config
        at = at.outer


def _told(config: ExtAuthzConfig) -> NamePredicate | None:
    """Which headers the server is told of; None: all of them."""
    allowed, disallowed = config.allowed_headers, config.disallowed_headers
    always = ALWAYS_TOLD if config.http is not None else frozenset()
    if config.http is None and allowed is None and disallowed is None:
        return None
    everything = allowed is None and config.http is None

    def told(name: bytes) -> bool:
        if disallowed is not None and disallowed(name):
            return config.http is not None and name.startswith(b":")
        return everything or name in always or (allowed is not None and allowed(name))

    return told
