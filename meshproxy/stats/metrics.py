"""Every metric the proxy keeps, declared: Envoy's names, one block per scope.

Owns the list. Refuses to know when a metric moves. A block is built by `Scope.block(ClusterStats)`;
its attribute names are the last part of Envoy's dotted names. A block holds what Envoy always shows
in that scope, so that dashboards find every name; what is not built yet stays at 0.

Connections below HTTP have theirs in `stats/connection_metrics.py`, health checks in
`stats/health_metrics.py`. Not here, because made at first
use: counters per response code and `upstream_rq_time` (`stats/response_codes.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from meshproxy.stats.store import Counter, Gauge, Histogram


@dataclass(slots=True)
class AdminListenerStats:
    """`listener.admin.`: what every listener counts."""

    connections_accepted_per_socket_event: Histogram
    downstream_cx_active: Gauge
    downstream_cx_destroy: Counter
    downstream_cx_length_ms: Histogram
    downstream_cx_overflow: Counter
    downstream_cx_overload_reject: Counter
    downstream_cx_total: Counter
    downstream_cx_transport_socket_connect_timeout: Counter
    downstream_global_cx_overflow: Counter
    downstream_listener_filter_error: Counter
    downstream_listener_filter_remote_close: Counter
    downstream_pre_cx_active: Gauge
    downstream_pre_cx_timeout: Counter
    no_filter_chain_match: Counter


@dataclass(slots=True)
class ListenerStats(AdminListenerStats):
    """`listener.<address>.`"""

    extension_config_missing: Counter
    network_extension_config_missing: Counter


@dataclass(slots=True)
class ListenerWorkerStats:
    """`listener.<address>.worker_<id>.`"""

    downstream_cx_active: Gauge
    downstream_cx_total: Counter


@dataclass(slots=True)
class ListenerHttpStats:
    """`listener.<address>.http.<stat_prefix>.`: what one listener adds to it."""

    downstream_rq_1xx: Counter
    downstream_rq_2xx: Counter
    downstream_rq_3xx: Counter
    downstream_rq_4xx: Counter
    downstream_rq_5xx: Counter
    downstream_rq_completed: Counter


@dataclass(slots=True)
class HttpConnectionManagerStats:
    """`http.<stat_prefix>.`: what every HTTP server counts, the admin interface too."""

    downstream_cx_active: Gauge
    downstream_cx_delayed_close_timeout: Counter
    downstream_cx_destroy: Counter
    downstream_cx_destroy_active_rq: Counter
    downstream_cx_destroy_local: Counter
    downstream_cx_destroy_local_active_rq: Counter
    downstream_cx_destroy_remote: Counter
    downstream_cx_destroy_remote_active_rq: Counter
    downstream_cx_drain_close: Counter
    downstream_cx_http1_active: Gauge
    downstream_cx_http1_soft_drain: Gauge
    downstream_cx_http1_total: Counter
    downstream_cx_http2_active: Gauge
    downstream_cx_http2_total: Counter
    downstream_cx_http3_active: Gauge
    downstream_cx_http3_total: Counter
    downstream_cx_idle_timeout: Counter
    downstream_cx_length_ms: Histogram
    downstream_cx_max_duration_reached: Counter
    downstream_cx_max_requests_reached: Counter
    downstream_cx_overload_disable_keepalive: Counter
    downstream_cx_protocol_error: Counter
    downstream_cx_rx_bytes_buffered: Gauge
    downstream_cx_rx_bytes_total: Counter
    downstream_cx_ssl_active: Gauge
    downstream_cx_ssl_total: Counter
    downstream_cx_total: Counter
    downstream_cx_tx_bytes_buffered: Gauge
    downstream_cx_tx_bytes_total: Counter
    downstream_cx_upgrades_active: Gauge
    downstream_cx_upgrades_total: Counter
    downstream_flow_control_paused_reading_total: Counter
    downstream_flow_control_resumed_reading_total: Counter
    downstream_rq_1xx: Counter
    downstream_rq_2xx: Counter
    downstream_rq_3xx: Counter
    downstream_rq_4xx: Counter
    downstream_rq_5xx: Counter
    downstream_rq_active: Gauge
    downstream_rq_completed: Counter
    downstream_rq_failed_path_normalization: Counter
    downstream_rq_header_timeout: Counter
    downstream_rq_http1_total: Counter
    downstream_rq_http2_total: Counter
    downstream_rq_http3_total: Counter
    downstream_rq_idle_timeout: Counter
    downstream_rq_max_duration_reached: Counter
    downstream_rq_non_relative_path: Counter
    downstream_rq_overload_close: Counter
    downstream_rq_redirected_with_normalized_path: Counter
    downstream_rq_rejected_via_ip_detection: Counter
    downstream_rq_response_before_rq_complete: Counter
    downstream_rq_rx_reset: Counter
    downstream_rq_time: Histogram
    downstream_rq_timeout: Counter
    downstream_rq_too_large: Counter
    downstream_rq_too_many_premature_resets: Counter
    downstream_rq_total: Counter
    downstream_rq_tx_reset: Counter
    downstream_rq_ws_on_non_ws_route: Counter
    rs_too_large: Counter


@dataclass(slots=True)
class HttpStats(HttpConnectionManagerStats):
    """`http.<stat_prefix>.`: one per HttpConnectionManager, with what its router counts."""

    no_cluster: Counter
    no_route: Counter
    passthrough_internal_redirect_bad_location: Counter
    passthrough_internal_redirect_no_route: Counter
    passthrough_internal_redirect_predicate: Counter
    passthrough_internal_redirect_too_many_redirects: Counter
    passthrough_internal_redirect_unsafe_scheme: Counter
    rq_direct_response: Counter
    rq_overload_local_reply: Counter
    rq_redirect: Counter
    rq_reset_after_downstream_response_started: Counter
    rq_total: Counter


@dataclass(slots=True)
class RouterStats:
    """`http.async-client.`: what the router counts for requests from inside."""

    no_cluster: Counter
    no_route: Counter
    passthrough_internal_redirect_bad_location: Counter
    passthrough_internal_redirect_no_route: Counter
    passthrough_internal_redirect_predicate: Counter
    passthrough_internal_redirect_too_many_redirects: Counter
    passthrough_internal_redirect_unsafe_scheme: Counter
    rq_direct_response: Counter
    rq_overload_local_reply: Counter
    rq_redirect: Counter
    rq_reset_after_downstream_response_started: Counter
    rq_total: Counter


@dataclass(slots=True)
class TracingStats:
    """`http.<stat_prefix>.tracing.`"""

    client_enabled: Counter
    health_check: Counter
    not_traceable: Counter
    random_sampling: Counter
    service_forced: Counter


@dataclass(slots=True)
class Http1CodecStats:
    """`http1.` and `cluster.<name>.http1.`, the latter from its first connection on."""

    dropped_headers_with_underscores: Counter
    metadata_not_supported_error: Counter
    requests_rejected_with_underscores_in_headers: Counter
    response_flood: Counter


@dataclass(slots=True)
class Http2CodecStats:
    """`http2.` and `cluster.<name>.http2.`, from the first connection on."""

    cookie_count: Histogram
    cookie_size: Histogram
    cookies_total_bytes_too_large: Counter
    deferred_stream_close: Gauge
    dropped_headers_with_underscores: Counter
    goaway_sent: Counter
    header_count: Histogram
    header_list_size: Histogram
    header_list_size_too_large: Counter
    header_overflow: Counter
    headers_cb_no_stream: Counter
    inbound_empty_frames_flood: Counter
    inbound_priority_frames_flood: Counter
    inbound_window_update_frames_flood: Counter
    keepalive_timeout: Counter
    metadata_empty_frames: Counter
    nghttp2_downstream_connections: Gauge
    nghttp2_upstream_connections: Gauge
    oghttp2_downstream_connections: Gauge
    oghttp2_upstream_connections: Gauge
    outbound_control_flood: Counter
    outbound_control_frames_active: Gauge
    outbound_flood: Counter
    outbound_frames_active: Gauge
    pending_send_bytes: Gauge
    requests_rejected_with_underscores_in_headers: Counter
    rx_messaging_error: Counter
    rx_reset: Counter
    stream_refused_errors: Counter
    streams_active: Gauge
    trailers: Counter
    tx_flush_timeout: Counter
    tx_reset: Counter


@dataclass(slots=True)
class ClusterStats:
    """`cluster.<name>.`"""

    assignment_stale: Counter
    assignment_timeout_received: Counter
    assignment_use_cached: Counter
    bind_errors: Counter
    lb_healthy_panic: Counter
    lb_local_cluster_not_ok: Counter
    lb_recalculate_zone_structures: Counter
    lb_subsets_active: Gauge
    lb_subsets_created: Counter
    lb_subsets_fallback: Counter
    lb_subsets_fallback_panic: Counter
    lb_subsets_removed: Counter
    lb_subsets_selected: Counter
    lb_zone_cluster_too_small: Counter
    lb_zone_no_capacity_left: Counter
    lb_zone_routing_all_directly: Counter
    lb_zone_routing_cross_zone: Counter
    lb_zone_routing_sampled: Counter
    max_host_weight: Gauge
    membership_change: Counter
    membership_degraded: Gauge
    membership_excluded: Gauge
    membership_healthy: Gauge
    membership_total: Gauge
    original_dst_host_invalid: Counter
    retry_or_shadow_abandoned: Counter
    update_attempt: Counter
    update_empty: Counter
    update_failure: Counter
    update_no_rebuild: Counter
    update_success: Counter
    upstream_cx_active: Gauge
    upstream_cx_close_notify: Counter
    upstream_cx_connect_attempts_exceeded: Counter
    upstream_cx_connect_fail: Counter
    upstream_cx_connect_ms: Histogram
    upstream_cx_connect_timeout: Counter
    upstream_cx_connect_with_0_rtt: Counter
    upstream_cx_destroy: Counter
    upstream_cx_destroy_local: Counter
    upstream_cx_destroy_local_with_active_rq: Counter
    upstream_cx_destroy_remote: Counter
    upstream_cx_destroy_remote_with_active_rq: Counter
    upstream_cx_destroy_with_active_rq: Counter
    upstream_cx_http1_total: Counter
    upstream_cx_http2_total: Counter
    upstream_cx_http3_total: Counter
    upstream_cx_idle_timeout: Counter
    upstream_cx_length_ms: Histogram
    upstream_cx_max_duration_reached: Counter
    upstream_cx_max_requests: Counter
    upstream_cx_none_healthy: Counter
    upstream_cx_overflow: Counter
    upstream_cx_pool_overflow: Counter
    upstream_cx_preconnect_skipped: Counter
    upstream_cx_protocol_error: Counter
    upstream_cx_rx_bytes_buffered: Gauge
    upstream_cx_rx_bytes_total: Counter
    upstream_cx_total: Counter
    upstream_cx_tx_bytes_buffered: Gauge
    upstream_cx_tx_bytes_total: Counter
    upstream_flow_control_backed_up_total: Counter
    upstream_flow_control_drained_total: Counter
    upstream_flow_control_paused_reading_total: Counter
    upstream_flow_control_resumed_reading_total: Counter
    upstream_http3_broken: Counter
    upstream_internal_redirect_failed_total: Counter
    upstream_internal_redirect_succeeded_total: Counter
    upstream_queue_overloaded: Gauge
    upstream_rq_0rtt: Counter
    upstream_rq_active: Gauge
    upstream_rq_active_overflow: Counter
    upstream_rq_cancelled: Counter
    upstream_rq_completed: Counter
    upstream_rq_maintenance_mode: Counter
    upstream_rq_max_duration_reached: Counter
    upstream_rq_pending_active: Gauge
    upstream_rq_pending_failure_eject: Counter
    upstream_rq_pending_overflow: Counter
    upstream_rq_pending_total: Counter
    upstream_rq_per_cx: Histogram
    upstream_rq_per_try_idle_timeout: Counter
    upstream_rq_per_try_timeout: Counter
    upstream_rq_retry: Counter
    upstream_rq_retry_backoff_exponential: Counter
    upstream_rq_retry_backoff_ratelimited: Counter
    upstream_rq_retry_limit_exceeded: Counter
    upstream_rq_retry_overflow: Counter
    upstream_rq_retry_success: Counter
    upstream_rq_rx_reset: Counter
    upstream_rq_rx_reset_no_error: Counter
    upstream_rq_timeout: Counter
    upstream_rq_total: Counter
    upstream_rq_tx_reset: Counter
    version: Gauge
    warming_state: Gauge


@dataclass(slots=True)
class CircuitBreakerStats:
    """`cluster.<name>.circuit_breakers.<default|high>.`: 1 while the limit is reached."""

    cx_open: Gauge
    cx_pool_open: Gauge
    rq_open: Gauge
    rq_pending_open: Gauge
    rq_retry_open: Gauge


@dataclass(slots=True)
class ClusterManagerStats:
    """`cluster_manager.`"""

    active_clusters: Gauge
    cluster_added: Counter
    cluster_modified: Counter
    cluster_removed: Counter
    cluster_updated: Counter
    cluster_updated_via_merge: Counter
    update_merge_cancelled: Counter
    update_out_of_merge_window: Counter
    warming_clusters: Gauge


@dataclass(slots=True)
class ListenerManagerStats:
    """`listener_manager.`"""

    listener_added: Counter
    listener_create_failure: Counter
    listener_create_success: Counter
    listener_in_place_updated: Counter
    listener_modified: Counter
    listener_removed: Counter
    listener_stopped: Counter
    total_filter_chains_draining: Gauge
    total_listeners_active: Gauge
    total_listeners_draining: Gauge
    total_listeners_warming: Gauge
    workers_pinned: Gauge
    workers_started: Gauge


@dataclass(slots=True)
class ServerStats:
    """`server.`"""

    concurrency: Gauge
    days_until_first_cert_expiring: Gauge
    debug_assertion_failures: Counter
    dropped_stat_flushes: Counter
    dynamic_unknown_fields: Counter
    envoy_bug_failures: Counter
    envoy_notifications: Counter
    hot_restart_epoch: Gauge
    initialization_time_ms: Histogram
    live: Gauge
    memory_allocated: Gauge
    memory_heap_size: Gauge
    memory_physical_size: Gauge
    parent_connections: Gauge
    seconds_until_first_ocsp_response_expiring: Gauge
    state: Gauge
    static_unknown_fields: Counter
    stats_recent_lookups: Gauge
    total_connections: Gauge
    uptime: Gauge
    version: Gauge
    wip_protos: Counter


@dataclass(slots=True)
class WatchdogStats:
    """`main_thread.`, `workers.`, `server.main_thread.` and `server.worker_<id>.`"""

    watchdog_mega_miss: Counter
    watchdog_miss: Counter


@dataclass(slots=True)
class RuntimeStats:
    """`runtime.`"""

    admin_overrides_active: Gauge
    deprecated_feature_seen_since_process_start: Gauge
    deprecated_feature_use: Counter
    load_error: Counter
    load_success: Counter
    num_keys: Gauge
    num_layers: Gauge
    override_dir_exists: Counter
    override_dir_not_exists: Counter


@dataclass(slots=True)
class FilesystemStats:
    """`filesystem.`"""

    flushed_by_timer: Counter
    reopen_failed: Counter
    write_buffered: Counter
    write_completed: Counter
    write_failed: Counter
    write_total_buffered: Gauge


@dataclass(slots=True)
class WasmStats:
    """`wasm.`"""

    remote_load_cache_entries: Gauge
    remote_load_cache_hits: Counter
    remote_load_cache_misses: Counter
    remote_load_cache_negative_hits: Counter
    remote_load_fetch_failures: Counter
    remote_load_fetch_successes: Counter
    wasm_vm_count: Gauge


@dataclass(slots=True)
class WasmRuntimeStats:
    """`wasm.envoy.wasm.runtime.<runtime>.`: VMs."""

    active: Gauge
    created: Counter


@dataclass(slots=True)
class WasmPluginStats:
    """`wasm.<plugin>.` Envoy never counts `vm_reload`, so neither do we.

    `module_reload_*`: new code, or the same anew, for a plugin that serves. `traps`: callbacks that
    did not return, ended by a trap of their own or by a limit.
    """

    memory_bytes: Gauge
    module_reload_failure: Counter
    module_reload_success: Counter
    streams_active: Gauge
    streams_paused: Gauge
    streams_paused_timeout: Counter
    traps: Counter
    vm_reload: Counter
    vm_reload_backoff: Counter
    vm_reload_failure: Counter
    vm_reload_success: Counter
