"""`kind: Resiliency`: every field, and what each mistake says and where."""

import pytest

from meshproxy.dapr.resiliency import PolicyNames, RetryPolicy
from tests.config.dapr.test_resources import load

HEAD = """\
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: resiliency, namespace: production}
"""
FULL = (
    HEAD
    + """\
scopes: [app1, app2]
spec:
  policies:
    timeouts:
      general: 5s
      number: 250
    retries:
      constant:
        policy: constant
        duration: 2s
        maxRetries: 10
      exponential:
        policy: Exponential
        maxInterval: 15s
        matching:
          httpStatusCodes: 429,500-599
          gRPCStatusCodes: 1-4,14
      default: {}
    circuitBreakers:
      simple:
        maxRequests: 2
        interval: 8s
        timeout: 45s
        trip: consecutiveFailures > 8
      default: {}
  targets:
    apps:
      cart:
        timeout: general
        retry: constant
        circuitBreaker: simple
        circuitBreakerCacheSize: 7
      unpolicied: {retry: DaprBuiltInServiceRetries}
    components:
      store:
        outbound: {timeout: number, retry: exponential}
      broker:
        inbound: {retry: default, circuitBreaker: default}
"""
)


def test_every_field_is_read(tmp_path):
    found, errors = load(tmp_path, r_yaml=FULL)
    assert not errors
    assert not found.warnings
    (spec,) = found.resiliencies
    assert (spec.name, spec.namespace, spec.scopes) == (
        "resiliency",
        "production",
        ("app1", "app2"),
    )
    assert spec.timeouts == {"general": 5.0, "number": 0.25}
    assert spec.retries == {
        "constant": RetryPolicy(duration=2.0, max_retries=10),
        "exponential": RetryPolicy(
            exponential=True,
            max_interval=15.0,
            http_codes=((429, 429), (500, 599)),
            grpc_codes=((1, 4), (14, 14)),
        ),
        "default": RetryPolicy(duration=5.0, max_retries=-1),
    }
    assert spec.apps == {
        "cart": PolicyNames("general", "constant", "simple", 7),
        "unpolicied": PolicyNames(retry="DaprBuiltInServiceRetries"),
    }
    assert spec.outbound == {
        "store": PolicyNames("number", "exponential"),
        "broker": PolicyNames(),
    }
    assert spec.inbound == {
        "store": PolicyNames(),
        "broker": PolicyNames(retry="default", circuit_breaker="default"),
    }


def test_the_trip_is_an_expression_over_the_counts(tmp_path):
    found, _ = load(tmp_path, r_yaml=FULL)
    (spec,) = found.resiliencies
    simple, default = spec.circuit_breakers["simple"], spec.circuit_breakers["default"]
    assert (simple.max_requests, simple.interval, simple.timeout) == (2, 8.0, 45.0)
    counts = {"consecutiveFailures": 9}
    assert simple.trip(counts)
    assert not simple.trip({"consecutiveFailures": 8})
    assert (default.max_requests, default.interval, default.timeout) == (1, 0.0, 60.0)
    assert default.trip({"consecutiveFailures": 6})
    assert not default.trip({"consecutiveFailures": 5})


def test_a_trip_that_divides_by_zero_just_then_does_not_trip(tmp_path):
    text = HEAD + (
        "spec: {policies: {circuitBreakers: {cb: {trip: 'totalFailures / totalSuccesses > 2'}}}}"
    )
    found, errors = load(tmp_path, r_yaml=text)
    assert not errors
    trip = found.resiliencies[0].circuit_breakers["cb"].trip
    assert not trip({"totalFailures": 5, "totalSuccesses": 0})
    assert trip({"totalFailures": 6, "totalSuccesses": 2})


@pytest.mark.parametrize(
    ("spec", "message", "expected"),
    [
        ("policies: {timeouts: {t: soon}}", "'soon' is not a duration", ""),
        ("policies: {timeouts: {t: -1s}}", "'-1s' is below 0", ""),
        ("policies: {retries: {r: {policy: linear}}}", "'linear' is not known", "constant, expo"),
        ("policies: {retries: {r: {duration: 1w}}}", "'1w' is not a duration", ""),
        ("policies: {retries: {r: {maxRetries: -2}}}", "'-2' is no such number", "at least -1"),
        ("policies: {retries: {r: {maxRetries: many}}}", "'many' is no such number", "whole"),
        ("policies: {retries: {r: {tries: 1}}}", "'tries' is no field here", "maxRetries"),
        ("policies: {retries: {r: {matching: {httpStatusCodes: 5xx}}}}", "'5xx' is neither", ""),
        ("policies: {retries: {r: {matching: {gRPCStatusCodes: 17}}}}", "lie in 0-16", ""),
        ("policies: {circuitBreakers: {c: {trip: 'requests >'}}}", "is no CEL expression", "over"),
        ("policies: {circuitBreakers: {c: {trip: 'failures > 1'}}}", "failures", "totalFailures"),
        ("policies: {circuitBreakers: {c: {trip: 'requests + 1'}}}", "gives no truth value", ""),
        ("policies: {circuitBreakers: {c: {maxRequests: -1}}}", "'-1' is no such number", ""),
        ("targets: {apps: {a: {retry: none}}}", "there is no retry policy 'none'", "DaprBuiltIn"),
        ("targets: {apps: {a: {timeout: t}}}", "there is no timeout policy 't'", ""),
        ("targets: {components: {c: {outbound: {circuitBreaker: x}}}}", "policy 'x'", ""),
        ("targets: {components: {c: {retry: x}}}", "'retry' is no field here", "inbound"),
        ("targets: {actors: {a: {circuitBreaker: x}}}", "needs a scope", "type, id, both"),
        ("targets: {actors: {a: {circuitBreakerScope: all}}}", "'all' is not known", "type, id"),
        ("policys: {}", "'policys' is no field here", "policies"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(tmp_path, spec, message, expected):
    _, errors = load(tmp_path, r_yaml=HEAD + f"spec:\n  {spec}\n")
    found = [each for each in errors if message in each.message]
    assert found, errors
    assert found[0].place.line == 5
    assert found[0].place.file.endswith("r.yaml")
    assert expected in (found[0].expected or "")


def test_a_policy_may_be_in_another_resource(tmp_path):
    policies = HEAD + "spec: {policies: {timeouts: {t: 1s}}}"
    targets = HEAD + "spec: {targets: {apps: {a: {timeout: t}}}}"
    _, errors = load(tmp_path, a_yaml=targets, b_yaml=policies)
    assert not errors


def test_policies_of_actors_are_a_warning(tmp_path):
    text = HEAD + "spec: {targets: {actors: {a: {}}}}"
    found, errors = load(tmp_path, r_yaml=text)
    assert not errors
    assert "no actors" in found.warnings[0].message
