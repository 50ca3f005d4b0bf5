"""The packages of Envoy's protos, as the lists beside this one name them."""

from __future__ import annotations

from typing import Final

CORE: Final = "envoy.config.core.v3."
CLUSTER: Final = "envoy.config.cluster.v3."
ENDPOINT: Final = "envoy.config.endpoint.v3."
LISTENER: Final = "envoy.config.listener.v3."
ROUTE: Final = "envoy.config.route.v3."
LOG: Final = "envoy.config.accesslog.v3."
MATCHER: Final = "envoy.type.matcher.v3."
MANAGER: Final = "envoy.extensions.filters.network.http_connection_manager.v3."
TCP_PROXY: Final = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
LISTENER_FILTERS: Final = "envoy.extensions.filters.listener."
SOCKETS: Final = "envoy.extensions.transport_sockets."
TLS: Final = SOCKETS + "tls.v3."
LOGGERS: Final = "envoy.extensions.access_loggers."
UPSTREAM: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
EVENT_SINKS: Final = "envoy.extensions.health_check.event_sinks."
EXT_AUTHZ: Final = "envoy.extensions.filters.http.ext_authz.v3."
WASM: Final = "envoy.extensions.wasm.v3."
