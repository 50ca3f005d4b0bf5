"""The route table: from a request's headers to the route that it takes.

Owns domains, the order of routes, and what a route knows. Refuses to know protos and streams; every
class here is built once by `config/route.py` from plain values and never changed by a request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from meshproxy.router.action import DirectResponseAction, ForwardAction, RedirectAction
from meshproxy.router.header_mutation import NO_HEADERS, HeaderLevel, HeaderMutations

if TYPE_CHECKING:
    from meshproxy.http.header_map import HeaderMap
    from meshproxy.http.local_reply import LocalReply
    from meshproxy.router.action import ClusterEntry, Clusters
    from meshproxy.router.route_match import RouteMatch

FORWARD: Final = 0
REDIRECT: Final = 1
DIRECT_RESPONSE: Final = 2

Action = ForwardAction | RedirectAction | DirectResponseAction


class Route:
    """One route. Which attributes mean something depends on `kind`; all are always there.

    Every kind: `name virtual_host metadata per_filter_config`. FORWARD: `choose timeout
    idle_timeout cluster_not_found rewrite auto_host_rewrite`. REDIRECT: `redirect`.
    DIRECT_RESPONSE: `direct_response`. The last two: `response_mutations`; those of a forward
    route are at its `ClusterEntry`.
    """

    __slots__ = (
        "action", "auto_host_rewrite", "choose", "cluster_not_found", "direct_response", "headers",
        "idle_timeout", "kind", "match", "metadata", "name", "per_filter_config", "redirect",
        "response_mutations", "rewrite", "timeout", "virtual_host",
    )  # fmt: skip

    virtual_host: VirtualHost
    choose: Callable[[HeaderMap, int], ClusterEntry | None]
    redirect: Callable[[HeaderMap], LocalReply]
    direct_response: LocalReply
    cluster_not_found: LocalReply
    timeout: float
    idle_timeout: float | None
    rewrite: Callable[[HeaderMap], None] | None
    auto_host_rewrite: bool
    response_mutations: HeaderMutations | None

    def __init__(
        self,
        match: RouteMatch,
        action: Action,
        *,
        name: str = "",
        headers: HeaderLevel = NO_HEADERS,
        metadata: dict[str, Any] | None = None,
        per_filter_config: dict[str, object] | None = None,
    ) -> None:
        """`metadata` is `filter_metadata` as plain data; `headers` is the route's own level."""
        self.match = match
        self.action = action
        self.name = name
        self.headers = headers
        self.metadata = metadata
        self.per_filter_config = per_filter_config or {}


class VirtualHost:
    """Some domains and their routes, tried in order."""

    __slots__ = ("domains", "headers", "metadata", "name", "require_tls", "routes")

    def __init__(
        self,
        name: str,
        domains: Sequence[str],
        routes: Sequence[Route],
        *,
        headers: HeaderLevel = NO_HEADERS,
        require_tls: int = 0,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.domains = tuple(domains)
        self.routes = tuple(routes)
        self.headers = headers
        self.require_tls = require_tls
        self.metadata = metadata


class RouteConfiguration:
    """All virtual hosts of one connection manager. ValueError for domains that collide."""

    __slots__ = ("headers", "internal_only_headers", "name", "virtual_hosts")

    def __init__(
        self,
        name: str,
        virtual_hosts: Sequence[VirtualHost],
        *,
        headers: HeaderLevel = NO_HEADERS,
        internal_only_headers: Sequence[str] = (),
        most_specific_header_mutations_wins: bool = False,
        ignore_port_in_host_matching: bool = False,
    ) -> None:
        self.name = name
        self.virtual_hosts = tuple(virtual_hosts)
        self.headers = headers
        self.internal_only_headers = tuple(x.lower().encode() for x in internal_only_headers)

    def bind(self, clusters: Clusters) -> None:
        """Look up every cluster by name, once; an unknown one stays None in its ClusterEntry."""
        raise NotImplementedError

    def route(self, headers: HeaderMap, random_value: int) -> Route | None:
        """The route of a request, None where no virtual host or no route matches."""
        raise NotImplementedError
