"""What the words of `retry_on` mean, and what a client may ask for."""

import pytest

from meshproxy.http.header_map import HeaderMap
from meshproxy.router.retry_policy import (
    GRPC_CONDITIONS,
    HTTP_CONDITIONS,
    NO_RETRIES,
    RetryOn,
    RetryPolicy,
    conditions,
)

CONNECT = ("remote connection failure", "local connection failure", "connection timeout")
EVERY_REASON = (*CONNECT, "connection termination", "remote reset", "protocol error", "local reset",
                "remote refused stream reset")  # fmt: skip


@pytest.mark.parametrize(
    ("on", "reasons"),
    [
        (RetryOn.CONNECT_FAILURE, set(CONNECT)),
        (RetryOn.REFUSED_STREAM, {"remote refused stream reset"}),
        (RetryOn.RESET, set(EVERY_REASON)),
        (RetryOn.FIVE_XX, set(EVERY_REASON)),
        (RetryOn.GATEWAY_ERROR, set(EVERY_REASON)),
        (RetryOn.RETRIABLE_4XX, set()),
        (RetryOn.UNAVAILABLE, set()),
    ],
)
def test_which_failures_are_a_reason(on, reasons):
    policy = RetryPolicy(retry_on=on)
    found = {reason for reason in EVERY_REASON if policy.after_failure(reason, sent=True)}
    assert found == reasons
    assert not policy.after_failure("overflow", sent=False)


def test_before_the_request_has_gone_every_failure_is_one_where_that_is_asked():
    policy = RetryPolicy(retry_on=RetryOn.RESET_BEFORE_REQUEST)
    assert policy.after_failure("remote reset", sent=False)
    assert not policy.after_failure("remote reset", sent=True)


def test_words_that_are_not_known_are_passed_over_as_in_envoy():
    assert conditions("5xx, bogus ,reset", HTTP_CONDITIONS) == RetryOn.FIVE_XX | RetryOn.RESET
    assert conditions("5xx", GRPC_CONDITIONS) == RetryOn(0)
    assert conditions("", HTTP_CONDITIONS) == RetryOn(0)


def test_what_a_client_asks_for_comes_on_top():
    policy = RetryPolicy(retry_on=RetryOn.RESET, num_retries=4, retriable_status_codes={418})
    asked = policy.asked(
        {
            b"x-envoy-retry-on": b"5xx,retriable-headers",
            b"x-envoy-retry-grpc-on": b"cancelled",
            b"x-envoy-max-retries": b"7",
            b"x-envoy-retriable-status-codes": b" 503,x,,",
            b"x-envoy-retriable-header-names": b"X-A, ,x-b",
        }
    )
    assert asked.retry_on == (
        RetryOn.RESET | RetryOn.FIVE_XX | RetryOn.RETRIABLE_HEADERS | RetryOn.CANCELLED
    )
    assert asked.num_retries == 7
    assert asked.retriable_status_codes == {418, 503}
    for name, matches in ((b"x-a", True), (b"x-b", True), (b"x-c", False)):
        headers = HeaderMap([(b":status", b"200"), (name, b"")])
        assert asked.after_headers(headers) is matches
    assert policy.asked({b"x-envoy-max-retries": b"many"}).num_retries == 4


def test_a_request_may_be_repeated_if_one_matcher_is_for_it():
    policy = RetryPolicy(
        retry_on=RetryOn.FIVE_XX,
        retriable_request_headers=[lambda found: b"a" in found, lambda found: b"b" in found],
    )
    assert policy.is_for(HeaderMap([(b"b", b"")]))
    assert not policy.is_for(HeaderMap([(b"c", b"")]))
    assert not NO_RETRIES.is_for(HeaderMap([(b"b", b"")]))
