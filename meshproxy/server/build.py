"""From a configuration to objects that serve: clusters, filter chains, listeners.

Owns the wiring, top to bottom. Refuses to know the process: signals and the end are `server.py`'s.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from meshproxy.http.access_log import AccessLog
from meshproxy.http.conn_manager import HttpConnectionManager, HttpConnectionManagerConfig
from meshproxy.http.filter_chain import FilterChain
from meshproxy.http_filters import HTTP_FILTERS, FactoryContext
from meshproxy.network.connector import Connector
from meshproxy.network.listener import Listener, ListenerConfig
from meshproxy.router.router import RouterFactory
from meshproxy.stats.metrics import HttpStats, ListenerHttpStats, TracingStats

if TYPE_CHECKING:
    from meshproxy.http.log_file import AccessLogManager
    from meshproxy.network.dispatcher import LoopDispatcher
    from meshproxy.proxy_wasm.services import Services
    from meshproxy.stats.store import Store
    from meshproxy.upstream.cluster_manager import ClusterManager

logger = logging.getLogger("meshproxy.config")


@dataclass(frozen=True, slots=True)
class World:
    """What everything in one worker shares."""

    store: Store
    dispatcher: LoopDispatcher
    cluster_manager: ClusterManager
    access_logs: AccessLogManager
    services: Services


def build_listener(config: ListenerConfig, world: World) -> Listener:
    """A listener with its connection manager, filter chain and router; not yet bound."""
    manager_config = _with_access_logs(config.manager, world.access_logs)
    manager_config.route_config.bind(world.cluster_manager)
    prefix = f"http.{manager_config.stat_prefix}."
    scope = world.store.scope(prefix)
    stats = scope.block(HttpStats)
    scope.scope("tracing.").block(TracingStats)
    factories = []
    *filters, last = manager_config.filters
    for each in filters:
        context = FactoryContext(
            name=each.name,
            scope=scope,
            store=world.store,
            cluster_manager=world.cluster_manager,
            dispatcher=world.dispatcher,
            services=world.services,
            direction=config.traffic_direction,
        )
        factories.append(HTTP_FILTERS[each.type_name](each.config, context))
    router = RouterFactory(
        Connector(world.dispatcher),
        stats,
        suppress_envoy_headers=last.config.suppress_envoy_headers,
    )
    chain = FilterChain(factories, router, config.per_connection_buffer_limit_bytes)
    listener_stats = world.store.scope(f"listener.{config.stat_name}.{prefix}")
    manager = HttpConnectionManager(
        manager_config, chain, stats, listener_stats.block(ListenerHttpStats), world.dispatcher
    )
    return Listener(config, manager, world.store)


def _with_access_logs(
    config: HttpConnectionManagerConfig, manager: AccessLogManager
) -> HttpConnectionManagerConfig:
    logs: list[Any] = [
        AccessLog(manager.file(spec.path).write, spec.render, spec.passes)
        for spec in config.access_logs
    ]
    return replace(config, access_logs=tuple(logs))
