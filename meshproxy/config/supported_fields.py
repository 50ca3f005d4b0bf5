"""The fields, enum values and extensions that have a meaning here. Data only."""

from __future__ import annotations

from typing import Final

_CORE: Final = "envoy.config.core.v3."
_CLUSTER: Final = "envoy.config.cluster.v3."
_ENDPOINT: Final = "envoy.config.endpoint.v3."
_LISTENER: Final = "envoy.config.listener.v3."
_ROUTE: Final = "envoy.config.route.v3."
_LOG: Final = "envoy.config.accesslog.v3."
_MATCHER: Final = "envoy.type.matcher.v3."
_MANAGER: Final = "envoy.extensions.filters.network.http_connection_manager.v3."
_TCP_PROXY: Final = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_LISTENER_FILTERS: Final = "envoy.extensions.filters.listener."
_SOCKETS: Final = "envoy.extensions.transport_sockets."
_TLS: Final = _SOCKETS + "tls.v3."
_VALIDATION: Final = (
    "trusted_ca crl only_verify_leaf_cert_crl match_typed_subject_alt_names"
    " verify_certificate_spki verify_certificate_hash allow_expired_certificate"
    " trust_chain_verification"
)
_LOGGERS: Final = "envoy.extensions.access_loggers."
_UPSTREAM: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_WASM: Final = "envoy.extensions.wasm.v3."

_HEADERS: Final = (
    " request_headers_to_add request_headers_to_remove"
    " response_headers_to_add response_headers_to_remove"
)
_STRINGS: Final = "exact prefix suffix safe_regex contains ignore_case"

