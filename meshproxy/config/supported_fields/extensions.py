"""Which extensions may stand where. Data only."""

from __future__ import annotations

from typing import Final

from meshproxy.config.supported_fields.packages import (
    CLUSTER,
    CORE,
    EVENT_SINKS,
    EXT_AUTHZ,
    LISTENER,
    LISTENER_FILTERS,
    LOG,
    LOGGERS,
    MANAGER,
    ROUTE,
    SOCKETS,
    TCP_PROXY,
    TLS,
    UPSTREAM,
    WASM,
)

# Fields of type Any: what stands there ("category in package"), and the types that are supported.
# By message and field, or by the field that holds the message, where many have one of its type.
EXTENSIONS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    LISTENER + "Filter.typed_config": (
        "network filter in envoy.extensions.filters.network.",
        (
            MANAGER + "HttpConnectionManager",
            TCP_PROXY,
            "envoy.extensions.filters.network.wasm.v3.Wasm",
        ),
    ),
    MANAGER + "HttpFilter.typed_config": (
        "HTTP filter in envoy.extensions.filters.http.",
        (
            "envoy.extensions.filters.http.router.v3.Router",
            EXT_AUTHZ + "ExtAuthz",
            "envoy.extensions.filters.http.grpc_http1_bridge.v3.Config",
            "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
            "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb",
            "envoy.extensions.filters.http.health_check.v3.HealthCheck",
            "envoy.extensions.filters.http.wasm.v3.Wasm",
        ),
    ),
    LISTENER + "ListenerFilter.typed_config": (
        "listener filter in envoy.extensions.filters.listener.",
        (
            LISTENER_FILTERS + "proxy_protocol.v3.ProxyProtocol",
            LISTENER_FILTERS + "tls_inspector.v3.TlsInspector",
        ),
    ),
    CORE + "TransportSocket.typed_config": (
        "transport socket in envoy.extensions.transport_sockets.",
        (
            SOCKETS + "raw_buffer.v3.RawBuffer",
            TLS + "DownstreamTlsContext",
            TLS + "UpstreamTlsContext",
        ),
    ),
    LOG + "AccessLog.typed_config": (
        "access logger in envoy.extensions.access_loggers.",
        (
            LOGGERS + "file.v3.FileAccessLog",
            LOGGERS + "stream.v3.StdoutAccessLog",
            LOGGERS + "stream.v3.StderrAccessLog",
            LOGGERS + "wasm.v3.WasmAccessLog",
        ),
    ),
    ROUTE + "RetryPolicy.RetryHostPredicate.typed_config": (
        "retry host predicate in envoy.extensions.retry.host.",
        (
            "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
            "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate",
            "envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig",
        ),
    ),
    "envoy.config.bootstrap.v3.Bootstrap.bootstrap_extensions.typed_config": (
        "bootstrap extension in envoy.extensions.bootstrap.",
        (WASM + "WasmService",),
    ),
    UPSTREAM + ".http_filters.typed_config": (
        "upstream HTTP filter in envoy.extensions.filters.http.",
        (
            "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
            "envoy.extensions.filters.http.wasm.v3.Wasm",
        ),
    ),
    CORE + "HealthCheck.event_logger.typed_config": (
        "health check event sink in envoy.extensions.health_check.event_sinks.",
        (EVENT_SINKS + "file.v3.HealthCheckEventFileSink",),
    ),
    CLUSTER + "Cluster.typed_extension_protocol_options": (
        "set of protocol options in envoy.extensions.upstreams.",
        (UPSTREAM,),
    ),
}

# `typed_per_filter_config` and what it may say in a FilterConfig.
_PER_ROUTE: Final = "HTTP filter configuration in envoy.extensions.filters.http."
_PER_ROUTE_TYPES: Final = (
    EXT_AUTHZ + "ExtAuthzPerRoute",
    "envoy.extensions.filters.http.wasm.v3.Wasm",
)
EXTENSIONS.update(
    {
        f"{ROUTE}{place}.typed_per_filter_config": (
            _PER_ROUTE,
            (*_PER_ROUTE_TYPES, ROUTE + "FilterConfig"),
        )
        for place in ("RouteConfiguration", "VirtualHost", "Route", "WeightedCluster.ClusterWeight")
    }
)
EXTENSIONS[ROUTE + "FilterConfig.config"] = (_PER_ROUTE, _PER_ROUTE_TYPES)

