"""WebSocket and CONNECT over HTTP/1.1: the same bytes, ends, log lines and counters as Envoy."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.tcp import TcpPair, connect
from tests.support.processes import ProxyProcess
from tests.support.raw_client import http_request
from tests.support.upstreams import Peer, RefusingPort, ScriptedUpstream

LOG = (
    "AL|%REQ(:METHOD)%|%PROTOCOL%|%RESPONSE_CODE%|%RESPONSE_FLAGS%|%RESPONSE_CODE_DETAILS%"
    "|rx=%BYTES_RECEIVED%|tx=%BYTES_SENT%|%UPSTREAM_HOST%|%UPSTREAM_PROTOCOL%|%ROUTE_NAME%\n"
)
WISH = ("upgrade: websocket", "connection: keep-alive, Upgrade", "sec-websocket-key: k")
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-accept: x\r\n\r\n"
)
ANSWERS = {
    b"/ws": SWITCHED + b"first",
    b"/403": b"HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\nnope",
    b"/200": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    b"/late": b"",
}
# Who is seen to close first where both do is chance.
IGNORED = r".*_bytes_total|.*_bytes_buffered|.*delayed_close_timeout|.*flow_control.*"


def play(peer: Peer) -> None:
    """Answers a GET or POST by its path, anything else as an echo; `bye` ends its side."""
    head = peer.read_head()
    if head.startswith((b"GET", b"POST")):
        peer.send(ANSWERS[head.split()[1]])
    elif head:
        peer.send(head)
    with suppress(OSError):
        while data := peer.read_some():
            if data == b"bye":
                peer.half_close()
            else:
                peer.send(data)


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(play) as each:
        yield each


@pytest.fixture(scope="module")
def pair(upstream: ScriptedUpstream) -> Iterator[TcpPair]:
    routes = """\
- match: {path: /denied}
  name: denied
  route: {cluster: up, upgrade_configs: [{upgrade_type: WebSocket, enabled: false}]}
- match: {connect_matcher: {}, headers: [{name: dead, present_match: true}]}
  route: {cluster: dead, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}
- match: {connect_matcher: {}}
  name: tunnel
  route: {cluster: up, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}
- match: {prefix: /}
  route: {cluster: up}
"""
    by_route = """\
- match: {prefix: /}
  route: {cluster: up, idle_timeout: 0.3s, upgrade_configs: [{upgrade_type: websocket}]}
