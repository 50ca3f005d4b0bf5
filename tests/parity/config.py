"""Builds the bootstrap that both proxies get; knows Envoy's YAML and nothing of processes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

# One line per request, every field that must be the same on both sides.
LOG_FORMAT: Final = (
    "AL|%REQ(:METHOD)%|%REQ(:AUTHORITY)%|%REQ(:PATH)%|%PROTOCOL%|%RESPONSE_CODE%"
    "|flags=%RESPONSE_FLAGS%|details=%RESPONSE_CODE_DETAILS%|rx=%BYTES_RECEIVED%|tx=%BYTES_SENT%"
    "|cluster=%UPSTREAM_CLUSTER%|host=%UPSTREAM_HOST%|route=%ROUTE_NAME%"
    "|failure=%UPSTREAM_TRANSPORT_FAILURE_REASON%|attempts=%UPSTREAM_REQUEST_ATTEMPT_COUNT%"
    "|remote=%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"
    "|direct=%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"
    "|upstream_protocol=%UPSTREAM_PROTOCOL%\n"
)
_HCM: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_LOOPBACK_ANY_PORT: Final = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
# Cluster options: answers may have trailers.
UPSTREAM_TRAILERS: Final = json.dumps(
    {
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3"
                ".HttpProtocolOptions",
                "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}},
            }
        }
    }
)
_PROBE: Final = {
    "match": {"path": "/probe"},
    "direct_response": {"status": 200, "body": {"inline_string": "probe"}},
}


def extension(name: str, message: str, **fields: Any) -> dict[str, Any]:
    """A `name` + `typed_config` pair."""
    return {
        "name": name,
        "typed_config": {"@type": f"type.googleapis.com/{message}", **fields},
    }


ROUTER: Final = extension(
    "envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router"
)


def virtual_host(routes: str) -> str:
    """A virtual host for every domain with these routes (a YAML list)."""
    indented = "\n".join(f"  {line}" for line in routes.strip("\n").splitlines())
    return f"- name: all\n  domains: ['*']\n  routes:\n{indented}\n"


def listener(
    name: str,
    virtual_hosts: str,
    *,
    options: str = "",
    route_options: str = "",
    http_filters: Sequence[Mapping[str, Any]] = (),
    log_format: Mapping[str, Any] | None = None,
    router: Mapping[str, Any] = ROUTER,
) -> dict[str, Any]:
    """One listener with one HttpConnectionManager.

    `virtual_hosts` is a YAML list; `options` and `route_options` are YAML mappings that are merged
    into the manager and its route configuration. Every virtual host gets the route `/probe`, by
    which a test sees that a connection is still usable.
    """
    hosts: list[dict[str, Any]] = yaml.safe_load(virtual_hosts)
    for host in hosts:
        host["routes"] = [_PROBE, *host["routes"]]
    text = log_format or {"text_format_source": {"inline_string": LOG_FORMAT}}
    manager = {
        "stat_prefix": name,
        "delayed_close_timeout": "0.1s",
        "access_log": [
            extension(
                "envoy.access_loggers.file",
                "envoy.extensions.access_loggers.file.v3.FileAccessLog",
                path="/dev/stdout",
                log_format=text,
            )
        ],
        "route_config": {
            "name": f"{name}_routes",
            "virtual_hosts": hosts,
            **(yaml.safe_load(route_options) or {}),
        },
        "http_filters": [*http_filters, router],
        **(yaml.safe_load(options) or {}),
    }
    return {
        "name": name,
        "stat_prefix": name,
        "address": _LOOPBACK_ANY_PORT,
        "filter_chains": [
            {
                "filters": [
                    extension("envoy.filters.network.http_connection_manager", _HCM, **manager)
                ]
            }
        ],
    }


def cluster(name: str, ports: Sequence[int], *, options: str = "") -> dict[str, Any]:
    """A STATIC cluster with one endpoint for each port of 127.0.0.1."""
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
        for port in ports
    ]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        **(yaml.safe_load(options) or {}),
    }


def bootstrap(listeners: Sequence[Mapping[str, Any]], clusters: Sequence[Mapping[str, Any]]) -> str:
    """The complete configuration as text (JSON, which is YAML)."""
    return json.dumps(
        {
            "node": {"id": "parity", "cluster": "tests"},
            "admin": {"address": _LOOPBACK_ANY_PORT},
            "static_resources": {"listeners": list(listeners), "clusters": list(clusters)},
        },
        indent=1,
    )
