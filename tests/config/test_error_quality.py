"""The mistakes that people make: each is one error, in its line, that says what to do."""

import pytest

from meshproxy.config.problems import Source, redact
from tests.config.support import LISTENER, cluster_with, error_of, routes

CASES = [
    (
        cluster_with("conect_timeout: 1s"),
        "--config-yaml:5:5: static_resources.clusters[0]: unknown field 'conect_timeout' in Cluster"
        " (did you mean 'connect_timeout'?)",
    ),
    (
        LISTENER.replace("connect_timeout: 1s", "connect_timeout: one"),
        "--config-yaml:25:22: static_resources.clusters[0].connect_timeout: found 'one'; expected a"
        ' duration in seconds, such as "1.5s"',
    ),
    (
        LISTENER.replace("port_value: 0", "port_value: 99902"),
        "--config-yaml:5:56: static_resources.listeners[0].address.socket_address.port_value: must"
        " be <= 65535, is 99902",
    ),
    (
        routes("[{match: {prefix: /}, route: {cluster: c9}}]"),
        "--config-yaml:17:62: {}.virtual_hosts[0].routes[0].route.cluster: unknown cluster 'c9';"
        " expected one of app",
    ),
    (
        cluster_with("alt_stat_name: a\nalt_stat_name: b"),
        "--config-yaml:6:5: duplicate key 'alt_stat_name', first given in line 5",
    ),
    (
        routes('[{match: {safe_regex: {regex: "/a("}}, route: {cluster: app}}]'),
        "--config-yaml:17:56: {}.virtual_hosts[0].routes[0].match.safe_regex.regex: not a regex of"
        " RE2: missing ): /a(, at character 3 of the pattern",
    ),
    (
        LISTENER.replace("http_connection_manager.v3.Http", "http_connection_manger.v3.Http"),
        "--config-yaml:10:20: static_resources.listeners[0].filter_chains[0].filters[0]"
        ".typed_config.@type: unknown type"
        " 'envoy.extensions.filters.network.http_connection_manger.v3.HttpConnectionManager'"
        " (did you mean 'type.googleapis.com/envoy.extensions.filters.network"
        ".http_connection_manager.v3.HttpConnectionManager'?)",
    ),
    (
        cluster_with("outlier_detection: {}"),
        "--config-yaml:5:24: static_resources.clusters[0].outlier_detection: the field"
        " 'outlier_detection' of Cluster is not supported",
    ),
]
ROUTES = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config"


@pytest.mark.parametrize(("document", "text"), CASES, ids=[text[:40] for _, text in CASES])
def test_a_mistake_is_said_in_one_line(document, text):
    assert str(error_of(document)) == text.replace("{}.v", ROUTES + ".v")


def test_the_line_of_the_mistake_is_quoted():
    error = error_of(cluster_with("conect_timeout: 1s"))
    assert error.place.excerpt == "    conect_timeout: 1s"
    assert error.place.excerpt[error.place.column - 1 :] == "conect_timeout: 1s"


@pytest.mark.parametrize(
    "line",
    ["password: hunter2", "api_key: 'x y'", "inline_string: hunter2", '"token": hunter2',
     "  client_secret: {a: b}", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj",
     "-----BEGIN PRIVATE KEY-----"],
)  # fmt: skip
def test_secrets_are_blanked_out_of_quoted_lines(line):
    assert "[redacted]" in redact(line)
    assert "hunter2" not in redact(line)
    assert "VJTUt9" not in redact(line)


@pytest.mark.parametrize(
    "line",
    ["secretKeyRef: {name: redis, key: pass}", "secretStore: vault", "secret_store: vault",
     "private_key: {filename: a.key}", '"private_key": {"filename": "a.key"}'],
)  # fmt: skip
def test_where_a_secret_lies_is_shown(line):
    assert redact(line) == line


@pytest.mark.parametrize(
    "line",
    ["private_key: {filename: a, inline_string: hunter2}", "secretKeyRef: {}, password: hunter2",
     "{private_key: {filename: a}, password: {inline_string: hunter2}}"],
)  # fmt: skip
def test_a_secret_behind_its_place_is_not(line):
    assert "hunter2" not in redact(line)


def test_the_text_of_a_template_is_shown_and_that_of_a_key_is_not():
    source = Source("f", "inline_string: hunter2")
    log = "access_log[0].typed_config.log_format.text_format_source.inline_string"
    assert source.place(1, 1, log).excerpt == "inline_string: hunter2"
    for path in ("", "tls_certificates[0].private_key.inline_string", log + ".x"):
        assert source.place(1, 1, path).excerpt == "inline_string: [redacted]"
