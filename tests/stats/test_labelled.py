"""Families of series: values, buckets, and a bound on their number."""

from meshproxy.stats import labelled
from meshproxy.stats.labelled import COUNTER, HISTOGRAM, OVERFLOW, Family


def family(**more):
    return Family("name", more.pop("kind", COUNTER), "help", ("a", "b"), {"app_id": "x"}, **more)


def test_a_series_is_known_by_its_values():
    counts = family()
    counts.at("1", "2").value += 1
    counts.at("1", "2").value += 1
    counts.at("1", "3").value += 1
    assert {values: one.value for values, one in counts.series.items()} == {
        ("1", "2"): 2,
        ("1", "3"): 1,
    }


def test_a_value_on_a_bound_counts_below_it():
    series = family(kind=HISTOGRAM, bounds=(1, 5, 10)).at("", "")
    for value in (0.5, 1, 1.1, 10, 11):
        series.record(value)
    assert series.cumulative() == [2, 3, 4]
    assert (series.count, series.value) == (5, 23.6)


def test_there_are_no_more_series_than_the_bound_however_many_values_come():
    counts = family()
    for number in range(labelled.MAX_SERIES + 50):
        counts.at(str(number), "").value += 1
    assert len(counts.series) == labelled.MAX_SERIES + 1
    assert counts.series[OVERFLOW, OVERFLOW].value == 50


def test_rewritten_values_share_a_series():
    counts = family()
    counts.rewrites = {"a": lambda value: value[:1]}
    counts.at("xyz", "2").value += 1
    counts.at("x", "2").value += 1
    assert counts.series[("x", "2")].value == 2
