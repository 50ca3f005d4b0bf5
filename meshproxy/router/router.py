"""The router: the terminal filter that sends requests to clusters.

Owns what becomes of a request: answered by its route, or sent to a host, within its time; and what
the client hears when that fails. Refuses to know matching (`route.py`), one try
(`upstream_request.py`) and connections (`upstream/conn_pool.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import (
    NO_CLUSTER,
    NO_HEALTHY_UPSTREAM,
    NO_ROUTE,
    PER_TRY_TIMEOUT,
    REQUEST_TIMEOUT,
    LocalReply,
)
from meshproxy.http.stream_info import ResponseFlag
from meshproxy.router.action import DIRECT_RESPONSE, FORWARD
from meshproxy.router.header_mutation import invalid_header_value
from meshproxy.router.tunnel import Tunnel
from meshproxy.router.upstream_filters import FilteredRequest
from meshproxy.router.upstream_request import UpstreamRequest
from meshproxy.upstream.pools import make_pool

if TYPE_CHECKING:
    from meshproxy.http.stream_info import StreamInfo
    from meshproxy.router.route import Route

_EXPECTED_TIMEOUT: Final = b"x-envoy-expected-rq-timeout-ms"
_CANARY: Final = b"x-envoy-upstream-canary"
_IMMEDIATE_FAIL: Final = b"x-envoy-immediate-health-check-fail"
_SERVICE_TIME: Final = b"x-envoy-upstream-service-time"
_CONNECT_ERROR: Final = (
    "upstream connect error or disconnect/reset before headers. reset reason: {}"
)
# Reset reason -> (status, flag)
_FAILURES: Final[dict[str, tuple[int, int]]] = {
    "remote connection failure": (503, ResponseFlag.UpstreamConnectionFailure.value),
    "local connection failure": (503, ResponseFlag.UpstreamConnectionFailure.value),
    "connection timeout": (503, ResponseFlag.UpstreamConnectionFailure.value),
    "connection termination": (503, ResponseFlag.UpstreamConnectionTermination.value),
    "protocol error": (502, ResponseFlag.UpstreamProtocolError.value),
    "overflow": (503, ResponseFlag.UpstreamOverflow.value),
}
# RFC 9110, 9.2.2: repeating these does no harm, so a stale connection may be forgiven.
_IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))


class RouterStream(Protocol):
    """What the router needs of its stream: downstream's (`http/stream.py`), or a request from
    inside (`async_client.py`)."""

    info: StreamInfo
    deadline: float | None
    headers_sent: bool
    random: int
    cluster_entry: Any

    @property
    def route(self) -> Route | None:
        """The route of the request."""

    @property
    def manager(self) -> Any:
        """Has the `dispatcher`."""

    @property
    def encoder(self) -> Any:
        """Has `read_disable(disable)`, which stops the request's body."""

    def send_local_reply(self, reply: LocalReply) -> None:
        """Answer from here."""

    def reset(self, details: str) -> None:
        """End the stream: what has been sent of the response will not be completed."""

    def set_max_duration(self, seconds: float | None) -> None:
        """A route has its own word on how long the stream may live."""

    def encode_1xx(self, headers: HeaderMap) -> None:
        """An informational response."""

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response's headers."""

    def encode_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of its body."""

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Its trailers."""


class RouterFactory:
    """Makes the router of each stream; holds what all of them share."""

    __slots__ = ("connector", "stats", "suppress_envoy_headers", "timeouts")

    def __init__(self, connector: Any, stats: Any, *, suppress_envoy_headers: bool = False) -> None:
        self.connector = connector
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
            header = (_EXPECTED_TIMEOUT, b"%d" % round(timeout * 1000))
            if len(self.timeouts) < 1024:
                self.timeouts[timeout] = header
        return header


