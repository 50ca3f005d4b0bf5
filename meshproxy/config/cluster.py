"""`Cluster` messages to `ClusterConfig`.

Owns what Envoy checks of a cluster beyond the rules of its protos. Refuses to know routes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from meshproxy.config.context import BuildContext
from meshproxy.config.document import At
from meshproxy.config.health_check import build_endpoint_check, build_health_check
from meshproxy.config.http2 import build_http2
from meshproxy.config.http_filter import build_upstream_filters
from meshproxy.config.problems import Problems
from meshproxy.config.reading import enum_name, metadata, plain, seconds, seconds_or_never, wrapped
from meshproxy.config.runtime import Runtime
from meshproxy.config.tls import build_upstream_tls
from meshproxy.errors import Code
from meshproxy.network.tls.config import UpstreamTlsConfig
from meshproxy.upstream.cluster import (
    CircuitBreakers,
    ClusterConfig,
    DiscoveryType,
    DnsConfig,
    DnsLookupFamily,
    UpstreamProtocol,
)
from meshproxy.upstream.host import EndpointConfig, Locality, LocalityConfig
from meshproxy.upstream.load_balancer import LbPolicy, LeastRequestConfig
from meshproxy.upstream.transport_sockets import TransportSocketMatch

HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_DEFAULT, _HIGH = 0, 1  # core.RoutingPriority


def build_clusters(clusters: Sequence[At], context: BuildContext) -> tuple[ClusterConfig, ...]:
    """The clusters in the order of the document; a name that comes twice is noted."""
    problems = context.problems
    lines: dict[str, int] = {}
    built: list[ClusterConfig] = []
    for at in clusters:
        name = at.message.name
        if name in lines:
            text = f"duplicate cluster '{name}', first given in line {lines[name]}"
            at.error(problems, Code.DUPLICATE_NAME, text, "name")
        lines.setdefault(name, at.mark("name").line)
        built.append(_cluster(at, context))
    return tuple(built)


def _cluster(at: At, context: BuildContext) -> ClusterConfig:
    message, problems = at.message, context.problems
    # What is not supported is noted elsewhere; if that is allowed, the cluster has no hosts.
    type_name = enum_name(at, "type")
    is_supported = not at.has("cluster_type") and type_name in DiscoveryType.__members__
    kind = DiscoveryType(type_name) if is_supported else DiscoveryType.STATIC
    assignment = at.one("load_assignment") if is_supported else None
    endpoints = _localities(assignment, kind, problems) if assignment is not None else ()
    if kind is DiscoveryType.LOGICAL_DNS:
        _check_single_host(at, assignment, problems)
    common = at.one("common_lb_config")
    panic = common.one("healthy_panic_threshold") if common is not None else None
    zone_aware = common.one("zone_aware_lb_config") if common is not None else None
    policy = assignment.one("policy") if assignment is not None else None
    thresholds = at.one("circuit_breakers")
    extension = _http_options(at, problems)
    options = (extension or at).one("common_http_protocol_options")
    protocol, http1, http2 = _protocol(at, extension, problems)
    tls_options = (extension or at).one("upstream_http_protocol_options")
    buffer_limit = wrapped(at, "per_connection_buffer_limit_bytes", 1024 * 1024)
    max_headers_kb = wrapped(options, "max_response_headers_kb", 60) if options else 60
    max_headers_count = wrapped(options, "max_headers_count", 100) if options else 100
    config = ClusterConfig(
        name=message.name,
        type=kind,
        endpoints=endpoints,
        lb_policy=_lb_policy(at),
        least_request=_least_request(at.one("least_request_lb_config"), context.runtime),
        alt_stat_name=message.alt_stat_name,
        connect_timeout=seconds(at, "connect_timeout", 5.0),
        per_connection_buffer_limit_bytes=buffer_limit,
        circuit_breakers=_breakers(thresholds, _DEFAULT),
        high_circuit_breakers=_breakers(thresholds, _HIGH),
        dns=_dns(at),
        healthy_panic_threshold=panic.message.value if panic is not None else 50.0,
        overprovisioning_factor=(
            wrapped(policy, "overprovisioning_factor", 140) if policy is not None else 140
        ),
        fail_traffic_on_panic=zone_aware is not None and zone_aware.message.fail_traffic_on_panic,
        locality_weighted=common is not None and common.has("locality_weighted_lb_config"),
        idle_timeout=seconds_or_never(options, "idle_timeout", 3600.0) if options else 3600.0,
        max_requests_per_connection=_max_requests(at, options),
        max_response_headers_kb=max_headers_kb,
        enable_trailers=http1 is not None and http1.message.enable_trailers,
        max_response_headers_count=max_headers_count,
        upstream_protocol=protocol,
        http2=replace(
            build_http2(
                http2, problems, max_headers_kb=max_headers_kb, max_headers_count=max_headers_count
            ),
            buffer_limit=buffer_limit,
        ),
        metadata=metadata(at),
        tls=_with_names_checked(build_upstream_tls(at, context), tls_options),
        transport_socket_matches=_matches(at, context, tls_options),
        auto_sni=_auto_sni(tls_options),
        http_filters=build_upstream_filters(extension, context) if extension is not None else (),
    )
    return _checked(config, at, context, http2)


def _checked(
    config: ClusterConfig, at: At, context: BuildContext, http2: At | None
) -> ClusterConfig:
    """The cluster with what it does about the health of its hosts."""
    message = at.message
    speaks_http2 = http2 is not None or config.upstream_protocol is UpstreamProtocol.AUTO
    return replace(
        config,
        health_check=build_health_check(at, context, speaks_http2=speaks_http2),
        warm_hosts=message.common_lb_config.ignore_new_hosts_until_first_hc,
        ignore_health_on_host_removal=message.ignore_health_on_host_removal,
        close_connections_on_host_health_failure=message.close_connections_on_host_health_failure,
        wait_for_warm_on_init=wrapped(at, "wait_for_warm_on_init", True),
    )


def _lb_policy(at: At) -> LbPolicy:
    name = enum_name(at, "lb_policy")
    return LbPolicy(name) if name in LbPolicy.__members__ else LbPolicy.ROUND_ROBIN


def _localities(
    assignment: At, kind: DiscoveryType, problems: Problems
) -> tuple[LocalityConfig, ...]:
    built = []
    for locality in assignment.many("endpoints"):
        message = locality.message
        endpoints = [_endpoint(each, kind, problems) for each in locality.many("lb_endpoints")]
        where = message.locality
        built.append(
            LocalityConfig(
                endpoints=tuple(each for each in endpoints if each is not None),
                locality=Locality(where.region, where.zone, where.sub_zone),
                priority=message.priority,
                weight=wrapped(locality, "load_balancing_weight", None),
            )
        )
    return tuple(built)


def _endpoint(at: At, kind: DiscoveryType, problems: Problems) -> EndpointConfig | None:
    endpoint = at.one("endpoint")
    address = endpoint.one("address") if endpoint is not None else None
    if endpoint is None or address is None:
        if not at.spot.bad:
            at.error(problems, Code.REQUIRED, "the endpoint has no address", "endpoint", "address")
        return None
    host, port, pipe = "", 0, ""
    if address.has("pipe"):
        pipe = address.message.pipe.path
        if kind is not DiscoveryType.STATIC:
            address.error(problems, Code.INVALID, f"a {kind} cluster cannot have pipes", "pipe")
    elif address.has("socket_address"):
        host = address.message.socket_address.address
        port = address.message.socket_address.port_value
        if host and kind is DiscoveryType.STATIC and not _is_ip(host):
            address.error(
                problems,
                Code.INVALID,
                f"'{host}' is not an IP address",
                "socket_address",
                "address",
                expected="an IP address, or a cluster of type STRICT_DNS or LOGICAL_DNS",
            )
    else:
        return None
    return EndpointConfig(
        address=host,
        port=port,
        hostname=endpoint.message.hostname,
        weight=wrapped(at, "load_balancing_weight", 1),
        health_status=_health_status(at),
        metadata=metadata(at),
        pipe=pipe,
        health_check=build_endpoint_check(endpoint.one("health_check_config"), problems),
    )


def _health_status(at: At) -> int:
    return int(at.message.health_status) if enum_name(at, "health_status") else 0


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _check_single_host(at: At, assignment: At | None, problems: Problems) -> None:
    localities = assignment.many("endpoints") if assignment is not None else []
    if len(localities) != 1 or len(localities[0].message.lb_endpoints) != 1:
        text = "a LOGICAL_DNS cluster must have exactly one locality with exactly one endpoint"
        at.error(problems, Code.INVALID, text, "load_assignment", "endpoints")


def _least_request(at: At | None, runtime: Runtime) -> LeastRequestConfig:
    if at is None:
        return LeastRequestConfig()
    bias = 1.0
    if at.has("active_request_bias"):
        configured = at.message.active_request_bias
        bias = runtime.number(configured.runtime_key, configured.default_value)
    return LeastRequestConfig(
        choice_count=max(2, wrapped(at, "choice_count", 2)), active_request_bias=max(0.0, bias)
    )


def _breakers(at: At | None, priority: int) -> CircuitBreakers:
    """The thresholds of a priority; of several the first counts, as in Envoy."""
    for threshold in at.many("thresholds") if at is not None else ():
        if threshold.message.priority == priority:
            return CircuitBreakers(
                max_connections=wrapped(threshold, "max_connections", 1024),
                max_pending_requests=wrapped(threshold, "max_pending_requests", 1024),
                max_requests=wrapped(threshold, "max_requests", 1024),
                max_retries=wrapped(threshold, "max_retries", 3),
                track_remaining=threshold.message.track_remaining,
            )
    return CircuitBreakers()


def _dns(at: At) -> DnsConfig:
    message = at.message
    refresh = seconds(at, "dns_refresh_rate", 5.0)
    failure = at.one("dns_failure_refresh_rate")
    backoff = None
    if failure is not None:
        base = seconds(failure, "base_interval", 0.0)
        backoff = (base, seconds(failure, "max_interval", base * 10))
    return DnsConfig(
        refresh_rate=refresh,
        failure_refresh_rate=backoff,
        jitter=seconds(at, "dns_jitter", 0.0),
        respect_ttl=message.respect_dns_ttl,
        lookup_family=DnsLookupFamily(enum_name(at, "dns_lookup_family", "AUTO")),
    )


def _auto_sni(options: At | None) -> str:
    """The request header whose host TLS asks for, empty for none."""
    if options is None or not (
        options.message.auto_sni or options.message.override_auto_sni_header
    ):
        return ""
    return options.message.override_auto_sni_header.lower() or ":authority"


def _matches(at: At, context: BuildContext, options: At | None) -> tuple[TransportSocketMatch, ...]:
    """`transport_socket_matches`; a name that comes twice is noted."""
    built: dict[str, TransportSocketMatch] = {}
    for each in at.many("transport_socket_matches"):
        name = each.message.name
        if name in built:
            text = f"duplicate transport socket match '{name}'"
            each.error(context.problems, Code.DUPLICATE_NAME, text, "name")
        tls = _with_names_checked(build_upstream_tls(each, context), options)
        built[name] = TransportSocketMatch(name, plain(each.message.match), tls)
    return tuple(built.values())


def _with_names_checked(
    tls: UpstreamTlsConfig | None, options: At | None
) -> UpstreamTlsConfig | None:
    """`auto_san_validation`: the host's certificate is to be for the name that was asked for."""
    if tls is None or options is None or not options.message.auto_san_validation:
        return tls
    return replace(tls, auto_sni_san_validation=True)


