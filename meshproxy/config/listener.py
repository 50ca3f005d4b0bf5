"""`Listener` and `HttpConnectionManager` messages to frozen configurations.

Owns what Envoy checks of listeners and filter chains beyond the rules of their protos. Refuses to
know sockets, and what a filter does with its configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from meshproxy.config.access_log import build_access_logs
from meshproxy.config.context import BuildContext
from meshproxy.config.document import At
from meshproxy.config.filter_chain import Builders, build_filter_chain, build_filter_chains
from meshproxy.config.http2 import build_http2
from meshproxy.config.http_filter import build_http_filters
from meshproxy.config.listener_filter import build_listener_filters
from meshproxy.config.problems import Problems
from meshproxy.config.reading import cidr_ranges, seconds, seconds_or_never, wrapped
from meshproxy.config.route import build_route_configuration
from meshproxy.config.tcp_proxy import build_tcp_proxy
from meshproxy.config.upgrade import build_upgrades
from meshproxy.config.wasm import build_plugin
from meshproxy.errors import Code
from meshproxy.http.client_cert import SANITIZE, ClientCertPolicy
from meshproxy.http.conn_manager import AUTO, HttpConnectionManagerConfig
from meshproxy.http.http1.settings import Http1Settings
from meshproxy.http.path import KEEP_UNCHANGED, PathNormalizer
from meshproxy.network.address import Address, IpNetwork
from meshproxy.network.listener import ListenerConfig
from meshproxy.proxy_wasm.config import PluginConfig

_MANAGER: Final = (
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
_MIB: Final = 1024 * 1024


def build_listeners(listeners: Sequence[At], context: BuildContext) -> tuple[ListenerConfig, ...]:
    """The listeners in the order of the document; one with an error is noted and left out."""
    names: dict[str, int] = {}
    addresses: dict[str, int] = {}
    built: list[ListenerConfig] = []
    for at in listeners:
        listener = _listener(at, context)
        name = at.message.name
        _note_twice(names, name, at, "name", context.problems)
        if listener is None:
            continue
        if listener.address.port or not listener.address.ip:
            _note_twice(addresses, listener.address.text, at, "address", context.problems)
        built.append(listener)
    return tuple(built)


def _note_twice(seen: dict[str, int], key: str, at: At, field: str, problems: Problems) -> None:
    if not key:
        return
    if key in seen:
        text = f"duplicate listener {field} '{key}', first given in line {seen[key]}"
        at.error(problems, Code.DUPLICATE_NAME, text, field)
    seen.setdefault(key, at.mark(field).line)


def _listener(at: At, context: BuildContext) -> ListenerConfig | None:
    problems = context.problems
    where = at.one("address")
    if where is None and "address" not in at.spot.children:
        at.error(problems, Code.REQUIRED, "the field 'address' is required", "address")
    address = build_address(where, problems) if where is not None else None
    chains = build_filter_chains(at, _NETWORK_FILTERS, context)
    default = at.one("default_filter_chain")
    default_chain = None
    if default is not None:
        default_chain = build_filter_chain(default, _NETWORK_FILTERS, context)
    listener_filters = build_listener_filters(at, context)
    if address is None or not (chains or default_chain):
        return None
    return ListenerConfig(
        name=at.message.name,
        address=address,
        filter_chains=chains,
        stat_prefix=at.message.stat_prefix,
        per_connection_buffer_limit_bytes=wrapped(at, "per_connection_buffer_limit_bytes", _MIB),
        tcp_backlog_size=wrapped(at, "tcp_backlog_size", 128),
        reuse_port=wrapped(at, "enable_reuse_port", True),
        ipv4_compat=at.message.address.socket_address.ipv4_compat,
        traffic_direction=at.message.traffic_direction,
        mode=at.message.address.pipe.mode,
        default_filter_chain=default_chain,
        listener_filters=listener_filters,
        listener_filters_timeout=seconds(at, "listener_filters_timeout", 15.0),
        continue_on_listener_filters_timeout=at.message.continue_on_listener_filters_timeout,
    )


def build_address(at: At, problems: Problems) -> Address | None:
    """An address to listen at: an IP address and a port, or the path of a Unix socket."""
    pipe = at.one("pipe")
    if pipe is not None:
        return Address.pipe(pipe.message.path)
    socket_address = at.one("socket_address")
    if socket_address is None:
        return None
    message = socket_address.message
    try:
        return Address.parse(message.address, message.port_value)
    except ValueError:
        text = f"'{message.address}' is not an IP address"
        if message.address:
            socket_address.error(
                problems, Code.INVALID, text, "address", expected="an IP address, or 0.0.0.0"
            )
        return None


def _manager(at: At, context: BuildContext) -> HttpConnectionManagerConfig | None:
    problems = context.problems
    message = at.message
    routes = at.one("route_config")
    route_config = build_route_configuration(routes, context) if routes is not None else None
    filters = build_http_filters(at, context)
    access_logs = build_access_logs(at.many("access_log"), context)
    networks = _internal_networks(at, problems)
    common = at.one("common_http_protocol_options")
    if common is not None and common.has("max_response_headers_kb"):
        text = "'max_response_headers_kb' cannot be set on the HTTP connection manager"
        common.error(problems, Code.INVALID, text, "max_response_headers_kb")
    if route_config is None:
        return None
    return HttpConnectionManagerConfig(
        stat_prefix=message.stat_prefix,
        route_config=route_config,
        filters=filters,
        access_logs=access_logs,
        http1=_http1(at, common),
        http2=build_http2(
            at.one("http2_protocol_options"),
            problems,
            max_headers_kb=wrapped(at, "max_request_headers_kb", 60),
            max_headers_count=wrapped(common, "max_headers_count", 100) if common else 100,
        ),
        codec_type=message.codec_type,
        server_name=message.server_name.encode() or b"envoy",
        server_header_transformation=message.server_header_transformation,
        via=message.via.encode(),
        use_remote_address=wrapped(at, "use_remote_address", False),
        xff_num_trusted_hops=message.xff_num_trusted_hops,
        skip_xff_append=message.skip_xff_append,
        internal_networks=networks,
        path_normalizer=_path_normalizer(at),
        generate_request_id=wrapped(at, "generate_request_id", True),
        preserve_external_request_id=message.preserve_external_request_id,
        always_set_request_id_in_response=message.always_set_request_id_in_response,
        proxy_100_continue=message.proxy_100_continue,
        stream_idle_timeout=seconds(at, "stream_idle_timeout", 300.0),
        request_timeout=seconds(at, "request_timeout", 0.0),
        request_headers_timeout=seconds(at, "request_headers_timeout", 0.0),
        drain_timeout=seconds(at, "drain_timeout", 5.0),
        delayed_close_timeout=seconds(at, "delayed_close_timeout", 1.0),
        client_cert=_client_cert(at),
        upgrades=build_upgrades(at, problems),
        **_common_options(common),
    )


def _client_cert(at: At) -> ClientCertPolicy | None:
    """What becomes of `x-forwarded-client-cert`; None: strangers may not set it."""
    forward: int = at.message.forward_client_cert_details
    if forward == SANITIZE:
        return None
    wanted = at.message.set_current_client_cert_details
    details = [name for name in ("cert", "chain", "dns", "uri") if getattr(wanted, name)]
    if wanted.subject.value:
        details.append("subject")
    return ClientCertPolicy(forward, details)


def _common_options(at: At | None) -> dict[str, Any]:
    """What `common_http_protocol_options` says about connections and streams."""
    if at is None:
        return {}
    return {
        "idle_timeout": seconds_or_never(at, "idle_timeout", 3600.0),
        "max_connection_duration": seconds_or_never(at, "max_connection_duration", None),
        "max_requests_per_connection": wrapped(at, "max_requests_per_connection", 0),
        "max_stream_duration": seconds_or_never(at, "max_stream_duration", None),
    }


def _http1(at: At, common: At | None) -> Http1Settings:
    options = at.message.http_protocol_options
    absolute = at.one("http_protocol_options")
    return Http1Settings(
        max_headers_bytes=wrapped(at, "max_request_headers_kb", 60) * 1024,
        max_headers_count=wrapped(common, "max_headers_count", 100) if common else 100,
        accept_http_10=options.accept_http_10,
        default_host_for_http_10=options.default_host_for_http_10.encode(),
        allow_absolute_url=wrapped(absolute, "allow_absolute_url", True) if absolute else True,
        enable_trailers=options.enable_trailers,
        upgrade_h2c=at.message.codec_type == AUTO,
    )


def _path_normalizer(at: At) -> PathNormalizer | None:
    """None where every path goes on as it came."""
    normalize = wrapped(at, "normalize_path", False)
    merge = at.message.merge_slashes
    action = at.message.path_with_escaped_slashes_action or KEEP_UNCHANGED
    if not normalize and not merge and action == KEEP_UNCHANGED:
        return None
    return PathNormalizer(normalize, merge, action)


def _internal_networks(at: At, problems: Problems) -> tuple[IpNetwork, ...] | None:
    config = at.one("internal_address_config")
    if config is None:
        return None
    return cidr_ranges(config.many("cidr_ranges"), problems)


def _wasm(at: At, context: BuildContext) -> PluginConfig | None:
    return build_plugin(at, context.problems)


_NETWORK_FILTERS: Final[Builders] = {
    _MANAGER: _manager,
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy": build_tcp_proxy,
    "envoy.extensions.filters.network.wasm.v3.Wasm": _wasm,
}
