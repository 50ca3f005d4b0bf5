"""The log of health check events: `data.core.v3.HealthCheckEvent` as lines of JSON.

Owns the line. Refuses to know when one is due (`host_health.py`) and where it goes.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from meshproxy.upstream.health_check.host_health import Event, Failure

if TYPE_CHECKING:
    from meshproxy.upstream.cluster import Cluster
    from meshproxy.upstream.host import Host


def event_line(cluster: Cluster, host: Host, unix_time: float, event: dict[str, Any]) -> bytes:
    """One line. `event` is what `event_fields` makes."""
    locality = host.locality
    tree = {
        **_checker_type(cluster),
        "host": _address(host),
        "cluster_name": cluster.name,
        **event,
        "timestamp": _timestamp(unix_time),
        "locality": {
            "region": locality.region,
            "zone": locality.zone,
            "sub_zone": locality.sub_zone,
        },
    }
    return json.dumps(tree, separators=(",", ":")).encode() + b"\n"


def event_fields(event: Event, failure: Failure | None, first: bool, status: int) -> dict[str, Any]:
    """The event's own field. `first`: of a host's first check; `status`: what HTTP said, or 0."""
    inside: dict[str, Any] = {}
    if failure is not None:
        inside["failure_type"] = failure.value
        inside["http_status_code"] = status
    if event in (Event.ADD, Event.FAILURE):
        inside["first_check"] = first
    return {event.value: inside}


def _checker_type(cluster: Cluster) -> dict[str, str]:
    config = cluster.config.health_check
    assert config is not None
    return {"health_checker_type": config.check.name}


def _address(host: Host) -> dict[str, Any]:
    address = host.address
    if not address.ip:
        return {"pipe": {"path": address.text, "mode": 0}}
    return {
        "socket_address": {
            "protocol": "TCP",
            "address": address.ip,
            "port_value": address.port,
            "resolver_name": "",
            "ipv4_compat": False,
            "network_namespace_filepath": "",
        }
    }


def _timestamp(unix_time: float) -> str:
    moment = datetime.fromtimestamp(unix_time, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