# By message; or by message and field, where the same message means more or less in one place.
FIELDS: Final[dict[str, str]] = {
    # ---- bootstrap
    "envoy.config.bootstrap.v3.Bootstrap": (
        "node static_resources admin layered_runtime bootstrap_extensions stats_config"
    ),
    "envoy.config.metrics.v3.StatsConfig": "stats_tags use_all_default_tags",
    "envoy.config.metrics.v3.TagSpecifier": "tag_name regex fixed_value",
    "envoy.config.bootstrap.v3.Bootstrap.StaticResources": "listeners clusters secrets",
    "envoy.config.bootstrap.v3.Admin": "access_log access_log_path address",
    "envoy.config.bootstrap.v3.LayeredRuntime": "layers",
    "envoy.config.bootstrap.v3.RuntimeLayer": "name static_layer",
    _CORE + "Node": "id cluster metadata locality user_agent_name user_agent_version",
    "envoy.config.bootstrap.v3.Bootstrap.bootstrap_extensions": "name typed_config",
    _CORE + "Locality": "region zone sub_zone",
    # ---- listeners
    _LISTENER + "Listener": (
        "name address stat_prefix filter_chains per_connection_buffer_limit_bytes"
        " tcp_backlog_size enable_reuse_port traffic_direction default_filter_chain"
        " listener_filters listener_filters_timeout continue_on_listener_filters_timeout"
    ),
    _LISTENER + "FilterChain": (
        "name filters filter_chain_match transport_socket transport_socket_connect_timeout"
    ),
    _LISTENER + "FilterChainMatch": (
        "destination_port prefix_ranges server_names transport_protocol application_protocols"
        " direct_source_prefix_ranges source_type source_prefix_ranges source_ports"
    ),
    _LISTENER + "ListenerFilter": "name typed_config",
    _LISTENER_FILTERS + "proxy_protocol.v3.ProxyProtocol": (
        "allow_requests_without_proxy_protocol disallowed_versions stat_prefix"
    ),
    _LISTENER_FILTERS + "tls_inspector.v3.TlsInspector": (
        "max_client_hello_size close_connection_on_client_hello_parsing_errors"
    ),
    # ---- TLS
    _CORE + "TransportSocket": "name typed_config",
    _SOCKETS + "raw_buffer.v3.RawBuffer": "",
    _TLS + "DownstreamTlsContext": (
        "common_tls_context require_client_certificate require_sni"
        " disable_stateless_session_resumption prefer_client_ciphers"
    ),
    _TLS + "UpstreamTlsContext": (
        "common_tls_context sni auto_host_sni auto_sni_san_validation max_session_keys"
    ),
    _TLS + "CommonTlsContext": (
        "tls_params tls_certificates tls_certificate_sds_secret_configs validation_context"
        " validation_context_sds_secret_config combined_validation_context alpn_protocols"
    ),
    _TLS + "CommonTlsContext.CombinedCertificateValidationContext": (
        "default_validation_context validation_context_sds_secret_config"
    ),
    _TLS + "TlsParameters": (
        "tls_minimum_protocol_version tls_maximum_protocol_version cipher_suites ecdh_curves"
    ),
    _TLS + "TlsCertificate": "certificate_chain private_key pkcs12 password",
    _TLS + "Secret.tls_certificate": (
        "certificate_chain private_key pkcs12 password watched_directory"
    ),
    _TLS + "CertificateValidationContext": _VALIDATION,
    _TLS + "Secret.validation_context": _VALIDATION + " watched_directory",
    _TLS + "SubjectAltNameMatcher": "san_type matcher",
    _TLS + "SdsSecretConfig": "name sds_config",
    _TLS + "Secret": "name tls_certificate validation_context",
    _CORE + "ConfigSource": "path path_config_source resource_api_version",
    _CORE + "PathConfigSource": "path watched_directory",
    _CORE + "WatchedDirectory": "path",
    _LISTENER + "Filter": "name typed_config",
    _CORE + "Address": "socket_address pipe",
    _CORE + "SocketAddress": "protocol address port_value ipv4_compat",
    _CORE + "Pipe": "path mode",
    # ---- network filters
    _TCP_PROXY: (
        "stat_prefix cluster weighted_clusters idle_timeout max_connect_attempts access_log"
        " max_downstream_connection_duration"
    ),
    _TCP_PROXY + ".WeightedCluster": "clusters",
    _TCP_PROXY + ".WeightedCluster.ClusterWeight": "name weight",
    # ---- HTTP connection manager
    _MANAGER + "HttpConnectionManager": (
        "codec_type stat_prefix route_config http_filters server_name use_remote_address"
        " xff_num_trusted_hops normalize_path merge_slashes path_with_escaped_slashes_action"
        " stream_idle_timeout request_timeout request_headers_timeout drain_timeout"
        " delayed_close_timeout max_request_headers_kb common_http_protocol_options"
        " http_protocol_options http2_protocol_options access_log via server_header_transformation"
        " skip_xff_append internal_address_config generate_request_id preserve_external_request_id"
        " always_set_request_id_in_response proxy_100_continue forward_client_cert_details"
        " set_current_client_cert_details upgrade_configs"
    ),
    _MANAGER + "HttpFilter": "name typed_config disabled",
    _MANAGER + "HttpConnectionManager.InternalAddressConfig": "cidr_ranges",
    _MANAGER + "HttpConnectionManager.UpgradeConfig": "upgrade_type enabled",
    _MANAGER + "HttpConnectionManager.SetCurrentClientCertDetails": "subject cert chain dns uri",
    _CORE + "CidrRange": "address_prefix prefix_len",
    _MANAGER + "HttpConnectionManager.common_http_protocol_options": (
        "idle_timeout max_connection_duration max_headers_count max_requests_per_connection"
        " max_stream_duration max_response_headers_kb"
    ),
    _MANAGER + "HttpConnectionManager.http_protocol_options": (
        "accept_http_10 default_host_for_http_10 enable_trailers allow_absolute_url"
    ),
    _CORE + "Http2ProtocolOptions": (
        "hpack_table_size max_concurrent_streams initial_stream_window_size"
        " initial_connection_window_size max_outbound_frames max_outbound_control_frames"
        " max_consecutive_inbound_frames_with_empty_payload max_inbound_priority_frames_per_stream"
        " max_inbound_window_update_frames_per_data_frame_sent"
        " stream_error_on_invalid_http_messaging override_stream_error_on_invalid_http_message"
        " connection_keepalive allow_connect"
    ),
    _CORE + "KeepaliveSettings": "interval timeout interval_jitter connection_idle_interval",
    # ---- routes
    _ROUTE + "RouteConfiguration": (
        "name virtual_hosts most_specific_header_mutations_wins"
        " validate_clusters max_direct_response_body_size_bytes ignore_port_in_host_matching"
        " typed_per_filter_config" + _HEADERS
    ),
    _ROUTE + "VirtualHost": (
        "name domains routes require_tls metadata typed_per_filter_config" + _HEADERS
    ),
    _ROUTE + "Route": (
        "name match route redirect direct_response metadata typed_per_filter_config" + _HEADERS
    ),
    _ROUTE + "RouteMatch": (
        "prefix path safe_regex path_separated_prefix case_sensitive runtime_fraction headers"
        " query_parameters grpc connect_matcher"
    ),
    _ROUTE + "RouteMatch.GrpcRouteMatchOptions": "",
    _ROUTE + "RouteMatch.ConnectMatcher": "",
    _ROUTE + "RouteAction.UpgradeConfig": "upgrade_type enabled connect_config",
    _ROUTE + "RouteAction.UpgradeConfig.ConnectConfig": "",
    _ROUTE + "RouteAction": (
        "cluster cluster_header weighted_clusters cluster_not_found_response_code"
        " prefix_rewrite regex_rewrite host_rewrite_literal auto_host_rewrite"
        " host_rewrite_header host_rewrite_path_regex append_x_forwarded_host timeout"
        " idle_timeout priority max_grpc_timeout grpc_timeout_offset max_stream_duration"
        " upgrade_configs"
    ),
    _ROUTE + "RouteAction.MaxStreamDuration": (
        "max_stream_duration grpc_timeout_header_max grpc_timeout_header_offset"
    ),
    _ROUTE + "WeightedCluster": "clusters header_name",
    _ROUTE + "WeightedCluster.ClusterWeight": (
        "name cluster_header weight host_rewrite_literal typed_per_filter_config" + _HEADERS
    ),
    _ROUTE + "FilterConfig": "config disabled",
    _ROUTE + "RedirectAction": (
        "https_redirect scheme_redirect host_redirect port_redirect path_redirect"
        " prefix_rewrite regex_rewrite response_code strip_query"
    ),
    _ROUTE + "DirectResponseAction": "status body",
    _ROUTE + "HeaderMatcher": (
        "name exact_match safe_regex_match range_match present_match prefix_match suffix_match"
        " contains_match string_match invert_match treat_missing_header_as_empty"
    ),
    _ROUTE + "QueryParameterMatcher": "name string_match present_match",
    _MATCHER + "StringMatcher": _STRINGS,
    _MATCHER + "RegexMatcher": "google_re2 regex",
    _MATCHER + "RegexMatcher.GoogleRE2": "",
    _MATCHER + "RegexMatchAndSubstitute": "pattern substitution",
    "envoy.type.v3.Int64Range": "start end",
    "envoy.type.v3.FractionalPercent": "numerator denominator",
    "envoy.type.v3.Percent": "value",
    _CORE + "RuntimeFractionalPercent": "default_value runtime_key",
    _CORE + "HeaderValueOption": "header append append_action keep_empty_value",
    _CORE + "HeaderValue": "key value",
    _CORE + "DataSource": "filename inline_bytes inline_string environment_variable",
    _CORE + "Metadata": "filter_metadata",
    # ---- access logs
    _LOG + "AccessLog": "name filter typed_config",
    _LOG + "AccessLogFilter": (
        "status_code_filter duration_filter not_health_check_filter runtime_filter and_filter"
        " or_filter header_filter response_flag_filter log_type_filter"
    ),
    _LOG + "StatusCodeFilter": "comparison",
    _LOG + "DurationFilter": "comparison",
    _LOG + "ComparisonFilter": "op value",
    _LOG + "NotHealthCheckFilter": "",
    _LOG + "RuntimeFilter": "runtime_key percent_sampled use_independent_randomness",
    _LOG + "AndFilter": "filters",
    _LOG + "OrFilter": "filters",
    _LOG + "HeaderFilter": "header",
    _LOG + "ResponseFlagFilter": "flags",
    _LOG + "LogTypeFilter": "types exclude",
    _CORE + "RuntimeUInt32": "default_value runtime_key",
    _CORE + "RuntimeDouble": "default_value runtime_key",
    _LOGGERS + "file.v3.FileAccessLog": "path format json_format typed_json_format log_format",
    _LOGGERS + "stream.v3.StdoutAccessLog": "log_format",
    _LOGGERS + "stream.v3.StderrAccessLog": "log_format",
    _LOGGERS + "wasm.v3.WasmAccessLog": "config",
    _CORE + "SubstitutionFormatString": (
        "text_format json_format text_format_source omit_empty_values"
    ),
    # ---- clusters
    _CLUSTER + "Cluster": (
        "name alt_stat_name type connect_timeout per_connection_buffer_limit_bytes lb_policy"
        " load_assignment max_requests_per_connection circuit_breakers"
        " common_http_protocol_options http_protocol_options http2_protocol_options"
        " typed_extension_protocol_options"
        " dns_refresh_rate dns_jitter dns_failure_refresh_rate respect_dns_ttl"
        " dns_lookup_family least_request_lb_config round_robin_lb_config common_lb_config"
        " metadata upstream_http_protocol_options transport_socket"
    ),
    _CORE + "HttpProtocolOptions": (
        "idle_timeout max_headers_count max_requests_per_connection max_response_headers_kb"
    ),
    _CORE + "Http1ProtocolOptions": "enable_trailers",
    _CLUSTER + "Cluster.RefreshRate": "base_interval max_interval",
    _CLUSTER + "Cluster.LeastRequestLbConfig": "choice_count active_request_bias",
    _CLUSTER + "Cluster.RoundRobinLbConfig": "",
    _CLUSTER + "Cluster.CommonLbConfig": (
        "healthy_panic_threshold zone_aware_lb_config locality_weighted_lb_config"
    ),
    _CLUSTER + "Cluster.CommonLbConfig.ZoneAwareLbConfig": "fail_traffic_on_panic",
    _CLUSTER + "Cluster.CommonLbConfig.LocalityWeightedLbConfig": "",
    _CLUSTER + "CircuitBreakers": "thresholds",
    _CLUSTER + "CircuitBreakers.Thresholds": (
        "priority max_connections max_pending_requests max_requests max_retries track_remaining"
    ),
    _ENDPOINT + "ClusterLoadAssignment": "cluster_name endpoints policy",
    _ENDPOINT + "ClusterLoadAssignment.Policy": "overprovisioning_factor",
    _ENDPOINT + "LocalityLbEndpoints": "locality lb_endpoints load_balancing_weight priority",
    _ENDPOINT + "LbEndpoint": "endpoint health_status metadata load_balancing_weight",
    _ENDPOINT + "Endpoint": "address hostname",
    _UPSTREAM: (
        "common_http_protocol_options explicit_http_config use_downstream_protocol_config"
        " auto_config upstream_http_protocol_options http_filters"
    ),
    _CORE + "UpstreamHttpProtocolOptions": "auto_sni auto_san_validation override_auto_sni_header",
    _UPSTREAM + ".http_filters": "name typed_config",
    "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec": "",
    _UPSTREAM + ".ExplicitHttpConfig": "http_protocol_options http2_protocol_options",
    _UPSTREAM + ".UseDownstreamHttpConfig": "http_protocol_options http2_protocol_options",
    _UPSTREAM + ".AutoHttpConfig": "http_protocol_options http2_protocol_options",
    # ---- HTTP filters
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
    _CORE + "GrpcMethodList": "services",
    _CORE + "GrpcMethodList.Service": "name method_names",
    _WASM + "PluginConfig": (
        "name root_id vm_config configuration fail_open failure_policy"
        " reload_config capability_restriction_config allow_on_headers_stop_iteration"
    ),
    _WASM + "WasmService": "config singleton",
    _WASM + "ReloadConfig": "backoff",
    _CORE + "BackoffStrategy": "base_interval",
    _WASM + "VmConfig": (
        "vm_id runtime code configuration environment_variables allow_precompiled"
        " nack_on_code_cache_miss"
    ),
    _WASM + "CapabilityRestrictionConfig": "allowed_capabilities",
    _WASM + "SanitizationConfig": "",
    _WASM + "EnvironmentVariables": "host_env_keys key_values",
    _CORE + "AsyncDataSource": "local remote",
    _CORE + "RemoteDataSource": "http_uri sha256 retry_policy",
    _CORE + "HttpUri": "uri cluster timeout",
    _CORE + "RetryPolicy": "retry_back_off num_retries",
    _CORE + "RetryPolicy.retry_back_off": "base_interval max_interval",
}

