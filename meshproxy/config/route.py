"""`RouteConfiguration` messages to the compiled route table.

Owns what Envoy checks of routes beyond the rules of its protos. Refuses to know what the table does
with them, and listeners.
"""

from __future__ import annotations

from typing import Final

from meshproxy.config.context import BuildContext
from meshproxy.config.document import At
from meshproxy.config.header_mutation import build_headers
from meshproxy.config.http_filter import build_per_filter_config
from meshproxy.config.matching import (
    build_headers as build_header_matchers,
)
from meshproxy.config.matching import (
    build_query_parameters,
    build_regex,
    build_regex_rewrite,
)
from meshproxy.config.reading import data_source, metadata, seconds, wrapped
from meshproxy.config.retry import build_host_tries, build_retry_policy
from meshproxy.config.upgrade import build_upgrades
from meshproxy.errors import Code
from meshproxy.router.action import (
    ClusterWeight,
    DirectResponseAction,
    ForwardAction,
    RedirectAction,
    WeightedClusters,
)
from meshproxy.router.grpc_timeouts import RequestTimes, StreamDuration
from meshproxy.router.rewrite import HostRewrite
from meshproxy.router.route import Action, Route, RouteConfiguration, VirtualHost
from meshproxy.router.route_match import RouteMatch

MAX_DIRECT_RESPONSE_BODY: Final = 4096
_ROUTE_TIMEOUT: Final = 15.0
_MAX_WEIGHT: Final = 2**32 - 1
_NOT_FOUND_CODES: Final = (503, 404, 500)  # RouteAction.ClusterNotFoundResponseCode
_REDIRECT_CODES: Final = (301, 302, 303, 307, 308)  # RedirectAction.RedirectResponseCode


def build_route_configuration(at: At, context: BuildContext) -> RouteConfiguration | None:
    """The route table; None with the reasons noted where none can be made."""
    message = at.message
    builder = RouteBuilder(
        context,
        max_body=wrapped(at, "max_direct_response_body_size_bytes", MAX_DIRECT_RESPONSE_BODY),
        check_clusters=wrapped(at, "validate_clusters", True),
    )
    domains: dict[str, int] = {}
    hosts = [builder.virtual_host(host, domains) for host in at.many("virtual_hosts")]
    try:
        return RouteConfiguration(
            message.name,
            hosts,
            headers=build_headers(at, context.problems),
            most_specific_header_mutations_wins=message.most_specific_header_mutations_wins,
            ignore_port_in_host_matching=message.ignore_port_in_host_matching,
            per_filter_config=build_per_filter_config(at, context),
        )
    except ValueError as error:
        if not context.problems.found:
            at.error(context.problems, Code.INVALID, str(error))
        return None


