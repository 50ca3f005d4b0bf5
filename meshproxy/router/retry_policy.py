"""A retry policy as a route has it: on what, how often, how soon, and at which hosts not.

Owns the words of `retry_on`, and what an answer or a failure means under them
(Envoy's RetryStateImpl). Refuses to know tries and timers (`tries.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntFlag
from typing import Any, Final

from meshproxy.http.header_map import HeaderMap
from meshproxy.router.matcher import HeaderPredicate


class RetryOn(IntFlag):
    """The conditions of `RetryPolicy.retry_on`, `x-envoy-retry-on` and `x-envoy-retry-grpc-on`."""

    FIVE_XX = 1 << 0
    GATEWAY_ERROR = 1 << 1
    RESET = 1 << 2
    RESET_BEFORE_REQUEST = 1 << 3
    CONNECT_FAILURE = 1 << 4
    ENVOY_RATELIMITED = 1 << 5
    RETRIABLE_4XX = 1 << 6
    REFUSED_STREAM = 1 << 7
    RETRIABLE_STATUS_CODES = 1 << 8
    RETRIABLE_HEADERS = 1 << 9
    CANCELLED = 1 << 10
    DEADLINE_EXCEEDED = 1 << 11
    INTERNAL = 1 << 12
    RESOURCE_EXHAUSTED = 1 << 13
    UNAVAILABLE = 1 << 14


HTTP_CONDITIONS: Final = {
    "5xx": RetryOn.FIVE_XX,
    "gateway-error": RetryOn.GATEWAY_ERROR,
    "reset": RetryOn.RESET,
    "reset-before-request": RetryOn.RESET_BEFORE_REQUEST,
    "connect-failure": RetryOn.CONNECT_FAILURE,
    "envoy-ratelimited": RetryOn.ENVOY_RATELIMITED,
    "retriable-4xx": RetryOn.RETRIABLE_4XX,
    "refused-stream": RetryOn.REFUSED_STREAM,
    "retriable-status-codes": RetryOn.RETRIABLE_STATUS_CODES,
    "retriable-headers": RetryOn.RETRIABLE_HEADERS,
    # About HTTP/3 upstreams, of which there are none.
    "http3-post-connect-failure": RetryOn(0),
}
GRPC_CONDITIONS: Final = {
    "cancelled": RetryOn.CANCELLED,
    "deadline-exceeded": RetryOn.DEADLINE_EXCEEDED,
    "internal": RetryOn.INTERNAL,
    "resource-exhausted": RetryOn.RESOURCE_EXHAUSTED,
    "unavailable": RetryOn.UNAVAILABLE,
}
NOTHING: Final = RetryOn(0)
_GATEWAY_ERRORS: Final = frozenset((502, 503, 504))
_GRPC_STATUSES: Final = {
    b"1": RetryOn.CANCELLED,
    b"4": RetryOn.DEADLINE_EXCEEDED,
    b"8": RetryOn.RESOURCE_EXHAUSTED,
    b"13": RetryOn.INTERNAL,
    b"14": RetryOn.UNAVAILABLE,
}
_CONNECT_FAILURES: Final = frozenset(
    ("remote connection failure", "local connection failure", "connection timeout")
)
_SHORTEST_RESET: Final = 0.001  # seconds; less is no time to wait for
_RATE_LIMITED: Final = b"x-envoy-ratelimited"


def conditions(text: str, known: dict[str, RetryOn]) -> RetryOn:
    """The conditions in a list by commas; Envoy passes over words that it does not know."""
    found = RetryOn(0)
    for word in text.split(","):
        found |= known.get(word.strip(), RetryOn(0))
    return found


@dataclass(frozen=True, slots=True)
class ResetHeader:
    """A header by which an answer says when to come again: in seconds, or as Unix time."""

    name: bytes
    unix_timestamp: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`route.v3.RetryPolicy`; times are seconds, 0.0 is none.

    `retriable_request_headers`: where there are some, one of them must match the request.
    `avoided`: whether a host is not to be tried again, by what `retry_host_predicate` says;
    `avoid_tried`: neither are those that have been tried. `host_attempts` is how often another one
    is asked for. `reset_headers`, `longest_reset`: `rate_limited_retry_back_off`.
    """

    retry_on: RetryOn = NOTHING
    num_retries: int = 1
    per_try_timeout: float = 0.0
    retriable_status_codes: frozenset[int] = frozenset()
    retriable_headers: Sequence[HeaderPredicate] = ()
    retriable_request_headers: Sequence[HeaderPredicate] = ()
    base_interval: float = 0.025
    max_interval: float = 0.25
    reset_headers: Sequence[ResetHeader] = ()
    longest_reset: float = 300.0
    avoid_tried: bool = False
    avoided: Sequence[Callable[[Any], bool]] = ()
    host_attempts: int = 1

    def asked(self, asked: dict[bytes, bytes]) -> RetryPolicy:
        """The same with what a client has asked for by `x-envoy-retry-on` and its siblings."""
        http, grpc = _text(asked, b"x-envoy-retry-on"), _text(asked, b"x-envoy-retry-grpc-on")
        retries = asked.get(b"x-envoy-max-retries", b"")
        codes = _text(asked, b"x-envoy-retriable-status-codes").split(",")
        names = _text(asked, b"x-envoy-retriable-header-names").split(",")
        return replace(
            self,
            retry_on=self.retry_on
            | conditions(http, HTTP_CONDITIONS)
            | conditions(grpc, GRPC_CONDITIONS),
            num_retries=int(retries) if retries.isdigit() else self.num_retries,
            retriable_status_codes=self.retriable_status_codes
            | {int(code) for code in map(str.strip, codes) if code.isdecimal()},
            retriable_headers=(
                *self.retriable_headers,
                *(_present(name.strip().lower()) for name in names if name.strip()),
            ),
        )

    def is_for(self, headers: HeaderMap) -> bool:
        """Whether a request may be repeated at all."""
        wanted = self.retriable_request_headers
        return bool(self.retry_on) and (not wanted or any(each(headers) for each in wanted))

    def after_headers(self, headers: HeaderMap) -> bool:
        """Whether an answer is a reason to try again."""
        on = self.retry_on
        if _RATE_LIMITED in headers:
            return RetryOn.ENVOY_RATELIMITED in on
        code = int(headers.pairs[0][1])
        if on & RetryOn.FIVE_XX and 500 <= code < 600:
            return True
        if on & RetryOn.GATEWAY_ERROR and code in _GATEWAY_ERRORS:
            return True
        if on & RetryOn.RETRIABLE_4XX and code == 409:
            return True
        if on & RetryOn.RETRIABLE_STATUS_CODES and code in self.retriable_status_codes:
            return True
        if on & RetryOn.RETRIABLE_HEADERS and any(each(headers) for each in self.retriable_headers):
            return True
        status = headers.get(b"grpc-status")
        return status is not None and bool(on & _GRPC_STATUSES.get(status, 0))

    def after_failure(self, reason: str, *, sent: bool) -> bool:
        """Whether a failure is one, by its reset reason; `sent`: the request had begun to go."""
        on = self.retry_on
        if reason == "overflow":
            return False
        if on & RetryOn.CONNECT_FAILURE and reason in _CONNECT_FAILURES:
            return True
        if on & RetryOn.REFUSED_STREAM and reason == "remote refused stream reset":
            return True
        if on & RetryOn.RESET_BEFORE_REQUEST and not sent:
            return True
        # Without an answer the client would hear a 5xx of the gateway.
        return bool(on & (RetryOn.FIVE_XX | RetryOn.GATEWAY_ERROR | RetryOn.RESET))

    def reset_interval(self, headers: HeaderMap, time: float) -> float | None:
        """How long an answer asks to wait; None where it does not say, or too long a time."""
        for each in self.reset_headers:
            value = headers.get(each.name)
            if value is None or not value.isdigit() or len(value) > 12:
                continue
            wait = int(value) - (time if each.unix_timestamp else 0.0)
            if _SHORTEST_RESET < wait <= self.longest_reset:
                return wait
        return None


def _text(asked: dict[bytes, bytes], name: bytes) -> str:
    return asked.get(name, b"").decode("latin-1")


def _present(name: str) -> HeaderPredicate:
    key = name.encode("latin-1")
    return HeaderPredicate(key, lambda headers: key in headers)


NO_RETRIES: Final = RetryPolicy()
"""Of a route without one, for requests that ask for retries, or say how long a try may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTries:
    """What a virtual host says of its routes' tries. `buffer_limit` is bytes, None: not said."""

    policy: RetryPolicy | None = None
    buffer_limit: int | None = None
    include_request_attempt_count: bool = False
    include_attempt_count_in_response: bool = False


HOST_TRIES: Final = HostTries()
