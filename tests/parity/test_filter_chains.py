"""Which chain a connection gets, by what its client says first: the same as Envoy."""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parity.config import bootstrap, cluster
from tests.parity.tcp import TcpPair, connect, read_all, tcp_listener, tcp_proxy
from tests.parity.tls import (
    client_context,
    common_name,
    downstream_tls,
    tls_certificate,
    tls_connect,
)
from tests.support.certificates import make
from tests.support.processes import ProxyProcess
from tests.support.upstreams import ScriptedUpstream

_FILTERS = "type.googleapis.com/envoy.extensions.filters.listener."
INSPECTOR = {
    "name": "tls",
    "typed_config": {"@type": _FILTERS + "tls_inspector.v3.TlsInspector"},
}
# Client and host leave at the same time: who is seen to go first is chance.
IGNORED = (
    r".*_destroy_(local|remote).*|.*\.ssl\.(curves|sigalgs)\..*|.*_bytes_buffered"
    r"|.*_bytes_total|.*upstream_flush_total"
)
V1 = b"PROXY TCP4 203.0.113.7 198.51.100.1 5000 8443\r\n"
V2 = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
    + socket.inet_aton("203.0.113.7")
    + socket.inet_aton("198.51.100.1")
    + struct.pack("!HH", 5000, 8443)
)


def proxy_protocol(**fields: object) -> dict:
    kind = _FILTERS + "proxy_protocol.v3.ProxyProtocol"
    return {"name": "pp", "typed_config": {"@type": kind, **fields}}


def says(name: str) -> ScriptedUpstream:
    return ScriptedUpstream(lambda peer: (peer.send(name.encode()), peer.read_some()))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chains")
    authority = make("ca")
    authority.write(path, "ca")
    make("a", authority, sans=["DNS:a.example"]).write(path, "a")
    make("w", authority, sans=["DNS:*.w.example"]).write(path, "w")
    return path


def chain(name: str, match: dict | None = None, tls: dict | None = None) -> dict:
    made: dict = {"name": name, "filters": [tcp_proxy(name, cluster=name)]}
    if match is not None:
        made["filter_chain_match"] = match
    if tls is not None:
        made["transport_socket"] = downstream_tls(tls)
    return made


@pytest.fixture(scope="module")
def pair(directory: Path) -> Iterator[TcpPair]:
    names = ("one", "two", "three", "plain", "rest")
    hosts = {name: says(name) for name in names}
    shown = {"tls_certificates": [tls_certificate(directory, "a"), tls_certificate(directory, "w")]}
    loopback = [{"address_prefix": "127.0.0.0", "prefix_len": 8}]
    listeners = [
        tcp_listener(
            "sni",
            [
                chain("one", {"server_names": ["a.example"]}, shown),
                chain("two", {"server_names": ["*.w.example"]}, shown),
                chain(
                    "three",
                    {"transport_protocol": "tls", "application_protocols": ["special"]},
                    shown,
                ),
                chain("plain", {"transport_protocol": "raw_buffer"}),
            ],
            listener_filters=[INSPECTOR],
        ),
        tcp_listener(
            "default",
            [chain("one", {"server_names": ["a.example"]}, shown)],
            default_filter_chain=chain("rest"),
            listener_filters=[INSPECTOR],
        ),
        tcp_listener(
            "proxied",
            [
                chain("one", {"destination_port": 8443}),
                chain("two", {"source_prefix_ranges": loopback}),
                chain("rest", {"source_type": "EXTERNAL"}),
            ],
            listener_filters=[proxy_protocol(allow_requests_without_proxy_protocol=True)],
        ),
        tcp_listener("strict", [chain("one")], listener_filters=[proxy_protocol()]),
        tcp_listener(
            "hurried",
            [chain("one")],
            listener_filters=[INSPECTOR],
            listener_filters_timeout="0.2s",
        ),
        tcp_listener(
            "patient",
            [chain("one")],
            listener_filters=[INSPECTOR],
            listener_filters_timeout="0.2s",
            continue_on_listener_filters_timeout=True,
        ),
        tcp_listener(
            "certificates",
            [chain("one", None, shown)],
        ),
        tcp_listener(
            "slow",
            [{**chain("one", None, shown), "transport_socket_connect_timeout": "0.2s"}],
        ),
    ]
    clusters = [cluster(name, [host.port]) for name, host in hosts.items()]
    try:
        with TcpPair(bootstrap(listeners, clusters), ignored=IGNORED) as both:
            yield both
    finally:
        for host in hosts.values():
            host.stop()


