"""The route table: from a request's headers to the route that it takes.

Owns domains, the order of routes, and what a route knows. Refuses to know protos and streams; every
class here is built once by `config/route.py` from plain values and never changed by a request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from meshproxy.router.action import (
    DIRECT_RESPONSE,
    FORWARD,
    REDIRECT,
    DirectResponseAction,
    ForwardAction,
    RedirectAction,
)
from meshproxy.router.binding import bind_filter_scope, bind_route
from meshproxy.router.domains import DomainTable
from meshproxy.router.filter_scope import NO_OVERRIDES, PerFilterConfig, inside
from meshproxy.router.grpc_timeouts import RequestTimes
from meshproxy.router.header_mutation import NO_HEADERS, HeaderLevel, HeaderMutations
from meshproxy.router.retry_policy import HOST_TRIES, HostTries

if TYPE_CHECKING:
    from meshproxy.http.header_map import HeaderMap
    from meshproxy.http.local_reply import LocalReply
    from meshproxy.router.action import ClusterEntry, Clusters
    from meshproxy.router.filter_scope import FilterScope, PickScope
    from meshproxy.router.retry_policy import RetryPolicy
    from meshproxy.router.route_match import RouteMatch

Matches = Callable[[bytes, "HeaderMap", int], bool]
Action = ForwardAction | RedirectAction | DirectResponseAction


class Route:
    """One route. Which attributes mean something depends on `kind`; all are always there.

    Every kind: `name virtual_host metadata filter_scope pick_scope`. FORWARD: `choose timeout
    idle_timeout cluster_not_found rewrite auto_host_rewrite`; `retry_policy`, its own or its
    virtual host's, and `retry_buffer_limit`, in bytes; `count_attempts_in_request` and
    `count_attempts_in_response`, whether `x-envoy-attempt-count` is set; `upgrades`, whether a
    protocol is let in, by its name in lower case; `terminates_connect`. REDIRECT: `redirect`.
    DIRECT_RESPONSE: `direct_response`. The last two: `response_mutations`; those of a forward
    route are at its `ClusterEntry`.
    """

    __slots__ = (
        "action", "auto_host_rewrite", "choose", "cluster_not_found", "count_attempts_in_request",
        "count_attempts_in_response", "direct_response", "filter_scope", "headers", "idle_timeout",
        "kind", "match", "metadata", "name", "per_filter_config", "pick_scope", "redirect",
        "response_mutations", "retry_buffer_limit", "retry_policy", "rewrite",
        "terminates_connect", "timeout", "times", "upgrades", "virtual_host",
    )  # fmt: skip

    virtual_host: VirtualHost
    choose: Callable[[HeaderMap, int], ClusterEntry | None]
    redirect: Callable[[HeaderMap], LocalReply]
    direct_response: LocalReply
    cluster_not_found: LocalReply
    timeout: float
    idle_timeout: float | None
    times: RequestTimes | None
    retry_policy: RetryPolicy | None
    count_attempts_in_request: bool
    count_attempts_in_response: bool
    rewrite: Callable[[HeaderMap], None] | None
    auto_host_rewrite: bool
    response_mutations: HeaderMutations | None
    filter_scope: FilterScope | None
    pick_scope: PickScope | None
    upgrades: Mapping[bytes, bool]
    terminates_connect: bool

    def __init__(
        self,
        match: RouteMatch,
        action: Action,
        *,
        name: str = "",
        headers: HeaderLevel = NO_HEADERS,
        metadata: dict[str, Any] | None = None,
        per_filter_config: PerFilterConfig = NO_OVERRIDES,
        retry_buffer_limit: int | None = None,
    ) -> None:
        """`metadata` is `filter_metadata` as plain data; `headers` is the route's own level."""
        self.retry_buffer_limit = retry_buffer_limit
        self.match = match
        self.action = action
        self.name = name
        self.headers = headers
        self.metadata = metadata
        self.per_filter_config = per_filter_config
        self.upgrades = action.upgrades if isinstance(action, ForwardAction) else {}
        self.terminates_connect = isinstance(action, ForwardAction) and action.terminates_connect
        self.kind = (
            FORWARD
            if isinstance(action, ForwardAction)
            else REDIRECT
            if isinstance(action, RedirectAction)
            else DIRECT_RESPONSE
        )

    def deciding_headers(self) -> set[bytes]:
        """The headers that it is matched and its cluster chosen by, beside the pseudo headers."""
        names, action = self.match.deciding_headers(), self.action
        return names | action.deciding_headers() if isinstance(action, ForwardAction) else names


