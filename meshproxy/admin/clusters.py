"""`/clusters` and `/listeners`: upstream hosts and where the server listens.

Owns the text and the JSON of both. Refuses to know how a host is chosen or watched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from meshproxy.admin.endpoint import JSON, Answer, BadRequest, Query
from meshproxy.router.regex import Regex, RegexError

if TYPE_CHECKING:
    from meshproxy.admin.view import ServerView
    from meshproxy.network.address import Address
    from meshproxy.upstream.cluster import CircuitBreakers, Cluster
    from meshproxy.upstream.host import Host

_LIMITS: Final = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
# Health flag, field of `HostHealthStatus`.
_HEALTH_FIELDS: Final = {
    "failed_active_hc": "failed_active_health_check",
    "failed_outlier_check": "failed_outlier_check",
}
_LATER_HEALTH_FIELDS: Final = {
    "degraded_active_hc": "failed_active_degraded_check",
    "pending_dynamic_removal": "pending_dynamic_removal",
    "pending_active_hc": "pending_active_hc",
    "excluded_via_immediate_hc_fail": "excluded_via_immediate_hc_fail",
    "active_hc_timeout": "active_hc_timeout",
}


def clusters(view: ServerView, query: Query) -> Answer:
    """Every cluster with its limits and hosts; `filter` by name, `format=json`."""
    chosen = _chosen(view.clusters, query.get("filter"))
    if query.get("format") == "json":
        tree = {"cluster_statuses": [_cluster_json(cluster) for cluster in chosen]}
        return Answer(json.dumps(tree if chosen else {}, indent=1) + "\n", content_type=JSON)
    return Answer(line for cluster in chosen for line in _cluster_text(cluster))


def listeners(view: ServerView, query: Query) -> Answer:
    """Every listener with the address it is bound to; `format=json`."""
    if query.get("format") == "json":
        statuses = [
            {"name": listener.name, "local_address": address_json(listener.local_address)}
            for listener in view.listeners
        ]
        tree = {"listener_statuses": statuses} if statuses else {}
        return Answer(json.dumps(tree, indent=1) + "\n", content_type=JSON)
    return Answer("".join(f"{one.name}::{one.local_address.text}\n" for one in view.listeners))


def address_json(address: Address) -> dict[str, Any]:
    """An address as `envoy.config.core.v3.Address`."""
    if address.ip:
        return {"socket_address": {"address": address.ip, "port_value": address.port}}
    return {"pipe": {"path": address.text}}


def host_stats(host: Host) -> dict[str, tuple[str, int]]:
    """(kind, value) of what is counted per host, counters first as in Envoy's JSON."""
    stats = host.stats
    pending = len(host.pool.pending) if host.pool is not None else 0
    return {
        "cx_connect_fail": ("COUNTER", stats.cx_connect_fail),
        "cx_total": ("COUNTER", stats.cx_total),
        "rq_error": ("COUNTER", stats.rq_error),
        "rq_success": ("COUNTER", stats.rq_success),
        "rq_timeout": ("COUNTER", stats.rq_timeout),
        "rq_total": ("COUNTER", stats.rq_total),
        "cx_active": ("GAUGE", stats.cx_active),
        "rq_active": ("GAUGE", host.active_requests),
        "rq_pending_active": ("GAUGE", pending),
    }


def _chosen(known: Mapping[str, Cluster], pattern: str) -> list[Cluster]:
    try:
        regex = Regex(pattern)
    except RegexError as error:
        raise BadRequest("Invalid re2 regex") from error
    return [cluster for name, cluster in known.items() if regex.search(name.encode())]


def _cluster_text(cluster: Cluster) -> Iterator[str]:
    name, config = cluster.name, cluster.config
    yield f"{name}::observability_name::{config.observability_name}\n"
    for priority, breakers in (
        ("default", config.circuit_breakers),
        ("high", config.high_circuit_breakers),
    ):
        for limit in _LIMITS:
            yield f"{name}::{priority}_priority::{limit}::{getattr(breakers, limit)}\n"
    yield f"{name}::added_via_api::false\n"
    for host in cluster.hosts:
        prefix = f"{name}::{host.address.text}::"
        yield "".join(f"{prefix}{key}::{value}\n" for key, value in _host_facts(host))


def _host_facts(host: Host) -> Iterator[tuple[str, object]]:
    """The lines of one host in Envoy's order: its statistics by name, then what it is."""
    yield from sorted((name, value) for name, (_, value) in host_stats(host).items())
    yield "hostname", host.hostname
    yield "health_flags", host.health_flags_text()
    yield "weight", host.weight
    yield "region", host.locality.region
    yield "zone", host.locality.zone
    yield "sub_zone", host.locality.sub_zone
    yield "canary", str(host.canary).lower()
    yield "priority", host.priority
    # There is no outlier detection yet; -1 says that no rate is known.
    yield "success_rate", -1
    yield "local_origin_success_rate", -1


def _cluster_json(cluster: Cluster) -> dict[str, Any]:
    config = cluster.config
    high = {"priority": "HIGH", **_limits(config.high_circuit_breakers)}
    tree: dict[str, Any] = {"name": cluster.name}
    if cluster.hosts:
        tree["host_statuses"] = [_host_json(host) for host in cluster.hosts]
    tree["circuit_breakers"] = {"thresholds": [_limits(config.circuit_breakers), high]}
    tree["observability_name"] = config.observability_name
    return tree


def _limits(breakers: CircuitBreakers) -> dict[str, int]:
    return {limit: getattr(breakers, limit) for limit in _LIMITS}


def _host_json(host: Host) -> dict[str, Any]:
    """`envoy.admin.v3.HostStatus`: what is 0 or empty is left out, as in all proto JSON."""
    stats = []
    for name, (kind, value) in host_stats(host).items():
        entry = {"type": kind} if kind == "GAUGE" else {}
        if value:
            entry["value"] = str(value)
        stats.append({**entry, "name": name})
    tree: dict[str, Any] = {
        "address": address_json(host.address),
        "stats": stats,
        "health_status": _health_json(host),
        "weight": host.weight,
    }
    if host.hostname:
        tree["hostname"] = host.hostname
    if host.priority:
        tree["priority"] = host.priority
    locality = {part: getattr(host.locality, part) for part in ("region", "zone", "sub_zone")}
    tree["locality"] = {part: text for part, text in locality.items() if text}
    return tree


def _health_json(host: Host) -> dict[str, Any]:
    flags = host.health_flags_text().split("/")
    tree: dict[str, Any] = {field: True for flag, field in _HEALTH_FIELDS.items() if flag in flags}
    eds = "HEALTHY"
    if "failed_eds_health" in flags:
        eds = "UNHEALTHY"
    elif "degraded_eds_health" in flags:
        eds = "DEGRADED"
    elif "eds_status_draining" in flags:
        eds = "DRAINING"
    tree["eds_health_status"] = eds
    # Envoy's JSON is in the order of the proto.
    tree |= {field: True for flag, field in _LATER_HEALTH_FIELDS.items() if flag in flags}
    return tree
