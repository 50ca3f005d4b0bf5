"""The waits between attempts, and which failures are worth another one."""

import pytest

from meshproxy.dapr.resiliency.retry import (
    GRPC_CODES,
    HTTP_CODES,
    Backoff,
    RetryPolicy,
    parse_codes,
)


def waits(policy: RetryPolicy, count: int, random: float = 0.5) -> list[float | None]:
    backoff, now, found = Backoff(policy, 0.0, lambda: random), 0.0, []
    for _ in range(count):
        wait = backoff.next(now)
        found.append(wait)
        now += wait or 0.0
    return found


def test_the_constant_policy_waits_the_same_time_for_ever_by_default():
    assert waits(RetryPolicy(), 4) == [5.0] * 4


def test_after_the_last_retry_there_is_none():
    assert waits(RetryPolicy(duration=1.0, max_retries=2), 4) == [1.0, 1.0, None, None]
    assert waits(RetryPolicy(max_retries=0), 1) == [None]


def test_the_exponential_policy_grows_up_to_its_longest_interval():
    policy = RetryPolicy(exponential=True, max_interval=1.0)
    assert waits(policy, 4) == [0.5, 0.75, 1.0, 1.0]


def test_the_exponential_policy_is_spread_by_half_to_both_sides():
    policy = RetryPolicy(exponential=True)
    assert waits(policy, 2, random=0.0) == [0.25, 0.375]
    assert waits(policy, 1, random=0.999)[0] == pytest.approx(0.75, abs=0.001)


def test_the_exponential_policy_ends_with_its_time():
    policy = RetryPolicy(exponential=True, max_interval=60.0, max_elapsed=10.0)
    found = waits(policy, 20)
    assert found[-1] is None
    assert sum(wait or 0.0 for wait in found) <= 10.0
    assert waits(RetryPolicy(exponential=True, max_elapsed=0.0), 20)[-1] == 60.0


@pytest.mark.parametrize(
    ("code", "matches"),
    [(429, True), (500, True), (599, True), (404, False), (14, True), (4, False), (None, True)],
)
def test_only_the_codes_that_are_named_are_tried_again(code, matches):
    policy = RetryPolicy(http_codes=((429, 429), (500, 599)), grpc_codes=((14, 14),))
    assert policy.matches(code) is matches


def test_without_codes_every_failure_is_tried_again():
    assert all(RetryPolicy().matches(code) for code in (None, 1, 16, 400, 599))
    assert not RetryPolicy(http_codes=()).matches(500)


def test_codes_are_numbers_and_ranges():
    assert parse_codes("429, 500-599,", HTTP_CODES) == ((429, 429), (500, 599))
    assert parse_codes("", HTTP_CODES) is None
    assert parse_codes("0-16", GRPC_CODES) == ((0, 16),)


@pytest.mark.parametrize("text", ["5xx", "99", "600", "500-400", "1-2-3", "-500", "500-"])
def test_what_is_no_code_is_refused(text):
    with pytest.raises(ValueError, match=r"neither a status code|does not lie in 100-599"):
        parse_codes(text, HTTP_CODES)
