"""`tcp_proxy`: the same bytes, ends, log lines and counters as Envoy."""

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from tests.parity.config import bootstrap, cluster
from tests.parity.tcp import TcpPair, connect, read_all, tcp_listener, tcp_proxy
from tests.support.processes import ProxyProcess
from tests.support.upstreams import TIMEOUT_S, Peer, RefusingPort, ScriptedUpstream

# Whether the client's first bytes are read before the host is found dead is chance, and so is
# whether its last ones have left when it goes.
IGNORED = (
    r"tcp\.refused\.downstream_cx_rx_bytes_total|.*\.upstream_flush_total|.*flow_control.*"
    r"|.*buffered"
)


def play(peer: Peer) -> None:
    """Echoes; `bye` makes it end its side first, `break` makes it reset."""
    while data := peer.read_some():
        if data == b"break":
            peer.reset()
            return
        peer.send(data)
        if data == b"bye":
            peer.half_close()


@pytest.fixture(scope="module")
def pair() -> Iterator[TcpPair]:
    with ScriptedUpstream(play) as upstream, RefusingPort() as refusing:
        listeners = [
            tcp_listener("main", [{"filters": [tcp_proxy("main", cluster="up")]}]),
            tcp_listener(
                "refused",
                [{"filters": [tcp_proxy("refused", cluster="refusing", max_connect_attempts=3)]}],
            ),
            tcp_listener("empty", [{"filters": [tcp_proxy("empty", cluster="empty")]}]),
            tcp_listener("full", [{"filters": [tcp_proxy("full", cluster="full")]}]),
            tcp_listener(
                "idle", [{"filters": [tcp_proxy("idle", cluster="up", idle_timeout="0.2s")]}]
            ),
            tcp_listener(
                "short",
                [
                    {
                        "filters": [
                            tcp_proxy(
                                "short", cluster="up", max_downstream_connection_duration="0.2s"
                            )
                        ]
                    }
                ],
            ),
        ]
        breakers = "circuit_breakers: {thresholds: [{max_connections: 0}]}"
        clusters = [
            cluster("up", [upstream.port]),
            cluster("refusing", [refusing.port]),
            cluster("empty", []),
            cluster("full", [upstream.port], options=breakers),
        ]
        with TcpPair(bootstrap(listeners, clusters), ignored=IGNORED) as both:
            yield both


def test_the_client_ends_its_side_first(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bytes | str:
        with connect(proxy) as client:
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
            client.shutdown(socket.SHUT_WR)
            return read_all(client)

    assert pair.check(talk).result == b""


def test_the_host_ends_its_side_first_and_goes_on_reading(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bytes | str:
        with connect(proxy) as client:
            client.sendall(b"bye")
            answer = read_all(client)
            client.sendall(b"after the end")
            client.shutdown(socket.SHUT_WR)
            return answer

    assert pair.check(talk).result == b"bye"


def test_a_host_that_refuses_is_tried_three_times(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bool:
        with connect(proxy, "refused") as client:
            return read_all(client) in (b"", "reset")

    seen = pair.check(talk)
    assert "flags=UF,URX" in seen.log[0]


@pytest.mark.parametrize(("listener", "flag"), [("empty", "UH"), ("full", "UO")])
def test_there_is_nowhere_to_go(pair: TcpPair, listener: str, flag: str) -> None:
    def talk(proxy: ProxyProcess) -> bool:
        with connect(proxy, listener) as client:
            return read_all(client) in (b"", "reset")

    assert f"flags={flag}" in pair.check(talk).log[0]


@pytest.mark.parametrize("listener", ["idle", "short"])
def test_a_connection_runs_out_of_time(pair: TcpPair, listener: str) -> None:
    def talk(proxy: ProxyProcess) -> bytes | str:
        with connect(proxy, listener) as client:
            client.sendall(b"x")
            return read_all(client)

    pair.check(talk)


def test_a_host_that_breaks_off_ends_the_client(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bool:
        with connect(proxy) as client:
            client.sendall(b"break")
            return read_all(client) in (b"", "reset")

    pair.check(talk)


def test_a_client_that_breaks_off_ends_the_host(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        client = connect(proxy)
        client.sendall(b"x")
        answer = client.recv(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        return answer

    pair.check(talk)


def test_megabytes_pass_in_both_directions(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bool:
        sent = bytes(range(256)) * 32768
        with connect(proxy) as client:
            writer = threading.Thread(target=client.sendall, args=(sent,))
            writer.start()
            received = bytearray()
            while len(received) < len(sent) and (piece := client.recv(1 << 20)):
                received += piece
            writer.join(TIMEOUT_S)
        return received == sent

    assert pair.check(talk).result is True