class RouteBuilder:
    """Builds the parts of one route configuration, with the limits that it sets."""

    def __init__(self, context: BuildContext, *, max_body: int, check_clusters: bool) -> None:
        self._context = context
        self._problems = context.problems
        self._max_body = max_body
        self._check_clusters = check_clusters

    def virtual_host(self, at: At, domains: dict[str, int]) -> VirtualHost:
        """A virtual host; `domains` holds the lines of the domains seen so far."""
        message = at.message
        for index, domain in enumerate(message.domains):
            key = domain.lower()
            if key in domains:
                text = f"duplicate domain '{domain}', first given in line {domains[key]}"
                at.error(self._problems, Code.DUPLICATE_NAME, text, "domains", index)
            domains.setdefault(key, at.mark("domains", index).line)
        routes = [self.route(route) for route in at.many("routes")]
        return VirtualHost(
            message.name,
            tuple(message.domains),
            [route for route in routes if route is not None],
            headers=build_headers(at, self._problems),
            metadata=dict(metadata(at)) or None,
            per_filter_config=build_per_filter_config(at, self._context),
            tries=build_host_tries(at, self._problems),
        )

    def route(self, at: At) -> Route | None:
        """A route, None where it has no match or no action that can be built."""
        match = at.one("match")
        action = self._action(at)
        headers = build_headers(at, self._problems)
        per_filter_config = build_per_filter_config(at, self._context)
        matched = self._match(match) if match is not None else None
        if action is None or matched is None:
            return None
        return Route(
            matched,
            action,
            name=at.message.name,
            headers=headers,
            metadata=dict(metadata(at)) or None,
            per_filter_config=per_filter_config,
            retry_buffer_limit=wrapped(at, "per_request_buffer_limit_bytes", None),
        )

    def _match(self, at: At) -> RouteMatch | None:
        message = at.message
        kind = message.WhichOneof("path_specifier")
        regex = build_regex(at.one("safe_regex"), self._problems)
        headers = build_header_matchers(at.many("headers"), self._problems)
        query = build_query_parameters(at.many("query_parameters"), self._problems)
        if kind not in {"prefix", "path", "path_separated_prefix", "safe_regex", "connect_matcher"}:
            return None
        if kind == "safe_regex" and regex is None:
            return None
        return RouteMatch(
            prefix=message.prefix if kind == "prefix" else None,
            path=message.path if kind == "path" else None,
            path_separated_prefix=(
                message.path_separated_prefix if kind == "path_separated_prefix" else None
            ),
            safe_regex=regex,
            case_sensitive=wrapped(at, "case_sensitive", True),
            runtime_fraction=self._context.runtime.fraction(at.one("runtime_fraction")),
            headers=headers,
            query_parameters=query,
            grpc=at.has("grpc"),
            connect=kind == "connect_matcher",
        )

    def _action(self, at: At) -> Action | None:
        kind = at.message.WhichOneof("action")
        inside = at.one(kind) if kind else None
        if inside is None:
            return None
        if kind == "route":
            return self._forward(inside)
        if kind == "redirect":
            return self._redirect(inside)
        return self._direct_response(inside) if kind == "direct_response" else None

    def _forward(self, at: At) -> ForwardAction | None:
        message = at.message
        kind = message.WhichOneof("cluster_specifier")
        weighted = at.one("weighted_clusters")
        if kind == "cluster" and self._check_clusters:
            self._context.check_cluster(at, message.cluster, "cluster")
        if message.prefix_rewrite and at.has("regex_rewrite"):
            text = "'prefix_rewrite' and 'regex_rewrite' cannot both be set"
            at.error(self._problems, Code.INVALID, text, "regex_rewrite")
        clusters = self._weighted(weighted) if weighted is not None else None
        regex_rewrite = build_regex_rewrite(at.one("regex_rewrite"), self._problems)
        host_rewrite = self._host_rewrite(at)
        if kind not in {"cluster", "cluster_header", "weighted_clusters"}:
            return None
        if kind == "weighted_clusters" and clusters is None:
            return None
        return ForwardAction(
            cluster=message.cluster,
            cluster_header=message.cluster_header,
            weighted_clusters=clusters,
            cluster_not_found_response_code=_code(
                _NOT_FOUND_CODES, message.cluster_not_found_response_code
            ),
            prefix_rewrite=message.prefix_rewrite,
            regex_rewrite=regex_rewrite,
            host_rewrite=host_rewrite,
            auto_host_rewrite=at.has("auto_host_rewrite") and message.auto_host_rewrite.value,
            timeout=seconds(at, "timeout", _ROUTE_TIMEOUT),
            idle_timeout=seconds(at, "idle_timeout", 0.0) if at.has("idle_timeout") else None,
            times=_request_times(at),
            retry_policy=build_retry_policy(at.one("retry_policy"), self._problems),
            upgrades=build_upgrades(at, self._problems),
            terminates_connect=any(
                each.has("connect_config") for each in at.many("upgrade_configs")
            ),
        )

    def _weighted(self, at: At) -> WeightedClusters | None:
        weights = [self._weight(each) for each in at.many("clusters")]
        total = sum(each.weight for each in weights)
        if any(not each.has("weight") for each in at.many("clusters")):
            return None
        if not 0 < total <= _MAX_WEIGHT:
            text = f"the weights add up to {total}"
            expected = f"a sum from 1 to {_MAX_WEIGHT}"
            at.error(self._problems, Code.INVALID, text, "clusters", expected=expected)
            return None
        kind = at.message.WhichOneof("random_value_specifier")
        name = at.message.header_name if kind == "header_name" else ""
        return WeightedClusters(clusters=weights, header_name=name)

    def _weight(self, at: At) -> ClusterWeight:
        message = at.message
        if bool(message.name) == bool(message.cluster_header):
            text = "exactly one of 'name' and 'cluster_header' must be set"
            at.error(self._problems, Code.INVALID, text)
        elif self._check_clusters:
            self._context.check_cluster(at, message.name, "name")
        if not at.has("weight") and "weight" not in at.spot.children:
            at.error(self._problems, Code.REQUIRED, "the field 'weight' is required", "weight")
        return ClusterWeight(
            name=message.name,
            cluster_header=message.cluster_header,
            weight=wrapped(at, "weight", 0),
            headers=build_headers(at, self._problems),
            host_rewrite_literal=message.host_rewrite_literal,
            per_filter_config=build_per_filter_config(at, self._context),
        )

    def _host_rewrite(self, at: At) -> HostRewrite | None:
        message = at.message
        kind = message.WhichOneof("host_rewrite_specifier")
        path_regex = build_regex_rewrite(at.one("host_rewrite_path_regex"), self._problems)
        rewrite = HostRewrite(
            host_rewrite_literal=message.host_rewrite_literal,
            host_rewrite_header=message.host_rewrite_header,
            host_rewrite_path_regex=path_regex,
            append_x_forwarded_host=message.append_x_forwarded_host,
        )
        return rewrite if kind or message.append_x_forwarded_host else None

    def _redirect(self, at: At) -> RedirectAction:
        message = at.message
        return RedirectAction(
            https_redirect=message.https_redirect,
            scheme_redirect=message.scheme_redirect,
            host_redirect=message.host_redirect,
            port_redirect=message.port_redirect,
            path_redirect=message.path_redirect,
            prefix_rewrite=message.prefix_rewrite,
            regex_rewrite=build_regex_rewrite(at.one("regex_rewrite"), self._problems),
            response_code=_code(_REDIRECT_CODES, message.response_code),
            strip_query=message.strip_query,
        )

    def _direct_response(self, at: At) -> DirectResponseAction:
        source = at.one("body")
        body = data_source(source, self._problems) if source is not None else b""
        if body is not None and len(body) > self._max_body:
            text = f"the body has {len(body)} bytes"
            expected = (
                f"at most {self._max_body}, the max_direct_response_body_size_bytes of the routes"
            )
            at.error(self._problems, Code.INVALID, text, "body", expected=expected)
        return DirectResponseAction(status=at.message.status, body=body or b"")


def _code(codes: tuple[int, ...], number: int) -> int:
    return codes[number] if 0 <= number < len(codes) else codes[0]


def _request_times(at: At) -> RequestTimes | None:
    """`max_grpc_timeout` and `max_stream_duration`; None where a route has neither."""
    stream = at.one("max_stream_duration")
    if stream is None and not at.has("max_grpc_timeout"):
        return None
    return RequestTimes(
        max_grpc_timeout=_optional_seconds(at, "max_grpc_timeout"),
        grpc_timeout_offset=seconds(at, "grpc_timeout_offset", 0.0),
        stream=None
        if stream is None
        else StreamDuration(
            duration=_optional_seconds(stream, "max_stream_duration"),
            grpc_header_max=_optional_seconds(stream, "grpc_timeout_header_max"),
            grpc_header_offset=seconds(stream, "grpc_timeout_header_offset", 0.0),
        ),
    )


def _optional_seconds(at: At, field: str) -> float | None:
    return seconds(at, field, 0.0) if at.has(field) else None
