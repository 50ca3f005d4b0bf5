"""Dapr's metrics as Prometheus reads them; prometheus-client's parser is the judge."""

from prometheus_client.parser import text_string_to_metric_families

from meshproxy.admin.labelled_prometheus import exposition
from meshproxy.stats.dapr_metrics import DaprMetrics, MetricsSettings


def samples(metrics: DaprMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(exposition(metrics.families))
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in families
        for one in family.samples
    }


def test_counters_histograms_and_labels_are_read_as_they_were_meant():
    metrics = DaprMetrics("app", "ns", MetricsSettings(latency_buckets=(1.0, 100000.0)))
    metrics.http.request_count.at("GET", '/a"b\\\n', "200").value += 3
    metrics.component.state.record(2.5, "store", "get", "true")
    found = samples(metrics)
    labels = (("app_id", "app"), ("method", "GET"), ("path", '/a"b\\\n'), ("status", "200"))
    assert found["dapr_http_server_request_count_total", labels] == 3
    of = (("app_id", "app"), ("component", "store"), ("namespace", "ns"), ("operation", "get"))
    name = "dapr_component_state_latencies"
    assert found[f"{name}_bucket", (*of[:2], ("le", "1"), *of[2:], ("success", "true"))] == 0
    assert found[f"{name}_bucket", (*of[:2], ("le", "100000"), *of[2:], ("success", "true"))] == 1
    assert found[f"{name}_sum", (*of, ("success", "true"))] == 2.5
    assert found[f"{name}_count", (*of, ("success", "true"))] == 1


def test_the_process_is_shown_and_what_was_never_used_is_not():
    found = samples(DaprMetrics("app", "", MetricsSettings()))
    assert found["process_resident_memory_bytes", ()] > 1e6
    assert not [name for name, _ in found if name.startswith("dapr_")]
