"""`tcp_proxy` with `tunneling_config`: bytes through a proxy that speaks HTTP, as by Envoy."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from tests.parity.config import bootstrap, cluster
from tests.parity.tcp import TcpPair, connect, read_all, tcp_listener, tcp_proxy
from tests.parity.test_upgrades import Http2Echo
from tests.support.eventually import eventually
from tests.support.processes import ProxyProcess
from tests.support.upstreams import Peer, RefusingPort, ScriptedUpstream

# Who closes first where both do, and what a client has sent before there is anybody to take it, is
# chance in one of the two; of HTTP/2 each counts its own frames.
IGNORED = (
    r".*flow_control.*|.*buffered|.*upstream_flush_total|.*http2\..*"
    r"|.*_cx_destroy_(local|remote).*|.*_destroy_with_active_rq|tcp\..*rx_bytes_total"
    r"|.*cluster\..*_bytes_total"
)
NOT_LOGGED = r"\|rx=\d+"
TARGET = "target.example:443"
TUNNEL: dict[str, Any] = {
    "hostname": TARGET,
    "headers_to_add": [
        {"header": {"key": "x-peer", "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}},
        {"header": {"key": "x-twice", "value": "1"}},
        {"header": {"key": "x-twice", "value": "2"}},
    ],
}
H2 = json.dumps(
    {
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3"
                ".HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        }
    }
)
# By what the tunnel's host is asked for: what it says first.
ANSWERS = {
    TARGET: b"HTTP/1.1 200 OK\r\nx-up: 1\r\n\r\n",
    "early": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nfirst",  # RFC 9110, 9.3.6: no length
    "other": b"HTTP/1.1 299 Odd\r\n\r\n",
    "denied": b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno",
    "127.0.0.1": b"HTTP/1.1 200 OK\r\n\r\n",
    "silent": b"",
}


def play(peer: Peer) -> None:
    """Answers as the host's name says; then echoes, and ends after `bye`."""
    head = peer.read_head()
    target = next((name for name in ANSWERS if b"host: " + name.encode() in head), "")
    if not (answer := ANSWERS.get(target, b"")):
        return
    peer.send(answer)
    while data := peer.read_some():
        peer.send(data)
        if data == b"bye":
            return


def tunnel(name: str, to: str = "up", *, more: dict[str, Any] | None = None, **fields: Any) -> Any:
    config = {**TUNNEL, **(more or {})}
    proxy = tcp_proxy(name, cluster=to, tunneling_config=config, **fields)
    return tcp_listener(name, [{"filters": [proxy]}])


@pytest.fixture(scope="module")
def host() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(play) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def echoes() -> Iterator[dict[str, Http2Echo]]:
    each = {"two": Http2Echo(), "never": Http2Echo("503")}
    yield each
    for one in each.values():
        one.stop()


@pytest.fixture(scope="module")
def pair(host: ScriptedUpstream, echoes: dict[str, Http2Echo]) -> Iterator[TcpPair]:
    with RefusingPort() as refusing:
        listeners = [
            tunnel("main"),
            *(tunnel(name, more={"hostname": name}) for name in ("early", "other")),
            *(tunnel(name, more={"hostname": name}, max_connect_attempts=3)
              for name in ("denied", "silent")),
            tunnel("formatted", more={"hostname": "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"}),
            tunnel("refused", "refusing", max_connect_attempts=2),
            tunnel("full", "full"),
            tunnel("post", more={"use_post": True, "post_path": "/way"}),
            tunnel("two", "two"), tunnel("two_post", "two", more={"use_post": True}),
            tunnel("never", "never"),
        ]  # fmt: skip
        breakers = "circuit_breakers: {thresholds: [{max_pending_requests: 0}]}"
        clusters = [
            cluster("up", [host.port]), cluster("refusing", [refusing.port]),
            cluster("full", [host.port], options=breakers),
            *(cluster(name, [each.port], options=H2) for name, each in echoes.items()),
        ]  # fmt: skip
        yaml = bootstrap(listeners, clusters)
        with TcpPair(yaml, ignored=IGNORED, not_logged=NOT_LOGGED) as both:
            yield both


