"""The formats of /stats, word for word as Envoy 1.40 gave them for the same values."""

import json

import pytest


@pytest.fixture
def values(server):
    server.store.metrics.clear()
    scope = server.store.scope("b.")
    scope.counter("two").value = 2
    scope.counter("none")
    scope.gauge("up").value = True
    scope.histogram("empty")
    histogram = server.store.scope("a.").histogram("times")
    for value in (0, 1, 41, 42, 43, 46):
        histogram.record(value)
    histogram.flush()


QUANTILES = (
    "P0(0,0) P25(1.05,1.05) P50(41.5,41.5) P75(43.5,43.5) P90(46.5,46.5) P95(46.5,46.5) "
    "P99(46.5,46.5) P99.5(46.5,46.5) P99.9(46.5,46.5) P100(46.5,46.5)"
)


@pytest.mark.usefixtures("values")
def test_text_is_sorted_with_histograms_last(ask):
    assert ask("/stats") == (
        200,
        f"b.none: 0\nb.two: 2\nb.up: 1\na.times: {QUANTILES}\nb.empty: No recorded values\n",
    )


@pytest.mark.usefixtures("values")
def test_an_interval_without_values_reads_nan(ask, server):
    server.store.flush()
    assert "P0(nan,0) P25(nan,1.05)" in ask("/stats?filter=times")[1]


@pytest.mark.parametrize(
    ("mode", "shown"),
    [
        ("cumulative", " B0.5(1,1) B1(2,2) B5(2,2) B10(2,2) B25(2,2) B50(6,6) B100(6,6)"),
        ("disjoint", " B0.5(1,1) B1(1,1) B5(0,0) B10(0,0) B25(0,0) B50(4,4) B100(0,0)"),
        (
            "detailed",
            "\n  totals=0,0:1, 1,0.1:1, 41,1:1, 42,1:1, 43,1:1, 46,1:1"
            "\n  intervals=0,0:1, 1,0.1:1, 41,1:1, 42,1:1, 43,1:1, 46,1:1"
            f"\n  summary={QUANTILES}\n",
        ),
        ("summary", f" {QUANTILES}\n"),
    ],
)
@pytest.mark.usefixtures("values")
def test_histograms_are_shown_in_four_ways(ask, mode, shown):
    status, body = ask(f"/stats?filter=times&histogram_buckets={mode}")
    assert status == 200
    assert body.startswith(f"a.times:{shown}")


@pytest.mark.usefixtures("values")
def test_large_bounds_are_written_short(ask):
    body = ask("/stats?filter=times&histogram_buckets=cumulative")[1]
    assert body.endswith("B300000(6,6) B600000(6,6) B1.8e+06(6,6) B3.6e+06(6,6)\n")


@pytest.mark.usefixtures("values")
def test_json_has_values_and_then_histograms(ask):
    tree = json.loads(ask("/stats?format=json")[1])
    assert tree["stats"][:3] == [
        {"name": "b.none", "value": 0},
        {"name": "b.two", "value": 2},
        {"name": "b.up", "value": 1},
    ]
    histograms = tree["stats"][3]["histograms"]
    assert histograms["supported_quantiles"] == [0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100]
    times, empty = histograms["computed_quantiles"]
    assert times["name"] == "a.times"
    assert times["values"][1] == {"cumulative": 1.05, "interval": 1.05}
    assert empty["values"][0] == {"cumulative": None, "interval": None}


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        (
            "cumulative",
            '{"stats":[{"histograms":[{"name":"a.times","buckets":['
            '{"upper_bound":0.5,"interval":1,"cumulative":1},{"upper_bound":1,"interval":2,',
        ),
        (
            "disjoint",
            '{"stats":[{"histograms":[{"name":"a.times","buckets":['
            '{"upper_bound":0.5,"interval":1,"cumulative":1},{"upper_bound":1,"interval":1,',
        ),
        (
            "detailed",
            '{"stats":[{"histograms":{"supported_percentiles":[0,25,50,75,90,95,99,99.5,99.9,100],'
            '"details":[{"name":"a.times","totals":[{"lower_bound":0,"width":0,"count":1},'
            '{"lower_bound":1,"width":0.1,"count":1},',
        ),
        (
            "summary",
            '{"stats":[{"histograms":{"supported_quantiles":[0,25,50,75,90,95,99,99.5,99.9,100],'
            '"computed_quantiles":[{"name":"a.times","values":[{"cumulative":0,"interval":0},',
        ),
    ],
)
@pytest.mark.usefixtures("values")
def test_json_histograms_are_shown_in_four_ways(ask, mode, text):
    body = ask(f"/stats?format=json&filter=times&histogram_buckets={mode}")[1]
    assert body.startswith(text)
    json.loads(body)


@pytest.mark.usefixtures("values")
def test_json_numbers_are_shortest_and_a_tie_stays_plain(ask):
    body = ask("/stats?format=json&filter=times&histogram_buckets=cumulative")[1]
    for bound in ("60000", "3e+05", "6e+05", "1800000", "3600000"):
        assert f'"upper_bound":{bound},' in body


@pytest.mark.usefixtures("values")
def test_json_without_a_match_is_an_empty_list(ask):
    assert ask("/stats?format=json&filter=nope") == (200, '{"stats":[]}')


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("usedonly", ["b.two", "b.up", "a.times"]),
        ("filter=t", ["b.two", "a.times", "b.empty"]),
        ("filter=^b&type=Counters", ["b.none", "b.two"]),
        ("filter=^b&invert_filter", ["a.times"]),
        ("type=Gauges", ["b.up"]),
        ("type=Histograms&usedonly", ["a.times"]),
        ("type=TextReadouts", []),
        ("type=All&filter=two", ["b.two"]),
    ],
)
@pytest.mark.usefixtures("values")
def test_parameters_choose_metrics(ask, query, names):
    status, body = ask(f"/stats?{query}")
    assert status == 200
    assert [line.partition(":")[0] for line in body.splitlines()] == names


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("format=bogus", "usage: /stats?format=(html|active-html|json|prometheus|text)\n\n"),
        ("type=gauges", "invalid &type= param"),
        ("filter=(", "Invalid re2 regex: missing ): ("),
        (
            "histogram_buckets=bogus",
            "usage: /stats?histogram_buckets="
            "(cumulative|disjoint|detailed|summary|prometheusnative)\n",
        ),
        (
            "histogram_buckets=prometheusnative",
            "Invalid histogram_buckets type for non prometheus stats type",
        ),
    ],
)
def test_a_parameter_without_sense_is_a_400(ask, query, body):
    assert ask(f"/stats?{query}") == (400, body)


@pytest.mark.usefixtures("values")
def test_html_shows_the_statistics_below_the_form_and_only_active_html_asks_again(ask):
    page = ask("/stats?format=html&filter=two")[1]
    assert "<pre>\nb.two: 2\n</pre>" in page
    assert 'name="filter" id="stats-filter" form="stats" value="two"' in page
    assert "refresh" not in page
    assert '<meta http-equiv="refresh" content="5">' in ask("/stats?format=active-html")[1]


def test_names_from_elsewhere_are_escaped_in_html(ask, server):
    server.store.scope("<script>alert(1)</script>.").counter("x")
    page = ask('/stats?format=html&filter=x"><script>')[1]
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
