"""HTTP filters, and Wasm wherever it stands. Data only."""

from __future__ import annotations

from typing import Final

from meshproxy.config.supported_fields.packages import CORE, EXT_AUTHZ, MATCHER, WASM

FIELDS: Final[dict[str, str]] = {
    "envoy.extensions.filters.http.router.v3.Router": "suppress_envoy_headers",
    "envoy.extensions.filters.http.wasm.v3.Wasm": "config",
    "envoy.extensions.filters.network.wasm.v3.Wasm": "config",
    "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb": "",
    "envoy.extensions.filters.http.grpc_http1_bridge.v3.Config": (
        "upgrade_protobuf_to_grpc ignore_query_parameters"
    ),
    "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig": (
        "individual_method_stats_allowlist stats_for_all_methods enable_upstream_stats"
        " replace_dots_in_grpc_service_name"
    ),
    "envoy.extensions.filters.http.health_check.v3.HealthCheck": (
        "pass_through_mode cache_time cluster_min_healthy_percentages headers"
    ),
    EXT_AUTHZ + "ExtAuthz": (
        "grpc_service http_service transport_api_version failure_mode_allow"
        " failure_mode_allow_header_add with_request_body clear_route_cache status_on_error"
        " validate_mutations metadata_context_namespaces route_metadata_context_namespaces"
        " filter_enabled deny_at_disable include_peer_certificate stat_prefix allowed_headers"
        " disallowed_headers include_tls_session charge_cluster_response_stats encode_raw_headers"
        " enable_dynamic_metadata_ingestion max_denied_response_body_bytes"
    ),
    EXT_AUTHZ + "ExtAuthzPerRoute": "disabled check_settings",
    EXT_AUTHZ + "CheckSettings": (
        "context_extensions disable_request_body_buffering with_request_body grpc_service"
        " http_service"
    ),
    EXT_AUTHZ + "BufferSettings": "max_request_bytes allow_partial_message pack_as_bytes",
    EXT_AUTHZ + "HttpService": (
        "server_uri path_prefix authorization_request authorization_response"
    ),
    EXT_AUTHZ + "AuthorizationRequest": "allowed_headers headers_to_add",
    EXT_AUTHZ + "AuthorizationResponse": (
        "allowed_upstream_headers allowed_upstream_headers_to_append allowed_client_headers"
        " allowed_client_headers_on_success dynamic_metadata_from_headers"
    ),
    MATCHER + "ListStringMatcher": "patterns",
    "envoy.type.v3.HttpStatus": "code",
    CORE + "RuntimeFeatureFlag": "default_value runtime_key",
    CORE + "GrpcService": "envoy_grpc timeout initial_metadata",
    CORE + "GrpcService.EnvoyGrpc": "cluster_name authority max_receive_message_length",
    CORE + "GrpcMethodList": "services",
    CORE + "GrpcMethodList.Service": "name method_names",
    WASM + "PluginConfig": (
        "name root_id vm_config configuration fail_open failure_policy"
        " reload_config capability_restriction_config allow_on_headers_stop_iteration"
    ),
    WASM + "WasmService": "config singleton",
    WASM + "ReloadConfig": "backoff",
    CORE + "BackoffStrategy": "base_interval",
    WASM + "VmConfig": (
        "vm_id runtime code configuration environment_variables allow_precompiled"
        " nack_on_code_cache_miss"
    ),
    WASM + "CapabilityRestrictionConfig": "allowed_capabilities",
    WASM + "SanitizationConfig": "",
    WASM + "EnvironmentVariables": "host_env_keys key_values",
    CORE + "AsyncDataSource": "local remote",
    CORE + "RemoteDataSource": "http_uri sha256 retry_policy",
    CORE + "HttpUri": "uri cluster timeout",
    CORE + "RetryPolicy": "retry_back_off num_retries",
    CORE + "RetryPolicy.retry_back_off": "base_interval max_interval",
}
