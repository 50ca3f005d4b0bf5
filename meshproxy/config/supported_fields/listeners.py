"""Listeners, filter chains, network filters and addresses. Data only."""

from __future__ import annotations

from typing import Final

from meshproxy.config.supported_fields.packages import CORE, LISTENER, LISTENER_FILTERS, TCP_PROXY

FIELDS: Final[dict[str, str]] = {
    LISTENER + "Listener": (
        "name address stat_prefix filter_chains per_connection_buffer_limit_bytes"
        " tcp_backlog_size enable_reuse_port traffic_direction default_filter_chain"
        " listener_filters listener_filters_timeout continue_on_listener_filters_timeout"
    ),
    LISTENER + "FilterChain": (
        "name filters filter_chain_match transport_socket transport_socket_connect_timeout"
    ),
    LISTENER + "FilterChainMatch": (
        "destination_port prefix_ranges server_names transport_protocol application_protocols"
        " direct_source_prefix_ranges source_type source_prefix_ranges source_ports"
    ),
    LISTENER + "ListenerFilter": "name typed_config",
    LISTENER_FILTERS + "proxy_protocol.v3.ProxyProtocol": (
        "allow_requests_without_proxy_protocol disallowed_versions stat_prefix"
    ),
    LISTENER_FILTERS + "tls_inspector.v3.TlsInspector": (
        "max_client_hello_size close_connection_on_client_hello_parsing_errors"
    ),
    LISTENER + "Filter": "name typed_config",
    CORE + "Address": "socket_address pipe",
    CORE + "SocketAddress": "protocol address port_value ipv4_compat",
    CORE + "Pipe": "path mode",
    TCP_PROXY: (
        "stat_prefix cluster weighted_clusters idle_timeout max_connect_attempts access_log"
        " max_downstream_connection_duration tunneling_config"
    ),
    TCP_PROXY + ".TunnelingConfig": "hostname use_post headers_to_add post_path",
    TCP_PROXY + ".WeightedCluster": "clusters",
    TCP_PROXY + ".WeightedCluster.ClusterWeight": "name weight",
}

VALUES: Final[dict[str, str]] = {
    CORE + "SocketAddress.protocol": "TCP",
}
