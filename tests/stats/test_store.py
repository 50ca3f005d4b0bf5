import dataclasses

import pytest

from meshproxy.stats.histogram import DEFAULT_BUCKETS
from meshproxy.stats.metrics import AdminListenerStats, ClusterStats, HttpStats
from meshproxy.stats.store import Counter, Gauge, Histogram, Store


def test_one_name_is_one_metric_whoever_asks():
    store = Store()
    first = store.scope("cluster.web.").block(ClusterStats)
    second = store.scope("cluster.web.").block(ClusterStats)
    first.upstream_rq_total.value += 1
    assert second.upstream_rq_total.value == 1
    assert store.scope("cluster.").scope("web.").counter("upstream_rq_total").value == 1


def test_a_name_cannot_be_two_kinds():
    scope = Store().scope("a.")
    scope.counter("b")
    with pytest.raises(TypeError, match=r"a\.b is a counter already"):
        scope.gauge("b")


def test_a_block_knows_the_kind_of_each_field():
    store = Store()
    block = store.scope("http.in.").block(HttpStats)
    assert type(block.downstream_rq_total) is Counter
    assert type(block.downstream_rq_active) is Gauge
    assert type(block.downstream_rq_time) is Histogram
    assert len(store.metrics) == len(dataclasses.fields(HttpStats))
    assert block.downstream_rq_2xx.labels == (
        ("envoy_response_code_class", "2"),
        ("envoy_http_conn_manager_prefix", "in"),
    )


def test_addresses_lose_their_colons_in_a_scope():
    store = Store()
    store.scope("listener.127.0.0.1:80.").block(AdminListenerStats)
    assert "listener.127.0.0.1_80.downstream_cx_total" in store.metrics


def test_a_counter_is_used_once_it_moved_and_stays_so_when_reset():
    store = Store()
    moved, still = store.scope("").counter("moved"), store.scope("").counter("still")
    moved.value += 1
    store.reset_counters()
    assert (moved.value, moved.used, still.used) == (0, True, False)


def test_resetting_counters_leaves_gauges_and_histograms():
    scope = (store := Store()).scope("")
    scope.gauge("g").value = 5
    scope.histogram("h").record(5)
    store.reset_counters()
    assert (scope.gauge("g").value, scope.histogram("h").count) == (5, 1)


def test_a_gauge_back_at_zero_was_used_if_its_total_moved():
    block = Store().scope("http.in.").block(HttpStats)
    assert not block.downstream_cx_active.used
    block.downstream_cx_total.value += 1
    assert block.downstream_cx_active.used
    assert not block.downstream_cx_ssl_active.used


def test_a_histogram_is_used_once_it_recorded():
    histogram = Store().scope("").histogram("h")
    assert not histogram.used
    histogram.record(0)
    assert histogram.used


def test_refreshers_run_when_somebody_reads():
    store = Store()
    gauge = store.scope("").gauge("g")
    store.refreshers.append(lambda: setattr(gauge, "value", 7))
    assert gauge.value == 0
    store.refresh()
    assert gauge.value == 7


def test_flush_ends_the_interval_of_every_histogram():
    store = Store()
    store.scope("").histogram("h").record(3)
    store.flush()
    assert store.scope("").histogram("h").interval == [(3, 1)]


def test_the_first_bucket_rule_that_fits_decides():
    store = Store(
        buckets=[
            (lambda name: name.startswith("http."), (1.0, 2.0)),
            (lambda name: "." in name, (9.0,)),
        ]
    )
    assert store.buckets("http.a.b") == (1.0, 2.0)
    assert store.buckets("cluster.a") == (9.0,)
    assert store.buckets("plain") == DEFAULT_BUCKETS


def test_removing_a_scope_forgets_its_metrics_only():
    store = Store()
    store.scope("cluster.a:1.").counter("x")
    store.scope("cluster.a:12.").counter("x")
    store.remove("cluster.a:1.")
    assert list(store.metrics) == ["cluster.a_12.x"]
