"""The HTTP connection manager and its routes. Data only."""

from __future__ import annotations

from typing import Final

from meshproxy.config.supported_fields.packages import CORE, MANAGER, MATCHER, ROUTE

_HEADERS: Final = (
    " request_headers_to_add request_headers_to_remove"
    " response_headers_to_add response_headers_to_remove"
)
_STRINGS: Final = "exact prefix suffix safe_regex contains ignore_case"

FIELDS: Final[dict[str, str]] = {
    MANAGER + "HttpConnectionManager": (
        "codec_type stat_prefix route_config http_filters server_name use_remote_address"
        " xff_num_trusted_hops normalize_path merge_slashes path_with_escaped_slashes_action"
        " stream_idle_timeout request_timeout request_headers_timeout drain_timeout"
        " delayed_close_timeout max_request_headers_kb common_http_protocol_options"
        " http_protocol_options http2_protocol_options access_log via server_header_transformation"
        " skip_xff_append internal_address_config generate_request_id preserve_external_request_id"
        " always_set_request_id_in_response proxy_100_continue forward_client_cert_details"
        " set_current_client_cert_details upgrade_configs"
    ),
    MANAGER + "HttpFilter": "name typed_config disabled",
    MANAGER + "HttpConnectionManager.InternalAddressConfig": "cidr_ranges",
    MANAGER + "HttpConnectionManager.UpgradeConfig": "upgrade_type enabled",
    MANAGER + "HttpConnectionManager.SetCurrentClientCertDetails": "subject cert chain dns uri",
    CORE + "CidrRange": "address_prefix prefix_len",
    MANAGER + "HttpConnectionManager.common_http_protocol_options": (
        "idle_timeout max_connection_duration max_headers_count max_requests_per_connection"
        " max_stream_duration max_response_headers_kb"
    ),
    MANAGER + "HttpConnectionManager.http_protocol_options": (
        "accept_http_10 default_host_for_http_10 enable_trailers allow_absolute_url"
    ),
    CORE + "Http2ProtocolOptions": (
        "hpack_table_size max_concurrent_streams initial_stream_window_size"
        " initial_connection_window_size max_outbound_frames max_outbound_control_frames"
        " max_consecutive_inbound_frames_with_empty_payload max_inbound_priority_frames_per_stream"
        " max_inbound_window_update_frames_per_data_frame_sent"
        " stream_error_on_invalid_http_messaging override_stream_error_on_invalid_http_message"
        " connection_keepalive allow_connect allow_metadata max_metadata_size"
    ),
    CORE + "KeepaliveSettings": "interval timeout interval_jitter connection_idle_interval",
    # ---- routes
    ROUTE + "RouteConfiguration": (
        "name virtual_hosts most_specific_header_mutations_wins"
        " validate_clusters max_direct_response_body_size_bytes ignore_port_in_host_matching"
        " typed_per_filter_config" + _HEADERS
    ),
    ROUTE + "VirtualHost": (
        "name domains routes require_tls metadata typed_per_filter_config retry_policy"
        " include_request_attempt_count include_attempt_count_in_response"
        " per_request_buffer_limit_bytes" + _HEADERS
    ),
    ROUTE + "Route": (
        "name match route redirect direct_response metadata typed_per_filter_config"
        " per_request_buffer_limit_bytes" + _HEADERS
    ),
    ROUTE + "RouteMatch": (
        "prefix path safe_regex path_separated_prefix case_sensitive runtime_fraction headers"
        " query_parameters grpc connect_matcher"
    ),
    ROUTE + "RouteMatch.GrpcRouteMatchOptions": "",
    ROUTE + "RouteMatch.ConnectMatcher": "",
    ROUTE + "RouteAction.UpgradeConfig": "upgrade_type enabled connect_config",
    ROUTE + "RouteAction.UpgradeConfig.ConnectConfig": "",
    ROUTE + "RouteAction": (
        "cluster cluster_header weighted_clusters cluster_not_found_response_code"
        " prefix_rewrite regex_rewrite host_rewrite_literal auto_host_rewrite"
        " host_rewrite_header host_rewrite_path_regex append_x_forwarded_host timeout"
        " idle_timeout priority max_grpc_timeout grpc_timeout_offset max_stream_duration"
        " upgrade_configs retry_policy"
    ),
    ROUTE + "RetryPolicy": (
        "retry_on num_retries per_try_timeout retriable_status_codes retriable_headers"
        " retriable_request_headers retry_back_off rate_limited_retry_back_off retry_host_predicate"
        " host_selection_retry_max_attempts"
    ),
    ROUTE + "RetryPolicy.RetryBackOff": "base_interval max_interval",
    ROUTE + "RetryPolicy.RateLimitedRetryBackOff": "reset_headers max_interval",
    ROUTE + "RetryPolicy.ResetHeader": "name format",
    ROUTE + "RetryPolicy.RetryHostPredicate": "name typed_config",
    "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate": "",
    "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate": "",
    "envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig": "metadata_match",
    ROUTE + "RouteAction.MaxStreamDuration": (
        "max_stream_duration grpc_timeout_header_max grpc_timeout_header_offset"
    ),
    ROUTE + "WeightedCluster": "clusters header_name",
    ROUTE + "WeightedCluster.ClusterWeight": (
        "name cluster_header weight host_rewrite_literal typed_per_filter_config" + _HEADERS
    ),
    ROUTE + "FilterConfig": "config disabled",
    ROUTE + "RedirectAction": (
        "https_redirect scheme_redirect host_redirect port_redirect path_redirect"
        " prefix_rewrite regex_rewrite response_code strip_query"
    ),
    ROUTE + "DirectResponseAction": "status body",
    ROUTE + "HeaderMatcher": (
        "name exact_match safe_regex_match range_match present_match prefix_match suffix_match"
        " contains_match string_match invert_match treat_missing_header_as_empty"
    ),
    ROUTE + "QueryParameterMatcher": "name string_match present_match",
    MATCHER + "StringMatcher": _STRINGS,
    MATCHER + "RegexMatcher": "google_re2 regex",
    MATCHER + "RegexMatcher.GoogleRE2": "",
    MATCHER + "RegexMatchAndSubstitute": "pattern substitution",
    "envoy.type.v3.Int64Range": "start end",
    "envoy.type.v3.FractionalPercent": "numerator denominator",
    "envoy.type.v3.Percent": "value",
    CORE + "RuntimeFractionalPercent": "default_value runtime_key",
    CORE + "HeaderValueOption": "header append append_action keep_empty_value",
    CORE + "HeaderValue": "key value",
    CORE + "DataSource": "filename inline_bytes inline_string environment_variable",
    CORE + "Metadata": "filter_metadata",
}

VALUES: Final[dict[str, str]] = {
    MANAGER + "HttpConnectionManager.codec_type": "AUTO HTTP1 HTTP2",
    ROUTE + "RouteAction.priority": "DEFAULT",
    ROUTE + "VirtualHost.require_tls": "NONE",
}
