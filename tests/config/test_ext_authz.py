"""The configuration of `ext_authz`: every field arrives, what Envoy refuses is refused."""

from __future__ import annotations

import pytest

from meshproxy.errors import Code
from meshproxy.http_filters.ext_authz.settings import (
    BodySettings,
    ExtAuthzPerRoute,
    GrpcServiceConfig,
)
from tests.config.support import URL, error_of, load, routes
from tests.config.test_grpc_filters import PACKAGE, config, document

TYPE = PACKAGE + "ext_authz.v3.ExtAuthz"
PER_ROUTE = PACKAGE + "ext_authz.v3.ExtAuthzPerRoute"
V3 = "transport_api_version: V3, "
GRPC = "grpc_service: {envoy_grpc: {cluster_name: app}}"
URI = "server_uri: {uri: 'http://a', cluster: app, timeout: 2s}"


def built(fields: str):
    return config(TYPE, V3 + fields)


def http(fields: str = "") -> str:
    return f"http_service: {{{URI}{fields and ', ' + fields}}}"


def test_the_grpc_service_arrives():
    assert built(GRPC).grpc == GrpcServiceConfig(cluster="app", timeout=0.2)
    one = built(
        "grpc_service: {timeout: 3s, envoy_grpc: {cluster_name: app, authority: a,"
        " max_receive_message_length: 7}, initial_metadata: [{key: a, value: b}]}"
    ).grpc
    assert (one.timeout, one.authority, one.max_receive_message_length) == (3.0, "a", 7)
    assert one.metadata is not None


def test_the_http_service_arrives():
    one = built(http()).http
    assert (one.cluster, one.timeout, one.path_prefix, one.to_client) == ("app", 2.0, b"", None)
    lists = ("allowed_upstream_headers", "allowed_upstream_headers_to_append",
             "allowed_client_headers", "allowed_client_headers_on_success",
             "dynamic_metadata_from_headers")  # fmt: skip
    patterns = ", ".join(f"{each}: {{patterns: [{{exact: '{each}'}}]}}" for each in lists)
    one = built(
        http(
            "path_prefix: /p, authorization_request: {headers_to_add: [{key: a, value: b}]},"
            f" authorization_response: {{{patterns}}}"
        )
    ).http
    assert one.path_prefix == b"/p"
    assert one.headers_to_add is not None
    found = (one.to_upstream, one.to_upstream_append, one.to_client, one.to_client_on_success,
             one.to_metadata)  # fmt: skip
    for name, predicate in zip(lists, found, strict=True):
        assert predicate(name.encode())
        assert not predicate(b"x")


@pytest.mark.parametrize("place", ["top", "authorization_request"])
def test_the_headers_that_the_server_may_see_arrive_from_either_place(place: str):
    allowed = "allowed_headers: {patterns: [{prefix: x-}]}"
    inside = http(f"authorization_request: {{{allowed}}}")
    one = built(inside if place != "top" else f"{http()}, {allowed}")
    assert one.allowed_headers(b"x-a")
    assert not one.allowed_headers(b"y")


def test_the_options_arrive():
    one = built(
        GRPC + ", failure_mode_allow: true, failure_mode_allow_header_add: true,"
        " with_request_body: {max_request_bytes: 5, allow_partial_message: true,"
        " pack_as_bytes: true}, clear_route_cache: true, status_on_error: {code: BadGateway},"
        " validate_mutations: true, metadata_context_namespaces: [a],"
        " route_metadata_context_namespaces: [b], filter_enabled: {default_value: {numerator: 3}},"
        " deny_at_disable: {default_value: true, runtime_key: k}, include_peer_certificate: true,"
        " include_tls_session: true, stat_prefix: s, charge_cluster_response_stats: false,"
        " disallowed_headers: {patterns: [{exact: a}]}, encode_raw_headers: true,"
        " enable_dynamic_metadata_ingestion: false, max_denied_response_body_bytes: 9"
    )
    body = BodySettings(max_request_bytes=5, allow_partial_message=True, pack_as_bytes=True)
    assert one.with_request_body == body
    assert (one.status_on_error, one.filter_enabled, one.stat_prefix) == (502, (3, 100), "s")
    assert one.metadata_context_namespaces == ("a",)
    assert one.route_metadata_context_namespaces == ("b",)
    assert one.max_denied_response_body_bytes == 9
    assert one.disallowed_headers(b"a")
    on = ("failure_mode_allow", "failure_mode_allow_header_add", "clear_route_cache",
          "validate_mutations", "deny_at_disable", "include_peer_certificate",
          "include_tls_session", "encode_raw_headers")  # fmt: skip
    assert all(getattr(one, name) for name in on)
    assert not one.charge_cluster_response_stats
    assert not one.enable_dynamic_metadata_ingestion


