"""Clusters, endpoints and what is spoken to them. Data only."""

from __future__ import annotations

from typing import Final

from meshproxy.config.supported_fields.packages import (
    CLUSTER,
    CORE,
    ENDPOINT,
    EVENT_SINKS,
    UPSTREAM,
)

FIELDS: Final[dict[str, str]] = {
    CLUSTER + "Cluster": (
        "name alt_stat_name type connect_timeout per_connection_buffer_limit_bytes lb_policy"
        " load_assignment max_requests_per_connection circuit_breakers"
        " common_http_protocol_options http_protocol_options http2_protocol_options"
        " typed_extension_protocol_options"
        " dns_refresh_rate dns_jitter dns_failure_refresh_rate respect_dns_ttl"
        " dns_lookup_family least_request_lb_config round_robin_lb_config common_lb_config"
        " metadata upstream_http_protocol_options transport_socket"
        " health_checks wait_for_warm_on_init ignore_health_on_host_removal"
        " close_connections_on_host_health_failure transport_socket_matches"
    ),
    CORE + "HttpProtocolOptions": (
        "idle_timeout max_headers_count max_requests_per_connection max_response_headers_kb"
    ),
    CORE + "Http1ProtocolOptions": "enable_trailers",
    CLUSTER + "Cluster.TransportSocketMatch": "name match transport_socket",
    CLUSTER + "Cluster.RefreshRate": "base_interval max_interval",
    CLUSTER + "Cluster.LeastRequestLbConfig": "choice_count active_request_bias",
    CLUSTER + "Cluster.RoundRobinLbConfig": "",
    CLUSTER + "Cluster.CommonLbConfig": (
        "healthy_panic_threshold zone_aware_lb_config locality_weighted_lb_config"
        " ignore_new_hosts_until_first_hc"
    ),
    CLUSTER + "Cluster.CommonLbConfig.ZoneAwareLbConfig": "fail_traffic_on_panic",
    CLUSTER + "Cluster.CommonLbConfig.LocalityWeightedLbConfig": "",
    CLUSTER + "CircuitBreakers": "thresholds",
    CLUSTER + "CircuitBreakers.Thresholds": (
        "priority max_connections max_pending_requests max_requests max_retries track_remaining"
    ),
    ENDPOINT + "ClusterLoadAssignment": "cluster_name endpoints policy",
    ENDPOINT + "ClusterLoadAssignment.Policy": "overprovisioning_factor",
    ENDPOINT + "LocalityLbEndpoints": "locality lb_endpoints load_balancing_weight priority",
    ENDPOINT + "LbEndpoint": "endpoint health_status metadata load_balancing_weight",
    ENDPOINT + "Endpoint": "address hostname health_check_config",
    ENDPOINT + "Endpoint.HealthCheckConfig": (
        "port_value hostname address disable_active_health_check"
    ),
    UPSTREAM: (
        "common_http_protocol_options explicit_http_config use_downstream_protocol_config"
        " auto_config upstream_http_protocol_options http_filters"
    ),
    CORE + "UpstreamHttpProtocolOptions": "auto_sni auto_san_validation override_auto_sni_header",
    UPSTREAM + ".http_filters": "name typed_config",
    "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec": "",
    UPSTREAM + ".ExplicitHttpConfig": "http_protocol_options http2_protocol_options",
    UPSTREAM + ".UseDownstreamHttpConfig": "http_protocol_options http2_protocol_options",
    UPSTREAM + ".AutoHttpConfig": "http_protocol_options http2_protocol_options",
    # ---- active health checks; Envoy ignores `alt_port`, so it is refused
    CORE + "HealthCheck": (
        "timeout interval initial_jitter interval_jitter interval_jitter_percent"
        " unhealthy_threshold healthy_threshold reuse_connection http_health_check"
        " tcp_health_check grpc_health_check no_traffic_interval no_traffic_healthy_interval"
        " unhealthy_interval unhealthy_edge_interval healthy_edge_interval event_log_path"
        " event_logger always_log_health_check_failures always_log_health_check_success"
        " tls_options transport_socket_match_criteria"
    ),
    CORE + "HealthCheck.HttpHealthCheck": (
        "host path send receive response_buffer_size request_headers_to_add"
        " request_headers_to_remove expected_statuses retriable_statuses codec_client_type"
        " service_name_matcher method"
    ),
    CORE + "HealthCheck.TcpHealthCheck": "send receive",
    CORE + "HealthCheck.GrpcHealthCheck": "service_name authority initial_metadata",
    CORE + "HealthCheck.Payload": "text binary",
    CORE + "HealthCheck.TlsOptions": "alpn_protocols",
    CORE + "HealthCheck.event_logger": "name typed_config",
    EVENT_SINKS + "file.v3.HealthCheckEventFileSink": "event_log_path",
}

VALUES: Final[dict[str, str]] = {
    CLUSTER + "Cluster.type": "STATIC STRICT_DNS LOGICAL_DNS",
    CLUSTER + "Cluster.lb_policy": "ROUND_ROBIN LEAST_REQUEST RANDOM",
    CORE + "HealthCheck.HttpHealthCheck.codec_client_type": "HTTP1 HTTP2",
}
