"""Filter chains and `TcpProxy`: every supported field arrives, every check rejects."""

import pytest

from meshproxy.errors import Code
from meshproxy.network_filters.tcp_proxy import TunnelingConfig
from tests.config.support import LISTENER, MANAGER, ROUTER, URL, error_of, errors_of, load

TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
LOG = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"


def document(fields="cluster: app", more=""):
    return f"""\
static_resources:
  listeners:
  - name: tcp
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - name: chain
      filters:
      - name: t
        typed_config: {{"@type": {URL}{TCP_PROXY}, stat_prefix: t, {fields}}}
{more}  clusters:
  - name: app
    connect_timeout: 1s
  - name: other
    connect_timeout: 1s
"""


def proxy(fields="cluster: app"):
    (chain,) = load(document(fields)).listeners[0].filter_chains
    assert chain.name == "chain"
    (each,) = chain.filters
    assert (each.name, each.type_name) == ("t", TCP_PROXY)
    return each.config


def test_a_tcp_proxy_has_the_defaults_of_envoy():
    config = proxy()
    assert config.stat_prefix == "t"
    assert config.clusters == (("app", 1),)
    assert config.idle_timeout == 3600.0
    assert config.max_connect_attempts == 1
    assert config.max_downstream_connection_duration is None
    assert config.access_logs == ()


def test_a_tunnel_arrives():
    made = proxy("cluster: app, tunneling_config: {hostname: 'h:1'}").tunneling
    assert made == TunnelingConfig(hostname=b"h:1")
    fields = "use_post: true, headers_to_add: [{header: {key: a, value: b}}]"
    made = proxy(f"cluster: app, tunneling_config: {{hostname: h, {fields}}}").tunneling
    assert (made.post_path, made.headers_to_add is not None) == (b"/", True)
    made = proxy("cluster: app, tunneling_config: {hostname: h, use_post: true, post_path: /p}")
    assert made.tunneling.post_path == b"/p"


@pytest.mark.parametrize(
    ("fields", "field", "value"),
    [
        ("cluster: app, idle_timeout: 0s", "idle_timeout", None),
        ("cluster: app, idle_timeout: 7s", "idle_timeout", 7.0),
        ("cluster: app, max_connect_attempts: 3", "max_connect_attempts", 3),
        (
            "cluster: app, max_downstream_connection_duration: 2s",
            "max_downstream_connection_duration",
            2.0,
        ),
        (
            "weighted_clusters: {clusters: [{name: app, weight: 1}, {name: other, weight: 2}]}",
            "clusters",
            (("app", 1), ("other", 2)),
        ),
    ],
)
def test_fields_of_a_tcp_proxy_arrive(fields, field, value):
    assert getattr(proxy(fields), field) == value


def test_an_access_log_arrives():
    fields = f'cluster: app, access_log: [{{name: l, typed_config: {{"@type": {URL}{LOG}}}}}]'
    assert len(proxy(fields).access_logs) == 1


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ("cluster: nope", Code.UNKNOWN_REFERENCE, "unknown cluster 'nope'"),
        (
            "weighted_clusters: {clusters: [{name: nope, weight: 1}]}",
            Code.UNKNOWN_REFERENCE,
            "unknown cluster 'nope'",
        ),
        (
            "weighted_clusters: {clusters: [{name: app, weight: 4294967295},"
            " {name: other, weight: 4294967295}]}",
            Code.INVALID,
            "the sum of the weights exceeds",
        ),
        ("cluster: app, max_connect_attempts: 0", None, "max_connect_attempts"),
        (
            "cluster: app, tunneling_config: {hostname: h, propagate_response_headers: true}",
            Code.UNSUPPORTED_FIELD,
            "'propagate_response_headers' of TunnelingConfig is not supported",
        ),
        (
            "cluster: app, tunneling_config: {hostname: h, post_path: /p}",
            Code.INVALID,
            "'post_path' needs 'use_post'",
        ),
        ("cluster: app, tunneling_config: {hostname: '%NO%'}", Code.BAD_FORMAT, "NO"),
        ("cluster: app, tunneling_config: {}", None, "hostname"),
        (
            "cluster: app, tunneling_config: {hostname: h,"
            " headers_to_add: [{header: {key: ':path', value: a}}]}",
            Code.INVALID,
            "may not be modified",
        ),
    ],
)
def test_what_is_wrong_with_a_tcp_proxy_is_said(fields, code, text):
    error = error_of(document(fields))
    assert code is None or error.code is code
    assert text in str(error)
    assert error.place.line == 9


def test_a_cluster_has_to_be_given():
    assert any("cluster" in str(each) for each in errors_of(document("max_connect_attempts: 1")))


def test_a_terminal_filter_must_be_the_last():
    more = f"""\
      - name: u
        typed_config: {{"@type": {URL}{TCP_PROXY}, stat_prefix: t, cluster: app}}
"""
    error = error_of(document(more=more))
    assert "'TcpProxy' is a terminal filter and must be the last of its chain" in str(error)
    assert error.place.line == 8


def test_the_connection_manager_is_terminal_too():
    manager = LISTENER[LISTENER.index("      - name: manager") : LISTENER.index("  clusters:")]
    assert MANAGER in manager
    assert ROUTER in manager
    text = LISTENER.replace("  clusters:", manager + "  clusters:", 1)
    assert "'HttpConnectionManager' is a terminal filter" in str(error_of(text))


def test_a_unix_socket_has_its_path_and_mode():
    pipe = document().replace(
        "{socket_address: {address: 127.0.0.1, port_value: 0}}", "{pipe: {path: /tmp/s, mode: 384}}"
    )
    listener = load(pipe).listeners[0]
    assert (listener.address.text, listener.mode) == ("/tmp/s", 0o600)