class Router:
    """The router of one stream."""

    __slots__ = (
        "_canary",
        "_cluster",
        "_entry",
        "_paused",
        "_per_try",
        "_retried",
        "_timeout",
        "factory",
        "headers_only",
        "request_headers",
        "stream",
        "upstream",
    )

    request_headers: HeaderMap

    def __init__(self, factory: RouterFactory, stream: RouterStream) -> None:
        self.factory = factory
        self.stream = stream
        self.upstream: UpstreamRequest | FilteredRequest | Tunnel | None = None
        self.headers_only = False
        self._cluster: Any = None
        self._entry: Any = None
        self._canary = False  # it is one that answers
        self._timeout = 0.0
        self._per_try = False  # `_timeout` is a try's
        self._paused = False  # the upstream's reading, because downstream is full
        self._retried = False

    def now(self) -> float:
        """Monotonic seconds."""
        now: float = self.stream.manager.dispatcher.now()
        return now

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
            self._answer(route, headers)
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
        self._cluster = cluster
        stream.info.attempt_count = 1
        refused = self._prepare(route, entry, headers)
        if refused is not None:
            stream.send_local_reply(refused)
            return
        self._try()

    def _answer(self, route: Any, headers: HeaderMap) -> None:
        """A route that answers by itself."""
        stats = self.factory.stats
        stream = self.stream
        stats.rq_direct_response.value += 1
        reply: LocalReply = (
            route.direct_response if route.kind == DIRECT_RESPONSE else route.redirect(headers)
        )
        mutations = route.response_mutations
        if mutations is not None:
            # The mutations see and change the reply's own headers.
            from_route = HeaderMap(reply.headers)
            mutations.apply(from_route, stream.info)
            reply = LocalReply(
                reply.status, reply.details, reply.body, flag=reply.flag, headers=from_route.pairs
            )
        stream.send_local_reply(reply)

    def _prepare(self, route: Any, entry: Any, headers: HeaderMap) -> LocalReply | None:
        """Make the headers what the upstream shall see; the answer instead if that cannot be."""
        stream = self.stream
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
        if info.per_try_timeout_ms:
            per_try = info.per_try_timeout_ms / 1000
            if not timeout or per_try < timeout:
                # There is one try, so its time is the request's.
                timeout = per_try
                self._per_try = True
        self._timeout = timeout
        if tell_grpc:
            headers.replace(b"grpc-timeout", b"%dm" % round(timeout * 1000))
        if timeout and not self.factory.suppress_envoy_headers:
            name, value = self.factory.timeout_header(timeout)
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

    def _try(self) -> None:
        """Send the request to a host; the answer, or its absence, comes back by a call."""
        stream = self.stream
        cluster = self._cluster
        info = stream.info
        host = cluster.choose_host(self.request_headers, stream.random)
        if host is None:
            cluster.stats.upstream_cx_none_healthy.value += 1
            self._fail(NO_HEALTHY_UPSTREAM)
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
        pool.new_stream(upstream)

    def decode_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of the request's body."""
        if self.upstream is not None:
            if end_stream:
                self._start_timeout()
            self.upstream.encode_data(data, end_stream)

    def decode_trailers(self, trailers: HeaderMap) -> None:
        """The request's trailers."""
        if self.upstream is not None:
            self._start_timeout()
            self.upstream.encode_trailers(trailers)

    def _start_timeout(self) -> None:
        """A route's timeout runs from the end of the request (route.v3.RouteAction.timeout)."""
        if self._timeout:
            self.stream.deadline = self.now() + self._timeout

    def on_request_sent(self) -> None:
        """The last byte of the request has gone to the upstream."""
        self.stream.info.upstream_request_end = self.now()

    # -- response --------------------------------------------------------------------------------

    def on_upstream_1xx(self, headers: HeaderMap) -> None:
        """An informational response."""
        stream = self.stream
        self._cluster.response_stats.record(int(headers.pairs[0][1]), stream.info.internal)
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
            reply = LocalReply(int(status), "websocket_handshake_unsuccessful")
            stream.send_local_reply(reply)
        return False

    def on_upstream_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response begins."""
        stream = self.stream
        info = stream.info
        info.upstream_response_start = now = self.now()
        info.response_code_details = "via_upstream"
        pairs = headers.pairs
        info.response_code = code = int(pairs[0][1])
        milliseconds = int((now - (info.upstream_request_start or now)) * 1000)
        cluster = self._cluster
        cluster.response_stats.record(code, info.internal)
        if info.upstream_host.canary or headers.get(_CANARY) == b"true":
            self._canary = True
            cluster.response_stats.canary.record(code)
        if info.alt_stat_name is not None:
            self._count_by_name(info.alt_stat_name, code)
        monitor = info.upstream_host.health_monitor
        if monitor is not None and headers.get(_IMMEDIATE_FAIL) is not None:
            monitor.fail_passively()
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
        if self._entry.response_mutations is not None:
            self._entry.response_mutations.apply(headers, info)
        stream.encode_headers(headers, end_stream)

    def on_response_end(self) -> None:
        """The last byte of the response has come."""
        stream = self.stream
        info = stream.info
        stream.deadline = None
        info.upstream_response_end = now = self.now()
        elapsed = int((now - (info.upstream_request_start or now)) * 1000)
        self._cluster.response_stats.record_time(elapsed, info.internal)
        if self._canary:
            self._cluster.response_stats.canary.record_time(elapsed)

    # -- failure ---------------------------------------------------------------------------------

    def on_upstream_failure(
        self, upstream: UpstreamRequest | FilteredRequest | Tunnel, reason: str, details: str
    ) -> None:
        """The try has failed: answer, or end what has begun."""
        if upstream is not self.upstream:
            return
        stream = self.stream
        if self._retry_stale(upstream, reason):
            return
        info = stream.info
        status, flag = _FAILURES.get(reason, (503, ResponseFlag.UpstreamRemoteReset.value))
        upstream.host.stats.rq_error += 1
        self.upstream = None
        if stream.headers_sent or (upstream.received and info.response_headers is not None):
            info.response_flags |= flag
            info.response_code_details = (
                f"upstream_reset_after_response_started{{{reason.replace(' ', '_')}}}"
            )
            stream.reset(info.response_code_details)
            return
        if details and flag == ResponseFlag.UpstreamConnectionFailure:
            info.upstream_transport_failure_reason = details
        self._fail(_failure_reply(reason, details, status, flag))

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
        self.stream.info.attempt_count += 1
        self._try()
        return True

    def _fail(self, reply: LocalReply) -> None:
        cluster = self._cluster
        self.stream.deadline = None
        info = self.stream.info
        cluster.response_stats.record(reply.status, info.internal)
        if info.alt_stat_name is not None:
            self._count_by_name(info.alt_stat_name, reply.status)
        self.stream.send_local_reply(reply)

    def _count_by_name(self, name: bytes, code: int) -> None:
        """Count an answer once more, under the name that an internal client gave."""
        stats = self._cluster.response_stats.named(name)
        if stats is not None:
            stats.record(code, self.stream.info.internal)

    def on_timeout(self) -> None:
        """The request has taken too long."""
        upstream = self.upstream
        stream = self.stream
        if upstream is None:
            return
        cluster = self._cluster
        if self._per_try:
            cluster.stats.upstream_rq_per_try_timeout.value += 1
        else:
            cluster.stats.upstream_rq_timeout.value += 1
        upstream.host.stats.rq_timeout += 1
        self.upstream = None
        upstream.reset()
        if stream.headers_sent:
            stream.info.response_flags |= ResponseFlag.UpstreamRequestTimeout.value
            stream.reset("response_timeout")
        else:
            reply = PER_TRY_TIMEOUT if self._per_try else REQUEST_TIMEOUT
            if stream.info.alt_response:
                reply = LocalReply(204, reply.details, flag=reply.flag)
            self._fail(reply)

    def on_downstream_watermark(self, high: bool) -> None:
        """Downstream is full, or no more: so is, or is not, the upstream's reading."""
        if self.upstream is not None and high != self._paused:
            self._paused = high
            stats = self._cluster.stats
            if high:
                stats.upstream_flow_control_paused_reading_total.value += 1
            else:
                stats.upstream_flow_control_resumed_reading_total.value += 1
            self.upstream.read_disable(high)

    def on_destroy(self) -> None:
        """The stream has ended, or has been answered by somebody else."""
        upstream, self.upstream = self.upstream, None
        self.stream.deadline = None
        if upstream is not None:
            upstream.reset()


def _failure_reply(reason: str, details: str, status: int, flag: int) -> LocalReply:
    """The answer to a failure before any response, in Envoy's words."""
    inside = reason.replace(" ", "_") + (f"|{details}" if details else "")
    headers = ((b"x-envoy-overloaded", b"true"),) if reason == "overflow" else ()
    return LocalReply(
        status,
        f"upstream_reset_before_response_started{{{inside}}}",
        _CONNECT_ERROR.format(reason).encode(),
        flag=flag,
        headers=headers,
    )