def exchange(proxy: ProxyProcess, listener: str, data: bytes) -> tuple[bytes, bytes | str]:
    """Send, read as much, end our side, and read the rest."""
    with connect(proxy, listener) as client:
        client.sendall(data)
        got = b""
        while len(got) < len(data) and (piece := client.recv(len(data) - len(got))):
            got += piece
        client.shutdown(socket.SHUT_WR)
        return got, read_all(client)


def test_a_tunnel_is_asked_for_by_connect(pair: TcpPair, host: ScriptedUpstream) -> None:
    def talk(proxy: ProxyProcess) -> tuple[object, bytes]:
        seen = exchange(proxy, "main", b"hello")
        return seen, host.received[-1]

    seen, sent = pair.check(talk).result
    assert seen == (b"hello", b"")
    assert sent.startswith(b"CONNECT target.example:443 HTTP/1.1\r\nhost: target.example:443\r\n")
    assert sent.endswith(b"x-peer: 127.0.0.1\r\nx-twice: 1\r\nx-twice: 2\r\n\r\nhello")


@pytest.mark.parametrize("listener", ["early", "other", "formatted"])
def test_a_tunnel_is_there_when_the_host_says_2xx(pair: TcpPair, listener: str) -> None:
    def talk(proxy: ProxyProcess) -> bytes | str:
        with connect(proxy, listener) as client:
            client.sendall(b"bye")
            return read_all(client)

    assert pair.check(talk).result == (b"firstbye" if listener == "early" else b"bye")


@pytest.mark.parametrize(
    ("listener", "says"),
    [
        ("denied", "failure=tunnel_response:403|attempts=3"), ("silent", "failure=-|attempts=3"),
        ("refused", "attempts=2"), ("never", "failure=tunnel_response:503"),
    ],
)  # fmt: skip
def test_there_is_no_tunnel(pair: TcpPair, listener: str, says: str) -> None:
    def talk(proxy: ProxyProcess) -> bool:
        with connect(proxy, listener) as client:
            return read_all(client) in (b"", "reset")

    seen = pair.check(talk)
    assert "flags=UF,URX" in seen.log[0]
    assert says in seen.log[0]


def test_a_full_pool_has_no_room_for_a_tunnel(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bool:
        with connect(proxy, "full") as client:
            return read_all(client) in (b"", "reset")

    assert "flags=URX|tx=0|cluster=full|host=-" in pair.check(talk).log[0]


def test_a_host_that_ends_ends_the_client(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bytes | str:
        with connect(proxy) as client:
            client.sendall(b"bye")
            return read_all(client)

    assert pair.check(talk).result == b"bye"


def test_a_tunnel_by_post(pair: TcpPair, host: ScriptedUpstream) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        exchange(proxy, "post", b"abc")
        eventually(lambda: host.received[-1].endswith(b"0\r\n\r\n"))
        return host.received[-1]

    sent = pair.check(talk).result
    assert sent.startswith(b"POST /way HTTP/1.1\r\nhost: target.example:443\r\n")
    assert sent.endswith(b"3\r\nabc\r\n0\r\n\r\n")


@pytest.mark.parametrize("listener", ["two", "two_post"])
def test_a_tunnel_over_http_2(pair: TcpPair, echoes: dict[str, Http2Echo], listener: str) -> None:
    def talk(proxy: ProxyProcess) -> tuple[bytes, dict[str, str]]:
        with connect(proxy, listener) as client:
            for _ in range(3):
                client.sendall(b"x" * 40_000)
                got = 0
                while got < 40_000:
                    got += len(client.recv(65536))
            client.sendall(b"end")
            answer = client.recv(3)
            # An end of our side alone would leave the host's to the host.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return answer, dict(echoes["two"].seen[-1])

    answer, asked = pair.check(talk).result
    assert answer == b"end"
    assert asked.pop("x-twice") in ("1", "2")
    assert asked.pop("x-peer") == "127.0.0.1"
    if listener == "two":
        assert asked == {":method": "CONNECT", ":authority": TARGET}
    else:
        assert asked == {
            ":method": "POST", ":authority": TARGET, ":path": "/", ":scheme": "http",
        }  # fmt: skip
