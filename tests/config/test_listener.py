"""`Listener` and the connection manager: every supported field arrives, every check rejects."""

import socket
from ipaddress import ip_network

import pytest

from meshproxy.config import RouterConfig
from meshproxy.errors import Code
from meshproxy.http.path import UNESCAPE_AND_FORWARD
from tests.config.support import LISTENER, ROUTER, URL, error_of, errors_of, load, manager_with


def manager(line=""):
    return load(manager_with(line) if line else LISTENER).listeners[0].manager


def test_a_listener_has_the_defaults_of_envoy():
    listener = load(LISTENER).listeners[0]
    assert listener.name == "ingress"
    assert listener.address.text == "127.0.0.1:0"
    assert listener.per_connection_buffer_limit_bytes == 1024 * 1024
    assert listener.stat_name == "127.0.0.1_0"
    assert listener.tcp_backlog_size == 128
    assert listener.reuse_port
    assert listener.traffic_direction == 0


def test_every_field_of_a_listener_arrives():
    more = (
        "  - name: ingress\n    stat_prefix: edge\n    tcp_backlog_size: 5\n"
        "    per_connection_buffer_limit_bytes: 1000\n    enable_reuse_port: false\n"
        "    traffic_direction: INBOUND\n"
    )
    document = LISTENER.replace("  - name: ingress\n", more)
    document = document.replace("address: 127.0.0.1,", "address: '::', ipv4_compat: true,")
    listener = load(document).listeners[0]
    assert listener.stat_name == "edge"
    assert listener.per_connection_buffer_limit_bytes == 1000
    assert listener.tcp_backlog_size == 5
    assert not listener.reuse_port
    assert listener.ipv4_compat
    assert listener.traffic_direction == 1
    assert listener.address.family == socket.AF_INET6


def test_a_listener_on_a_unix_socket_has_its_path():
    document = LISTENER.replace(
        "socket_address: {address: 127.0.0.1, port_value: 0}", "pipe: {path: /tmp/s}"
    )
    assert load(document).listeners[0].address.sockaddr == "/tmp/s"


def test_a_connection_manager_has_the_defaults_of_envoy():
    config = manager()
    assert config.stat_prefix == "ingress"
    assert config.server_name == b"envoy"
    assert config.http1.max_headers_bytes == 60 * 1024
    assert config.http1.max_headers_count == 100
    assert config.http1.allow_absolute_url
    assert not config.http1.enable_trailers
    assert config.idle_timeout == 3600.0
    assert config.stream_idle_timeout == 300.0
    assert config.request_timeout == 0.0
    assert config.drain_timeout == 5.0
    assert config.delayed_close_timeout == 1.0
    assert config.path_normalizer is None
    assert config.internal_networks is None
    assert config.generate_request_id
    assert not config.use_remote_address


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("server_name: edge", "server_name", b"edge"), ("via: edge", "via", b"edge"),
        ("server_header_transformation: PASS_THROUGH", "server_header_transformation", 2),
        ("codec_type: HTTP1", "codec_type", 1),
        ("use_remote_address: true", "use_remote_address", True),
        ("xff_num_trusted_hops: 2", "xff_num_trusted_hops", 2),
        ("skip_xff_append: true", "skip_xff_append", True),
        ("generate_request_id: false", "generate_request_id", False),
        ("preserve_external_request_id: true", "preserve_external_request_id", True),
        ("always_set_request_id_in_response: true", "always_set_request_id_in_response", True),
        ("proxy_100_continue: true", "proxy_100_continue", True),
        ("stream_idle_timeout: 0s", "stream_idle_timeout", 0.0),
        ("request_timeout: 2s", "request_timeout", 2.0),
        ("request_headers_timeout: 1.5s", "request_headers_timeout", 1.5),
        ("drain_timeout: 1s", "drain_timeout", 1.0),
        ("delayed_close_timeout: 0s", "delayed_close_timeout", 0.0),
        ("common_http_protocol_options: {idle_timeout: 0s}", "idle_timeout", None),
        ("common_http_protocol_options: {idle_timeout: 9s}", "idle_timeout", 9.0),
        ("common_http_protocol_options: {max_connection_duration: 9s}", "max_connection_duration",
         9.0),
        ("common_http_protocol_options: {max_stream_duration: 9s}", "max_stream_duration", 9.0),
        ("common_http_protocol_options: {max_requests_per_connection: 9}",
         "max_requests_per_connection", 9),
        ("internal_address_config: {cidr_ranges: [{address_prefix: 10.1.2.3, prefix_len: 8}]}",
         "internal_networks", (ip_network("10.0.0.0/8"),)),
        ("internal_address_config: {}", "internal_networks", ()),
    ],
)  # fmt: skip
def test_fields_of_a_connection_manager_arrive(line, field, value):
    assert getattr(manager(line), field) == value


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("max_request_headers_kb: 8", "max_headers_bytes", 8192),
        ("common_http_protocol_options: {max_headers_count: 7}", "max_headers_count", 7),
        ("http_protocol_options: {accept_http_10: true}", "accept_http_10", True),
        ("http_protocol_options: {default_host_for_http_10: h}", "default_host_for_http_10", b"h"),
        ("http_protocol_options: {enable_trailers: true}", "enable_trailers", True),
        ("http_protocol_options: {allow_absolute_url: false}", "allow_absolute_url", False),
        ("http_protocol_options: {}", "allow_absolute_url", True),
    ],
)
def test_options_of_http_1_arrive(line, field, value):
    assert getattr(manager(line).http1, field) == value


