"""`http2_protocol_options`: Envoy's defaults, what arrives, and what is refused by name."""

from __future__ import annotations

import pytest

from meshproxy.config.listener import HttpConnectionManagerConfig
from meshproxy.errors import Code
from meshproxy.http.http2.settings import Http2Settings, Keepalive
from meshproxy.upstream.cluster import ClusterConfig, UpstreamProtocol
from tests.config.support import LISTENER, cluster_with, error_of, load, manager_with


def manager(line: str = "") -> HttpConnectionManagerConfig:
    listener = load(manager_with(line) if line else LISTENER).listeners[0]
    return listener.filter_chains[0].filters[-1].config


def options(fields: str) -> Http2Settings:
    return manager(f"http2_protocol_options: {{{fields}}}").http2


def test_without_options_the_defaults_are_envoys():
    assert manager().http2 == Http2Settings()
    assert Http2Settings().max_concurrent_streams == 1024
    assert Http2Settings().initial_stream_window_size == 16 * 1024 * 1024
    assert Http2Settings().initial_connection_window_size == 24 * 1024 * 1024


@pytest.mark.parametrize(
    "name",
    [
        "max_concurrent_streams",
        "hpack_table_size",
        "max_outbound_frames",
        "max_outbound_control_frames",
        "max_consecutive_inbound_frames_with_empty_payload",
        "max_inbound_priority_frames_per_stream",
        "max_inbound_window_update_frames_per_data_frame_sent",
    ],
)
def test_a_number_arrives(name):
    assert getattr(options(f"{name}: 7"), name) == 7


@pytest.mark.parametrize("name", ["initial_stream_window_size", "initial_connection_window_size"])
def test_a_window_arrives_and_has_a_least_size(name):
    assert getattr(options(f"{name}: 65535"), name) == 65535
    error = error_of(manager_with(f"http2_protocol_options: {{{name}: 65534}}"))
    assert name in error.path


@pytest.mark.parametrize(
    ("fields", "lenient"),
    [
        ("stream_error_on_invalid_http_messaging: true", True),
        ("override_stream_error_on_invalid_http_message: true", True),
        (
            "stream_error_on_invalid_http_messaging: true,"
            " override_stream_error_on_invalid_http_message: false",
            False,
        ),
    ],
)
def test_what_a_bad_message_costs(fields, lenient):
    assert options(fields).stream_error_on_invalid_http_messaging is lenient


def test_metadata_is_off_unless_it_is_allowed():
    assert options("").allow_metadata is False
    assert options("allow_metadata: true").allow_metadata is True
    assert options("allow_metadata: true").max_metadata_size == 1 << 20
    assert options("allow_metadata: true, max_metadata_size: 9").max_metadata_size == 9


def test_keepalive_arrives():
    given = "connection_keepalive: {interval: 30s, timeout: 5s, interval_jitter: {value: 10}}"
    assert options(given).keepalive == Keepalive(timeout=5, interval=30, jitter=0.1)
    given = "connection_keepalive: {connection_idle_interval: 1s, timeout: 5s}"
    assert options(given).keepalive == Keepalive(timeout=5, jitter=0.15, connection_idle_interval=1)


def test_keepalive_without_an_occasion_is_refused():
    error = error_of(manager_with("http2_protocol_options: {connection_keepalive: {timeout: 5s}}"))
    assert error.code is Code.REQUIRED
    assert "interval" in error.message


def test_the_limits_of_headers_are_those_of_the_manager():
    http2 = manager("max_request_headers_kb: 8").http2
    assert http2.max_headers_bytes == 8192
    http2 = manager("common_http_protocol_options: {max_headers_count: 5}").http2
    assert http2.max_headers_count == 5


@pytest.mark.parametrize(
    "field", ["use_oghttp2_codec: true",
              "custom_settings_parameters: [{identifier: 10, value: 0}]"]
)  # fmt: skip
def test_what_is_not_supported_is_refused_by_name(field):
    error = error_of(manager_with(f"http2_protocol_options: {{{field}}}"))
    assert error.code is Code.UNSUPPORTED_FIELD
    assert field.partition(":")[0] in error.path


EXTENSION = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def cluster(options: str) -> ClusterConfig:
    given = f"{{'@type': type.googleapis.com/{EXTENSION}, {options}}}"
    return load(
        cluster_with(f"typed_extension_protocol_options: {{{EXTENSION}: {given}}}")
    ).clusters[0]


@pytest.mark.parametrize(
    ("options", "protocol"),
    [
        ("explicit_http_config: {http_protocol_options: {}}", UpstreamProtocol.HTTP1),
        ("explicit_http_config: {http2_protocol_options: {}}", UpstreamProtocol.HTTP2),
        ("use_downstream_protocol_config: {}", UpstreamProtocol.DOWNSTREAM),
        (
            "use_downstream_protocol_config: {http2_protocol_options: {}}",
            UpstreamProtocol.DOWNSTREAM,
        ),
    ],
)
def test_a_cluster_says_what_its_hosts_speak(options, protocol):
    assert cluster(options).upstream_protocol is protocol


def test_the_clusters_own_deprecated_field_counts_where_there_is_no_extension():
    config = load(cluster_with("http2_protocol_options: {max_concurrent_streams: 9}")).clusters[0]
    assert config.upstream_protocol is UpstreamProtocol.HTTP2
    assert config.http2.max_concurrent_streams == 9


def test_options_of_http_2_and_limits_arrive_in_a_cluster():
    config = cluster(
        "explicit_http_config: {http2_protocol_options: {max_concurrent_streams: 5}},"
        " common_http_protocol_options: {max_headers_count: 7}"
    )
    assert (config.http2.max_concurrent_streams, config.http2.max_headers_count) == (5, 7)
    assert config.http2.buffer_limit == config.per_connection_buffer_limit_bytes


def test_http_3_is_refused_by_name():
    error = error_of(
        cluster_with(
            f"typed_extension_protocol_options: {{{EXTENSION}: {{'@type':"
            f" type.googleapis.com/{EXTENSION},"
            " explicit_http_config: {http3_protocol_options: {}}}}"
        )
    )
    assert error.code is Code.UNSUPPORTED_FIELD
    assert "http3_protocol_options" in error.path


def test_auto_config_without_alpn_to_decide_is_refused():
    error = error_of(
        cluster_with(
            f"typed_extension_protocol_options: {{{EXTENSION}: {{'@type':"
            f" type.googleapis.com/{EXTENSION}, auto_config: {{}}}}}}"
        )
    )
    assert error.code is Code.INVALID
    assert "needs a transport socket with ALPN" in error.message