@pytest.mark.parametrize(
    ("name", "alpn", "expected"),
    [
        ("a.example", (), b"one"), ("A.EXAMPLE", (), b"one"), ("x.w.example", (), b"two"),
        ("y.x.w.example", (), b"two"), ("other", ("special",), b"three"),
        (None, ("special",), b"three"),
    ],
)  # fmt: skip
def test_name_and_protocol_choose_the_chain(
    pair: TcpPair, directory: Path, name: str | None, alpn: tuple[str, ...], expected: bytes
) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        context = client_context(directory, alpn=alpn)
        with tls_connect(proxy, context, name=name, listener="sni") as client:
            answer = client.recv(100)
            client.sendall(b"x")
            return answer

    assert pair.check(talk).result == expected


def test_what_is_not_tls_has_a_chain_of_its_own(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy, "sni") as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            return client.recv(100)

    assert pair.check(talk).result == b"plain"


@pytest.mark.parametrize(("listener", "lines"), [("sni", 0), ("default", 1)])
def test_what_no_chain_fits_gets_the_default_chain_or_is_closed_and_counted(
    pair: TcpPair, directory: Path, listener: str, lines: int
) -> None:
    def talk(proxy: ProxyProcess) -> str:
        try:
            with tls_connect(
                proxy, client_context(directory), name="nobody.example", listener=listener
            ):
                return "connected"
        except OSError as error:
            return type(error).__name__ if lines else "closed"

    seen = pair.check(talk, log_lines=lines)
    assert seen.stats.get(f"listener.{listener}.no_filter_chain_match", 0) == 1 - lines


@pytest.mark.parametrize(
    ("header", "expected"), [(V1, b"one"), (V2, b"one"), (b"", b"two"),
                             (V1.replace(b"8443", b"9"), b"rest")]
)  # fmt: skip
def test_a_proxy_before_us_says_who_the_client_is(
    pair: TcpPair, header: bytes, expected: bytes
) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy, "proxied") as client:
            client.sendall(header + b"hello")
            answer = client.recv(100)
            client.shutdown(socket.SHUT_WR)
            read_all(client)
            return answer

    seen = pair.check(talk)
    assert seen.result == expected
    assert ("remote=203.0.113.7" in seen.log[0]) is bool(header)


@pytest.mark.parametrize(
    "header",
    [b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP4 1.1.1.1\r\n", b"PROXY " + b"x" * 110,
     V2[:12] + b"\x31" + V2[13:]],
)  # fmt: skip
def test_a_wrong_header_closes_the_connection(pair: TcpPair, header: bytes) -> None:
    def talk(proxy: ProxyProcess) -> bool:
        with connect(proxy, "strict") as client:
            client.sendall(header)
            return read_all(client) in (b"", "reset")

    assert pair.check(talk, log_lines=0).result is True


def test_a_client_that_says_nothing_is_closed_after_the_filters_time(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bool:
        with connect(proxy, "hurried") as client:
            return read_all(client) in (b"", "reset")

    seen = pair.check(talk, log_lines=0)
    assert seen.stats == {"listener.hurried.downstream_pre_cx_timeout": 1}


def test_a_client_that_says_nothing_may_go_on_after_the_filters_time(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy, "patient") as client:
            answer = client.recv(100)
            client.shutdown(socket.SHUT_WR)
            read_all(client)
            return answer

    assert pair.check(talk).result == b"one"


@pytest.mark.parametrize(
    ("name", "shown"), [("a.example", "a"), ("x.w.example", "w"), ("nobody", "a"), (None, "a")]
)
def test_the_server_name_chooses_the_certificate(
    pair: TcpPair, directory: Path, name: str | None, shown: str
) -> None:
    def talk(proxy: ProxyProcess) -> str:
        context = client_context(directory)
        with tls_connect(proxy, context, name=name, listener="certificates") as client:
            client.recv(100)
            client.sendall(b"x")
            return common_name(client)

    assert pair.check(talk).result == shown


def test_a_handshake_that_takes_too_long_is_ended(pair: TcpPair) -> None:
    proxy = pair.sides["meshproxy"]
    with connect(proxy, "slow") as client:
        assert read_all(client) in (b"", "reset")
    name = "listener.slow.downstream_cx_transport_socket_connect_timeout"
    assert proxy.counters()[name] == 1
