"""From a configuration to objects that serve: clusters, filter chains, listeners.

Owns the wiring, top to bottom. Refuses to know the process: signals and the end are `server.py`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from meshproxy.config.access_log import AccessLogConfig, AnyAccessLogConfig
from meshproxy.http.access_log import AccessLog
from meshproxy.http.conn_manager import HttpConnectionManager, HttpConnectionManagerConfig
from meshproxy.http.filter_chain import FilterChain
from meshproxy.http_filters import FactoryContext
from meshproxy.network.connector import Connector
from meshproxy.network.filter_chain import FilterChain as NetworkFilterChain
from meshproxy.network.filter_chain import FilterChainConfig
from meshproxy.network.listener import Listener, ListenerConfig
from meshproxy.network_filters import NETWORK_FILTERS, NetworkFactoryContext
from meshproxy.network_filters.filter import NetworkFilterFactory
from meshproxy.network_filters.filter_manager import FilterManager
from meshproxy.network_filters.http_connection_manager import HttpFactory
from meshproxy.network_filters.tcp_proxy import TcpProxyFactory
from meshproxy.router.attempts import AttemptsFactory
from meshproxy.router.router import RouterFactory
from meshproxy.server.http_chain import build_chains, build_upstream_chain
from meshproxy.stats.metrics import Http1CodecStats, HttpStats, ListenerHttpStats, TracingStats

if TYPE_CHECKING:
    from meshproxy.http.local_info import LocalInfo
    from meshproxy.http.log_file import AccessLogManager
    from meshproxy.network.dispatcher import LoopDispatcher
    from meshproxy.network.tls.config import DownstreamTlsConfig
    from meshproxy.network.tls.downstream import DownstreamTls
    from meshproxy.proxy_wasm.access_log import WasmAccessLog
    from meshproxy.proxy_wasm.services import Services
    from meshproxy.router.async_client import AsyncClient
    from meshproxy.stats.store import Scope, Store
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
    local: LocalInfo
    client: AsyncClient


def build_upstream_chains(world: World) -> None:
    """The filters of every cluster that has some. Raises StartupError for one that cannot be."""
    for name, cluster in world.cluster_manager.clusters.items():
        if cluster.config.http_filters:
            context = FactoryContext(
                name="",
                scope=world.store.scope(f"cluster.{name}."),
                store=world.store,
                cluster_manager=world.cluster_manager,
                dispatcher=world.dispatcher,
                services=world.services,
            )
            cluster.filter_chain = build_upstream_chain(cluster, context)


def build_listener(config: ListenerConfig, world: World) -> Listener:
    """A listener with its filter chains; not yet bound."""
    chains = [_filter_chain(chain, config, world) for chain in config.filter_chains]
    default = config.default_filter_chain
    default_chain = _filter_chain(default, config, world) if default is not None else None
    return Listener(config, chains, world.store, default_chain)


def _filter_chain(
    chain: FilterChainConfig, listener: ListenerConfig, world: World
) -> NetworkFilterChain:
    factories: list[NetworkFilterFactory] = []
    for each in chain.filters:
        context = NetworkFactoryContext(
            name=each.name,
            store=world.store,
            cluster_manager=world.cluster_manager,
            dispatcher=world.dispatcher,
            connector=Connector(world.dispatcher),
            http_manager=lambda config: _http_manager(config, listener, world),
            access_logs=lambda specs: _access_logs(specs, world),
            services=world.services,
            direction=listener.traffic_direction,
        )
        factories.append(NETWORK_FILTERS[each.type_name](each.config, context))
    last = factories[-1]
    if len(factories) == 1 and isinstance(last, HttpFactory):
        # hot: nothing stands between the connection and its codec.
        make_owner: Any = last.make_owner
    else:
        limit = listener.per_connection_buffer_limit_bytes

        def make_owner() -> FilterManager:
            return FilterManager(factories, limit, world.dispatcher)

    drainables = [each.drainable for each in factories if each.drainable is not None]
    scope = world.store.scope(f"listener.{listener.stat_name}.")
    tls = _tls(chain.tls, scope) if chain.tls is not None else None
    on_rejected = last.on_rejected if isinstance(last, HttpFactory | TcpProxyFactory) else _ignore
    return NetworkFilterChain(
        chain, make_owner, last.received, last.sent, drainables, tls, on_rejected
    )


def _tls(config: DownstreamTlsConfig, scope: Scope) -> DownstreamTls:
    from meshproxy.network.tls.downstream import DownstreamTls  # loads `cryptography`

    return DownstreamTls(config, scope)


def _ignore() -> None:
    """A terminal filter that does not count what never reached it."""


def _http_manager(
    config: HttpConnectionManagerConfig, listener: ListenerConfig, world: World
) -> HttpConnectionManager:
    """A connection manager with its HTTP filters and router."""
    manager_config = replace(
        config,
        access_logs=_access_logs(config.access_logs, world),
        http2=replace(config.http2, buffer_limit=listener.per_connection_buffer_limit_bytes),
    )
    manager_config.route_config.bind(world.cluster_manager)
    prefix = f"http.{manager_config.stat_prefix}."
    scope = world.store.scope(prefix)
    stats = scope.block(HttpStats)
    *filters, last = manager_config.filters
    context = FactoryContext(
        name="",
        scope=scope,
        store=world.store,
        cluster_manager=world.cluster_manager,
        dispatcher=world.dispatcher,
        services=world.services,
        client=world.client,
        direction=listener.traffic_direction,
        local=world.local,
    )
    scopes = manager_config.route_config.filter_scopes
    factories, by_scope = build_chains(filters, context, scopes)
    router = RouterFactory(
        Connector(world.dispatcher),
        stats,
        suppress_envoy_headers=last.config.suppress_envoy_headers,
    )
    limit = listener.per_connection_buffer_limit_bytes
    terminal = AttemptsFactory(router) if last.config.attempts else router
    chain = FilterChain(factories, terminal, limit, by_scope)
    listener_stats = world.store.scope(f"listener.{listener.stat_name}.{prefix}")
    manager = HttpConnectionManager(
        manager_config, chain, stats, listener_stats.block(ListenerHttpStats), world.dispatcher
    )
    manager.codec_scope = world.store.scope("http2.")
    manager.http1_stats = world.store.scope("http1.").block(Http1CodecStats)
    manager.tracing_stats = scope.scope("tracing.").block(TracingStats)
    manager.local = world.local
    return manager


def _access_logs(specs: Sequence[Any], world: World) -> tuple[Any, ...]:
    return tuple(_access_log(spec, world) for spec in specs)


def _access_log(spec: AnyAccessLogConfig, world: World) -> AccessLog | WasmAccessLog:
    if isinstance(spec, AccessLogConfig):
        return AccessLog(world.access_logs.file(spec.path).write, spec.render, spec.passes)
    from meshproxy.server.wasm_plugins import start_access_log

    return start_access_log(spec, world.services)
