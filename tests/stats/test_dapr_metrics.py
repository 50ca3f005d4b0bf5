"""Dapr's metrics: every name of the reference, and which path a label shows."""

import pytest

from meshproxy.stats.dapr_metrics import DaprMetrics, MetricsSettings, path_label

NAMES = """
    http_server_request_count http_server_response_count http_server_latency
    http_server_request_bytes http_server_response_bytes http_client_completed_count
    http_client_roundtrip_latency http_client_sent_bytes http_client_received_bytes
    http_healthprobes_completed_count http_healthprobes_roundtrip_latency
    grpc_io_server_completed_rpcs grpc_io_server_server_latency
    grpc_io_server_received_bytes_per_rpc grpc_io_server_sent_bytes_per_rpc
    grpc_io_client_completed_rpcs grpc_io_client_roundtrip_latency
    grpc_io_client_received_bytes_per_rpc grpc_io_client_sent_bytes_per_rpc
    grpc_io_healthprobes_completed_count grpc_io_healthprobes_roundtrip_latency
    runtime_component_loaded runtime_component_init_total runtime_component_init_fail_total
    runtime_service_invocation_req_sent_total runtime_service_invocation_req_recv_total
    runtime_service_invocation_res_sent_total runtime_service_invocation_res_recv_total
    runtime_service_invocation_res_recv_latency_ms
    resiliency_loaded resiliency_count resiliency_activations_total resiliency_cb_state
    error_code_total
    component_state_count component_state_latencies component_secret_count
    component_secret_latencies component_configuration_count component_configuration_latencies
    component_output_binding_count component_output_binding_latencies
    component_input_binding_count component_input_binding_latencies
    component_pubsub_egress_count component_pubsub_egress_latencies
    component_pubsub_ingress_count component_pubsub_ingress_latencies
    component_pubsub_egress_bulk_count component_pubsub_egress_bulk_event_count
    component_pubsub_egress_bulk_latencies component_pubsub_ingress_bulk_count
    component_pubsub_ingress_bulk_event_count component_pubsub_ingress_bulk_latencies
"""


def test_every_metric_is_declared_once():
    shown = [family.name for family in DaprMetrics("app", "", MetricsSettings()).families]
    assert sorted(shown) == sorted(f"dapr_{name}" for name in NAMES.split())


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/v1.0/state/store/key", "/v1.0/state/store"),
        ("/v1.0/secrets/vault/key/x", "/v1.0/secrets/vault"),
        ("/v1.0/actors/cat/42/method/meow", "/v1.0/actors/cat/{id}/method"),
        ("/actors/cat/42/method/meow", "/actors/cat/{id}/method/meow"),
        ("/v1.0/invoke/app/method/a/b", "/v1.0/invoke/app/method/a/b"),
        ("/v1.0/healthz", "/v1.0/healthz"),
        ("/", "/"),
    ],
)
def test_high_cardinality_shows_the_path_without_keys(path, shown):
    assert path_label(MetricsSettings())(path) == shown


@pytest.mark.parametrize(
    ("increased", "patterns", "path", "shown"),
    [
        (True, ("/a/{b}",), "/a/1", "/a/{b}"),
        (True, ("/a/{b}",), "/c", "/c"),
        (False, ("/a/{b}",), "/a/1", "/a/{b}"),
        (False, ("/a/{b}",), "/c", "_"),
        (False, (), "/a/1", ""),
    ],
)
def test_patterns_take_the_place_of_paths(increased, patterns, path, shown):
    settings = MetricsSettings(increased_cardinality=increased, path_matching=patterns)
    assert path_label(settings)(path) == shown
