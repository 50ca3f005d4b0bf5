from meshproxy.stats.metrics import ListenerHttpStats
from meshproxy.stats.response_codes import (
    MAX_NAMES,
    AnswerCounters,
    CodeCounters,
    ResponseCodeStats,
)
from meshproxy.stats.store import Store


def values(store):
    return {name.removeprefix("cluster.web."): metric.value for name, metric in
            store.metrics.items() if hasattr(metric, "value")}  # fmt: skip


def test_an_answer_counts_in_all_and_by_origin():
    store = Store()
    stats = ResponseCodeStats(store.scope("cluster.web."))
    stats.record(200, False)
    stats.record(204, False)
    stats.record(503, True)
    assert values(store) == {
        "upstream_rq_completed": 3,
        "upstream_rq_2xx": 2,
        "upstream_rq_5xx": 1,
        "upstream_rq_200": 1,
        "upstream_rq_204": 1,
        "upstream_rq_503": 1,
        "external.upstream_rq_completed": 2,
        "external.upstream_rq_2xx": 2,
        "external.upstream_rq_200": 1,
        "external.upstream_rq_204": 1,
        "internal.upstream_rq_completed": 1,
        "internal.upstream_rq_5xx": 1,
        "internal.upstream_rq_503": 1,
    }


def test_nothing_is_shown_before_the_first_answer():
    store = Store()
    ResponseCodeStats(store.scope("cluster.web."))
    assert store.metrics == {}


def test_the_time_of_an_answer_is_recorded_in_all_and_by_origin():
    store = Store()
    stats = ResponseCodeStats(store.scope("cluster.web."))
    stats.record_time(41, True)
    stats.record_time(42, True)
    assert set(store.metrics) == {
        "cluster.web.upstream_rq_time",
        "cluster.web.internal.upstream_rq_time",
    }
    assert store.metrics["cluster.web.upstream_rq_time"].count == 2


def test_other_scopes_count_by_code_too():
    store = Store()
    zone = CodeCounters(store.scope("cluster.web."), "zone.a.b.")
    zone.record(404)
    zone.record(404)
    zone.record_time(5)
    assert values(store) == {
        "zone.a.b.upstream_rq_completed": 2,
        "zone.a.b.upstream_rq_4xx": 2,
        "zone.a.b.upstream_rq_404": 2,
    }
    assert store.metrics["cluster.web.zone.a.b.upstream_rq_time"].used


def test_an_answer_counts_under_a_name_that_came_with_its_request():
    store = Store()
    stats = ResponseCodeStats(store.scope("cluster.web."))
    named = stats.named(b"my.name")
    assert named is not None
    assert stats.named(b"my.name") is named
    named.record(200, True)
    assert store.metrics["cluster.web.my.name.upstream_rq_200"].value == 1
    assert store.metrics["cluster.web.my.name.internal.upstream_rq_2xx"].value == 1


def test_names_that_come_with_requests_are_like_a_metrics_and_few():
    stats = ResponseCodeStats(Store().scope("cluster.web."))
    for name in (b"", b"a b", b"a\n", b"\xe9", b"a" * 65):
        assert stats.named(name) is None
    kept = [stats.named(b"name%d" % number) for number in range(MAX_NAMES)]
    assert None not in kept
    assert stats.named(b"one-more") is None
    assert stats.named(b"name0") is kept[0]


def test_a_block_of_counters_counts_answers_by_their_class():
    store = Store()
    counters = AnswerCounters(store.scope("cluster.web.").block(ListenerHttpStats))
    for code in (100, 200, 204, 599, 0, 600):
        counters.record(code)
    assert {name: value for name, value in values(store).items() if value} == {
        "downstream_rq_completed": 6,
        "downstream_rq_1xx": 1,
        "downstream_rq_2xx": 2,
        "downstream_rq_5xx": 1,
    }
