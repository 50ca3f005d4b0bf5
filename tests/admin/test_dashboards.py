"""What public dashboards for Envoy query is there, with the labels they group by.

The names are those of the dashboards of Lyft's port (grafana.com "Envoy Global"), Envoy Gateway and
Istio-style charts, as far as they concern what this proxy does.
"""

import pytest

from meshproxy.admin.endpoint import Query
from meshproxy.admin.prometheus import exposition
from meshproxy.admin.selection import Selection
from meshproxy.stats.metrics import (
    ClusterStats,
    HttpStats,
    ListenerHttpStats,
    ListenerManagerStats,
    ListenerStats,
)
from meshproxy.stats.response_codes import ResponseCodeStats
from meshproxy.stats.server_metrics import ServerMetrics

CLUSTER = """
upstream_rq_xx upstream_rq upstream_rq_total upstream_rq_active upstream_rq_pending_active
upstream_rq_pending_total upstream_rq_pending_overflow upstream_rq_pending_failure_eject
upstream_rq_retry upstream_rq_retry_success upstream_rq_retry_overflow upstream_rq_timeout
upstream_rq_per_try_timeout upstream_rq_rx_reset upstream_rq_tx_reset upstream_rq_maintenance_mode
upstream_rq_time_bucket upstream_cx_total upstream_cx_active upstream_cx_connect_fail
upstream_cx_connect_timeout upstream_cx_overflow upstream_cx_connect_ms_bucket
upstream_cx_length_ms_bucket upstream_cx_destroy_local_with_active_rq
upstream_cx_destroy_remote_with_active_rq upstream_cx_rx_bytes_total upstream_cx_tx_bytes_total
upstream_flow_control_paused_reading_total upstream_flow_control_resumed_reading_total
upstream_flow_control_backed_up_total upstream_flow_control_drained_total membership_total
membership_healthy membership_degraded membership_excluded membership_change lb_healthy_panic
circuit_breakers_default_cx_open circuit_breakers_default_rq_open
circuit_breakers_default_rq_pending_open circuit_breakers_default_rq_retry_open
circuit_breakers_high_rq_open version
"""
HTTP = """
downstream_rq_xx downstream_rq_total downstream_rq_active downstream_rq_time_bucket
downstream_rq_completed downstream_cx_total downstream_cx_active downstream_cx_length_ms_bucket
downstream_cx_destroy_remote_active_rq downstream_cx_rx_bytes_total downstream_cx_tx_bytes_total
rq_total no_route no_cluster
"""
LISTENER = "downstream_cx_active downstream_cx_total http_downstream_rq_xx"
SERVER = """
live uptime version state concurrency memory_allocated memory_heap_size memory_physical_size
total_connections parent_connections days_until_first_cert_expiring hot_restart_epoch
initialization_time_ms_bucket
"""
OTHERS = """
cluster_manager_active_clusters cluster_manager_cluster_added cluster_manager_cluster_modified
cluster_manager_cluster_removed cluster_manager_warming_clusters listener_manager_listener_added
listener_manager_listener_create_failure listener_manager_total_listeners_active
listener_manager_total_listeners_warming
"""

WANTED = [
    *((f"envoy_cluster_{name}", "envoy_cluster_name") for name in CLUSTER.split()),
    *((f"envoy_http_{name}", "envoy_http_conn_manager_prefix") for name in HTTP.split()),
    *((f"envoy_listener_{name}", "envoy_listener_address") for name in LISTENER.split()),
    *((f"envoy_server_{name}", "") for name in SERVER.split()),
    *((f"envoy_{name}", "") for name in OTHERS.split()),
]


@pytest.fixture
def samples(server):
    store = server.store
    ServerMetrics(store, lambda: 1.0, "0.1.0")
    store.scope("http.ingress.").block(HttpStats)
    store.scope("listener_manager.").block(ListenerManagerStats)
    listener = store.scope("listener.127.0.0.1_80.")
    listener.block(ListenerStats)
    listener.scope("http.ingress.").block(ListenerHttpStats)
    answers = ResponseCodeStats(store.scope("cluster.web."))
    answers.record(200, False)
    answers.record_time(3, False)
    store.scope("cluster.web.").block(ClusterStats)
    manager = store.scope("cluster_manager.")
    for name in ("cluster_added", "cluster_modified", "cluster_removed"):
        manager.counter(name)
    manager.gauge("warming_clusters")
    found = {}
    for line in "".join(exposition(store, Selection(Query()))).splitlines():
        if not line.startswith("#"):
            name, _, rest = line.partition("{")
            found.setdefault(name, set()).update(
                pair.partition("=")[0] for pair in rest.rpartition("}")[0].split(",")
            )
    return found


def test_every_metric_and_label_of_the_dashboards_exists(samples):
    missing = [
        (name, label)
        for name, label in WANTED
        if name not in samples or (label and label not in samples[name])
    ]
    assert missing == []
    assert "envoy_response_code" in samples["envoy_cluster_upstream_rq"]
    assert "envoy_response_code_class" in samples["envoy_cluster_upstream_rq_xx"]
    assert "envoy_response_code_class" in samples["envoy_http_downstream_rq_xx"]
