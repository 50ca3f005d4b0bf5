"""The exposition against lines of Envoy 1.40, and through prometheus-client's parser."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from meshproxy.admin.prometheus import escape, metric_name
from meshproxy.stats.metrics import ClusterStats, HttpStats
from meshproxy.stats.response_codes import ResponseCodeStats


@pytest.fixture
def body(ask):
    def body(query="", status=200):
        code, text = ask(f"/stats/prometheus{query}")
        assert code == status
        return text

    return body


def ours(text):
    """What is not prometheus-client's."""
    return text.partition("# TYPE python_gc")[0]


def test_families_are_counters_then_gauges_then_histograms_each_by_tagged_name(server, body):
    server.store.metrics.clear()
    for name in ("web", "dnsy"):
        scope = server.store.scope(f"cluster.{name}.")
        ResponseCodeStats(scope).record(200, False)
        scope.gauge("version")
    server.store.scope("cluster_manager.").counter("cluster_added").value = 2
    server.store.scope("http1.").counter("response_flood")
    server.store.scope("http.in.").counter("no_route")
    assert ours(body()) == (
        "# TYPE envoy_cluster_external_upstream_rq counter\n"
        'envoy_cluster_external_upstream_rq{envoy_response_code="200",'
        'envoy_cluster_name="dnsy"} 1\n'
        'envoy_cluster_external_upstream_rq{envoy_response_code="200",'
        'envoy_cluster_name="web"} 1\n'
        "# TYPE envoy_cluster_external_upstream_rq_completed counter\n"
        'envoy_cluster_external_upstream_rq_completed{envoy_cluster_name="dnsy"} 1\n'
        'envoy_cluster_external_upstream_rq_completed{envoy_cluster_name="web"} 1\n'
        "# TYPE envoy_cluster_external_upstream_rq_xx counter\n"
        'envoy_cluster_external_upstream_rq_xx{envoy_response_code_class="2",'
        'envoy_cluster_name="dnsy"} 1\n'
        'envoy_cluster_external_upstream_rq_xx{envoy_response_code_class="2",'
        'envoy_cluster_name="web"} 1\n'
        "# TYPE envoy_cluster_upstream_rq counter\n"
        'envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="dnsy"} 1\n'
        'envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="web"} 1\n'
        "# TYPE envoy_cluster_upstream_rq_completed counter\n"
        'envoy_cluster_upstream_rq_completed{envoy_cluster_name="dnsy"} 1\n'
        'envoy_cluster_upstream_rq_completed{envoy_cluster_name="web"} 1\n'
        "# TYPE envoy_cluster_upstream_rq_xx counter\n"
        'envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="dnsy"} 1\n'
        'envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="web"} 1\n'
        "# TYPE envoy_cluster_manager_cluster_added counter\n"
        "envoy_cluster_manager_cluster_added{} 2\n"
        "# TYPE envoy_http_no_route counter\n"
        'envoy_http_no_route{envoy_http_conn_manager_prefix="in"} 0\n'
        "# TYPE envoy_http1_response_flood counter\n"
        "envoy_http1_response_flood{} 0\n"
        "# TYPE envoy_cluster_version gauge\n"
        'envoy_cluster_version{envoy_cluster_name="dnsy"} 0\n'
        'envoy_cluster_version{envoy_cluster_name="web"} 0\n'
    )


def test_a_histogram_has_envoys_buckets_sum_and_count(server, body):
    server.store.metrics.clear()
    histogram = server.store.scope("http.admin.").histogram("downstream_cx_length_ms")
    for value in (1, 1, 3):
        histogram.record(value)
    lines = ours(body()).splitlines()
    name, label = "envoy_http_downstream_cx_length_ms", 'envoy_http_conn_manager_prefix="admin"'
    assert lines[:4] == [
        f"# TYPE {name} histogram",
        f'{name}_bucket{{{label},le="0.5"}} 0',
        f'{name}_bucket{{{label},le="1"}} 2',
        f'{name}_bucket{{{label},le="5"}} 3',
    ]
    assert lines[-4:] == [
        f'{name}_bucket{{{label},le="3600000"}} 3',
        f'{name}_bucket{{{label},le="+Inf"}} 3',
        f"{name}_sum{{{label}}} 5.1444184231069476354036851262208",
        f"{name}_count{{{label}}} 3",
    ]


