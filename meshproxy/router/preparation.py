"""What becomes of a request before it goes upstream: its time, its tries, its headers.

Owns the order in which they are decided, and the answer of a route that answers by itself. Refuses
to know hosts and answers from upstream (`router.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.router.action import DIRECT_RESPONSE
from meshproxy.router.header_mutation import invalid_header_value
from meshproxy.router.retry_policy import NO_RETRIES
from meshproxy.router.tries import Tries

if TYPE_CHECKING:
    from meshproxy.http.stream_info import StreamInfo
    from meshproxy.router.router import Router

EXPECTED_TIMEOUT: Final = b"x-envoy-expected-rq-timeout-ms"
ATTEMPT_COUNT: Final = b"x-envoy-attempt-count"


def own_reply(route: Any, headers: HeaderMap, info: StreamInfo) -> LocalReply:
    """The answer of a route that needs no cluster."""
    reply: LocalReply = (
        route.direct_response if route.kind == DIRECT_RESPONSE else route.redirect(headers)
    )
    mutations = route.response_mutations
    if mutations is None:
        return reply
    # The mutations see and change the reply's own headers.
    from_route = HeaderMap(reply.headers)
    mutations.apply(from_route, info)
    return LocalReply(
        reply.status, reply.details, reply.body, flag=reply.flag, headers=from_route.pairs
    )


def prepare(router: Router, route: Any, entry: Any, headers: HeaderMap) -> LocalReply | None:
    """Make the headers what the upstream shall see; the answer instead if that cannot be."""
    stream = router.stream
    info = stream.info
    timeout = route.timeout
    times = route.times
    tell_grpc = False
    if times is not None:
        timeout, tell_grpc = times.timeout(headers, timeout)
        if times.stream is not None:
            stream.set_max_duration(times.stream.of(headers))
    if info.upstream_timeout_ms is not None:
        timeout = info.upstream_timeout_ms / 1000
    router.timeout = expected = timeout
    if route.retry_policy is not None or info.tries_asked is not None:
        expected = _plan_tries(router, route) or timeout
    if route.count_attempts_in_request:
        headers.replace(ATTEMPT_COUNT, b"1")
    if tell_grpc:
        headers.replace(b"grpc-timeout", b"%dm" % round(expected * 1000))
    factory = router.factory
    if expected and not factory.suppress_envoy_headers:
        name, value = factory.timeout_header(expected)
        if info.internal:  # then the client may have sent one
            headers.replace(name, value)
        else:
            headers.pairs.append((name, value))
    if entry.request_mutations is not None:
        refused = entry.request_mutations.apply(headers, info)
        if refused is not None:
            return invalid_header_value(refused)
    if route.rewrite is not None:
        route.rewrite(headers)
    return None


def _plan_tries(router: Router, route: Any) -> float:
    """The request may be repeated, or its tries have a time, which is returned: or 0.0."""
    info = router.stream.info
    policy = route.retry_policy or NO_RETRIES
    per_try: float = policy.per_try_timeout
    if info.tries_asked is not None:
        policy = policy.asked(info.tries_asked)
        if info.per_try_timeout_ms is not None:
            per_try = info.per_try_timeout_ms / 1000
    if router.timeout and per_try >= router.timeout:
        per_try = 0.0
    if policy.is_for(router.request_headers) or per_try:
        limit, own = router.stream.buffer_limit, route.retry_buffer_limit
        router.tries = tries = Tries(router, policy, limit if own is None else min(own, limit))
        tries.timeout, tries.per_try_timeout = router.timeout, per_try
    return per_try


def tell_time(headers: HeaderMap, times: Any, expected: float) -> None:
    """What the first try was told of its time has become less since: now `expected` seconds."""
    value = b"%d" % round(expected * 1000)
    if EXPECTED_TIMEOUT in headers:
        headers.replace(EXPECTED_TIMEOUT, value)
    if times is not None and times.max_grpc_timeout is not None and b"grpc-timeout" in headers:
        headers.replace(b"grpc-timeout", value + b"m")
