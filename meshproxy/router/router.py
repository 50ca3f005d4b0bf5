"""The router: the terminal filter that sends requests to clusters.

Owns what becomes of a request: answered by its route, or sent to a host, within its time; and what
the client hears when that fails. Refuses to know matching (`route.py`), what the upstream is told
(`preparation.py`), one try (`upstream_request.py`) and connections (`upstream/conn_pool.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import (
    NO_CLUSTER,
    NO_HEALTHY_UPSTREAM,
    NO_ROUTE,
    PER_TRY_TIMEOUT,
    REQUEST_TIMEOUT,
    LocalReply,
)
from meshproxy.http.metadata import MetadataMap
from meshproxy.http.stream_info import ResponseFlag
from meshproxy.router.action import FORWARD
from meshproxy.router.failures import FAILURES, OTHER_FAILURE, failure_reply
from meshproxy.router.preparation import (
    ATTEMPT_COUNT,
    EXPECTED_TIMEOUT,
    own_reply,
    prepare,
    tell_time,
)
from meshproxy.router.tries import Tries
from meshproxy.router.tunnel import Tunnel
from meshproxy.router.upstream_filters import FilteredRequest
from meshproxy.router.upstream_request import UpstreamRequest
from meshproxy.upstream.pools import make_pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshproxy.router.router_stream import RouterStream

_CANARY: Final = b"x-envoy-upstream-canary"
_IMMEDIATE_FAIL: Final = b"x-envoy-immediate-health-check-fail"
_BODY_HEADERS: Final = frozenset((b"content-length", b"transfer-encoding"))
_SERVICE_TIME: Final = b"x-envoy-upstream-service-time"
# RFC 9110, 9.2.2: repeating these does no harm, so a stale connection may be forgiven.
_IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))


class RouterFactory:
    """Makes the router of each stream; holds what all of them share."""

    __slots__ = ("connector", "now", "stats", "suppress_envoy_headers", "timeouts")

    def __init__(self, connector: Any, stats: Any, *, suppress_envoy_headers: bool = False) -> None:
        self.connector = connector
        self.now: Callable[[], float] = connector.dispatcher.now
        self.stats = stats
        self.suppress_envoy_headers = suppress_envoy_headers
        # Route timeout in seconds -> its header; routes have few different ones.
        self.timeouts: dict[float, tuple[bytes, bytes]] = {}

    def __call__(self, stream: RouterStream) -> Router:
        """The router of one stream."""
        return Router(self, stream)

    def timeout_header(self, timeout: float) -> tuple[bytes, bytes]:
        """`x-envoy-expected-rq-timeout-ms` for a timeout in seconds."""
        header = self.timeouts.get(timeout)
        if header is None:
            header = (EXPECTED_TIMEOUT, b"%d" % round(timeout * 1000))
            if len(self.timeouts) < 1024:
                self.timeouts[timeout] = header
        return header


class Router:
    """The router of one stream."""

    __slots__ = (
        "_canary",
        "_entry",
        "_paused",
        "_retried",
        "cluster",
        "factory",
        "headers_only",
        "request_headers",
        "stream",
        "timeout",
        "tries",
        "upstream",
    )

    request_headers: HeaderMap

    def __init__(self, factory: RouterFactory, stream: RouterStream) -> None:
        self.factory = factory
        self.stream = stream
        self.upstream: UpstreamRequest | FilteredRequest | Tunnel | None = None
        self.headers_only = False
        self.cluster: Any = None
        self.tries: Tries | None = None  # where there may be more than one
        self._entry: Any = None
        self._canary = False  # it is one that answers
        self.timeout = 0.0  # seconds that the request may take; 0.0: any
        self._paused = False  # the upstream's reading, because downstream is full
        self._retried = False

    def now(self) -> float:
        """Monotonic seconds."""
        return self.factory.now()

    # -- request ---------------------------------------------------------------------------------

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Find the route and do what it says."""
        stream = self.stream
        stats = self.factory.stats
        stats.rq_total.value += 1
        route = stream.route
        if route is None:
            stats.no_route.value += 1
            stream.send_local_reply(NO_ROUTE)
            return
        if route.kind != FORWARD:
            stats.rq_direct_response.value += 1
            stream.send_local_reply(own_reply(route, headers, stream.info))
            return
        entry = stream.cluster_entry
        cluster = entry.cluster if entry is not None else None
        if cluster is None:
            stats.no_cluster.value += 1
            stream.send_local_reply(getattr(route, "cluster_not_found", None) or NO_CLUSTER)
            return
        self.request_headers = headers
        self.headers_only = end_stream
        self._entry = entry
        self.cluster = cluster
        stream.info.attempt_count = 1
        refused = prepare(self, route, entry, headers)
        if refused is not None:
            stream.send_local_reply(refused)
            return
        self._try()

    def try_again(self) -> None:
        """Send the request once more."""
        info = self.stream.info
        info.attempt_count += 1
        if info.route.count_attempts_in_request:
            self.request_headers.replace(ATTEMPT_COUNT, b"%d" % info.attempt_count)
        if self.tries is not None:
            tell_time(self.request_headers, info.route.times, self.tries.expected(self.now()))
        self._try()

    def _try(self) -> None:
        """Send the request to a host; the answer, or its absence, comes back by a call."""
        stream = self.stream
        cluster = self.cluster
        info = stream.info
        if self.tries is None:
            host = cluster.choose_host(self.request_headers, stream.random)
        else:
            host = self.tries.choose_host(cluster, self.request_headers, stream.random)
        if host is None:
            cluster.stats.upstream_cx_none_healthy.value += 1
            self.fail(NO_HEALTHY_UPSTREAM)
            return
        info.upstream_host = host
        if info.route.auto_host_rewrite and host.hostname:
            self.request_headers.replace(b":authority", host.hostname.encode())
        if info.route.terminates_connect and info.upgrade == b"connect":
            self.upstream = tunnel = Tunnel(self, cluster, host)
            tunnel.start(self.factory.connector)
            return
        pool = host.pool
        if pool is None:
            host.pool = pool = make_pool(cluster, host, self.factory.connector)
        if self.headers_only:
            self._start_timeout()
        if cluster.filter_chain is not None:
            self.upstream = filtered = FilteredRequest(self, host, cluster.filter_chain)
            filtered.start()
            return
        self.upstream = upstream = UpstreamRequest(self, host)
        upstream.start(pool)

    def decode_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of the request's body."""
        if self.tries is not None and not self.tries.keep(data, end_stream):
            return
        if self.upstream is not None:
            if end_stream:
                self._start_timeout()
            self.upstream.encode_data(data, end_stream)

    def decode_trailers(self, trailers: HeaderMap) -> None:
        """The request's trailers."""
        if self.tries is not None:
            self.tries.keep_trailers(trailers)
        if self.upstream is not None:
            self._start_timeout()
            self.upstream.encode_trailers(trailers)

    def decode_metadata(self, metadata: MetadataMap) -> None:
        """METADATA beside the request; what comes before a next try, that does not get."""
        if self.upstream is not None:
            self.upstream.encode_metadata(metadata)

    def _start_timeout(self) -> None:
        """A route's timeout runs from the end of the request (route.v3.RouteAction.timeout)."""
        if self.tries is not None:
            self.tries.request_ended(self.now())
        elif self.timeout:
            self.stream.deadline = self.now() + self.timeout

    def on_request_sent(self) -> None:
        """The last byte of the request has gone to the upstream."""
        self.stream.info.upstream_request_end = now = self.now()
        if self.tries is not None:
            self.tries.request_sent(now)

    # -- response --------------------------------------------------------------------------------

    def on_upstream_1xx(self, headers: HeaderMap) -> None:
        """An informational response."""
        stream = self.stream
        if not stream.info.health_check:
            self.cluster.response_stats.record(int(headers.pairs[0][1]), stream.info.internal)
        stream.encode_1xx(headers)

    def on_switch(self, headers: HeaderMap) -> bool:
        """A host has answered to the wish for another protocol: whether it has agreed.

        A WebSocket handshake that succeeds in another way has not: then this answers the client.
        """
        stream = self.stream
        status = headers.pairs[0][1]
        upgrade = stream.info.upgrade
        if upgrade == b"connect":
            return status[:1] == b"2"
        if status == b"101":
            return True
        if upgrade == b"websocket" and status[:1] == b"2":
            kept = [pair for pair in headers.pairs[1:] if pair[0] not in _BODY_HEADERS]
            reply = LocalReply(int(status), "websocket_handshake_unsuccessful", headers=kept)
            stream.send_local_reply(reply)
        return False

    def on_upstream_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response begins, and is the one that the client gets."""
        stream = self.stream
        if self.tries is not None and not end_stream:
            self.tries.response_started()
        info = stream.info
        info.upstream_response_start = now = self.now()
        info.response_code_details = "via_upstream"
        pairs = headers.pairs
        info.response_code = code = int(pairs[0][1])
        milliseconds = int((now - (info.upstream_request_start or now)) * 1000)
        if not info.health_check:  # which Envoy does not count
            self._count(code, info.upstream_host.canary or headers.get(_CANARY) == b"true")
        self.heed_health(headers)
        host_stats = info.upstream_host.stats
        if code < 500:
            host_stats.rq_success += 1
        else:
            host_stats.rq_error += 1
        # As in Envoy, an answer that comes before the request has ended says nothing of its time.
        ended = info.upstream_request_end is not None
        if ended and info.upgrade is None and not self.factory.suppress_envoy_headers:
            value = b"%d" % milliseconds
            for at, (name, _) in enumerate(pairs):
                if name == _SERVICE_TIME:
                    pairs[at] = (_SERVICE_TIME, value)
                    break
            else:
                pairs.append((_SERVICE_TIME, value))
        if info.route.count_attempts_in_response:
            headers.replace(ATTEMPT_COUNT, b"%d" % info.attempt_count)
        if self._entry.response_mutations is not None:
            self._entry.response_mutations.apply(headers, info)
        stream.encode_headers(headers, end_stream)

    def heed_health(self, headers: HeaderMap) -> None:
        """A host that is checked may ask by its answer to be left out."""
        monitor = self.stream.info.upstream_host.health_monitor
        if monitor is not None and headers.get(_IMMEDIATE_FAIL) is not None:
            monitor.fail_passively()

    def on_response_end(self) -> None:
        """The last byte of the response has come."""
        stream = self.stream
        info = stream.info
        stream.deadline = None
        info.upstream_response_end = now = self.now()
        if info.health_check:
            return
        elapsed = int((now - (info.upstream_request_start or now)) * 1000)
        self.cluster.response_stats.record_time(elapsed, info.internal)
        if self._canary:
            self.cluster.response_stats.canary.record_time(elapsed)

    # -- failure ---------------------------------------------------------------------------------

    def on_upstream_failure(
        self, upstream: UpstreamRequest | FilteredRequest | Tunnel, reason: str, details: str
    ) -> None:
        """The try has failed: answer, or end what has begun."""
        if upstream is not self.upstream:
            return
        stream = self.stream
        info = stream.info
        answering = stream.headers_sent or (upstream.received and info.response_headers is not None)
        if self.tries is None:
            if self._retry_stale(upstream, reason):
                return
        elif not answering and self.tries.after_failure(reason, sent=upstream.connected):
            return
        flag = FAILURES.get(reason, OTHER_FAILURE)[1]
        upstream.host.stats.rq_error += 1
        self.upstream = None
        if answering:
            info.response_flags |= flag
            info.response_code_details = (
                f"upstream_reset_after_response_started{{{reason.replace(' ', '_')}}}"
            )
            stream.reset(info.response_code_details)
            return
        if details and flag == ResponseFlag.UpstreamConnectionFailure:
            info.upstream_transport_failure_reason = details
        # The try for a stale connection is ours: Envoy's words know of its own only.
        tries = info.attempt_count - int(self._retried)
        self.fail(failure_reply(reason, details, retried=tries > 1))

    def _retry_stale(
        self, upstream: UpstreamRequest | FilteredRequest | Tunnel, reason: str
    ) -> bool:
        """A connection from the pool may have been closed by the peer just before it was used.

        Envoy answers 503 UC then. A request that can be repeated, that had no body to lose, and of
        whose answer not a byte has come, is sent once more instead, on another connection.
        """
        headers = self.request_headers
        if (
            reason != "connection termination"
            or self._retried
            or upstream.received
            or not upstream.reused_connection
            or not self.headers_only
            or headers.get(b":method") not in _IDEMPOTENT
        ):
            return False
        self._retried = True
        self.try_again()
        return True

    def fail(self, reply: LocalReply) -> None:
        """Answer from here: there is no response, and will be none."""
        self.stream.deadline = None
        info = self.stream.info
        if not info.health_check:
            self._count(reply.status, False)
        if info.route.count_attempts_in_response:
            reply = reply.with_header(ATTEMPT_COUNT, b"%d" % info.attempt_count)
        self.stream.send_local_reply(reply)

    def _count(self, code: int, canary: bool) -> None:
        """Count an answer: where it is a canary's, or its internal client named it, once more."""
        info = self.stream.info
        counted = self.cluster.response_stats
        counted.record(code, info.internal)
        if canary:
            self._canary = True
            counted.canary.record(code)
        if info.alt_stat_name is not None:
            named = counted.named(info.alt_stat_name)
            if named is not None:
                named.record(code, info.internal)

    def on_timeout(self) -> None:
        """The request has taken too long."""
        upstream = self.upstream
        stream = self.stream
        tries = self.tries
        if upstream is None and (tries is None or not tries.waiting):
            return
        cluster = self.cluster
        per_try = tries is not None and tries.is_try_timeout
        if per_try:
            cluster.stats.upstream_rq_per_try_timeout.value += 1
        else:
            cluster.stats.upstream_rq_timeout.value += 1
        if upstream is not None:
            upstream.host.stats.rq_timeout += 1
            self.upstream = None
            upstream.reset()
        if per_try and tries is not None and tries.after_failure("local reset", sent=True):
            return
        if stream.headers_sent:
            stream.info.response_flags |= ResponseFlag.UpstreamRequestTimeout.value
            stream.reset("response_timeout")
        else:
            reply = PER_TRY_TIMEOUT if per_try else REQUEST_TIMEOUT
            if stream.info.alt_response:
                reply = LocalReply(204, reply.details, flag=reply.flag)
            self.fail(reply)

    def on_downstream_watermark(self, high: bool) -> None:
        """Downstream is full, or no more: so is, or is not, the upstream's reading."""
        if self.upstream is not None and high != self._paused:
            self._paused = high
            stats = self.cluster.stats
            if high:
                stats.upstream_flow_control_paused_reading_total.value += 1
            else:
                stats.upstream_flow_control_resumed_reading_total.value += 1
            self.upstream.read_disable(high)

    def on_destroy(self) -> None:
        """The stream has ended, or has been answered by somebody else."""
        upstream, self.upstream = self.upstream, None
        self.stream.deadline = None
        if self.tries is not None:
            self.tries.cancel()
        if upstream is not None:
            upstream.reset()