def test_what_is_not_said_is_as_in_envoy():
    one = built(GRPC)
    assert (one.status_on_error, one.filter_enabled, one.deny_at_disable) == (403, None, False)
    assert one.charge_cluster_response_stats
    assert one.enable_dynamic_metadata_ingestion
    assert one.with_request_body is None


def test_a_switch_of_the_runtime_overrides():
    layers = "layered_runtime: {layers: [{name: a, static_layer: {k: true}}]}\n"
    text = (
        document(TYPE, f"{V3}{GRPC}, deny_at_disable: {{default_value: false, runtime_key: k}}")
        + layers
    )
    manager = load(text).listeners[0].filter_chains[0].filters[-1].config
    assert manager.filters[0].config.deny_at_disable


def per_route(fields: str):
    said = f"typed_per_filter_config: {{f: {{'@type': {URL}{PER_ROUTE}, {fields}}}}}"
    return routes(f"[{{match: {{prefix: /}}, route: {{cluster: app}}, {said}}}]")


def test_what_a_route_says_arrives():
    def at_route(fields: str):
        manager = load(per_route(fields)).listeners[0].filter_chains[0].filters[-1].config
        [route] = manager.route_config.virtual_hosts[0].routes
        return route.per_filter_config["f"].config

    assert at_route("disabled: true") == ExtAuthzPerRoute(disabled=True)
    assert at_route("check_settings: {context_extensions: {b: c, a: d}}") == ExtAuthzPerRoute(
        context_extensions={"a": "d", "b": "c"}
    )
    body = "check_settings: {with_request_body: {max_request_bytes: 1}}"
    assert at_route(body).with_request_body == BodySettings(max_request_bytes=1)
    service = at_route(f"check_settings: {{{GRPC}}}")
    assert service.grpc == GrpcServiceConfig(cluster="app", timeout=0.2)
    assert at_route(f"check_settings: {{{http()}}}").http.timeout == 2.0
    unread = at_route("check_settings: {disable_request_body_buffering: true}")
    assert unread.disable_request_body_buffering


def test_a_body_that_is_read_and_not_read_is_refused():
    error = error_of(
        per_route(
            "check_settings: {disable_request_body_buffering: true,"
            " with_request_body: {max_request_bytes: 1}}"
        )
    )
    assert error.code is Code.INVALID
    assert error.path.endswith("check_settings.with_request_body")


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ("stat_prefix: a", Code.REQUIRED, ""),
        ("http_service: {}", Code.REQUIRED, "http_service"),
        (http("path_prefix: p"), Code.INVALID, "path_prefix"),
        ("grpc_service: {envoy_grpc: {cluster_name: gone}}", Code.UNKNOWN_REFERENCE,
         "cluster_name"),
        ("http_service: {server_uri: {uri: a, cluster: gone, timeout: 1s}}",
         Code.UNKNOWN_REFERENCE, "cluster"),
        (http("authorization_request: {headers_to_add: [{key: ':path', value: a}]}"),
         Code.INVALID, "headers_to_add[0].key"),
        (http("authorization_request: {headers_to_add: [{key: a, value: '%NO%'}]}"),
         Code.BAD_FORMAT, "headers_to_add[0].value"),
        (http("authorization_request: {allowed_headers: {patterns: [{exact: a}]}}")
         + ", allowed_headers: {patterns: [{exact: a}]}", Code.INVALID, "allowed_headers"),
        (GRPC + ", allowed_headers: {patterns: [{safe_regex: {regex: '('}}]}", Code.BAD_REGEX,
         "regex"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_at_its_place(fields: str, code: Code, path: str):
    error = error_of(document(TYPE, V3 + fields))
    assert error.code is code
    assert error.path.endswith(path)


@pytest.mark.parametrize(
    "fields",
    [
        "grpc_service: {google_grpc: {target_uri: a, stat_prefix: b}}",
        "bootstrap_metadata_labels_key: a", "typed_metadata_context_namespaces: [a]",
        "decoder_header_mutation_rules: {disallow_all: true}", "emit_filter_state_stats: true",
        "enforce_response_header_limits: true", "filter_metadata: {a: b}",
        "http_service: {retry_policy: {num_retries: 1}}",
        "filter_enabled_metadata: {filter: a, path: [{key: b}], value: {bool_match: true}}",
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused_by_name(fields: str):
    service = "" if "_service" in fields else f"{GRPC}, "
    if "http_service" in fields:
        fields = fields.replace("{retry", f"{{{URI}, retry")
    error = error_of(document(TYPE, V3 + service + fields))
    assert error.code is Code.UNSUPPORTED_FIELD