def _http_options(at: At, problems: Problems) -> At | None:
    """`HttpProtocolOptions`, which takes the place of the cluster's own, deprecated fields."""
    for name, packed in at.each("typed_extension_protocol_options"):
        options = packed.unpacked()
        if options is None:
            continue
        if name != HTTP_OPTIONS:
            text = f"unknown protocol options '{name}'"
            packed.error(problems, Code.INVALID, text, suggestion=HTTP_OPTIONS)
        elif options.type_name == HTTP_OPTIONS:
            return options
    return None


def _protocol(
    at: At, options: At | None, problems: Problems
) -> tuple[UpstreamProtocol, At | None, At | None]:
    """What the hosts are spoken to in, and the options of HTTP/1 and HTTP/2."""
    if options is None:
        http2 = at.one("http2_protocol_options")
        protocol = UpstreamProtocol.HTTP1 if http2 is None else UpstreamProtocol.HTTP2
        return protocol, at.one("http_protocol_options"), http2
    downstream = options.one("use_downstream_protocol_config")
    auto = options.one("auto_config")
    chosen = downstream or auto or options.one("explicit_http_config")
    if chosen is None:
        return UpstreamProtocol.HTTP1, None, None
    http2 = chosen.one("http2_protocol_options")
    protocol = UpstreamProtocol.HTTP1 if http2 is None else UpstreamProtocol.HTTP2
    if downstream is not None:
        protocol = UpstreamProtocol.DOWNSTREAM
    if auto is not None:
        protocol = UpstreamProtocol.AUTO
        if not at.has("transport_socket"):
            text = "'auto_config' needs a transport socket with ALPN"
            auto.error(problems, Code.INVALID, text, expected="TLS")
    return protocol, chosen.one("http_protocol_options"), http2


def _max_requests(at: At, options: At | None) -> int:
    deprecated: int = wrapped(at, "max_requests_per_connection", 0)
    return wrapped(options, "max_requests_per_connection", deprecated) if options else deprecated
