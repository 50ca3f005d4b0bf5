"""The arithmetic of bins, against figures that the real Envoy 1.40 gave for the same values."""

import math

import pytest

from meshproxy.stats.histogram import (
    DEFAULT_BUCKETS,
    approximate_sum,
    bin_width,
    count_below,
    difference,
    quantiles,
    total,
)
from meshproxy.stats.store import Histogram

# Recorded twice each by a filter in Envoy.
VALUES = [0, 1, 7, 9, 10, 11, 25, 26, 99, 100, 104, 105, 250, 255, 999, 1000, 1049, 2500, 123456,
          300000, 1800000, 3600000, 99999999]  # fmt: skip
ENVOY_BINS = (
    "0,0:2, 1,0.1:2, 7,0.1:2, 9,0.1:2, 10,1:2, 11,1:2, 25,1:2, 26,1:2, 99,1:2, 100,10:6, 250,10:4, "
    "990,10:2, 1000,100:4, 2500,100:2, 120000,10000:2, 300000,10000:2, 1800000,100000:2, "
    "3600000,100000:2, 99000000,1000000:2"
)
ENVOY_BUCKETS = [2, 4, 4, 10, 14, 16, 24, 28, 28, 34, 36, 36, 36, 36, 36, 40, 40, 42, 44]
ENVOY_QUANTILES = [0, 11.666666666666666, 107.14285714285714, 2533.3333333333335,
                   1866666.6666666667, 3666666.6666666665, 99666666.66666667, 99666666.66666667,
                   99666666.66666667, 99666666.66666667]  # fmt: skip
ENVOY_SUM = "210863646.17803403735160827636719"


def recorded(*values):
    histogram = Histogram("h")
    for value in values:
        histogram.record(value)
    return histogram


@pytest.fixture
def distribution():
    return recorded(*VALUES, *VALUES).distribution()


def test_the_bins_are_envoys(distribution):
    widths = (
        f"{low},{bin_width(low)!r}:{count}".replace(".0:", ":") for low, count in distribution
    )
    assert ", ".join(widths) == ENVOY_BINS


def test_the_buckets_are_envoys(distribution):
    assert count_below(distribution, DEFAULT_BUCKETS) == ENVOY_BUCKETS
    assert total(distribution) == 46


def test_the_quantiles_are_envoys(distribution):
    assert quantiles(distribution) == ENVOY_QUANTILES


def test_the_sum_is_envoys_to_the_last_digit(distribution):
    assert f"{approximate_sum(distribution):.32g}" == ENVOY_SUM


def test_one_value_is_the_middle_of_its_bin_at_every_quantile():
    assert set(quantiles(recorded(46).distribution())) == {46.5}
    assert set(quantiles(recorded(0, 0).distribution())) == {0}


def test_nothing_recorded_gives_nan():
    assert all(math.isnan(value) for value in quantiles([]))
    assert approximate_sum([]) == 0
    assert count_below([], [1, 2]) == [0, 0]


def test_a_negative_value_counts_as_zero():
    assert recorded(-5).distribution() == [(0, 1)]


def test_a_difference_holds_only_what_was_added():
    before = recorded(1, 100).distribution()
    after = recorded(1, 100, 100, 7).distribution()
    assert difference(after, before) == [(7, 1), (100, 1)]


def test_flush_begins_a_new_interval():
    histogram = recorded(5)
    assert histogram.interval == ()
    histogram.flush()
    assert histogram.interval == [(5, 1)]
    histogram.record(6)
    histogram.flush()
    assert histogram.interval == [(6, 1)]
    histogram.flush()
    assert histogram.interval == []