def test_a_summary_has_envoys_quantiles(server, body):
    server.store.metrics.clear()
    server.store.scope("http.admin.").histogram("t").record(1)
    lines = ours(body("?histogram_buckets=summary")).splitlines()
    assert lines[:3] == [
        "# TYPE envoy_http_t summary",
        'envoy_http_t{envoy_http_conn_manager_prefix="admin",quantile="0"} '
        "1.0500000000000000444089209850063",
        'envoy_http_t{envoy_http_conn_manager_prefix="admin",quantile="0.25"} '
        "1.0500000000000000444089209850063",
    ]


def test_an_empty_summary_is_still_readable(server, body):
    server.store.metrics.clear()
    server.store.scope("a.").histogram("t")
    assert 'quantile="0.5"} NaN\n' in body("?histogram_buckets=summary")


def test_prometheus_clients_parser_reads_every_sample_back(server, body):
    cluster = server.store.scope("cluster.web.").block(ClusterStats)
    cluster.upstream_rq_total.value = 7
    cluster.upstream_cx_connect_ms.record(4)
    server.store.scope("http.in.").block(HttpStats).downstream_rq_2xx.value = 5
    text = body()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = [sample for family in families.values() for sample in family.samples]
    assert len(samples) == sum(not line.startswith("#") for line in text.splitlines())
    by_name = {(sample.name, *sorted(sample.labels.values())): sample.value for sample in samples}
    assert by_name["envoy_cluster_upstream_rq_total", "web"] == 7
    # The parser gives every counter the suffix that Envoy's names do not have.
    assert by_name["envoy_http_downstream_rq_xx_total", "2", "in"] == 5
    assert by_name["envoy_cluster_upstream_cx_connect_ms_bucket", "5", "web"] == 1
    assert by_name["envoy_cluster_upstream_cx_connect_ms_count", "web"] == 1


def test_no_family_appears_twice_and_there_is_no_help(body):
    types = [line for line in body().splitlines() if line.startswith("#")]
    assert all(line.startswith("# TYPE ") for line in types)
    names = [line.split()[2] for line in types]
    assert len(names) == len(set(names))


def test_the_process_and_the_garbage_collector_follow(body):
    text = body()
    assert "# TYPE process_resident_memory_bytes gauge\n" in text
    assert "# TYPE python_gc_collections_total counter\n" in text
    assert text.index("envoy_") < text.index("process_")
    assert "process_" not in body("?filter=^cluster")


def test_a_filters_own_metric_keeps_its_name_and_hides_a_foreign_one(server, body):
    scope = server.store.scope("wasmcustom.")
    scope.counter("my_hist.foo-bar").value = 1
    scope.gauge("process_resident_memory_bytes").value = 1
    text = body()
    assert "# TYPE my_hist_foo_bar counter\nmy_hist_foo_bar{} 1\n" in text
    assert text.count("# TYPE process_resident_memory_bytes") == 1


def test_labels_are_escaped():
    assert escape('a"b\\c\nd') == r"a\"b\\c\nd"


def test_names_are_made_fit():
    assert metric_name("a.b-c:d") == "envoy_a_b_c_d"
    assert metric_name("wasmcustom.9x") == "_9x"


def test_used_only_leaves_the_rest_out(server, body):
    server.store.metrics.clear()
    scope = server.store.scope("a.")
    scope.counter("moved").value = 1
    scope.counter("still")
    text = body("?usedonly")
    assert "envoy_a_moved" in text
    assert "envoy_a_still" not in text


def test_the_other_path_gives_the_same_page(ask):
    assert ours(ask("/stats?format=prometheus&type=Counters")[1]) == ours(
        ask("/stats/prometheus?type=Counters")[1]
    )


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("detailed", "unsupported prometheus histogram bucket mode"),
        ("prometheusnative", "unsupported prometheusnative histogram type when not using protobuf "
         "exposition format"),
    ],
)  # fmt: skip
def test_modes_that_the_text_format_does_not_have_are_refused(body, mode, text):
    assert body(f"?histogram_buckets={mode}", status=400) == text