# Fields of an enum type of which not every value is supported.
VALUES: Final[dict[str, str]] = {
    _CORE + "SocketAddress.protocol": "TCP",
    _MANAGER + "HttpConnectionManager.codec_type": "AUTO HTTP1 HTTP2",
    _ROUTE + "RouteAction.priority": "DEFAULT",
    _ROUTE + "VirtualHost.require_tls": "NONE",
    _CLUSTER + "Cluster.type": "STATIC STRICT_DNS LOGICAL_DNS",
    _CLUSTER + "Cluster.lb_policy": "ROUND_ROBIN LEAST_REQUEST RANDOM",
}

# Fields of type Any: what stands there ("category in package"), and the types that are supported.
# By message and field, or by the field that holds the message, where many have one of its type.
EXTENSIONS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    _LISTENER + "Filter.typed_config": (
        "network filter in envoy.extensions.filters.network.",
        (
            _MANAGER + "HttpConnectionManager",
            _TCP_PROXY,
            "envoy.extensions.filters.network.wasm.v3.Wasm",
        ),
    ),
    _MANAGER + "HttpFilter.typed_config": (
        "HTTP filter in envoy.extensions.filters.http.",
        (
            "envoy.extensions.filters.http.router.v3.Router",
            "envoy.extensions.filters.http.grpc_http1_bridge.v3.Config",
            "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
            "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb",
            "envoy.extensions.filters.http.wasm.v3.Wasm",
        ),
    ),
    _LISTENER + "ListenerFilter.typed_config": (
        "listener filter in envoy.extensions.filters.listener.",
        (
            _LISTENER_FILTERS + "proxy_protocol.v3.ProxyProtocol",
            _LISTENER_FILTERS + "tls_inspector.v3.TlsInspector",
        ),
    ),
    _CORE + "TransportSocket.typed_config": (
        "transport socket in envoy.extensions.transport_sockets.",
        (
            _SOCKETS + "raw_buffer.v3.RawBuffer",
            _TLS + "DownstreamTlsContext",
            _TLS + "UpstreamTlsContext",
        ),
    ),
    _LOG + "AccessLog.typed_config": (
        "access logger in envoy.extensions.access_loggers.",
        (
            _LOGGERS + "file.v3.FileAccessLog",
            _LOGGERS + "stream.v3.StdoutAccessLog",
            _LOGGERS + "stream.v3.StderrAccessLog",
            _LOGGERS + "wasm.v3.WasmAccessLog",
        ),
    ),
    "envoy.config.bootstrap.v3.Bootstrap.bootstrap_extensions.typed_config": (
        "bootstrap extension in envoy.extensions.bootstrap.",
        (_WASM + "WasmService",),
    ),
    _UPSTREAM + ".http_filters.typed_config": (
        "upstream HTTP filter in envoy.extensions.filters.http.",
        (
            "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
            "envoy.extensions.filters.http.wasm.v3.Wasm",
        ),
    ),
    _CLUSTER + "Cluster.typed_extension_protocol_options": (
        "set of protocol options in envoy.extensions.upstreams.",
        (_UPSTREAM,),
    ),
}

