"""What a route does: forward to a cluster, redirect, or answer directly.

Owns the choice of the cluster. Refuses to know how a route was found, and pools and hosts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from meshproxy.router.filter_scope import PerFilterConfig
from meshproxy.router.grpc_timeouts import RequestTimes
from meshproxy.router.header_mutation import NO_HEADERS, HeaderLevel
from meshproxy.router.matcher import header_name
from meshproxy.router.retry_policy import RetryPolicy

if TYPE_CHECKING:
    from meshproxy.router.header_mutation import HeaderMutations
    from meshproxy.router.rewrite import HostRewrite, RegexRewrite

# Route.kind
FORWARD: Final = 0
REDIRECT: Final = 1
DIRECT_RESPONSE: Final = 2


class Clusters(Protocol):
    """Where clusters are looked up by name: the cluster manager."""

    def get(self, name: str) -> Any:
        """The cluster, or None."""


class ClusterEntry:
    """A cluster as one route sees it: with the header mutations of all levels, ready-made."""

    __slots__ = ("cluster", "name", "request_mutations", "response_mutations")

    def __init__(
        self,
        name: str,
        cluster: Any,
        request_mutations: HeaderMutations | None,
        response_mutations: HeaderMutations | None,
    ) -> None:
        self.name = name
        self.cluster = cluster
        self.request_mutations = request_mutations
        self.response_mutations = response_mutations


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterWeight:
    """One entry of `weighted_clusters`; exactly one of `name` and `cluster_header` is given."""

    name: str = ""
    cluster_header: str = ""
    weight: int
    headers: HeaderLevel = NO_HEADERS
    host_rewrite_literal: str = ""
    per_filter_config: PerFilterConfig = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedClusters:
    """`weighted_clusters`. ValueError where the weights sum to 0 or above 2**32 - 1."""

    clusters: Sequence[ClusterWeight]
    header_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardAction:
    """A RouteAction: exactly one of `cluster cluster_header weighted_clusters` is given.

    Times are seconds; a `timeout` of 0.0 means none. `cluster_not_found_response_code` is the HTTP
    status (503, 404 or 500). `terminates_connect`: a CONNECT request becomes a TCP connection.
    """

    cluster: str = ""
    cluster_header: str = ""
    weighted_clusters: WeightedClusters | None = None
    cluster_not_found_response_code: int = 503
    prefix_rewrite: str = ""
    regex_rewrite: RegexRewrite | None = None
    host_rewrite: HostRewrite | None = None
    auto_host_rewrite: bool = False
    timeout: float = 15.0
    idle_timeout: float | None = None
    times: RequestTimes | None = None
    retry_policy: RetryPolicy | None = None
    upgrades: Mapping[bytes, bool] = field(default_factory=dict)
    terminates_connect: bool = False

    def deciding_headers(self) -> set[bytes]:
        """The headers by which the cluster is chosen."""
        names = {self.cluster_header}
        if self.weighted_clusters is not None:
            names.add(self.weighted_clusters.header_name)
            names.update(each.cluster_header for each in self.weighted_clusters.clusters)
        return {header_name(name) for name in names if name}


@dataclass(frozen=True, slots=True, kw_only=True)
class RedirectAction:
    """A RedirectAction; `response_code` is the HTTP status (301, 302, 303, 307, 308)."""

    https_redirect: bool = False
    scheme_redirect: str = ""
    host_redirect: str = ""
    port_redirect: int = 0
    path_redirect: str = ""
    prefix_rewrite: str = ""
    regex_rewrite: RegexRewrite | None = None
    response_code: int = 301
    strip_query: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectResponseAction:
    """A DirectResponseAction; the body's source was read by the configuration."""

    status: int
    body: bytes = b""
