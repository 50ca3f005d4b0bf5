"""`health_checks` to `HealthCheckConfig`: every field arrives, what Envoy refuses is refused."""

import pytest

from meshproxy.errors import Code, ErrorKind
from meshproxy.upstream.health_check.config import (
    GrpcHealthCheck,
    HealthCheckConfig,
    HttpHealthCheck,
    TcpHealthCheck,
)
from tests.config.support import URL, cluster_with, error_of, errors_of, load

BASE = "timeout: 1s, interval: 2s, unhealthy_threshold: 3, healthy_threshold: 4"
SINK = "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink"


def document(check: str, base: str = BASE, more: str = "") -> str:
    return cluster_with(f"health_checks: [{{{base}, {check}}}]\n{more}")


def built(check: str, more: str = "", base: str = BASE) -> HealthCheckConfig:
    return load(document(check, base, more)).clusters[0].health_check


def test_a_check_has_the_defaults_of_envoy():
    one = built("tcp_health_check: {}")
    assert one == HealthCheckConfig(
        check=TcpHealthCheck(),
        timeout=1.0,
        interval=2.0,
        unhealthy_threshold=3,
        healthy_threshold=4,
        unhealthy_interval=2.0,
        unhealthy_edge_interval=2.0,
        healthy_edge_interval=2.0,
    )
    assert (one.no_traffic_interval, one.no_traffic_healthy_interval) == (60.0, 60.0)
    assert load(cluster_with("")).clusters[0].health_check is None


def test_intervals_follow_each_other_where_they_are_not_set():
    one = built("tcp_health_check: {}, unhealthy_interval: 5s, no_traffic_interval: 6s")
    assert (one.unhealthy_edge_interval, one.no_traffic_healthy_interval) == (5.0, 6.0)


def test_every_field_of_a_check_arrives():
    one = built(
        "tcp_health_check: {}, initial_jitter: 1s, interval_jitter: 2s, interval_jitter_percent: 3,"
        " no_traffic_interval: 4s, no_traffic_healthy_interval: 5s, unhealthy_interval: 6s,"
        " unhealthy_edge_interval: 7s, healthy_edge_interval: 8s, reuse_connection: false,"
        " always_log_health_check_failures: true, always_log_health_check_success: true,"
        " event_log_path: /a, tls_options: {alpn_protocols: [x, z]},"
        " transport_socket_match_criteria: {a: [1]},"
        f' event_logger: [{{name: f, typed_config: {{"@type": {URL}{SINK}, event_log_path: /b}}}}]'
    )
    assert one == HealthCheckConfig(
        check=TcpHealthCheck(),
        timeout=1.0,
        interval=2.0,
        unhealthy_threshold=3,
        healthy_threshold=4,
        initial_jitter=1.0,
        interval_jitter=2.0,
        interval_jitter_percent=3,
        no_traffic_interval=4.0,
        no_traffic_healthy_interval=5.0,
        unhealthy_interval=6.0,
        unhealthy_edge_interval=7.0,
        healthy_edge_interval=8.0,
        reuse_connection=False,
        always_log_failures=True,
        always_log_success=True,
        event_log_paths=("/a", "/b"),
        alpn=("x", "z"),
        transport_socket_match={"a": [1]},
    )


def test_an_http_check_arrives():
    check = built(
        "http_health_check: {path: /p, host: h, method: POST, send: {text: '6162'},"
        " receive: [{text: 0A}, {binary: Yg==}], response_buffer_size: 0, codec_client_type: HTTP2,"
        " expected_statuses: [{start: 200, end: 300}, {start: 404, end: 405}],"
        " retriable_statuses: [{start: 500, end: 600}], service_name_matcher: {prefix: m},"
        " request_headers_to_add: [{header: {key: a, value: b}}], request_headers_to_remove: [c]}"
    ).check
    assert isinstance(check, HttpHealthCheck)
    assert (check.path, check.host, check.method, check.http2) == (b"/p", b"h", b"POST", True)
    assert (check.send, check.receive) == (b"ab", (b"\n", b"b"))
    assert check.response_buffer_size == 0
    assert check.expected_statuses == (range(200, 300), range(404, 405))
    assert check.retriable_statuses == (range(500, 600),)
    assert check.service_name is not None
    assert check.service_name(b"me")
    assert not check.service_name(b"you")
    assert check.mutations is not None


def test_a_grpc_check_arrives():
    check = built(
        "grpc_health_check: {service_name: s, authority: a,"
        " initial_metadata: [{header: {key: k, value: v}}]}",
        more="http2_protocol_options: {}",
    ).check
    assert isinstance(check, GrpcHealthCheck)
    assert (check.service_name, check.authority) == ("s", b"a")
    assert check.mutations is not None


