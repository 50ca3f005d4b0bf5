"""`Cluster` to `ClusterConfig`: every supported field arrives, and what Envoy checks is checked."""

import pytest

from meshproxy.errors import Code
from meshproxy.upstream.cluster import CircuitBreakers, DiscoveryType, DnsConfig, DnsLookupFamily
from meshproxy.upstream.host import Locality
from meshproxy.upstream.load_balancer import LbPolicy, LeastRequestConfig
from tests.config.support import URL, cluster_with, error_of, load

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def cluster(lines=""):
    return load(cluster_with(lines)).clusters[0]


def test_a_cluster_has_the_defaults_of_envoy():
    config = cluster()
    assert config.name == "app"
    assert config.connect_timeout == 1.0
    assert config.type is DiscoveryType.STATIC
    assert config.lb_policy is LbPolicy.ROUND_ROBIN
    assert config.per_connection_buffer_limit_bytes == 1024 * 1024
    assert config.circuit_breakers == CircuitBreakers(1024, 1024, 1024, 3)
    assert config.dns == DnsConfig()
    assert config.idle_timeout == 3600.0
    assert config.max_requests_per_connection == 0
    assert config.healthy_panic_threshold == 50.0
    assert not config.enable_trailers


def test_a_cluster_without_a_connect_timeout_has_five_seconds():
    config = load("static_resources: {clusters: [{name: app}]}").clusters[0]
    assert config.connect_timeout == 5.0


def test_every_field_of_a_cluster_arrives():
    config = cluster(
        """
        alt_stat_name: other
        type: STRICT_DNS
        lb_policy: LEAST_REQUEST
        per_connection_buffer_limit_bytes: 4096
        dns_refresh_rate: 0.5s
        dns_failure_refresh_rate: {base_interval: 2s}
        dns_jitter: 0.25s
        respect_dns_ttl: true
        dns_lookup_family: V4_PREFERRED
        least_request_lb_config: {choice_count: 5, active_request_bias: {default_value: 0.5}}
        common_lb_config:
          healthy_panic_threshold: {value: 10}
          zone_aware_lb_config: {fail_traffic_on_panic: true}
        circuit_breakers:
          thresholds:
          - {max_connections: 1, max_pending_requests: 2, max_requests: 3, max_retries: 4}
          - {priority: HIGH, max_requests: 9, track_remaining: true}
        metadata: {filter_metadata: {envoy.lb: {canary: true, number: 3}}}
        """
    )
    assert config.observability_name == "other"
    assert config.type is DiscoveryType.STRICT_DNS
    assert config.lb_policy is LbPolicy.LEAST_REQUEST
    assert config.per_connection_buffer_limit_bytes == 4096
    assert config.dns == DnsConfig(
        0.5, (2.0, 20.0), 0.25, respect_ttl=True, lookup_family=DnsLookupFamily.V4_PREFERRED
    )
    assert config.least_request == LeastRequestConfig(5, 0.5)
    assert config.healthy_panic_threshold == 10.0
    assert config.fail_traffic_on_panic
    assert config.circuit_breakers == CircuitBreakers(1, 2, 3, 4)
    assert config.high_circuit_breakers.max_requests == 9
    assert config.high_circuit_breakers.track_remaining
    assert config.metadata == {"envoy.lb": {"canary": True, "number": 3}}


def test_endpoints_arrive_with_their_localities():
    config = cluster(
        """
        type: STATIC
        common_lb_config: {locality_weighted_lb_config: {}}
        load_assignment:
          cluster_name: app
          policy: {overprovisioning_factor: 200}
          endpoints:
          - locality: {region: r, zone: z, sub_zone: s}
            priority: 1
            load_balancing_weight: 7
            lb_endpoints:
            - endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: 80}}}
            - load_balancing_weight: 3
              health_status: DRAINING
              metadata: {filter_metadata: {a: {b: c}}}
              endpoint:
                hostname: h
                address: {socket_address: {address: "::1", port_value: 81}}
            - endpoint: {address: {pipe: {path: /tmp/x}}}
        """
    )
    locality = config.endpoints[0]
    assert locality.locality == Locality("r", "z", "s")
    assert (locality.priority, locality.weight) == (1, 7)
    first, second, third = locality.endpoints
    assert (first.address, first.port, first.weight, first.hostname) == ("10.0.0.1", 80, 1, "")
    assert (second.address, second.port, second.weight) == ("::1", 81, 3)
    assert (second.hostname, second.health_status) == ("h", 3)
    assert second.metadata == {"a": {"b": "c"}}
    assert third.pipe == "/tmp/x"
    assert config.overprovisioning_factor == 200
    assert config.locality_weighted