class VirtualHost:
    """Some domains and their routes, tried in order."""

    __slots__ = (
        "domains", "headers", "metadata", "name", "per_filter_config", "require_tls", "routes",
        "tries",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        domains: Sequence[str],
        routes: Sequence[Route],
        *,
        headers: HeaderLevel = NO_HEADERS,
        require_tls: int = 0,
        metadata: dict[str, Any] | None = None,
        per_filter_config: PerFilterConfig = NO_OVERRIDES,
        tries: HostTries = HOST_TRIES,
    ) -> None:
        self.name = name
        self.tries = tries
        self.per_filter_config = per_filter_config
        self.domains = tuple(domains)
        self.routes = tuple(routes)
        self.headers = headers
        self.require_tls = require_tls
        self.metadata = metadata


_ALWAYS_DECIDING: Final = frozenset(
    (b":authority", b":method", b":path", b":protocol", b":scheme", b"x-forwarded-proto")
)


class RouteConfiguration:
    """All virtual hosts of one connection manager. ValueError for domains that collide.

    `deciding_headers` are those that a route is matched and its cluster chosen by: a change of any
    other changes neither.
    """

    __slots__ = (
        "_domains",
        "_specific_wins",
        "_tables",
        "deciding_headers",
        "filter_scopes",
        "headers",
        "internal_only_headers",
        "name",
        "per_filter_config",
        "virtual_hosts",
    )

    def __init__(
        self,
        name: str,
        virtual_hosts: Sequence[VirtualHost],
        *,
        headers: HeaderLevel = NO_HEADERS,
        internal_only_headers: Sequence[str] = (),
        most_specific_header_mutations_wins: bool = False,
        ignore_port_in_host_matching: bool = False,
        per_filter_config: PerFilterConfig = NO_OVERRIDES,
    ) -> None:
        self.per_filter_config = per_filter_config
        # Every place that says something about HTTP filters and that a request can come to.
        self.filter_scopes: list[FilterScope] = []
        self.name = name
        self.virtual_hosts = tuple(virtual_hosts)
        self.headers = headers
        self.internal_only_headers = tuple(x.lower().encode() for x in internal_only_headers)
        self._specific_wins = most_specific_header_mutations_wins
        self._domains = DomainTable(self.virtual_hosts, ignore_port=ignore_port_in_host_matching)
        self._tables: dict[VirtualHost, tuple[tuple[Matches, Route], ...]] = {
            host: tuple((route.match.compile(), route) for route in host.routes)
            for host in self.virtual_hosts
        }
        routes = [route for host in self.virtual_hosts for route in host.routes]
        self.deciding_headers = _ALWAYS_DECIDING.union(*map(Route.deciding_headers, routes))

    def bind(self, clusters: Clusters) -> None:
        """Look up every cluster by name, once; an unknown one stays None in its ClusterEntry."""
        scopes: dict[FilterScope, None] = {}
        outermost = inside(self.per_filter_config, None)
        for host in self.virtual_hosts:
            around = inside(host.per_filter_config, outermost)
            for route in host.routes:
                scopes.update(dict.fromkeys(bind_filter_scope(route, around)))
                route.virtual_host = host
                levels = [route.headers, host.headers, self.headers]
                bind_route(route, levels, clusters, specific_wins=self._specific_wins)
        self.filter_scopes = list(scopes)

    def route(self, headers: HeaderMap, random_value: int) -> Route | None:
        """The route of a request, None where no virtual host or no route matches."""
        path = authority = b""
        for name, value in headers.pairs:
            if name == b":path":
                path = value
            elif name == b":authority":
                authority = value
            elif name[:1] != b":":
                break
        host = self._domains.find(authority)
        if not path:
            return self._connect_route(host, headers, random_value)
        if host is not None:
            for matches, route in self._tables[host]:
                if matches(path, headers, random_value):
                    return route
        return None

    def _connect_route(
        self, host: VirtualHost | None, headers: HeaderMap, random_value: int
    ) -> Route | None:
        """The route of a CONNECT request, which has no path: only `connect_matcher` takes it."""
        for matches, route in self._tables[host] if host is not None else ():
            if route.match.connect and matches(b"", headers, random_value):
                return route
        return None
