"""HttpTunnel: who ends it and how, over either HTTP, with connectors that the test drives."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.http2.settings import Http2Settings
from meshproxy.network.address import Address
from meshproxy.stats.store import Store
from meshproxy.upstream.cluster import CircuitBreakers, Cluster, ClusterConfig, UpstreamProtocol
from meshproxy.upstream.host import EndpointConfig, Host
from meshproxy.upstream.http_tunnel import HttpTunnel
from tests.support.http2_frames import DATA, HEADERS, RST_STREAM, data, headers, settings
from tests.upstream.test_conn_pool import Connector
from tests.upstream.test_http2_pool import read_frames

GRANTED = b"HTTP/1.1 200 OK\r\n\r\n"


class Client:
    """`tcp_client.TcpCallbacks`: writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def on_upstream_connected(self) -> None:
        self.heard.append("connected")

    def on_upstream_failure(self, reason: str, text: str) -> None:
        self.heard.append((reason, text))

    def on_upstream_data(self, data: bytes) -> None:
        self.heard.append(data)

    def on_upstream_eof(self) -> bool:
        self.heard.append("eof")
        return True

    def on_upstream_watermark(self, high: bool) -> None:
        self.heard.append(high)

    def on_upstream_closed(self, local: bool) -> None:
        self.heard.append("closed")


def tunnel(protocol: UpstreamProtocol = UpstreamProtocol.HTTP1, **limits: int) -> SimpleNamespace:
    config = ClusterConfig(
        name="c", upstream_protocol=protocol, http2=Http2Settings(),
        circuit_breakers=CircuitBreakers(**limits),
    )  # fmt: skip
    cluster = Cluster(config, Store())
    host = Host(Address.parse("127.0.0.1", 80), EndpointConfig("127.0.0.1", 80))
    request = HeaderMap([(b":method", b"CONNECT"), (b":authority", b"t:1")])
    client, connector = Client(), Connector()
    one = HttpTunnel(cluster, host, request, client)
    one.connect(connector)
    return SimpleNamespace(
        cluster=cluster, host=host, heard=client.heard, connector=connector, tunnel=one
    )


def opened() -> tuple[SimpleNamespace, SimpleNamespace]:
    """A tunnel over HTTP/1 that is there, and its wire."""
    world = tunnel()
    _, wire = world.connector.succeed()
    assert wire.take() == b"CONNECT t:1 HTTP/1.1\r\nhost: t:1\r\n\r\n"
    wire.dispatch(GRANTED)
    assert world.heard == ["connected"]
    world.heard.clear()
    return world, wire


def opened2() -> tuple[SimpleNamespace, SimpleNamespace]:
    """The same over HTTP/2."""
    world = tunnel(UpstreamProtocol.HTTP2)
    _, wire = world.connector.succeed()
    wire.dispatch(settings() + headers(1, ((":status", "200"),), 4))
    assert world.heard == ["connected"]
    world.heard.clear()
    wire.take()
    return world, wire


def test_bytes_go_both_ways_once_the_host_has_agreed():
    world, wire = opened()
    world.tunnel.write(b"up")
    wire.dispatch(b"down")
    assert (wire.take(), world.heard) == (b"up", [b"down"])


def test_our_end_is_the_end_of_both_over_http_1():
    world, wire = opened()
    world.tunnel.write_eof()
    assert (wire.closed, world.heard) == ("flush", ["closed"])
    world.tunnel.write_eof()  # and nothing after it
    world.tunnel.close()
    world.tunnel.abort()
    assert world.heard == ["closed"]
    assert world.cluster.requests_active == 0


def test_the_hosts_end_is_the_end_of_both_over_http_1():
    world, _ = opened()
    [client] = world.host.pool.clients
    client.on_eof()
    assert world.heard == ["closed"]
    assert world.cluster.requests_active == 0


def test_sides_end_one_after_the_other_over_http_2():
    world, wire = opened2()
    world.tunnel.write(b"up")
    world.tunnel.write_eof()
    sent = read_frames(wire.take())
    assert [(each.kind, each.payload) for each in sent] == [(DATA, b"up"), (DATA, b"")]
    wire.dispatch(data(1, b"down", 0))
    wire.dispatch(data(1, b""))
    assert world.heard == [b"down", "eof"]
    world.tunnel.finish()
    assert world.cluster.requests_active == 0
    assert wire.closed is None


def test_a_client_that_goes_resets_its_stream_over_http_2():
    world, wire = opened2()
    world.tunnel.close()
    assert [each.kind for each in read_frames(wire.take())] == [RST_STREAM]
    assert world.heard == []
    assert world.cluster.requests_active == 0
    assert wire.closed is None


@pytest.mark.parametrize("octets", [
    b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno",
])  # fmt: skip
def test_an_answer_that_is_no_agreement_is_a_failure(octets: bytes):
    world = tunnel()
    _, wire = world.connector.succeed()
    wire.dispatch(octets)
    assert world.heard == [("remote connection failure", "tunnel_response:404")]
    assert wire.closed == "abort"
    assert world.cluster.requests_active == 0


def test_a_tunnel_that_ends_with_its_headers_is_none():
    world = tunnel(UpstreamProtocol.HTTP2)
    _, wire = world.connector.succeed()
    wire.dispatch(settings() + headers(1, ((":status", "200"),)))
    assert world.heard == [("remote connection failure", "tunnel_response:200")]


def test_a_host_that_goes_before_it_answers_is_a_failure():
    world = tunnel()
    world.connector.succeed()
    [client] = world.host.pool.clients
    client.on_eof()
    assert world.heard == [("connection termination", "")]


def test_whoever_does_not_wait_any_more_is_forgotten():
    world = tunnel()
    world.tunnel.close()
    _, wire = world.connector.succeed()
    assert (wire.take(), world.heard) == (b"", [])
    assert world.cluster.pending_active == 0


def test_a_full_pool_says_so_at_once():
    assert tunnel(max_pending_requests=0).heard == [("overflow", "")]


def test_headers_of_http_2_are_those_of_a_connect():
    world = tunnel(UpstreamProtocol.HTTP2)
    _, wire = world.connector.succeed()
    wire.dispatch(settings())
    sent = read_frames(wire.take().partition(b"SM\r\n\r\n")[2])
    assert [each.kind for each in sent if each.kind == HEADERS] == [HEADERS]