def test_path_options_arrive_together():
    config = manager(
        "normalize_path: true\n          merge_slashes: true\n"
        "          path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD"
    )
    normalizer = config.path_normalizer
    assert normalizer is not None
    assert normalizer.normalize(b"/a//b%2Fc/../d") == (b"/a/b/d", None)
    assert UNESCAPE_AND_FORWARD == 4


def test_the_chain_of_filters_arrives_in_its_order():
    document = LISTENER.replace(
        f'{{"@type": {URL}{ROUTER}}}', f'{{"@type": {URL}{ROUTER}, suppress_envoy_headers: true}}'
    )
    filters = load(document).listeners[0].manager.filters
    assert [(each.name, each.type_name) for each in filters] == [("router", ROUTER)]
    assert filters[0].config == RouterConfig(suppress_envoy_headers=True)


def with_filters(text):
    start, end = LISTENER.index("          http_filters:\n"), LISTENER.index("  clusters:")
    return f"{LISTENER[:start]}          http_filters: {text}\n{LISTENER[end:]}"


ROUTER_FILTER = f"{{name: r, typed_config: {{'@type': {URL}{ROUTER}}}}}"


@pytest.mark.parametrize(
    ("document", "words", "part"),
    [
        (with_filters("[]"), "the last HTTP filter must be the router", "http_filters"),
        (with_filters(f"[{ROUTER_FILTER}, {ROUTER_FILTER}]"), "must be the last one",
         "http_filters[0]"),
        (with_filters("[{name: envoy.filters.http.router}]"), "'typed_config' is required",
         "http_filters[0]"),
        (LISTENER.replace("127.0.0.1", "localhost"), "'localhost' is not an IP address", "address"),
        (manager_with("common_http_protocol_options: {max_response_headers_kb: 9}"),
         "cannot be set on the HTTP connection manager", "max_response_headers_kb"),
        (manager_with("internal_address_config: {cidr_ranges: [{address_prefix: x}]}"),
         "'x' is not an IP address", "cidr_ranges[0].address_prefix"),
        ("static_resources: {listeners: [{name: a, address: {pipe: {path: /a}}}]}",
         "the listener has no filter chain", "listeners[0].filter_chains"),
        ("static_resources: {listeners: [{name: a, address: {pipe: {path: /a}},"
         " filter_chains: [{}]}]}",
         "the filter chain has no filter", "filter_chains[0].filters"),
        (LISTENER.replace("    address:\n", "").replace(
            "      socket_address: {address: 127.0.0.1, port_value: 0}\n", ""),
         "'address' is required", "listeners[0].address"),
    ],
)  # fmt: skip
def test_what_envoy_refuses_beyond_its_rules_is_refused_with_its_place(document, words, part):
    error = error_of(document)
    assert words in error.message
    assert error.path.endswith(part)


def second_listener(old, new):
    start, end = LISTENER.index("  - name: ingress"), LISTENER.index("  clusters:")
    return LISTENER[:end] + LISTENER[start:end].replace(old, new) + LISTENER[end:]


def test_a_listener_given_twice_is_refused_with_both_lines():
    errors = errors_of(second_listener("", ""))
    assert [error.code for error in errors] == [Code.DUPLICATE_NAME]
    assert errors[0].message == "duplicate listener name 'ingress', first given in line 3"


def test_two_listeners_at_one_address_are_refused():
    document = second_listener("name: ingress", "name: other")
    error = error_of(document.replace("port_value: 0", "port_value: 9"))
    assert error.message.startswith("duplicate listener address '127.0.0.1:9'")