# `typed_per_filter_config` and what it may say in a FilterConfig.
_PER_ROUTE: Final = "HTTP filter configuration in envoy.extensions.filters.http."
_PER_ROUTE_TYPES: Final = ("envoy.extensions.filters.http.wasm.v3.Wasm",)
EXTENSIONS.update(
    {
        f"{_ROUTE}{place}.typed_per_filter_config": (
            _PER_ROUTE,
            (*_PER_ROUTE_TYPES, _ROUTE + "FilterConfig"),
        )
        for place in ("RouteConfiguration", "VirtualHost", "Route", "WeightedCluster.ClusterWeight")
    }
)
EXTENSIONS[_ROUTE + "FilterConfig.config"] = (_PER_ROUTE, _PER_ROUTE_TYPES)

# Fields of type Any that mean something when they are empty, without a type.
EMPTY: Final = frozenset({_ROUTE + "FilterConfig.config"})

# Fields of type Any that a Wasm filter gets as they are: any message will do.
OPAQUE: Final = frozenset(
    {
        _WASM + "PluginConfig.configuration",
        _WASM + "VmConfig.configuration",
    }
)

# What `/server_info` says is compiled in: name, category and message of each extension.
EXTENSION_NAMES: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "envoy.filters.network.http_connection_manager",
        "envoy.filters.network",
        _MANAGER + "HttpConnectionManager",
    ),
    (
        "envoy.filters.listener.proxy_protocol",
        "envoy.filters.listener",
        _LISTENER_FILTERS + "proxy_protocol.v3.ProxyProtocol",
    ),
    (
        "envoy.filters.listener.tls_inspector",
        "envoy.filters.listener",
        _LISTENER_FILTERS + "tls_inspector.v3.TlsInspector",
    ),
    (
        "envoy.transport_sockets.raw_buffer",
        "envoy.transport_sockets.downstream",
        _SOCKETS + "raw_buffer.v3.RawBuffer",
    ),
    (
        "envoy.transport_sockets.tls",
        "envoy.transport_sockets.downstream",
        _TLS + "DownstreamTlsContext",
    ),
    (
        "envoy.transport_sockets.tls",
        "envoy.transport_sockets.upstream",
        _TLS + "UpstreamTlsContext",
    ),
    ("envoy.filters.network.tcp_proxy", "envoy.filters.network", _TCP_PROXY),
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
        "envoy.access_loggers.file",
        "envoy.access_loggers",
        _LOGGERS + "file.v3.FileAccessLog",
    ),
    (
        "envoy.access_loggers.stdout",
        "envoy.access_loggers",
        _LOGGERS + "stream.v3.StdoutAccessLog",
    ),
    (
        "envoy.access_loggers.stderr",
        "envoy.access_loggers",
        _LOGGERS + "stream.v3.StderrAccessLog",
    ),
    (
        "envoy.access_loggers.wasm",
        "envoy.access_loggers",
        _LOGGERS + "wasm.v3.WasmAccessLog",
    ),
    (
        "envoy.bootstrap.wasm",
        "envoy.bootstrap",
        _WASM + "WasmService",
    ),
    (
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "envoy.upstream_options",
        _UPSTREAM,
    ),
)
