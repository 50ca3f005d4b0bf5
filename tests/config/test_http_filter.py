"""`HttpFilter` and `typed_per_filter_config`: what is built, and what is refused where."""

import pytest

from meshproxy.config import HttpFilterConfig
from meshproxy.errors import Code
from meshproxy.router.filter_scope import FilterOverride
from tests.config.support import (
    LISTENER,
    ROUTER,
    URL,
    cluster_with,
    error_of,
    errors_of,
    load,
    routes,
)

SWITCH = f"'@type': {URL}envoy.config.route.v3.FilterConfig"
WASM = "envoy.extensions.filters.http.wasm.v3.Wasm"
PLUGIN = (
    f"{{'@type': {URL}{WASM}, config: {{name: other,"
    " vm_config: {code: {local: {filename: /dev/null}}}}}"
)


def with_route(entries: str) -> str:
    """A document whose only route has this `typed_per_filter_config`."""
    return routes(f"[{{match: {{prefix: /}}, route: {{cluster: app}},"
                  f" typed_per_filter_config: {entries}}}]")  # fmt: skip


def overrides(document: str):
    """What the only route says about filters."""
    table = load(document).listeners[0].manager.route_config
    return table.virtual_hosts[0].routes[0].per_filter_config


@pytest.mark.parametrize(
    ("entry", "override"),
    [
        (f"{{{SWITCH}, disabled: true}}", FilterOverride(disabled=True)),
        (f"{{{SWITCH}, config: {{}}}}", FilterOverride()),
        # The configuration of what is off does not count.
        (f"{{{SWITCH}, disabled: true, config: {PLUGIN}}}", FilterOverride(disabled=True)),
    ],
)
def test_a_filter_is_switched(entry, override):
    assert overrides(with_route(f"{{f: {entry}}}")) == {"f": override}


@pytest.mark.parametrize("entry", [PLUGIN, f"{{{SWITCH}, config: {PLUGIN}}}"])
def test_a_plugin_is_another_one_for_a_route(entry):
    (found,) = overrides(with_route(f"{{f: {entry}}}")).values()
    assert (found.disabled, found.type_name, found.config.name) == (False, WASM, "other")


def test_every_level_of_the_table_has_its_entries():
    document = LISTENER.replace(
        "            virtual_hosts:\n",
        f"            typed_per_filter_config: {{a: {{{SWITCH}, disabled: true}}}}\n"
        "            virtual_hosts:\n",
    )
    document = document.replace(
        "              routes:\n",
        f"              typed_per_filter_config: {{b: {{{SWITCH}, disabled: true}}}}\n"
        "              routes:\n",
    )
    weights = (
        "weighted_clusters: {clusters: [{name: app, weight: 1,"
        f" typed_per_filter_config: {{c: {{{SWITCH}, disabled: true}}}}}}]}}"
    )
    document = document.replace("route: {cluster: app}", f"route: {{{weights}}}")
    table = load(document).listeners[0].manager.route_config
    host = table.virtual_hosts[0]
    weight = host.routes[0].action.weighted_clusters.clusters[0]
    assert [list(each.per_filter_config) for each in (table, host, weight)] == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize(
    ("entry", "code", "message"),
    [
        (f"{{{SWITCH}}}", Code.REQUIRED, "the field 'config' is required where"),
        (f"{{{SWITCH}, config: {{disabled: true}}}}", Code.TYPE_MISSING, "'@type' is missing"),
        ("{}", Code.TYPE_MISSING, "'@type' is missing"),
        (f"{{{SWITCH}, is_optional: true, config: {{}}}}", Code.UNSUPPORTED_FIELD, "is_optional"),
        (f"{{'@type': {URL}{ROUTER}}}", Code.UNSUPPORTED_EXTENSION, ROUTER),
        (
            f"{{'@type': {URL}envoy.extensions.filters.http.cors.v3.CorsPolicy}}",
            Code.UNSUPPORTED_EXTENSION,
            "CorsPolicy",
        ),
    ],
)
def test_what_says_nothing_or_is_not_known_is_refused_at_its_place(entry, code, message):
    error = error_of(with_route(f"{{f: {entry}}}"))
    assert error.code is code
    assert message in error.message
    assert "typed_per_filter_config" in error.path
    assert error.place.line == 17


def test_a_filter_may_be_off_until_a_route_switches_it_on():
    document = LISTENER.replace(
        "          http_filters:\n",
        "          http_filters:\n"
        f"          - {{name: w, disabled: true, typed_config: {PLUGIN}}}\n",
    )
    first, last = load(document).listeners[0].manager.filters
    assert (first.name, first.disabled, last.disabled) == ("w", True, False)
    assert isinstance(last, HttpFilterConfig)


def test_the_router_cannot_be_off():
    error = error_of(
        LISTENER.replace("- name: router\n", "- name: router\n            disabled: true\n")
    )
    assert "cannot be disabled" in error.message
    assert error.path.endswith("http_filters[0].disabled")


# -- filters of a cluster ----------------------------------------------------------------------

CODEC = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
CODEC_ENTRY = f"{{name: c, typed_config: {{'@type': {URL}{CODEC}}}}}"
PLUGIN_ENTRY = f"{{name: w, typed_config: {PLUGIN}}}"


def with_upstream_filters(*entries: str) -> str:
    """A cluster with these filters."""
    http1 = "explicit_http_config: {http_protocol_options: {}}"
    options = f"{{'@type': {URL}{OPTIONS}, {http1}, http_filters: [{', '.join(entries)}]}}"
    return cluster_with(f"typed_extension_protocol_options: {{{OPTIONS}: {options}}}")


def test_a_cluster_has_filters_before_its_codec():
    (found,) = load(with_upstream_filters(PLUGIN_ENTRY, CODEC_ENTRY)).clusters
    assert [(each.name, each.config.name) for each in found.http_filters] == [("w", "other")]
    (plain,) = load(with_upstream_filters(CODEC_ENTRY)).clusters
    assert plain.http_filters == ()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([PLUGIN_ENTRY], "must be the upstream codec"),
        ([CODEC_ENTRY, PLUGIN_ENTRY], "must be the last one"),
        ([f"{{name: r, typed_config: {{'@type': {URL}{ROUTER}}}}}", CODEC_ENTRY], ROUTER),
        (["{name: w, disabled: true}", CODEC_ENTRY], "'disabled' of HttpFilter is not supported"),
        (["{name: w}", CODEC_ENTRY], "'typed_config' is required"),
    ],
)
def test_a_wrong_chain_of_a_cluster_is_refused(entries, message):
    errors = errors_of(with_upstream_filters(*entries))
    assert any(message in error.message for error in errors)
    assert all("http_filters" in error.path for error in errors)
