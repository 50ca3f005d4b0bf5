"""Every metric of connections below HTTP, declared: TCP proxy, TLS, listener filters.

Owns the list, as `stats/metrics.py` does for the rest. Refuses to know when a metric moves.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshproxy.stats.store import Counter, Gauge


@dataclass(slots=True)
class TlsInspectorStats:
    """`tls_inspector.`"""

    alpn_found: Counter
    alpn_not_found: Counter
    client_hello_too_large: Counter
    sni_found: Counter
    sni_not_found: Counter
    tls_found: Counter
    tls_not_found: Counter


@dataclass(slots=True)
class ProxyProtocolStats:
    """`proxy_proto.`"""

    not_found_allowed: Counter
    not_found_disallowed: Counter


@dataclass(slots=True)
class ProxyProtocolVersionStats:
    """`proxy_proto.versions.<v1|v2>.`"""

    disallowed: Counter
    error: Counter
    found: Counter


@dataclass(slots=True)
class SslStats:
    """`listener.<address>.ssl.` and `cluster.<name>.ssl.`"""

    connection_error: Counter
    fail_verify_cert_hash: Counter
    fail_verify_error: Counter
    fail_verify_no_cert: Counter
    fail_verify_san: Counter
    handshake: Counter
    no_certificate: Counter
    ocsp_staple_failed: Counter
    ocsp_staple_omitted: Counter
    ocsp_staple_requests: Counter
    ocsp_staple_responses: Counter
    session_reused: Counter


@dataclass(slots=True)
class SslSocketFactoryStats:
    """`listener.<address>.server_ssl_socket_factory.`, `cluster.<name>.client_…`"""

    downstream_context_secrets_not_ready: Counter
    ssl_context_update_by_sds: Counter
    upstream_context_secrets_not_ready: Counter


@dataclass(slots=True)
class TcpProxyStats:
    """`tcp.<stat_prefix>.`"""

    downstream_cx_drain_close: Counter
    downstream_cx_no_route: Counter
    downstream_cx_overload_close: Counter
    downstream_cx_rx_bytes_buffered: Gauge
    downstream_cx_rx_bytes_total: Counter
    downstream_cx_total: Counter
    downstream_cx_tx_bytes_buffered: Gauge
    downstream_cx_tx_bytes_total: Counter
    downstream_flow_control_paused_reading_total: Counter
    downstream_flow_control_resumed_reading_total: Counter
    early_data_received_count_total: Counter
    idle_timeout: Counter
    max_downstream_connection_duration: Counter
    route_delayed_total: Counter
    upstream_flush_active: Gauge
    upstream_flush_total: Counter


@dataclass(slots=True)
class SdsStats:
    """`sds.<secret>.`"""

    init_fetch_timeout: Counter
    key_rotation_failed: Counter
    update_attempt: Counter
    update_failure: Counter
    update_rejected: Counter
    update_success: Counter
    update_time: Gauge
    version: Gauge
