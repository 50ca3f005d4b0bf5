"""Clients that do TLS badly: counted, one line each, nothing left behind, everybody else served."""

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.test_filter_chains import INSPECTOR
from tests.parity.tls import client_context, downstream_tls, tls_certificate, tls_connect
from tests.support.certificates import make
from tests.support.eventually import eventually
from tests.support.processes import ProxyProcess
from tests.support.raw_client import http_request
from tests.support.upstreams import RecordingUpstream

GREETING = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + bytes(200)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("edges")
    authority = make("ca")
    authority.write(path, "ca")
    make("leaf", authority).write(path, "leaf")
    return path


@pytest.fixture(scope="module")
def proxy(directory: Path) -> Iterator[ProxyProcess]:
    made = listener("main", virtual_host("- match: {prefix: /}\n  route: {cluster: up}"))
    made["filter_chains"][0]["transport_socket"] = downstream_tls(
        {"tls_certificates": [tls_certificate(directory, "leaf")]}
    )
    inspected = {
        **made, "name": "inspected", "stat_prefix": "inspected", "listener_filters": [INSPECTOR],
    }  # fmt: skip
    with (
        RecordingUpstream() as upstream,
        ProxyProcess(
            "meshproxy",
            bootstrap([made, inspected], [cluster("up", [upstream.port])]),
            log_level="info",
        ) as running,
    ):
        yield running


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def rubbish(client: socket.socket, context: ssl.SSLContext) -> None:
    client.sendall(b"\x80\x2e\x01\x00\x02" + bytes(range(200)))
    client.recv(1000)
    client.close()


def half_a_greeting(client: socket.socket, context: ssl.SSLContext) -> None:
    client.sendall(GREETING[:100])
    client.close()


def a_greeting_and_a_reset(client: socket.socket, context: ssl.SSLContext) -> None:
    client.sendall(GREETING)
    reset(client)


def nothing(client: socket.socket, context: ssl.SSLContext) -> None:
    client.close()


def a_reset_after_a_request(client: socket.socket, context: ssl.SSLContext) -> None:
    secure = context.wrap_socket(client)
    secure.sendall(http_request("/"))
    reset(secure)


def an_end_within_a_body(client: socket.socket, context: ssl.SSLContext) -> None:
    secure = context.wrap_socket(client)
    secure.sendall(http_request("/", "content-length: 100", method="POST", body=b"abc"))
    secure.close()


def an_end_within_a_record(client: socket.socket, context: ssl.SSLContext) -> None:
    secure = context.wrap_socket(client)
    secure.sendall(http_request("/probe"))
    secure.recv(10)
    plain = socket.socket(fileno=secure.detach())
    plain.sendall(b"\x17\x03\x03\x40\x00" + bytes(100))
    plain.close()


CLIENTS: list[Callable[[socket.socket, ssl.SSLContext], None]] = [
    rubbish, half_a_greeting, a_greeting_and_a_reset, nothing, a_reset_after_a_request,
    an_end_within_a_body, an_end_within_a_record,
]  # fmt: skip


@pytest.mark.parametrize("name", ["main", "inspected"])
@pytest.mark.parametrize("behave", CLIENTS, ids=lambda each: each.__name__)
def test_a_client_that_misbehaves_leaves_nothing_behind(
    proxy: ProxyProcess, directory: Path, behave: Callable[..., None], name: str
) -> None:
    context = client_context(directory)
    for _ in range(5):
        client = socket.create_connection(("127.0.0.1", proxy.ports[name]), timeout=5)
        behave(client, context)
    gauges = [
        "http.main.downstream_cx_active", "http.main.downstream_cx_ssl_active",
        "http.main.downstream_rq_active", f"listener.{name}.downstream_cx_active",
        f"listener.{name}.downstream_pre_cx_active", "cluster.up.upstream_rq_active",
    ]  # fmt: skip

    def all_gone() -> bool:
        counters = proxy.counters()
        return not any(counters[gauge] for gauge in gauges)

    eventually(all_gone)
    with tls_connect(proxy, context, listener=name) as client:
        client.sendall(http_request("/probe"))
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
    assert "Traceback" not in proxy.log


def test_a_handshake_that_fails_is_one_counter_and_one_line(
    proxy: ProxyProcess, directory: Path
) -> None:
    def failures() -> int:
        return proxy.log.count("TLS handshake with 127.0.0.1:")

    before, errors = failures(), proxy.counters()["listener.main.ssl.connection_error"]
    with socket.create_connection(("127.0.0.1", proxy.ports["main"]), timeout=5) as client:
        client.sendall(http_request("/"))
        client.recv(1000)
    eventually(lambda: failures() == before + 1)
    assert proxy.counters()["listener.main.ssl.connection_error"] == errors + 1
    (line,) = [each for each in proxy.log.splitlines() if "HTTP_REQUEST" in each]
    assert "TLS handshake with 127.0.0.1:" in line
