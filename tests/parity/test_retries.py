"""When a request is sent again, what the upstream sees of it, and what the client gets at last."""

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.harness import Case, Pair
from tests.support.raw_client import http_request
from tests.support.upstreams import (
    OK_ANSWER,
    Peer,
    Play,
    Request,
    answering,
    answering_then_close,
    answering_then_reset,
    answering_then_wait,
)

ON = ("5xx", "gateway-error", "reset", "reset-before-request", "connect-failure",
      "envoy-ratelimited", "retriable-4xx", "refused-stream", "retriable-status-codes",
      "retriable-headers", "cancelled", "deadline-exceeded", "internal", "resource-exhausted",
      "unavailable")  # fmt: skip
EXTRA = {
    "retriable-status-codes": ", retriable_status_codes: [418, 503]",
    "retriable-headers": ", retriable_headers: [{name: x-again, string_match: {exact: please}}]",
}
POLICIES = {
    **{f"on-{on}": f"{{retry_on: {on}{EXTRA.get(on, '')}}}" for on in ON},
    "twice": "{retry_on: 5xx, num_retries: 2}",
    "never": "{retry_on: 5xx, num_retries: 0}",
    "nothing": "{num_retries: 2}",
    "per-try": "{retry_on: 5xx, per_try_timeout: 0.2s, num_retries: 2}",
    "per-try-once": "{retry_on: connect-failure, per_try_timeout: 0.2s}",
    "per-try-only": "{per_try_timeout: 0.2s}",
    "some": "{retry_on: 5xx, retriable_request_headers: [{name: x-repeat, present_match: true}]}",
    "limited": "{retry_on: envoy-ratelimited, rate_limited_retry_back_off: {reset_headers:"
    " [{name: X-Reset, format: SECONDS}, {name: x-at, format: UNIX_TIMESTAMP}]}}",
}
ROUTES = (
    "\n".join(
        f"- match: {{prefix: /{name}/}}\n"
        f"  route: {{cluster: up, timeout: 0s, retry_policy: {policy}}}"
        for name, policy in POLICIES.items()
    )
    + """
- match: {prefix: /small/}
  per_request_buffer_limit_bytes: 5
  route: {cluster: up, timeout: 0s, retry_policy: {retry_on: 5xx}}
- match: {prefix: /dead/}
  route: {cluster: dead, timeout: 0s, retry_policy: {retry_on: connect-failure, num_retries: 2}}
- match: {prefix: /full/}
  route: {cluster: full, timeout: 0s, retry_policy: {retry_on: 5xx}}
- match: {prefix: /short/}
  route: {cluster: up, timeout: 0.3s, retry_policy: {retry_on: 5xx, num_retries: 9}}
- match: {prefix: /host/}
  route: {cluster: up, timeout: 0s}
- match: {prefix: /rewritten/}
  route: {cluster: up, timeout: 0s, prefix_rewrite: /new/, retry_policy: {retry_on: 5xx}}
  request_headers_to_add: [{header: {key: x-added, value: "%PROTOCOL%"}}]
  response_headers_to_add: [{header: {key: x-attempts, value: "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"}}]
"""
)
INTERNAL = (
    "use_remote_address: true\n"
    "internal_address_config: {cidr_ranges: [{address_prefix: 127.0.0.0, prefix_len: 8}]}"
)


def configuration(up: int, dead: int) -> str:
    counted = virtual_host(ROUTES) + "  include_request_attempt_count: true\n"
    told = counted + "  include_attempt_count_in_response: true\n"
    host = told + "  retry_policy: {retry_on: 5xx}\n  per_request_buffer_limit_bytes: 4\n"
    return bootstrap(
        [
            listener("main", counted),
            listener("told", told),
            listener("host", host),
            listener("internal", counted, options=INTERNAL),
        ],
        [
            cluster("up", [up]),
            cluster("dead", [dead]),
            cluster("full", [up], options="circuit_breakers: {thresholds: [{max_retries: 0}]}"),
        ],
    )


