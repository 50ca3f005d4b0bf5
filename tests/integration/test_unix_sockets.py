"""Unix domain sockets at both ends: a listener's and a host's."""

import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.tcp import tcp_listener, tcp_proxy
from tests.support.processes import ProxyProcess


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Path]:
    """A Unix socket that answers every request head with 200 and its own bytes."""
    path = tmp_path / "host"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                data = peer.recv(65536)
                if data.startswith(b"GET"):
                    peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nunix")
                else:
                    peer.sendall(data)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield path
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(10)


def pipe(path: Path) -> dict[str, object]:
    return {"pipe": {"path": str(path), "mode": 0o600}}


def configuration(tmp_path: Path, host: Path) -> str:
    hosts = virtual_host("- match: {prefix: /}\n  route: {cluster: up}")
    http = {**listener("http", hosts), "address": pipe(tmp_path / "http")}
    tcp = tcp_listener(
        "tcp", [{"filters": [tcp_proxy("tcp", cluster="up")]}], address=pipe(tmp_path / "tcp")
    )
    up = cluster("up", [1])
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(host)}}}}
    up["load_assignment"]["endpoints"] = [{"lb_endpoints": [endpoint]}]
    return bootstrap([http, tcp], [up])


def ask(path: Path, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(request)
        return client.recv(65536)


def test_http_and_tcp_go_from_unix_socket_to_unix_socket(tmp_path: Path, host: Path) -> None:
    with ProxyProcess("meshproxy", configuration(tmp_path, host)):
        answer = ask(tmp_path / "http", b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"unix")
        assert ask(tmp_path / "tcp", b"hello") == b"hello"
        assert stat.S_IMODE((tmp_path / "http").stat().st_mode) == 0o600


def test_a_socket_file_that_nobody_listens_on_is_replaced(tmp_path: Path, host: Path) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "tcp"))
    stale.close()
    with ProxyProcess("meshproxy", configuration(tmp_path, host)):
        assert ask(tmp_path / "tcp", b"hello") == b"hello"
