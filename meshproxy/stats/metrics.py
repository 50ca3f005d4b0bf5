"""Every metric the proxy keeps, declared: Envoy's names, one block per scope.

Owns the list. Refuses to know when a metric moves. A block is built by `Scope.block(ClusterStats)`;
its attribute names are the last part of Envoy's dotted names.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshproxy.stats.store import Counter, Gauge, Histogram


@dataclass(slots=True)
class ListenerStats:
    """`listener.<address>.`"""

    downstream_cx_total: Counter
    downstream_cx_destroy: Counter
    downstream_cx_active: Gauge
    downstream_cx_length_ms: Histogram
    downstream_cx_overflow: Counter
    downstream_pre_cx_timeout: Counter
    no_filter_chain_match: Counter


@dataclass(slots=True)
class HttpStats:
    """`http.<stat_prefix>.`: one per HttpConnectionManager."""

    downstream_cx_total: Counter
    downstream_cx_active: Gauge
    downstream_cx_http1_total: Counter
    downstream_cx_http1_active: Gauge
    downstream_cx_destroy: Counter
    downstream_cx_destroy_local: Counter
    downstream_cx_destroy_remote: Counter
    downstream_cx_destroy_active_rq: Counter
    downstream_cx_destroy_local_active_rq: Counter
    downstream_cx_destroy_remote_active_rq: Counter
    downstream_cx_drain_close: Counter
    downstream_cx_idle_timeout: Counter
    downstream_cx_max_duration_reached: Counter
    downstream_cx_max_requests_reached: Counter
    downstream_cx_overload_disable_keepalive: Counter
    downstream_cx_protocol_error: Counter
    downstream_cx_delayed_close_timeout: Counter
    downstream_cx_length_ms: Histogram
    downstream_cx_rx_bytes_total: Counter
    downstream_cx_rx_bytes_buffered: Gauge
    downstream_cx_tx_bytes_total: Counter
    downstream_cx_tx_bytes_buffered: Gauge
    downstream_flow_control_paused_reading_total: Counter
    downstream_flow_control_resumed_reading_total: Counter
    downstream_rq_total: Counter
    downstream_rq_active: Gauge
    downstream_rq_http1_total: Counter
    downstream_rq_completed: Counter
    downstream_rq_1xx: Counter
    downstream_rq_2xx: Counter
    downstream_rq_3xx: Counter
    downstream_rq_4xx: Counter
    downstream_rq_5xx: Counter
    downstream_rq_time: Histogram
    downstream_rq_header_timeout: Counter
    downstream_rq_idle_timeout: Counter
    downstream_rq_max_duration_reached: Counter
    downstream_rq_timeout: Counter
    downstream_rq_too_large: Counter
    downstream_rq_rx_reset: Counter
    downstream_rq_tx_reset: Counter
    downstream_rq_non_relative_path: Counter
    downstream_rq_overload_close: Counter
    downstream_rq_redirected_with_normalized_path: Counter
    downstream_rq_rejected_via_ip_detection: Counter
    downstream_rq_response_before_rq_complete: Counter
    downstream_rq_ws_on_non_ws_route: Counter
    no_route: Counter
    no_cluster: Counter
    rq_direct_response: Counter
    rq_redirect: Counter
    rq_reset_after_downstream_response_started: Counter
    rq_total: Counter
    rs_too_large: Counter


@dataclass(slots=True)
class ClusterStats:
    """`cluster.<name>.`"""

    upstream_cx_total: Counter
    upstream_cx_active: Gauge
    upstream_cx_http1_total: Counter
    upstream_cx_connect_fail: Counter
    upstream_cx_connect_timeout: Counter
    upstream_cx_connect_ms: Histogram
    upstream_cx_length_ms: Histogram
    upstream_cx_destroy: Counter
    upstream_cx_destroy_local: Counter
    upstream_cx_destroy_remote: Counter
    upstream_cx_destroy_with_active_rq: Counter
    upstream_cx_destroy_local_with_active_rq: Counter
    upstream_cx_destroy_remote_with_active_rq: Counter
    upstream_cx_close_notify: Counter
    upstream_cx_idle_timeout: Counter
    upstream_cx_max_requests: Counter
    upstream_cx_none_healthy: Counter
    upstream_cx_overflow: Counter
    upstream_cx_pool_overflow: Counter
    upstream_cx_protocol_error: Counter
    upstream_cx_rx_bytes_total: Counter
    upstream_cx_rx_bytes_buffered: Gauge
    upstream_cx_tx_bytes_total: Counter
    upstream_cx_tx_bytes_buffered: Gauge
    upstream_flow_control_backed_up_total: Counter
    upstream_flow_control_drained_total: Counter
    upstream_flow_control_paused_reading_total: Counter
    upstream_flow_control_resumed_reading_total: Counter
    upstream_rq_total: Counter
    upstream_rq_active: Gauge
    upstream_rq_pending_total: Counter
    upstream_rq_pending_active: Gauge
    upstream_rq_pending_overflow: Counter
    upstream_rq_pending_failure_eject: Counter
    upstream_rq_cancelled: Counter
    upstream_rq_maintenance_mode: Counter
    upstream_rq_timeout: Counter
    upstream_rq_max_duration_reached: Counter
    upstream_rq_per_try_timeout: Counter
    upstream_rq_rx_reset: Counter
    upstream_rq_tx_reset: Counter
    upstream_rq_retry: Counter
    upstream_rq_retry_success: Counter
    upstream_rq_retry_overflow: Counter
    upstream_rq_completed: Counter
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
    update_attempt: Counter
    update_empty: Counter
    update_failure: Counter
    update_no_rebuild: Counter
    update_success: Counter
    version: Gauge
    warming_state: Gauge


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
    workers_started: Gauge


@dataclass(slots=True)
class ServerStats:
    """`server.`"""

    concurrency: Gauge
    days_until_first_cert_expiring: Gauge
    hot_restart_epoch: Gauge
    live: Gauge
    memory_allocated: Gauge
    memory_heap_size: Gauge
    memory_physical_size: Gauge
    parent_connections: Gauge
    state: Gauge
    total_connections: Gauge
    uptime: Gauge
    version: Gauge
    initialization_time_ms: Histogram
