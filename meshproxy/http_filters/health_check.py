"""`envoy.filters.http.health_check`: answers health checks of this proxy and of what is behind it.

Owns which request is one, whether it is answered here, and with what. Refuses to know how the hosts
of a cluster are checked (`upstream/health_check/`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import (
    CONTINUE,
    STOP_ITERATION,
    STOP_ITERATION_NO_BUFFER,
    FilterFactory,
    StreamFilter,
)
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.stream_info import ResponseFlag
from meshproxy.http_filters.registry import HTTP_FILTERS, FactoryContext
from meshproxy.stats.health_metrics import HealthCheckFilterStats

if TYPE_CHECKING:
    from meshproxy.http.local_info import LocalInfo
    from meshproxy.router.matcher import HeaderPredicate
    from meshproxy.upstream.cluster_manager import ClusterManager

TYPE: Final = "envoy.extensions.filters.http.health_check.v3.HealthCheck"
DEGRADED: Final = b"x-envoy-degraded"
IMMEDIATE_FAIL: Final = (b"x-envoy-immediate-health-check-fail", b"true")
HEALTHCHECKED_CLUSTER: Final = b"x-envoy-upstream-healthchecked-cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckFilterConfig:
    """`HealthCheck`. A request is a health check where all `headers` match.

    `pass_through`: the app answers, and its answer counts for `cache_time` seconds, 0 for only that
    request. `clusters`: how many percent of whose hosts must be healthy, or degraded.
    """

    pass_through: bool
    headers: tuple[HeaderPredicate, ...] = ()
    cache_time: float = 0.0
    clusters: tuple[tuple[str, float], ...] = ()


@HTTP_FILTERS.register(TYPE)
def health_check(config: HealthCheckFilterConfig, context: FactoryContext) -> FilterFactory:
    """The filter of one chain."""
    shared = HealthCheckShared(config, context)
    return lambda: HealthCheckFilter(shared)


class Cache:
    """The last answer of the app. It is forgotten at every tick of a clock that began with us."""

    __slots__ = ("_now", "_period", "_start", "_tick", "degraded", "status")

    def __init__(self, period: float, now: Callable[[], float]) -> None:
        self._period = period
        self._now = now
        self._start = now()
        self._tick = -1
        self.status = 200
        self.degraded = False

    def _current(self) -> int:
        return int((self._now() - self._start) / self._period)

    @property
    def valid(self) -> bool:
        """Whether there is an answer that counts."""
        return self._tick == self._current()

    def keep(self, status: int, degraded: bool) -> None:
        """This was answered now."""
        self._tick = self._current()
        self.status = status
        self.degraded = degraded


class HealthCheckShared:
    """What the filters of one chain share."""

    __slots__ = ("_cluster_manager", "cache", "config", "local", "stats")

    def __init__(self, config: HealthCheckFilterConfig, context: FactoryContext) -> None:
        self.config = config
        self.stats = context.scope.scope("health_check.").block(HealthCheckFilterStats)
        self.local: LocalInfo = context.local
        self._cluster_manager: ClusterManager = context.cluster_manager
        self.cache: Cache | None = None
        if config.cache_time:
            self.cache = Cache(config.cache_time, context.dispatcher.now)

    def answers(self, headers: HeaderMap) -> bool | None:
        """Whether a request is answered here; None: it is no health check."""
        if not all(matches(headers) for matches in self.config.headers):
            return None
        cached = self.cache is not None and self.cache.valid
        return not self.config.pass_through or self.local.health_failed or cached

    def reply(self) -> LocalReply:
        """The answer, counted."""
        stats = self.stats
        stats.request_total.value += 1
        status, details, degraded = self._judge()
        good = 200 <= status < 300
        (stats.ok if good else stats.failed).value += 1
        headers: tuple[tuple[bytes, bytes], ...] = ()
        if degraded:
            stats.degraded.value += 1
            headers = ((DEGRADED, b""),)
        flag = 0 if good else ResponseFlag.FailedLocalHealthCheck
        return LocalReply(status, details, flag=flag, headers=headers)

    def _judge(self) -> tuple[int, str, bool]:
        """Status, details, and whether the app is degraded."""
        stats = self.stats
        if self.local.health_failed:
            return 503, "health_check_failed", False
        if self.cache is not None:
            stats.cached_response.value += 1
            return self.cache.status, "health_check_cached", self.cache.degraded
        for name, percent in self.config.clusters:
            cluster = self._cluster_manager.get(name)
            if cluster is None:
                stats.failed_cluster_not_found.value += 1
                return 503, "health_check_failed_no_cluster_found", False
            of = cluster.stats
            total = of.membership_total.value
            if not total:
                if not percent:
                    continue
                stats.failed_cluster_empty.value += 1
                return 503, "health_check_failed_cluster_empty", False
            usable = of.membership_healthy.value + of.membership_degraded.value
            if 100 * usable < total * percent:
                stats.failed_cluster_unhealthy.value += 1
                return 503, "health_check_failed_cluster_unhealthy", False
        suffix = "_cluster_healthy" if self.config.clusters else ""
        return 200, f"health_check_ok{suffix}", False


class HealthCheckFilter(StreamFilter):
    """The filter of one stream."""

    __slots__ = ("_answers", "_is_check", "_shared")

    def __init__(self, shared: HealthCheckShared) -> None:
        self._shared = shared
        self._is_check = False
        self._answers = False

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Find out whether it is a health check, and whether it is answered here."""
        answers = self._shared.answers(headers)
        if answers is None:
            return CONTINUE
        self._is_check = True
        self._answers = answers
        self.callbacks.info.health_check = True
        if not answers:
            return CONTINUE
        if end_stream:
            self.callbacks.send_local_reply(self._shared.reply())
        return STOP_ITERATION

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """Nobody wants to know; the answer comes behind it."""
        if not self._answers:
            return CONTINUE
        if end_stream:
            self.callbacks.send_local_reply(self._shared.reply())
        return STOP_ITERATION_NO_BUFFER

    def decode_trailers(self, trailers: HeaderMap) -> int:
        """The end of the request."""
        if not self._answers:
            return CONTINUE
        self.callbacks.send_local_reply(self._shared.reply())
        return STOP_ITERATION

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Remember the answer to a health check; say where it was made, and if we are to fail."""
        shared = self._shared
        if self._is_check:
            if shared.cache is not None:
                status = headers.pairs[0][1]
                shared.cache.keep(int(status), headers.get(DEGRADED) is not None)
            headers.replace(HEALTHCHECKED_CLUSTER, shared.local.service_cluster)
        if shared.local.health_failed:
            headers.replace(*IMMEDIATE_FAIL)
        return CONTINUE
