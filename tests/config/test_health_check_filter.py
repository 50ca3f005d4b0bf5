"""The configuration of `health_check`: every field arrives, what Envoy refuses is refused."""

from __future__ import annotations

from meshproxy.errors import Code
from tests.config.support import error_of
from tests.config.test_grpc_filters import PACKAGE, config, document

TYPE = PACKAGE + "health_check.v3.HealthCheck"


def test_every_field_of_the_filter_arrives():
    one = config(
        TYPE,
        "pass_through_mode: true, cache_time: 2s, headers: [{name: a, present_match: true}],"
        " cluster_min_healthy_percentages: {z: {value: 10}, y: {value: 0.5}}",
    )
    assert (one.pass_through, one.cache_time) == (True, 2.0)
    assert one.clusters == (("y", 0.5), ("z", 10.0))
    assert len(one.headers) == 1


def test_a_cache_without_anybody_to_ask_is_refused():
    error = error_of(document(TYPE, "pass_through_mode: false, cache_time: 1s"))
    assert error.code is Code.INVALID
    assert "'cache_time' needs 'pass_through_mode'" in error.message
    assert config(TYPE, "pass_through_mode: false, cache_time: 0s").cache_time == 0.0