def by_attempt(*plays: Play) -> Play:
    """The first try gets the first play, the second the second; the last one stays."""

    def play(peer: Peer, request: Request) -> None:
        attempt = int(request.get("x-envoy-attempt-count") or 1)
        plays[min(attempt, len(plays)) - 1](peer, request)

    return play


def status(code: int, *headers: str, body: bytes = b"") -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {code} X\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def then_ok(first: bytes) -> Play:
    return by_attempt(answering(first), answering(OK_ANSWER))


GRPC = "content-type: application/grpc"
BODY = ("content-length: 6",)
POST = {"method": "POST", "body": b"abcdef"}
IN_TWO = (http_request("/on-5xx/", *BODY, method="POST", body=b"abc"), b"def")
STATUSES = (200, 400, 409, 418, 425, 429, 500, 501, 502, 503, 504, 599)

CASES = [
    *(Case(f"{on}, {code}", http_request(f"/on-{on}/"), then_ok(status(code)))
      for on in ("5xx", "gateway-error", "retriable-4xx", "retriable-status-codes", "reset")
      for code in STATUSES),
    *(Case(f"{on}, closed", http_request(f"/on-{on}/"),
           by_attempt(answering_then_close(), answering(OK_ANSWER))) for on in ON),
    *(Case(f"{on}, reset", http_request(f"/on-{on}/"),
           by_attempt(answering_then_reset(), answering(OK_ANSWER))) for on in ON[:5]),
    *(Case(f"{on}, broken", http_request(f"/on-{on}/"),
           by_attempt(answering_then_close(b"HTTP/9.9 nonsense\r\n\r\n"), answering(OK_ANSWER)))
      for on in ON[:3]),
    *(Case(f"{on}, grpc-status {code}", http_request(f"/on-{on}/", GRPC),
           then_ok(status(200, GRPC, f"grpc-status: {code}")))
      for on in ON[10:] for code in (0, 1, 2, 4, 8, 13, 14)),
    Case("with a body that is thrown away", http_request("/on-5xx/"),
         then_ok(status(503, body=b"sorry"))),
    Case("the answer stops after it was chosen", http_request("/on-5xx/"),
         answering_then_close(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"),
         truncated=True, log_lines=1),
    Case("rate limited", http_request("/on-5xx/"),
         then_ok(status(503, "x-envoy-ratelimited: true"))),
    Case("rate limited, and meant", http_request("/on-envoy-ratelimited/"),
         then_ok(status(429, "x-envoy-ratelimited: true"))),
    Case("another time to come again", http_request("/limited/"),
         then_ok(status(429, "x-envoy-ratelimited: true", "x-reset: 0"))),
    Case("a time that is over", http_request("/limited/"),
         then_ok(status(429, "x-envoy-ratelimited: true", "x-reset: no", "x-at: 1"))),
    Case("too long a time", http_request("/limited/"),
         then_ok(status(429, "x-envoy-ratelimited: true", "x-reset: 301"))),
    Case("a header that asks", http_request("/on-retriable-headers/"),
         then_ok(status(200, "x-again: please"))),
    Case("a header that does not", http_request("/on-retriable-headers/"),
         then_ok(status(200, "x-again: no"))),
    Case("twice", http_request("/twice/"),
         by_attempt(answering(status(500)), answering(status(501)), answering(OK_ANSWER))),
    Case("more than that", http_request("/twice/"), answering(status(500, body=b"at last"))),
    Case("more than that, closed", http_request("/twice/"), answering_then_close()),
    Case("never", http_request("/never/"), answering(status(500))),
    Case("nothing is a reason", http_request("/nothing/"), answering(status(500))),
    Case("HEAD", http_request("/on-5xx/", method="HEAD"), then_ok(status(500))),
    Case("a body", http_request("/on-5xx/", *BODY, **POST), then_ok(status(500))),
    Case("a body, closed", http_request("/on-5xx/", *BODY, **POST),
         by_attempt(answering_then_close(), answering(OK_ANSWER))),
    Case("a chunked body with trailers",
         http_request("/on-5xx/", "transfer-encoding: chunked", method="POST",
                      body=b"3\r\nabc\r\n3\r\ndef\r\n0\r\nx-t: 1\r\n\r\n"), then_ok(status(500))),
    Case("a body in two", IN_TWO, then_ok(status(500))),
    Case("too large a body", http_request("/small/", *BODY, **POST), answering(status(500))),
    Case("as large as may be", http_request("/small/", "content-length: 5", method="POST",
                                            body=b"abcde"), then_ok(status(500))),
    Case("refused", http_request("/dead/")),
    Case("no retry is free", http_request("/full/"), answering(status(500))),
    Case("rewritten", http_request("/rewritten/x"), then_ok(status(500))),
    Case("rewritten, at once", http_request("/rewritten/x")),
    Case("some requests only", http_request("/some/"), answering(status(500))),
    Case("some requests only, this one", http_request("/some/", "x-repeat: 1"),
         then_ok(status(500))),
    Case("too slow a try", http_request("/per-try/"),
         by_attempt(answering_then_wait(), answering(OK_ANSWER))),
    Case("every try too slow", http_request("/per-try/"), answering_then_wait()),
    Case("too slow, and no reason", http_request("/per-try-once/"), answering_then_wait()),
    Case("too slow, and no retries", http_request("/per-try-only/"), answering_then_wait()),
    Case("slow after its headers", http_request("/per-try/"),
         answering_then_close(status(200, body=b"")[:-4] + b"\r\nx: y\r\n\r\n")),
    Case("told how often", http_request("/on-5xx/"), then_ok(status(500)), "told"),
    Case("told at once", http_request("/on-5xx/"), listener="told"),
    Case("told in a local reply", http_request("/dead/"), listener="told"),
    Case("told without a route", http_request("/none/"), listener="told"),
    Case("by the virtual host", http_request("/host/"), then_ok(status(500)), "host"),
    Case("by the virtual host, too large", http_request("/host/", *BODY, **POST),
         answering(status(500)), "host"),
    Case("by the virtual host, the route's own", http_request("/on-reset/"),
         answering(status(500)), "host"),
]  # fmt: skip

ASKED = [
    ("x-envoy-retry-on: 5xx",),
    ("x-envoy-retry-on: bogus , 5xx",),
    ("x-envoy-retry-on: bogus",),
    ("x-envoy-retry-on: 5xx", "x-envoy-max-retries: 0"),
    ("x-envoy-retry-on: 5xx", "x-envoy-max-retries: 3"),
    ("x-envoy-retry-on: 5xx", "x-envoy-max-retries: many"),
    ("x-envoy-max-retries: 3",),
    ("x-envoy-retry-on: retriable-status-codes", "x-envoy-retriable-status-codes: 1, 500,x"),
    ("x-envoy-retry-on: retriable-headers", "x-envoy-retriable-header-names: X-Some, x-other"),
    ("x-envoy-retry-grpc-on: unavailable", "content-type: application/grpc"),
    ("x-envoy-retry-on: unavailable", "content-type: application/grpc"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_try_as_often_and_say_the_same(pair: Pair, case: Case):
    pair.check(case)


@pytest.mark.parametrize("listener", ["internal", "main"])
@pytest.mark.parametrize("headers", ASKED, ids=", ".join)
def test_both_do_what_an_internal_client_asks(pair: Pair, headers, listener):
    answer = status(500, "x-some: 1", "grpc-status: 14")
    play = by_attempt(answering(answer), answering(answer), answering(OK_ANSWER))
    pair.check(Case("asked", http_request("/host/", *headers), play, listener))


def test_both_end_a_request_whose_time_is_over_between_two_tries(pair: Pair):
    pair.check(Case("over", http_request("/short/"), answering_then_wait()))
