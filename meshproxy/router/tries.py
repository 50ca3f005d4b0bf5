"""The tries of one request where there may be more than one, or where each has its time.

Owns when there is another one, at which host, and what of the request's body is kept for it
(Envoy's RetryStateImpl and the buffering of its router). Refuses to know routes, and one try
(`upstream_request.py`). A request without a retry policy has none of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.stream_info import ResponseFlag

if TYPE_CHECKING:
    from meshproxy.http.dispatcher import Timer
    from meshproxy.router.retry_policy import RetryPolicy
    from meshproxy.router.router import Router

TOO_LARGE_WHILE_RETRYING: Final = LocalReply(
    507,
    "request_payload_exceeded_retry_buffer_limit",
    b"exceeded request buffer limit while retrying upstream",
)
_MILLISECOND: Final = 0.001


class Tries:
    """Of one stream. `limit`: how many body bytes are kept; with more there is one try.

    The router asks it after every answer and every failure; where it says True, the try is over,
    and another one will begin.
    """

    __slots__ = (
        "_ends",
        "_kept",
        "_kept_size",
        "_limit",
        "_policy",
        "_retried",
        "_retries_left",
        "_router",
        "_timer",
        "_trailers",
        "_tried",
        "_try_ends",
        "per_try_timeout",
        "timeout",
        "whole",
    )  # fmt: skip

    def __init__(self, router: Router, policy: RetryPolicy, limit: int) -> None:
        self._router = router
        self._policy: RetryPolicy | None = policy  # None: there is no further try
        self._retries_left = policy.num_retries
        self._limit = limit
        self._kept: list[bytes] = []
        self._kept_size = 0
        self._trailers: HeaderMap | None = None
        self._tried: list[Any] = []
        self._retried = False  # the try that runs now is one more than the first
        self._timer: Timer | None = None
        self._ends: float | None = None
        self._try_ends: float | None = None
        self.timeout = 0.0
        self.per_try_timeout = 0.0
        self.whole = False  # the request has come to its end

    @property
    def waiting(self) -> bool:
        """Whether another try is about to begin."""
        return self._timer is not None

    # -- the request's way -----------------------------------------------------------------------

    def keep(self, data: bytes, end_stream: bool) -> bool:
        """Keep a piece of the body for the next try. False: that is refused, and answered."""
        self.whole = self.whole or end_stream
        if self._policy is None:
            return True
        self._kept_size += len(data)
        if self._kept_size <= self._limit:
            self._kept.append(data)
            return True
        self._router.cluster.stats.retry_or_shadow_abandoned.value += 1
        waiting = self.waiting
        self.give_up()
        if waiting:  # for a try that can no longer be made
            self._router.fail(TOO_LARGE_WHILE_RETRYING)
        return not waiting

    def keep_trailers(self, trailers: HeaderMap) -> None:
        """Keep the request's trailers."""
        self.whole = True
        self._trailers = trailers

    # -- time ------------------------------------------------------------------------------------

    def request_ended(self, now: float) -> None:
        """The client has said all: from now on runs the time of the route."""
        if self.timeout and self._ends is None:
            self._ends = now + self.timeout
        self._set_deadline()

    def request_sent(self, now: float) -> None:
        """The try has sent all: from now on runs its own time."""
        if self.per_try_timeout:
            self._try_ends = now + self.per_try_timeout
            self._set_deadline()

    def response_started(self) -> None:
        """A try's time is the time to its answer."""
        self._try_ends = None
        self._set_deadline()

    @property
    def is_try_timeout(self) -> bool:
        """Whether it is the try's time that has come to its end, and not the request's."""
        try_ends, ends = self._try_ends, self._ends
        return try_ends is not None and (ends is None or try_ends <= ends)

    def expected(self, now: float) -> float:
        """How long the next try may take by both times, 0.0 for ever."""
        expected = self.per_try_timeout or self.timeout
        if self._ends is not None:
            # No time left is not for ever.
            expected = max(_MILLISECOND, min(expected, self._ends - now))
        return expected

    def _set_deadline(self) -> None:
        ends = [each for each in (self._ends, self._try_ends) if each is not None]
        self._router.stream.deadline = min(ends, default=None)

    # -- what has become of a try ----------------------------------------------------------------

    def after_headers(self, headers: HeaderMap) -> bool:
        """An answer has begun: whether it is thrown away for another try."""
        policy, router = self._policy, self._router
        if policy is None or not self._may_retry(policy.after_headers(headers)):
            return False
        router.heed_health(headers)
        code = int(headers.pairs[0][1])
        router.cluster.response_stats.retry.record(code)
        self._retry(policy.reset_interval(headers, router.stream.manager.dispatcher.time()))
        return True

    def after_failure(self, reason: str, *, sent: bool) -> bool:
        """There will be no answer: whether there is another try."""
        policy = self._policy
        if policy is None or not self._may_retry(policy.after_failure(reason, sent=sent)):
            return False
        self._retry(None)
        return True

    def _may_retry(self, wanted: bool) -> bool:
        cluster, info = self._router.cluster, self._router.stream.info
        stats = cluster.stats
        retried = self._retried
        self._release()
        if not wanted:
            if retried:
                stats.upstream_rq_retry_success.value += 1
            self.give_up()
            return False
        if self._retries_left == 0:
            stats.upstream_rq_retry_limit_exceeded.value += 1
            info.response_flags |= ResponseFlag.UpstreamRetryLimitExceeded.value
            info.retry_limit_first = True
            self.give_up()
            return False
        self._retries_left -= 1
        if cluster.retries_active >= cluster.config.circuit_breakers.max_retries:
            stats.upstream_rq_retry_overflow.value += 1
            info.response_flags |= ResponseFlag.UpstreamOverflow.value
            self.give_up()
            return False
        return True

    def _retry(self, asked: float | None) -> None:
        router, policy = self._router, self._policy
        assert policy is not None
        cluster, dispatcher = router.cluster, router.stream.manager.dispatcher
        cluster.stats.upstream_rq_retry.value += 1
        cluster.retries_active += 1
        self._retried = True
        router.stream.info.upstream_host.stats.rq_error += 1
        router.upstream = None
        self._try_ends = None
        self._set_deadline()
        if asked is None:
            cluster.stats.upstream_rq_retry_backoff_exponential.value += 1
            wait = self._back_off(policy, dispatcher.random())
        else:
            cluster.stats.upstream_rq_retry_backoff_ratelimited.value += 1
            # Jittered upwards: nobody comes before the time that was asked for.
            wait = asked + dispatcher.random() % 1000 / 1000 * asked / 2
        self._timer = dispatcher.call_later(wait, self._again)

    def _back_off(self, policy: RetryPolicy, random: int) -> float:
        """Fully jittered and doubling, in whole milliseconds, as Envoy's."""
        done = policy.num_retries - self._retries_left
        longest = min(policy.base_interval * 2 ** (done - 1), policy.max_interval)
        slots: int = max(1, round(longest / _MILLISECOND))
        return random % slots * _MILLISECOND

    def _again(self) -> None:
        self._timer = None
        router = self._router
        router.try_again()
        upstream = router.upstream
        if upstream is None:
            return
        for index, data in enumerate(self._kept):
            last = index == len(self._kept) - 1 and self.whole and self._trailers is None
            upstream.encode_data(data, last)
        if self._trailers is not None:
            upstream.encode_trailers(self._trailers)

    # -- hosts -----------------------------------------------------------------------------------

    def choose_host(self, cluster: Any, headers: HeaderMap, random: int) -> Any:
        """The host of the next try: another one, as long as one is found that may be tried."""
        host = cluster.choose_host(headers, random)
        policy = self._policy
        if self._retried and policy is not None:
            dispatcher = self._router.stream.manager.dispatcher
            for _ in range(policy.host_attempts):
                if host is None or not self._is_avoided(policy, host):
                    break
                host = cluster.choose_host(headers, dispatcher.random())
        self._tried.append(host)
        return host

    def _is_avoided(self, policy: RetryPolicy, host: Any) -> bool:
        tried = policy.avoid_tried and host in self._tried
        return tried or any(avoided(host) for avoided in policy.avoided)

    # -- the end ---------------------------------------------------------------------------------

    def give_up(self) -> None:
        """There is no further try: what was kept for one is let go."""
        self._policy = None
        self._kept = []
        self._trailers = None
        self.cancel()

    def cancel(self) -> None:
        """The stream has ended, or does not wait for another try any more."""
        self._release()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _release(self) -> None:
        """A retry counts against the circuit breaker until it is known what has become of it."""
        if self._retried:
            self._retried = False
            self._router.cluster.retries_active -= 1
