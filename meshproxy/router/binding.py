"""Binding a route to what it needs at run time: clusters, mutations of all levels, rewrites.

Owns everything that is decided once for a route. Refuses to know how a route is found.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from meshproxy.http.inline_headers import REQUEST_INLINE_HEADERS, RESPONSE_INLINE_HEADERS
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.stream_info import ResponseFlag
from meshproxy.router.action import (
    REDIRECT,
    ClusterEntry,
    Clusters,
    DirectResponseAction,
    ForwardAction,
    RedirectAction,
    WeightedClusters,
)
from meshproxy.router.filter_scope import FilterScope, inside
from meshproxy.router.header_mutation import (
    NO_HEADERS,
    HeaderLevel,
    HeaderMutations,
    concatenate,
)
from meshproxy.router.matcher import header_name, parse_integer
from meshproxy.router.rewrite import (
    compile_direct_response,
    compile_redirect,
    compile_rewrite,
    path_rewrite,
)

if TYPE_CHECKING:
    from meshproxy.http.header_map import HeaderMap
    from meshproxy.router.route import Route

_UINT64: Final = 1 << 64

Choose = Callable[["HeaderMap", int], ClusterEntry | None]


def bind_route(
    route: Route, levels: Sequence[HeaderLevel], clusters: Clusters, *, specific_wins: bool
) -> None:
    """Set what `route` needs at run time; `levels` go from the most specific to the least."""
    action = route.action
    binder = _Binder(levels, clusters, specific_wins)
    route.auto_host_rewrite = False
    route.rewrite = None
    route.timeout = 0.0
    route.idle_timeout = None
    route.times = None
    route.choose = _no_cluster
    tries = route.virtual_host.tries
    route.retry_policy = None
    route.count_attempts_in_request = tries.include_request_attempt_count
    route.count_attempts_in_response = tries.include_attempt_count_in_response
    if route.retry_buffer_limit is None:
        route.retry_buffer_limit = tries.buffer_limit
    if isinstance(action, ForwardAction):
        route.retry_policy = action.retry_policy or tries.policy
        route.timeout = action.timeout
        route.idle_timeout = action.idle_timeout
        route.times = action.times
        route.auto_host_rewrite = action.auto_host_rewrite
        route.rewrite = compile_rewrite(
            path_rewrite(route.match, action.prefix_rewrite, action.regex_rewrite),
            action.host_rewrite,
        )
        route.cluster_not_found = LocalReply(
            action.cluster_not_found_response_code,
            "cluster_not_found",
            flag=ResponseFlag.NoClusterFound,
        )
        route.choose = binder.choose(action)
        return
    route.response_mutations = binder.mutations(NO_HEADERS)[1]
    if isinstance(action, RedirectAction):
        route.redirect = compile_redirect(action, route.match)
    elif isinstance(action, DirectResponseAction):
        reply = LocalReply(action.status, "direct_response", action.body)
        route.direct_response = reply
        if action.status == 201 or 300 <= action.status < 400:
            # These carry the request's own URI as their location, so they differ per request.
            route.kind = REDIRECT
            route.redirect = compile_direct_response(reply)


def _no_cluster(headers: HeaderMap, random_value: int) -> None:
    """Where a route sends that answers by itself."""


class _Binder:
    """What the entries of one route share."""

    def __init__(
        self, levels: Sequence[HeaderLevel], clusters: Clusters, specific_wins: bool
    ) -> None:
        self._levels = levels
        self._clusters = clusters
        self._specific_wins = specific_wins

    def mutations(
        self, first: HeaderLevel
    ) -> tuple[HeaderMutations | None, HeaderMutations | None]:
        """(request, response) mutations of `first` and all levels, in the order of application."""
        # The weighted cluster's own always come first, whoever wins among the others.
        others = reversed(self._levels) if self._specific_wins else self._levels
        levels = [first, *others]
        return (
            concatenate([level.request for level in levels], REQUEST_INLINE_HEADERS),
            concatenate([level.response for level in levels], RESPONSE_INLINE_HEADERS),
        )

    def entry(self, name: str, level: HeaderLevel = NO_HEADERS) -> ClusterEntry:
        """A cluster with its mutations."""
        request, response = self.mutations(level)
        return ClusterEntry(name, self._clusters.get(name), request, response)

    def choose(self, action: ForwardAction) -> Choose:
        """The function that chooses the cluster of a request."""
        if action.cluster:
            entry = self.entry(action.cluster)
            return lambda headers, random_value: entry
        if action.weighted_clusters is not None:
            return self._weighted(action.weighted_clusters)
        return self._by_header(action.cluster_header)

    def _by_header(self, header: str, level: HeaderLevel = NO_HEADERS) -> Choose:
        name = header_name(header)
        known: dict[bytes, ClusterEntry] = {}
        clusters = self._clusters

        def choose(headers: HeaderMap, random_value: int) -> ClusterEntry | None:
            value = headers.get(name)
            if not value:
                return None
            entry = known.get(value)
            if entry is None or entry.cluster is not clusters.get(entry.name):
                entry = self.entry(value.decode("latin-1"), level)
                # Only names of clusters are kept: what clients invent must not pile up.
                if entry.cluster is not None:
                    known[value] = entry
            return entry

        return choose

    def _weighted(self, weighted: WeightedClusters) -> Choose:
        chooses: list[Choose] = []
        for each in weighted.clusters:
            if each.cluster_header:
                choice = self._by_header(each.cluster_header, each.headers)
            else:
                choice = _always(self.entry(each.name, each.headers))
            if each.host_rewrite_literal:
                choice = _with_host(choice, each.host_rewrite_literal.encode())
            chooses.append(choice)
        pick = weighted_index(weighted)

        def choose(headers: HeaderMap, random_value: int) -> ClusterEntry | None:
            return chooses[pick(headers, random_value)](headers, random_value)

        return choose


def weighted_index(weighted: WeightedClusters) -> Callable[[HeaderMap, int], int]:
    """The function that chooses one of the clusters by number."""
    edges = list(accumulate(each.weight for each in weighted.clusters))
    total = edges[-1]
    header = weighted.header_name.lower().encode()

    def pick(headers: HeaderMap, random_value: int) -> int:
        value = random_value
        if header:
            given = headers.get_all(header)
            number = parse_integer(given[0]) if len(given) == 1 else None
            if number is not None and 0 <= number < _UINT64:
                value = number
        return bisect_right(edges, value % total)

    return pick


def bind_filter_scope(route: Route, around: FilterScope | None) -> list[FilterScope]:
    """Set `filter_scope` and `pick_scope` of a route; all scopes that its requests may be in."""
    route.filter_scope = scope = inside(route.per_filter_config, around)
    route.pick_scope = None
    action = route.action
    weighted = action.weighted_clusters if isinstance(action, ForwardAction) else None
    if weighted is None or not any(each.per_filter_config for each in weighted.clusters):
        return [scope] if scope is not None else []
    scopes = [inside(each.per_filter_config, scope) for each in weighted.clusters]
    pick = weighted_index(weighted)
    route.pick_scope = lambda headers, random_value: scopes[pick(headers, random_value)]
    return [each for each in scopes if each is not None]


def _always(entry: ClusterEntry) -> Choose:
    return lambda headers, random_value: entry


def _with_host(choice: Choose, host: bytes) -> Choose:
    """Also set `:authority`; unlike a route's host rewrite this keeps no trace of the old one."""

    def choose(headers: HeaderMap, random_value: int) -> ClusterEntry | None:
        headers.replace(b":authority", host)
        return choice(headers, random_value)

    return choose
