"""The API's listeners as configuration. Owns what stands in them; knows no socket.

They are ordinary listeners, read from ordinary YAML; only the filter is put in by hand, since it is
built from objects and not from a message.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from meshproxy.config import HttpFilterConfig, ServerConfig, load_config
from meshproxy.dapr.app_settings import AppSettings
from meshproxy.dapr.invoker import CLUSTER_HEADER
from meshproxy.http.filter import FilterFactory
from meshproxy.http_filters.dapr import MADE_TYPE
from meshproxy.network.listener import ListenerConfig

_HEADER: Final = CLUSTER_HEADER.decode()
_MOST_HEADERS_KB: Final = 8192  # Envoy's own limit
_ROUTER: Final = "envoy.extensions.filters.http.router.v3.Router"
_MANAGER: Final = (
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
_PROTOCOL: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TLS: Final = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_TYPE_URL: Final = "type.googleapis.com/"


def api_listener(
    name: str, address: dict[str, Any], max_headers: int, codec: str = "AUTO"
) -> dict[str, Any]:
    """A listener that speaks HTTP/1.1 and, unless `codec` says HTTP1, HTTP/2; as Envoy's YAML.

    Its port is its own: a second sidecar does not share it, but fails, as a second daprd does.
    Requests that go on to the router take the cluster that the filter has written into
    `CLUSTER_HEADER`, without a time limit, as daprd has none.
    """
    manager = {
        "@type": _TYPE_URL + _MANAGER,
        "stat_prefix": name,
        "codec_type": codec,
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": name},
        "server_header_transformation": "PASS_THROUGH",
        "generate_request_id": False,
        "skip_xff_append": True,
        "stream_idle_timeout": "0s",
        "max_request_headers_kb": min(max(1, -(-max_headers // 1024)), _MOST_HEADERS_KB),
        "route_config": {
            "virtual_hosts": [
                {
                    "name": name,
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "route": {"cluster_header": _HEADER, "timeout": "0s"},
                            "request_headers_to_remove": [_HEADER],
                        }
                    ],
                }
            ]
        },
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": _TYPE_URL + _ROUTER, "suppress_envoy_headers": True},
            }
        ],
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {
        "name": name,
        "address": address,
        "enable_reuse_port": False,
        "filter_chains": [chain],
    }


def app_cluster(name: str, app: AppSettings) -> dict[str, Any]:
    """The app beside, by address or name, in its `--app-protocol`."""
    endpoint = {"endpoint": {"address": socket_address(app.channel_address, app.port)}}
    cluster: dict[str, Any] = {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    if app.is_http2:
        explicit: dict[str, Any] = {"explicit_http_config": {"http2_protocol_options": {}}}
        protocol = {"@type": _TYPE_URL + _PROTOCOL, **explicit}
        cluster["typed_extension_protocol_options"] = {_PROTOCOL: protocol}
    if app.is_secure:
        # As daprd: an app beside us shows a certificate that nobody has signed.
        alpn = ["h2"] if app.is_http2 else ["http/1.1"]
        tls = {"@type": _TYPE_URL + _TLS, "common_tls_context": {"alpn_protocols": alpn}}
        cluster["transport_socket"] = {"name": "tls", "typed_config": tls}
    return cluster


def socket_address(host: str, port: int) -> dict[str, Any]:
    """`core.Address` of an IP address and port."""
    return {"socket_address": {"address": host, "port_value": port}}


def pipe_address(path: str) -> dict[str, Any]:
    """`core.Address` of a Unix socket."""
    return {"pipe": {"path": path}}


def read(document: dict[str, Any]) -> ServerConfig:
    """A bootstrap, built as if it stood in a file. Raises ConfigErrors."""
    return load_config(yaml=json.dumps(document))


def filter_config(type_name: str, config: Any) -> HttpFilterConfig:
    """The filter that is an API itself."""
    return HttpFilterConfig("dapr", type_name, config)


def made(name: str, factory: FilterFactory) -> HttpFilterConfig:
    """A filter that stands before an API."""
    return HttpFilterConfig(name, MADE_TYPE, factory)


def with_filters(listener: ListenerConfig, filters: Sequence[HttpFilterConfig]) -> ListenerConfig:
    """The listener with Dapr's filters before its router."""
    chain = listener.filter_chains[0]
    http = chain.filters[-1]
    manager = http.config
    *others, router = manager.filters
    router = replace(router, config=replace(router.config, attempts=True))
    manager = replace(manager, filters=(*filters, *others, router))
    chain = replace(chain, filters=(replace(http, config=manager),))
    return replace(listener, filter_chains=(chain,))
