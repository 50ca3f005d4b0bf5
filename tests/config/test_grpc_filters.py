"""The configurations of gRPC's filters: every field arrives, the rest is refused by name."""

from __future__ import annotations

import pytest

from meshproxy.errors import Code
from meshproxy.http_filters.grpc_http1_bridge import BridgeConfig
from meshproxy.http_filters.grpc_stats import GrpcStatsConfig
from tests.config.support import LISTENER, URL, error_of, load

PACKAGE = "envoy.extensions.filters.http."
STATS = PACKAGE + "grpc_stats.v3.FilterConfig"


def document(type_name: str, fields: str = "") -> str:
    made = f"{{name: f, typed_config: {{'@type': {URL}{type_name}{fields and ', ' + fields}}}}}"
    router = "          - name: router\n"
    assert router in LISTENER
    return LISTENER.replace(router, f"          - {made}\n{router}", 1)


def config(type_name: str, fields: str = ""):
    manager = load(document(type_name, fields)).listeners[0].filter_chains[0].filters[-1].config
    return manager.filters[0].config


def test_grpc_web_has_no_options():
    assert config(PACKAGE + "grpc_web.v3.GrpcWeb") is not None


def test_the_bridges_options_arrive():
    given = "upgrade_protobuf_to_grpc: true, ignore_query_parameters: true"
    assert config(PACKAGE + "grpc_http1_bridge.v3.Config", given) == BridgeConfig(
        upgrade_protobuf_to_grpc=True, ignore_query_parameters=True
    )
    assert config(PACKAGE + "grpc_http1_bridge.v3.Config") == BridgeConfig()


def test_the_options_of_grpc_stats_arrive():
    assert config(STATS) == GrpcStatsConfig()
    given = (
        "stats_for_all_methods: true, enable_upstream_stats: true,"
        " replace_dots_in_grpc_service_name: true"
    )
    assert config(STATS, given) == GrpcStatsConfig(
        all_methods=True, upstream_stats=True, replace_dots=True
    )
    services = "services: [{name: a.B, method_names: [C, D]}]"
    listed = config(STATS, f"individual_method_stats_allowlist: {{{services}}}")
    assert listed == GrpcStatsConfig(methods=frozenset({("a.B", "C"), ("a.B", "D")}))


@pytest.mark.parametrize("field", ["emit_filter_state"])
def test_what_is_not_supported_is_refused_by_name(field):
    error = error_of(document(STATS, f"{field}: true"))
    assert error.code is Code.UNSUPPORTED_FIELD
    assert field in error.path
