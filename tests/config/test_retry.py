"""`retry_policy` of routes and virtual hosts: every field arrives, every check rejects."""

from types import SimpleNamespace

import pytest

from meshproxy.errors import Code
from meshproxy.http.header_map import HeaderMap
from meshproxy.router.retry_policy import ResetHeader, RetryOn
from tests.config.support import error_of, load, routes

HOST = "envoy.extensions.retry.host."


def route_with(policy):
    return routes(f"[{{match: {{prefix: /}}, route: {{cluster: app, retry_policy: {policy}}}}}]")


def policy_of(text):
    host = load(route_with(text)).listeners[0].manager.route_config.virtual_hosts[0]
    return host.routes[0].action.retry_policy


def predicate(kind, more=""):
    return f'{{name: x, typed_config: {{"@type": type.googleapis.com/{HOST}{kind}{more}}}}}'


def test_a_policy_has_the_defaults_of_envoy():
    policy = policy_of("{retry_on: 5xx}")
    assert (policy.num_retries, policy.per_try_timeout, policy.host_attempts) == (1, 0.0, 1)
    assert (policy.base_interval, policy.max_interval) == (0.025, 0.25)
    assert not policy.avoid_tried


def test_every_field_of_a_policy_arrives():
    policy = policy_of(
        """{retry_on: "5xx, unavailable", num_retries: 7, per_try_timeout: 2s,
        retriable_status_codes: [409, 429], host_selection_retry_max_attempts: 5,
        retriable_headers: [{name: x-a, present_match: true}],
        retriable_request_headers: [{name: x-b, present_match: true}],
        retry_back_off: {base_interval: 0.1s, max_interval: 3s},
        rate_limited_retry_back_off: {max_interval: 9s, reset_headers:
          [{name: Retry-After}, {name: x-at, format: UNIX_TIMESTAMP}]}}"""
    )
    assert policy.retry_on == RetryOn.FIVE_XX | RetryOn.UNAVAILABLE
    assert (policy.num_retries, policy.per_try_timeout, policy.host_attempts) == (7, 2.0, 5)
    assert policy.retriable_status_codes == {409, 429}
    assert policy.retriable_headers[0](HeaderMap([(b"x-a", b"1")]))
    assert policy.retriable_request_headers[0](HeaderMap([(b"x-b", b"1")]))
    assert (policy.base_interval, policy.max_interval, policy.longest_reset) == (0.1, 3.0, 9.0)
    assert policy.reset_headers == [ResetHeader(b"retry-after"), ResetHeader(b"x-at", True)]


def test_intervals_are_a_millisecond_at_least_and_the_longest_ten_times_the_base():
    assert policy_of("{retry_back_off: {base_interval: 0.00001s}}").base_interval == 0.001
    assert policy_of("{retry_back_off: {base_interval: 2s}}").max_interval == 20.0


def test_hosts_are_avoided_by_each_predicate():
    host = SimpleNamespace(canary=True, metadata={"envoy.lb": {"stage": "old", "n": 1}})
    kinds = [
        "previous_hosts.v3.PreviousHostsPredicate",
        "omit_canary_hosts.v3.OmitCanaryHostsPredicate",
    ]
    policy = policy_of(f"{{retry_host_predicate: [{', '.join(map(predicate, kinds))}]}}")
    assert policy.avoid_tried
    [canary] = policy.avoided
    assert canary(host)
    for wanted, avoided in (
        ("{stage: old}", True),
        ("{stage: old, n: 1}", True),
        ("{stage: new}", False),
        ("{other: old}", False),
        ("{}", False),
    ):
        more = f", metadata_match: {{filter_metadata: {{envoy.lb: {wanted}}}}}"
        text = predicate("omit_host_metadata.v3.OmitHostMetadataConfig", more)
        [matches] = policy_of(f"{{retry_host_predicate: [{text}]}}").avoided
        assert matches(host) is avoided, wanted


@pytest.mark.parametrize(
    ("policy", "code", "words"),
    [
        ("{retry_on: 5xy}", Code.UNSUPPORTED_VALUE, "'5xy' is no condition of a retry"),
        (
            "{retry_back_off: {base_interval: 2s, max_interval: 1s}}",
            Code.INVALID,
            "'max_interval' is shorter than 'base_interval'",
        ),
        ("{retry_back_off: {max_interval: 1s}}", Code.REQUIRED, "base_interval"),
        ("{rate_limited_retry_back_off: {}}", Code.RULE, "reset_headers"),
        (
            "{retry_host_predicate: [{name: envoy.retry_host_predicates.previous_hosts}]}",
            Code.REQUIRED,
            "'typed_config' is missing",
        ),
        ("{retry_priority: {name: x}}", Code.UNSUPPORTED_FIELD, "retry_priority"),
        ("{per_try_idle_timeout: 1s}", Code.UNSUPPORTED_FIELD, "per_try_idle_timeout"),
    ],
)
def test_what_is_wrong_is_refused(policy, code, words):
    error = error_of(route_with(policy))
    assert error.code is code
    assert words in str(error)


def test_a_misspelt_condition_is_told_its_nearest():
    assert "gateway-error" in str(error_of(route_with("{retry_on: gateway-eror}")).suggestion)


def test_a_virtual_host_says_it_for_its_routes():
    text = routes("[{match: {prefix: /}, route: {cluster: app}}]").replace(
        'domains: ["*"]\n',
        'domains: ["*"]\n              retry_policy: {retry_on: reset}\n'
        "              include_request_attempt_count: true\n"
        "              include_attempt_count_in_response: true\n"
        "              per_request_buffer_limit_bytes: 17\n",
    )
    tries = load(text).listeners[0].manager.route_config.virtual_hosts[0].tries
    assert tries.policy.retry_on == RetryOn.RESET
    assert tries.buffer_limit == 17
    assert tries.include_request_attempt_count
    assert tries.include_attempt_count_in_response