"""
    text = {"text_format_source": {"inline_string": LOG}}
    upgrades = "upgrade_configs: [{upgrade_type: websocket}, {upgrade_type: CONNECT}]"
    with RefusingPort() as refusing:
        listeners = [
            listener("main", virtual_host(routes), options=upgrades, log_format=text),
            listener("by_route", virtual_host(by_route), log_format=text),
        ]
        clusters = [cluster("up", [upstream.port]), cluster("dead", [refusing.port])]
        with TcpPair(bootstrap(listeners, clusters), ignored=IGNORED) as both:
            yield both


def read_until(client: socket.socket, end: bytes) -> bytes:
    """Everything up to and with `end`, without what changes from run to run."""
    data = b""
    while not data.endswith(end):
        piece = client.recv(65536)
        assert piece, data
        data += piece
    return without_date(data)


def without_date(data: bytes) -> bytes:
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"date: ")]
    return b"\r\n".join([lines[0], *sorted(lines[1:])]) + b"\r\n\r\n" + rest


def read_rest(client: socket.socket) -> bytes:
    data = b""
    with suppress(ConnectionResetError):
        while piece := client.recv(65536):
            data += piece
    return data


@pytest.mark.parametrize("name", ["main", "by_route"])
def test_a_websocket_talks_until_the_client_leaves(pair: TcpPair, name: str) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy, name) as client:
            client.sendall(http_request("/ws", *WISH))
            seen = read_until(client, b"first")
            client.sendall(b"hello")
            return seen + read_until(client, b"hello")

    seen = pair.check(talk)
    assert b"\r\nconnection: Upgrade\r\n" in seen.result
    assert seen.stats[f"http.{name}.downstream_cx_upgrades_total"] == 1
    assert f"http.{name}.downstream_cx_upgrades_active" not in seen.stats


def test_a_websocket_ends_when_its_host_does(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy) as client:
            client.sendall(http_request("/ws", *WISH))
            read_until(client, b"first")
            client.sendall(b"bye")
            return read_rest(client)

    assert pair.check(talk).result == b""


@pytest.mark.parametrize("fields", [(), ("content-length: 5",)])
def test_what_comes_early_is_not_lost(pair: TcpPair, fields: tuple[str, ...]) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy) as client:
            client.sendall(http_request("/ws", *WISH, *fields) + b"early")
            return read_until(client, b"early")

    assert pair.check(talk).result.endswith(b"firstearly")


@pytest.mark.parametrize("target", ["/403", "/200"])
def test_a_host_that_does_not_switch_never_sees_what_was_meant_for_the_other_protocol(
    pair: TcpPair, upstream: ScriptedUpstream, target: str
) -> None:
    def talk(proxy: ProxyProcess) -> tuple[bytes, bool]:
        with connect(proxy) as client:
            client.sendall(http_request(target, *WISH) + b"GET /smuggled HTTP/1.1\r\n\r\n")
            answer = without_date(read_rest(client))
        return answer, b"smuggled" in upstream.received[-1]

    answer, smuggled = pair.check(talk).result
    assert b"\r\nconnection: close\r\n" in answer
    assert not smuggled


@pytest.mark.parametrize(
    ("target", "wish", "name"),
    [
        ("/denied", WISH, "main"), ("/ws", ("upgrade: other", "connection: upgrade"), "main"),
        ("/ws", ("upgrade: connect", "connection: upgrade"), "by_route"),
    ],
)  # fmt: skip
def test_a_protocol_that_is_not_let_in_is_a_403(
    pair: TcpPair, target: str, wish: tuple[str, ...], name: str
) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy, name) as client:
            client.sendall(http_request(target, *wish))
            return without_date(read_rest(client))

    assert pair.check(talk).result.startswith(b"HTTP/1.1 403 Forbidden\r\n")


def test_a_silent_websocket_ends_after_the_routes_idle_timeout(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy, "by_route") as client:
            client.sendall(http_request("/ws", *WISH))
            read_until(client, b"first")
            return read_rest(client)

    assert "|SI|" in pair.check(talk).log[0]


CONNECT = b"CONNECT h.example:80 HTTP/1.1\r\nhost: h.example:80\r\n\r\n"


def test_a_tunnel_carries_bytes_until_its_host_ends(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy) as client:
            client.sendall(CONNECT)
            seen = read_until(client, b"\r\n\r\n")
            client.sendall(b"PING\r\n\r\n")
            seen += read_until(client, b"PING\r\n\r\n")
            client.sendall(b"bye")
            client.settimeout(0.3)
            with suppress(TimeoutError):  # Envoy leaves it to the client to close
                seen += client.recv(100)
            return seen

    seen = pair.check(talk)
    assert seen.result.startswith(b"HTTP/1.1 200 OK\r\nserver: envoy\r\n\r\n")
    assert "|via_upstream|rx=11|tx=8|" in seen.log[0]


def test_a_tunnel_carries_what_comes_before_it_is_there(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy) as client:
            client.sendall(CONNECT + b"PING\r\n\r\n")
            return read_until(client, b"PING\r\n\r\n")

    assert b"\r\n\r\nPING" in pair.check(talk).result


def test_a_tunnel_to_nobody_is_a_503(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy) as client:
            client.sendall(CONNECT.replace(b"\r\n\r\n", b"\r\ndead: 1\r\n\r\n"))
            return without_date(read_rest(client))

    seen = pair.check(talk)
    assert seen.result.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert "|UF|" in seen.log[0]


def test_after_the_end_of_a_tunnel_nothing_is_read_as_a_request(pair: TcpPair) -> None:
    proxy = pair.sides["meshproxy"]
    requests = proxy.counters()["http.main.downstream_rq_total"]
    with connect(proxy) as client:
        client.sendall(CONNECT + b"PING\r\n\r\n")
        read_until(client, b"PING\r\n\r\n")
        client.sendall(b"bye")
        assert read_rest(client) == b""
        with suppress(OSError):
            client.sendall(http_request("/smuggled"))
    pair.skip_log("meshproxy")
    assert proxy.counters()["http.main.downstream_rq_total"] == requests + 1


def test_a_tunnel_that_no_route_wants_is_refused(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy, "by_route") as client:
            client.sendall(CONNECT)
            return without_date(read_rest(client))

    assert pair.check(talk).result.startswith(b"HTTP/1.1 404 Not Found\r\n")
