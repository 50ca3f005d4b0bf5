"""The gRPC library of Node (grpc-js) at either end: the same calls as between those of Python."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.http2_harness import HTTP2
from tests.support import toolchains
from tests.support.grpc_app import TIMEOUT_S, GrpcChannel, GrpcServer
from tests.support.processes import ProxyProcess

SOURCES: Final = Path(__file__).parent.parent / "support" / "grpc_js"
ROUTES: Final = "- match: {prefix: /test.Interop, grpc: {}}\n  route: {cluster: app, timeout: 0s}"
LARGE: Final = 3_000_000
EXPECTED: Final[dict[str, Any]] = {
    "empty unary": {"initial": [], "size": 0, "trailing": []},
    "large unary": {"initial": [], "size": LARGE, "trailing": []},
    "client streaming": "74922",
    "server streaming": {"sizes": [9, LARGE], "code": 0},
    "ping pong": {"sizes": [31415, 9, 2653, 58979], "code": 0},
    "cancel after first response": {"sizes": [1], "code": 1},
    "timeout on sleeping server": {"code": 4},
    "custom metadata": {"initial": ["one"], "size": 0, "trailing": ["00abff"]},
    "status and message": {"code": 9, "details": "not now, é%", "rich": ["0805ff"]},
    "unimplemented method": {"code": 12},
}


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of grpc-js, installed as its package.json says."""
    toolchains.need("node", "npm")
    folder = toolchains.copied(SOURCES, tmp_path_factory.mktemp("grpc_js"), "*.js*")
    toolchains.fetch(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"], folder)
    return ["node", str(folder / "peer.js")]


@pytest.fixture(scope="module")
def node_port(peer: list[str]) -> Iterator[int]:
    command = [*peer, "server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


@pytest.fixture(scope="module")
def python_port() -> Iterator[int]:
    with GrpcServer() as server:
        yield server.port


@pytest.fixture(scope="module")
def proxy(node_port: int, python_port: int) -> Iterator[ProxyProcess]:
    """The listener `node` before the server of Node, `python` before that of Python."""
    hosts = {"node": node_port, "python": python_port}
    yaml = bootstrap(
        [listener(name, virtual_host(ROUTES.replace("app", name))) for name in hosts],
        [{**cluster(name, [port]), **HTTP2} for name, port in hosts.items()],
    )
    with ProxyProcess("meshproxy", yaml) as running:
        yield running


@pytest.fixture(scope="module", params=["python", "node"])
def answers(request, proxy: ProxyProcess, peer: list[str]) -> dict[str, Any]:
    """What the client of Node saw of each case."""
    command = [*peer, "client", str(proxy.ports[request.param])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize("case", EXPECTED)
def test_a_client_of_node(answers: dict[str, Any], case: str):
    expected, seen = EXPECTED[case], answers[case]
    if isinstance(expected, dict):
        seen = {name: seen.get(name) for name in expected}
    assert seen == expected


def test_a_client_of_python_at_a_server_of_node(proxy: ProxyProcess):
    with GrpcChannel(proxy.ports["node"]) as channel:
        metadata = (("x-echo-trailing-bin", b"\x00\xab\xff"),)
        answer, call = channel.unary("Unary").with_call(
            b"x" * LARGE, timeout=TIMEOUT_S, metadata=metadata
        )
        assert len(answer) == LARGE
        assert dict(call.trailing_metadata())["x-echo-trailing-bin"] == b"\x00\xab\xff"
        assert list(channel.chat()(iter([b"a", b"b"]), timeout=TIMEOUT_S)) == [b"a", b"b"]
        with pytest.raises(grpc.RpcError) as error:
            channel.unary("Fail")(b"9 not now", timeout=TIMEOUT_S)
        assert (error.value.code().value[0], error.value.details()) == (9, "not now")
        assert dict(error.value.trailing_metadata())["grpc-status-details-bin"] == b"\x08\x05\xff"


def test_nothing_is_left_over(proxy: ProxyProcess):
    counters = proxy.counters()
    assert counters["http2.streams_active"] == 0
    assert "unhandled error" not in proxy.log
