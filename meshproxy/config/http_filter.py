"""`HttpFilter` messages, and what `typed_per_filter_config` says about them, to frozen values.

Owns which message a filter's configuration is built from. Refuses to know what a filter does with
it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from meshproxy.config.context import BuildContext
from meshproxy.config.document import At
from meshproxy.config.ext_authz import build_ext_authz, build_per_route
from meshproxy.config.matching import build_headers
from meshproxy.config.reading import seconds, wrapped
from meshproxy.config.wasm import build_plugin
from meshproxy.errors import Code
from meshproxy.http_filters import ext_authz, grpc_http1_bridge, grpc_stats, grpc_web, health_check
from meshproxy.http_filters.grpc_http1_bridge import BridgeConfig
from meshproxy.http_filters.grpc_stats import GrpcStatsConfig
from meshproxy.http_filters.health_check import HealthCheckFilterConfig
from meshproxy.router.filter_scope import FilterOverride, PerFilterConfig

ROUTER: Final = "envoy.extensions.filters.http.router.v3.Router"
WASM: Final = "envoy.extensions.filters.http.wasm.v3.Wasm"
CODEC: Final = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
_SWITCH: Final = "envoy.config.route.v3.FilterConfig"


@dataclass(frozen=True, slots=True)
class HttpFilterConfig:
    """One filter of a chain.

    `type_name` is the full name of its message, which decides the filter; `config` is what the
    filter's factory takes: a `proxy_wasm.config.PluginConfig` for Wasm, a `RouterConfig` for the
    router, which is always the last one. `disabled`: only a route can switch it on.
    """

    name: str
    type_name: str
    config: Any
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """`Router`, the terminal filter; `attempts`: filters may ask for several of them."""

    suppress_envoy_headers: bool = False
    attempts: bool = False


def build_http_filters(at: At, context: BuildContext) -> tuple[HttpFilterConfig, ...]:
    """The filters in their order; the router, which is terminal, must be the last and only then."""
    problems = context.problems
    filters = at.many("http_filters")
    built: list[HttpFilterConfig] = []
    last_type = ""
    for index, each in enumerate(filters):
        if not each.has("typed_config") and "typed_config" not in each.spot.children:
            each.error(problems, Code.REQUIRED, "the field 'typed_config' is required")
        packed = each.unpack("typed_config")
        last_type = packed.type_name if packed is not None else ""
        if last_type == ROUTER and index < len(filters) - 1:
            text = "the router is a terminal filter and must be the last one"
            each.error(problems, Code.INVALID, text)
        if last_type == ROUTER and each.message.disabled:
            text = "the router is a terminal filter and cannot be disabled"
            each.error(problems, Code.INVALID, text, "disabled")
        config = _filter_config(packed, context) if packed is not None else None
        if config is not None:
            built.append(
                HttpFilterConfig(each.message.name, last_type, config, each.message.disabled)
            )
    # Whose type is not known may well be terminal; its error is noted already.
    if last_type != ROUTER and (last_type or not filters):
        text = "the last HTTP filter must be the router"
        at.error(problems, Code.INVALID, text, "http_filters", expected=ROUTER)
    return tuple(built)


def build_upstream_filters(at: At, context: BuildContext) -> tuple[HttpFilterConfig, ...]:
    """`http_filters` of a cluster, without the codec that must be the last one."""
    problems = context.problems
    filters = at.many("http_filters")
    built: list[HttpFilterConfig] = []
    last_type = ""
    for index, each in enumerate(filters):
        if not each.has("typed_config") and "typed_config" not in each.spot.children:
            each.error(problems, Code.REQUIRED, "the field 'typed_config' is required")
        packed = each.unpack("typed_config")
        last_type = packed.type_name if packed is not None else ""
        if last_type == CODEC:
            if index < len(filters) - 1:
                text = "the upstream codec is a terminal filter and must be the last one"
                each.error(problems, Code.INVALID, text)
            continue
        config = _filter_config(packed, context) if packed is not None else None
        if config is not None and last_type != ROUTER:
            built.append(HttpFilterConfig(each.message.name, last_type, config))
    if filters and last_type and last_type != CODEC:
        text = "the last HTTP filter of a cluster must be the upstream codec"
        at.error(problems, Code.INVALID, text, "http_filters", expected=CODEC)
    return tuple(built)


def build_per_filter_config(at: At, context: BuildContext) -> PerFilterConfig:
    """`typed_per_filter_config` of a route, virtual host, route configuration or weight."""
    built: dict[str, FilterOverride] = {}
    for name, packed in at.each("typed_per_filter_config"):
        inside = packed.unpacked()
        if inside is None:
            continue  # its error is noted already
        override = _override(inside, context)
        if override is not None:
            built[name] = override
    return built


def _override(at: At, context: BuildContext) -> FilterOverride | None:
    if at.type_name != _SWITCH:
        config = _filter_config(at, context)
        return None if config is None else FilterOverride(False, at.type_name, config)
    if at.message.disabled:
        return FilterOverride(disabled=True)
    if not at.has("config"):
        text = "the field 'config' is required where the filter is not disabled"
        at.error(context.problems, Code.REQUIRED, text, "config", expected="a configuration, or {}")
        return None
    inside = at.unpack("config")
    return FilterOverride() if inside is None else _override(inside, context)


def _filter_config(at: At, context: BuildContext) -> Any:
    """What the factory of a filter takes, None for one that is not supported."""
    if at.type_name == ROUTER:
        return RouterConfig(at.message.suppress_envoy_headers)
    build = _BUILDERS.get(at.type_name)
    return build(at, context) if build is not None else None


def _grpc_web(at: At, context: BuildContext) -> object:
    return at.type_name  # it has no options


def _bridge(at: At, context: BuildContext) -> BridgeConfig:
    return BridgeConfig(
        upgrade_protobuf_to_grpc=at.message.upgrade_protobuf_to_grpc,
        ignore_query_parameters=at.message.ignore_query_parameters,
    )


def _grpc_stats(at: At, context: BuildContext) -> GrpcStatsConfig:
    listed = at.one("individual_method_stats_allowlist")
    services = listed.many("services") if listed is not None else []
    return GrpcStatsConfig(
        all_methods=wrapped(at, "stats_for_all_methods", False),
        methods=frozenset(
            (each.message.name, method) for each in services for method in each.message.method_names
        ),
        upstream_stats=at.message.enable_upstream_stats,
        replace_dots=at.message.replace_dots_in_grpc_service_name,
    )


def _health_check(at: At, context: BuildContext) -> HealthCheckFilterConfig:
    pass_through = wrapped(at, "pass_through_mode", False)
    cache_time = seconds(at, "cache_time", 0.0)
    if cache_time and not pass_through:
        text = "'cache_time' needs 'pass_through_mode'"
        at.error(context.problems, Code.INVALID, text, "cache_time")
    percentages = at.message.cluster_min_healthy_percentages
    return HealthCheckFilterConfig(
        pass_through=pass_through,
        headers=build_headers(at.many("headers"), context.problems),
        cache_time=cache_time,
        clusters=tuple((name, percentages[name].value) for name in sorted(percentages)),
    )


_BUILDERS: Final[dict[str, Callable[[At, BuildContext], Any]]] = {
    WASM: lambda at, context: build_plugin(at, context.problems),
    ext_authz.TYPE: build_ext_authz,
    ext_authz.PER_ROUTE: build_per_route,
    grpc_web.TYPE: _grpc_web,
    grpc_http1_bridge.TYPE: _bridge,
    grpc_stats.TYPE: _grpc_stats,
    health_check.TYPE: _health_check,
}
