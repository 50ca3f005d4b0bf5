"""Which policies stand around which target."""

import pytest

from meshproxy.dapr.component import Identity
from meshproxy.dapr.resiliency import (
    BINDING,
    PUBSUB,
    STATESTORE,
    CircuitBreakerPolicy,
    PolicyNames,
    Resiliency,
    ResiliencySpec,
    RetryPolicy,
)
from meshproxy.dapr.resiliency.resiliency import MOST_APPS
from tests.dapr.resiliency.support import FakeTime, means

FAST = RetryPolicy(duration=0.1, max_retries=7)
SLOW = RetryPolicy(duration=9.0)


def made(*specs: ResiliencySpec, app_id: str = "app") -> Resiliency:
    return Resiliency(specs, Identity(app_id), means(FakeTime()))


def spec(**fields) -> ResiliencySpec:
    return ResiliencySpec("r", **fields)


def test_without_resources_components_have_no_policy_and_apps_the_built_in_retries():
    resiliency = made()
    assert resiliency.outbound("s", STATESTORE).is_empty
    assert resiliency.inbound("s", PUBSUB).is_empty
    policy = resiliency.app("other", b"/x")
    assert policy.retry == RetryPolicy(duration=1.0, max_retries=3)
    assert policy.only_unreachable
    assert not policy.timeout
    assert policy.breaker is None


def test_targets_have_the_policies_that_they_name():
    resiliency = made(
        spec(
            timeouts={"t": 3.0},
            retries={"fast": FAST, "slow": SLOW},
            circuit_breakers={"cb": CircuitBreakerPolicy()},
            apps={"cart": PolicyNames("t", "fast", "cb")},
            outbound={"s": PolicyNames("t", "slow", "cb")},
            inbound={"s": PolicyNames("", "fast")},
        )
    )
    cart = resiliency.app("cart", b"/buy")
    assert (cart.timeout, cart.retry, cart.only_unreachable) == (3.0, FAST, False)
    assert cart.target.name == "app_cart"
    out, inward = resiliency.outbound("s", STATESTORE), resiliency.inbound("s", PUBSUB)
    assert (out.timeout, out.retry) == (3.0, SLOW)
    assert (inward.timeout, inward.retry, inward.breaker) == (0.0, FAST, None)
    assert (out.target.name, out.target.direction) == ("statestore_s", "outbound")
    assert (inward.target.name, inward.target.direction) == ("pubsub_s", "inbound")
    assert resiliency.outbound("s", STATESTORE).breaker is out.breaker is not None


def test_an_app_that_is_named_without_a_retry_has_none():
    resiliency = made(spec(timeouts={"t": 3.0}, apps={"cart": PolicyNames("t")}))
    assert resiliency.app("cart", b"/x").retry is None


def test_every_method_of_an_app_has_a_breaker_and_only_so_many_are_kept():
    names = PolicyNames("", "", "cb", cache_size=2)
    breakers = {"cb": CircuitBreakerPolicy()}
    resiliency = made(spec(circuit_breakers=breakers, apps={"cart": names}))
    first = resiliency.app("cart", b"/a").breaker
    second = resiliency.app("cart", b"/b").breaker
    assert first is not None
    assert first is not second
    assert resiliency.app("cart", b"/a").breaker is first
    resiliency.app("cart", b"/c")  # takes the place of /b, the longest unused
    assert resiliency.app("cart", b"/a").breaker is first
    assert resiliency.app("cart", b"/b").breaker is not second


def test_names_that_clients_invent_do_not_pile_up():
    breakers = {"DefaultCircuitBreakerPolicy": CircuitBreakerPolicy()}
    resiliency = made(spec(circuit_breakers=breakers))
    for index in range(MOST_APPS + 10):
        assert resiliency.app(f"app-{index}", b"/x").breaker is not None
    assert len(resiliency._app_policies) == len(resiliency._app_breakers) == MOST_APPS


@pytest.mark.parametrize(
    ("template", "hit"),
    [
        ("DefaultRetryPolicy", {"app", "state out", "pubsub in", "binding out"}),
        ("DefaultAppRetryPolicy", {"app"}),
        ("DefaultComponentRetryPolicy", {"state out", "pubsub in", "binding out"}),
        ("DefaultComponentOutboundRetryPolicy", {"state out", "binding out"}),
        ("DefaultComponentInboundRetryPolicy", {"pubsub in"}),
        ("DefaultStatestoreComponentOutboundRetryPolicy", {"state out"}),
        ("DefaultPubsubComponentInboundRetryPolicy", {"pubsub in"}),
        ("DefaultPubsubComponentOutboundRetryPolicy", set()),
        ("DefaultActorRetryPolicy", set()),
    ],
)
def test_templates_stand_in_where_a_target_is_not_named(template, hit):
    resiliency = made(spec(retries={template: FAST}))
    policies = {
        "app": resiliency.app("x", b"/"),
        "state out": resiliency.outbound("x", STATESTORE),
        "pubsub in": resiliency.inbound("x", PUBSUB),
        "binding out": resiliency.outbound("x", BINDING),
    }
    assert {name for name, policy in policies.items() if policy.retry == FAST} == hit


def test_the_most_specific_template_wins():
    templates = {"DefaultComponentRetryPolicy": SLOW, "DefaultRetryPolicy": SLOW}
    special = {"DefaultStatestoreComponentOutboundRetryPolicy": FAST}
    resiliency = made(spec(retries={**templates, **special}))
    assert resiliency.outbound("x", STATESTORE).retry == FAST
    assert resiliency.outbound("x", BINDING).retry == SLOW


def test_whoever_is_named_has_no_templates():
    resiliency = made(
        spec(
            retries={"DefaultRetryPolicy": FAST},
            timeouts={"t": 1.0},
            apps={"x": PolicyNames("t")},
            inbound={"x": PolicyNames("t")},
            outbound={"x": PolicyNames()},
        )
    )
    assert resiliency.app("x", b"/").retry is None
    assert resiliency.inbound("x", PUBSUB).retry is None
    assert resiliency.outbound("x", PUBSUB).is_empty


def test_built_in_retries_can_be_overridden_but_not_below_three():
    name = "DaprBuiltInServiceRetries"
    assert made(spec(retries={name: FAST})).app("x", b"/").retry == FAST
    low = made(spec(retries={name: RetryPolicy(duration=2.0, max_retries=1)}))
    assert low.app("x", b"/").retry == RetryPolicy(duration=2.0, max_retries=3)
    protected = "DaprBuiltInActorNotFoundRetries"
    assert made(spec(retries={protected: FAST})).built_in(protected).retry != FAST


def test_only_resources_in_scope_count_and_the_later_word_wins():
    first = ResiliencySpec("first", retries={"DefaultRetryPolicy": SLOW}, scopes=("app", "b"))
    second = ResiliencySpec("second", "ns", retries={"DefaultRetryPolicy": FAST})
    other = ResiliencySpec("other", timeouts={"DefaultTimeoutPolicy": 1.0}, scopes=("b",))
    resiliency = made(first, second, other)
    assert resiliency.loaded == [("first", ""), ("second", "ns")]
    policy = resiliency.outbound("x", STATESTORE)
    assert (policy.retry, policy.timeout) == (FAST, 0.0)
