"""HTTP filters, and Wasm wherever it stands. Data only."""

from __future__ import annotations

from typing import Final

from meshproxy.config.supported_fields.packages import CORE, WASM

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