@pytest.mark.parametrize(
    "lines",
    [
        "common_http_protocol_options: {idle_timeout: 7s, max_headers_count: 9,"
        " max_requests_per_connection: 2}\nhttp_protocol_options: {enable_trailers: true}",
        f"typed_extension_protocol_options: {{{OPTIONS}: {{'@type': {URL}{OPTIONS},"
        " common_http_protocol_options: {idle_timeout: 7s, max_headers_count: 9,"
        " max_requests_per_connection: 2},"
        " explicit_http_config: {http_protocol_options: {enable_trailers: true}}}}",
    ],
)
def test_http_options_are_read_from_the_extension_and_from_the_old_fields(lines):
    config = cluster(lines)
    assert config.idle_timeout == 7.0
    assert config.max_response_headers_count == 9
    assert config.max_requests_per_connection == 2
    assert config.enable_trailers


def test_an_idle_timeout_of_zero_means_never():
    assert cluster("common_http_protocol_options: {idle_timeout: 0s}").idle_timeout is None


def test_a_runtime_key_changes_the_bias_of_least_request():
    lines = "least_request_lb_config: {active_request_bias: {default_value: 1, runtime_key: a.b}}"
    document = cluster_with(lines)
    layer = "layered_runtime: {layers: [{name: x, static_layer: {a: {b: 2.5}}}]}\n"
    assert load(document + layer).clusters[0].least_request.active_request_bias == 2.5


def wrong(lines):
    return error_of(cluster_with(lines))


def test_a_name_where_a_static_cluster_needs_an_ip_address_is_refused():
    error = wrong(
        "type: STATIC\nload_assignment: {cluster_name: a, endpoints: [{lb_endpoints: ["
        "{endpoint: {address: {socket_address: {address: example.com, port_value: 80}}}}]}]}"
    )
    assert "'example.com' is not an IP address" in error.message
    assert "STRICT_DNS or LOGICAL_DNS" in error.expected
    assert error.path.endswith("endpoint.address.socket_address.address")


@pytest.mark.parametrize("endpoint", ["{}", "{endpoint: {}}"])
def test_an_endpoint_without_an_address_is_refused(endpoint):
    error = wrong(
        f"load_assignment: {{cluster_name: a, endpoints: [{{lb_endpoints: [{endpoint}]}}]}}"
    )
    assert error.message == "the endpoint has no address"


@pytest.mark.parametrize("endpoints", ["", ", endpoints: [{lb_endpoints: []}]"])
def test_a_logical_dns_cluster_must_have_one_endpoint(endpoints):
    error = wrong(f"type: LOGICAL_DNS\nload_assignment: {{cluster_name: a{endpoints}}}")
    assert "exactly one endpoint" in error.message


def test_a_cluster_given_twice_is_refused_with_both_lines():
    error = error_of("static_resources:\n  clusters:\n  - name: a\n  - name: a\n")
    assert error.code is Code.DUPLICATE_NAME
    assert error.message == "duplicate cluster 'a', first given in line 3"
    assert error.place.line == 4


def test_protocol_options_under_an_unknown_key_are_refused():
    error = wrong(
        f"typed_extension_protocol_options: {{x: {{'@type': {URL}{OPTIONS},"
        " explicit_http_config: {http_protocol_options: {}}}}"
    )
    assert error.suggestion == OPTIONS


MATCH = """
transport_socket_matches:
- name: secure
  match: {{zone: a, tls: true}}
  transport_socket:
    name: tls
    typed_config:
      "@type": {url}envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
      sni: host
- name: {other}
  match: {{}}
  transport_socket:
    name: raw
    typed_config:
      "@type": {url}envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer
"""


def test_transport_socket_matches_arrive_in_their_order():
    secure, other = cluster(MATCH.format(url=URL, other="plain")).transport_socket_matches
    assert (secure.name, secure.match) == ("secure", {"tls": True, "zone": "a"})
    assert secure.tls is not None
    assert secure.tls.sni == "host"
    assert (other.name, other.match, other.tls) == ("plain", {}, None)


def test_two_transport_socket_matches_of_one_name_are_an_error():
    error = error_of(cluster_with(MATCH.format(url=URL, other="secure")))
    assert error.code is Code.DUPLICATE_NAME
    assert "duplicate transport socket match 'secure'" in error.message