# Fields of type Any that mean something when they are empty, without a type.
EMPTY: Final = frozenset({ROUTE + "FilterConfig.config"})

# Fields of type Any that a Wasm filter gets as they are: any message will do.
OPAQUE: Final = frozenset(
    {
        WASM + "PluginConfig.configuration",
        WASM + "VmConfig.configuration",
    }
)

# What `/server_info` says is compiled in: name, category and message of each extension.
EXTENSION_NAMES: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "envoy.filters.network.http_connection_manager",
        "envoy.filters.network",
        MANAGER + "HttpConnectionManager",
    ),
    (
        "envoy.filters.listener.proxy_protocol",
        "envoy.filters.listener",
        LISTENER_FILTERS + "proxy_protocol.v3.ProxyProtocol",
    ),
    (
        "envoy.filters.listener.tls_inspector",
        "envoy.filters.listener",
        LISTENER_FILTERS + "tls_inspector.v3.TlsInspector",
    ),
    (
        "envoy.transport_sockets.raw_buffer",
        "envoy.transport_sockets.downstream",
        SOCKETS + "raw_buffer.v3.RawBuffer",
    ),
    (
        "envoy.transport_sockets.tls",
        "envoy.transport_sockets.downstream",
        TLS + "DownstreamTlsContext",
    ),
    (
        "envoy.transport_sockets.tls",
        "envoy.transport_sockets.upstream",
        TLS + "UpstreamTlsContext",
    ),
    ("envoy.filters.network.tcp_proxy", "envoy.filters.network", TCP_PROXY),
    (
        "envoy.filters.network.wasm",
        "envoy.filters.network",
        "envoy.extensions.filters.network.wasm.v3.Wasm",
    ),
    (
        "envoy.filters.http.router",
        "envoy.filters.http",
        "envoy.extensions.filters.http.router.v3.Router",
    ),
    ("envoy.filters.http.ext_authz", "envoy.filters.http", EXT_AUTHZ + "ExtAuthz"),
    (
        "envoy.filters.http.grpc_http1_bridge",
        "envoy.filters.http",
        "envoy.extensions.filters.http.grpc_http1_bridge.v3.Config",
    ),
    (
        "envoy.filters.http.grpc_stats",
        "envoy.filters.http",
        "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    ),
    (
        "envoy.filters.http.grpc_web",
        "envoy.filters.http",
        "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb",
    ),
    (
        "envoy.filters.http.health_check",
        "envoy.filters.http",
        "envoy.extensions.filters.http.health_check.v3.HealthCheck",
    ),
    (
        "envoy.filters.http.upstream_codec",
        "envoy.filters.http.upstream",
        "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
    ),
    (
        "envoy.filters.http.wasm",
        "envoy.filters.http",
        "envoy.extensions.filters.http.wasm.v3.Wasm",
    ),
    (
        "envoy.health_checkers.http",
        "envoy.health_checkers",
        CORE + "HealthCheck.HttpHealthCheck",
    ),
    ("envoy.health_checkers.tcp", "envoy.health_checkers", CORE + "HealthCheck.TcpHealthCheck"),
    (
        "envoy.health_checkers.grpc",
        "envoy.health_checkers",
        CORE + "HealthCheck.GrpcHealthCheck",
    ),
    (
        "envoy.health_check.event_sink.file",
        "envoy.health_check.event_sinks",
        EVENT_SINKS + "file.v3.HealthCheckEventFileSink",
    ),
    (
        "envoy.access_loggers.file",
        "envoy.access_loggers",
        LOGGERS + "file.v3.FileAccessLog",
    ),
    (
        "envoy.access_loggers.stdout",
        "envoy.access_loggers",
        LOGGERS + "stream.v3.StdoutAccessLog",
    ),
    (
        "envoy.access_loggers.stderr",
        "envoy.access_loggers",
        LOGGERS + "stream.v3.StderrAccessLog",
    ),
    (
        "envoy.access_loggers.wasm",
        "envoy.access_loggers",
        LOGGERS + "wasm.v3.WasmAccessLog",
    ),
    (
        "envoy.bootstrap.wasm",
        "envoy.bootstrap",
        WASM + "WasmService",
    ),
    (
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "envoy.upstream_options",
        UPSTREAM,
    ),
)