def test_the_clusters_own_fields_arrive():
    config = load(
        document(
            "tcp_health_check: {}",
            more="wait_for_warm_on_init: false\nignore_health_on_host_removal: true\n"
            "close_connections_on_host_health_failure: true\n"
            "common_lb_config: {ignore_new_hosts_until_first_hc: true}",
        )
    ).clusters[0]
    assert not config.wait_for_warm_on_init
    assert config.ignore_health_on_host_removal
    assert config.close_connections_on_host_health_failure
    assert config.warm_hosts


def test_an_endpoint_says_where_it_is_checked():
    config = load(
        cluster_with(
            "load_assignment: {cluster_name: app, endpoints: [{lb_endpoints: [{endpoint: {"
            "address: {socket_address: {address: 127.0.0.1, port_value: 80}}, health_check_config:"
            " {port_value: 81, hostname: h, disable_active_health_check: true,"
            " address: {socket_address: {address: 127.0.0.2, port_value: 82}}}}}]}]}"
        )
    ).clusters[0]
    check = config.endpoints[0].endpoints[0].health_check
    assert (check.port, check.hostname, check.disabled) == (81, "h", True)
    assert check.address is not None
    assert check.address.text == "127.0.0.2:82"


def test_the_runtime_bounds_the_interval():
    layers = "layered_runtime: {layers: [{name: a, static_layer: {health_check: {min_interval: 5,"
    one = load(document("tcp_health_check: {}") + f"{layers} max_interval: 7000}}}}}}]}}\n")
    check = one.clusters[0].health_check
    assert check is not None
    assert (check.min_interval, check.max_interval) == (0.005, 7.0)


REFUSED = {
    "several": (
        f"health_checks: [{{{BASE}, tcp_health_check: {{}}}}, {{{BASE}, tcp_health_check: {{}}}}]",
        "several health checks need names",
    ),
    "grpc without HTTP/2": (
        f"health_checks: [{{{BASE}, grpc_health_check: {{}}}}]",
        "needs a cluster that speaks HTTP/2",
    ),
    "payload of GET": (
        f"health_checks: [{{{BASE}, http_health_check: {{path: /, send: {{text: '00'}}}}}}]",
        "a health check by GET has no payload",
    ),
    "no hex": (
        f"health_checks: [{{{BASE}, tcp_health_check: {{send: {{text: 0x}}}}}}]",
        "'0x' is not hexadecimal",
    ),
    "odd hex": (
        f"health_checks: [{{{BASE}, tcp_health_check: {{receive: [{{text: '000'}}]}}}}]",
        "'000' is not hexadecimal",
    ),
    "empty range": (
        f"health_checks: [{{{BASE}, http_health_check:"
        " {path: /, expected_statuses: [{start: 200, end: 200}]}}]",
        "[200, 200) is not a range of statuses",
    ),
    "low range": (
        f"health_checks: [{{{BASE}, http_health_check:"
        " {path: /, expected_statuses: [{start: 99, end: 200}]}}]",
        "[99, 200) is not a range of statuses",
    ),
    "high range": (
        f"health_checks: [{{{BASE}, http_health_check:"
        " {path: /, retriable_statuses: [{start: 500, end: 601}]}}]",
        "[500, 601) is not a range of statuses",
    ),
    "more than is looked at": (
        f"health_checks: [{{{BASE}, http_health_check:"
        " {path: /, response_buffer_size: 1, receive: [{text: '0000'}]}}]",
        "the expected answer of 2 bytes is larger",
    ),
    "host as metadata": (
        f"health_checks: [{{{BASE}, http_health_check: {{path: /, request_headers_to_remove: [host]"
        "}}]",
        "host headers may not be removed",
    ),
    "name for a check's address": (
        "load_assignment: {cluster_name: app, endpoints: [{lb_endpoints: [{endpoint: {"
        "address: {socket_address: {address: 127.0.0.1, port_value: 80}}, health_check_config:"
        " {address: {socket_address: {address: a.b, port_value: 1}}}}}]}]}",
        "'a.b' is not an IP address",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_envoy_refuses_is_refused_at_its_place(name):
    lines, text = REFUSED[name]
    error = error_of(cluster_with(lines))
    assert error.code is Code.INVALID
    assert text in error.message


@pytest.mark.parametrize(
    "check",
    [
        "tcp_health_check: {}, alt_port: 80",
        "tcp_health_check: {proxy_protocol_config: {}}",
        "custom_health_check: {name: redis}",
        "http_health_check: {path: /, codec_client_type: HTTP3}",
    ],
)
def test_what_is_not_supported_is_refused_by_name(check):
    errors = errors_of(document(check))
    assert [error.kind for error in errors] == [ErrorKind.UNSUPPORTED]
