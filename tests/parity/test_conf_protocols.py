"""The examples of conf/ that speak gRPC, WebSocket, TCP or TLS, with real peers at both ends.

What a peer sees through Envoy it sees through meshproxy, and sidecars of both kinds get along.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from websockets.asyncio.client import connect as websocket
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus

from tests.parity.harness import PROXIES
from tests.parity.http2_harness import request
from tests.support.certificates import make
from tests.support.conf import runnable
from tests.support.grpc_app import TIMEOUT_S, GrpcChannel, GrpcServer
from tests.support.http2_peers import Http2Client
from tests.support.processes import ProxyProcess
from tests.support.toolchains import need
from tests.support.upstreams import Peer, RecordingUpstream, ScriptedUpstream

TESTED: Final = ("grpc.yaml", "tcp.yaml", "tls/edge.yaml", "tls/mtls.yaml", "websocket.yaml")
MESH: Final = "spiffe://mesh.example/"


def start(
    kind: str, name: str, upstreams: dict[int, int], certs: Path | None = None
) -> ProxyProcess:
    return ProxyProcess(kind, json.dumps(runnable(name, upstreams, certs)))


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certs")
    authority = make("mesh")
    authority.write(path, "ca")
    make("localhost", authority, sans=["DNS:localhost"]).write(path, "server")
    for name in ("shop", "payments", "stranger"):
        make(name, authority, sans=[f"URI:{MESH}{name}"]).write(path, name)
    return path


@pytest.fixture(scope="module")
def app() -> Iterator[RecordingUpstream]:
    with RecordingUpstream() as upstream:
        yield upstream


@pytest.mark.parametrize("kind", PROXIES)
def test_grpc_calls_stream_and_are_counted(kind: str):
    with GrpcServer() as server, start(kind, "grpc.yaml", {8080: server.port}) as proxy:
        with GrpcChannel(proxy.ports["ingress"]) as channel:
            assert channel.unary("Unary")(b"hello", timeout=TIMEOUT_S) == b"hello"
            assert list(channel.chat()(iter([b"a", b"b"]), timeout=TIMEOUT_S)) == [b"a", b"b"]
        counters = proxy.counters()
        assert counters["cluster.greeter.grpc.test.Interop.Unary.success"] == 1
        assert counters["cluster.greeter.grpc.test.Interop.Chat.response_message_count"] == 2
        with Http2Client(proxy.ports["ingress"]) as client:
            assert client.request(request(path="/test.Interop/Unary")).status == "404"


async def _echo(peer: ServerConnection) -> None:
    async for message in peer:
        await peer.send(message)


@pytest.mark.parametrize("kind", PROXIES)
def test_one_path_takes_websockets_and_the_rest_refuses_them(kind: str):
    async def main() -> None:
        async with serve(_echo, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            proxy = start(kind, "websocket.yaml", {8080: port})
            try:
                await asyncio.to_thread(proxy.wait_ready)
                url = f"ws://127.0.0.1:{proxy.ports['ingress']}"
                async with websocket(f"{url}/chat") as client:
                    await client.send("hello")
                    assert await client.recv() == "hello"
                with pytest.raises(InvalidStatus, match="403"):
                    async with websocket(f"{url}/other"):
                        pass
            finally:
                proxy.stop()

    asyncio.run(main())


@pytest.mark.parametrize("kind", PROXIES)
def test_tcp_connections_reach_both_versions(kind: str):
    """All 60 of one version happen less than once in ten million."""

    def answering(name: bytes):
        def play(peer: Peer) -> None:
            peer.send(name + peer.read_some())

        return play

    with (
        ScriptedUpstream(answering(b"1 ")) as one,
        ScriptedUpstream(answering(b"2 ")) as two,
        start(kind, "tcp.yaml", {8081: one.port, 8082: two.port}) as proxy,
    ):
        seen = Counter(_exchanged(proxy.ports["ingress"], b"hello") for _ in range(60))
        assert seen.keys() == {b"1 hello", b"2 hello"}
        assert proxy.counters()["tcp.ingress.downstream_cx_total"] == 60


def _exchanged(port: int, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(sent)
        return client.recv(100)


@pytest.fixture(scope="module", params=PROXIES)
def edge(request, certs: Path, app: RecordingUpstream) -> Iterator[ProxyProcess]:
    with start(request.param, "tls/edge.yaml", {8080: app.port}, certs) as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("options", "expected"),
    [(["--http2"], "200 2"), (["--http1.1"], "200 1.1"), (["--tls-max", "1.1"], "000 0")],
    ids=["HTTP/2", "HTTP/1.1", "TLS 1.1"],
)
def test_curl_gets_the_protocol_it_asks_for(edge: ProxyProcess, options, expected, certs: Path):
    need("curl")
    port = edge.ports["ingress"]
    command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{http_version}"]
    command += ["--max-time", "10", "--cacert", str(certs / "ca.crt"), *options]
    command += ["--resolve", f"localhost:{port}:127.0.0.1", f"https://localhost:{port}/"]
    assert subprocess.run(command, capture_output=True, text=True, timeout=30).stdout == expected


@pytest.fixture(scope="module", params=PROXIES)
def server(request, certs: Path, app: RecordingUpstream) -> Iterator[ProxyProcess]:
    """The sidecar of `payments`; what it would call itself is nobody."""
    with start(request.param, "tls/mtls.yaml", {8080: app.port, 10001: 1}, certs) as proxy:
        yield proxy


@pytest.mark.parametrize("client", PROXIES)
def test_two_sidecars_know_each_other_and_let_no_stranger_in(
    client: str, server: ProxyProcess, certs: Path, app: RecordingUpstream
):
    peers = {8080: app.port, 10001: server.ports["ingress"]}
    document = json.dumps(runnable("tls/mtls.yaml", peers, certs))
    app.take_all()
    with ProxyProcess(client, document) as shop:
        assert _status(shop.ports["egress"]) == "200"
    assert app.take().get("x-forwarded-client-cert") == (
        f"By={MESH}payments;Hash={_fingerprint(certs / 'shop.crt')};URI={MESH}shop"
    )
    refused = "listener.127.0.0.1_0.ssl.fail_verify_san"  # all that fall to free ports
    before = server.counters()[refused]
    with ProxyProcess(client, document.replace("shop.", "stranger.")) as stranger:
        assert _status(stranger.ports["egress"]) == "503"
    assert server.counters()[refused] > before
    assert app.take_all() == []


def _status(port: int) -> str:
    with Http2Client(port) as client:
        return client.request(request(path="/pay")).status


def _fingerprint(path: Path) -> str:
    return x509.load_pem_x509_certificate(path.read_bytes()).fingerprint(hashes.SHA256()).hex()
