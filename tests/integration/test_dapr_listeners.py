"""The API's listeners: every protocol that daprd's speak, Unix sockets, and places at the app."""

import json
import re
import socket
import threading

import grpc
import pytest

from tests.support.echo_app import EchoApp
from tests.support.http2_peers import Link
from tests.support.processes import StartError
from tests.support.sidecar import Sidecar


def http2_get(port: int, path: str):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        link = Link(sock, client=True)
        fields = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", path)]
        link.h2.send_headers(1, fields, end_stream=True)
        link.flush()
        while 1 not in link.messages or not link.messages[1].ended:
            assert link.receive()
        return link.messages[1]


def test_the_api_speaks_http2_with_and_without_an_upgrade():
    with Sidecar("app") as sidecar:
        answer = http2_get(sidecar.port, "/v1.0/metadata")
        assert answer.status == "200"
        assert json.loads(answer.body)["id"] == "app"
        with socket.create_connection(("127.0.0.1", sidecar.port), timeout=20) as peer:
            peer.sendall(
                b"GET /v1.0/metadata HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\n"
                b"upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
            )
            assert peer.recv(4096).startswith(b"HTTP/1.1 101 ")


LOGGING = """
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: config}
spec: {logging: {apiLogging: {enabled: true, omitHealthChecks: true}}}
"""


def test_calls_are_logged_where_that_is_wanted(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(LOGGING)
    with Sidecar("app", "--config", str(config)) as sidecar:
        sidecar.call("GET", "/v1.0/healthz")
        sidecar.call("GET", "/v1.0/metadata/?x=1", headers={"user-agent": "me"})
        with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc_port}") as channel:
            call = channel.unary_unary("/dapr.proto.runtime.v1.Dapr/GetState")
            with pytest.raises(grpc.RpcError):
                call(b"", timeout=20)
        sidecar.wait_for("gRPC API Called")
        lines = [line for line in sidecar.log.splitlines() if "API Called" in line]
        assert len(lines) == 2
        http, rpc = lines
        assert re.search(r' code=200 duration=\d+ .* method="GET /v1.0/metadata/" ', http)
        assert re.search(r" scope=dapr.runtime.http-info size=[1-9]\d+ .* useragent=me ", http)
        assert re.search(r" code=9 duration=\d+ .* method=/dapr.proto.runtime.v1.Dapr/GetSt", rpc)
        assert " scope=dapr.runtime.grpc.api-info " in rpc


def test_calls_are_logged_by_their_names_where_a_path_shall_not_be_seen(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(LOGGING.replace("omitHealthChecks", "obfuscateURLs"))
    with Sidecar("app", "--config", str(config), "--log-as-json") as sidecar:
        sidecar.call("GET", "/v1.0/state/store/secret")
        sidecar.call("POST", "/v1.0/invoke/other/method/secret")
        sidecar.call("GET", "/secret")
        sidecar.call("GET", "/v1.0/healthz")
        with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc_port}") as channel:
            call = channel.unary_unary("/dapr.proto.runtime.v1.Dapr/GetState")
            with pytest.raises(grpc.RpcError):
                call(b"", timeout=20)
        sidecar.wait_for("gRPC API Called")
        lines = [json.loads(line) for line in sidecar.log.splitlines() if "API Called" in line]
    assert [line["method"] for line in lines] == [
        "GetState",
        "InvokeService/other",
        "InvokeService",
        "Healthz",
        "/dapr.proto.runtime.v1.Dapr/GetState",
    ]
    assert "secret" not in json.dumps(lines)


def test_unix_sockets_take_the_place_of_ports(tmp_path):
    arguments = ("--unix-domain-socket", str(tmp_path), "--log-as-json")
    sidecar = Sidecar("app", *arguments)
    try:
        path = tmp_path / "dapr-app-http.socket"
        while "dapr initialized" not in sidecar.log:
            assert sidecar.process.poll() is None, sidecar.log
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(20)
            peer.connect(str(path))
            peer.sendall(b"GET /v1.0/healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert peer.recv(4096).startswith(b"HTTP/1.1 204 ")
        lines = [json.loads(line) for line in sidecar.log.splitlines()]
        assert {line["app_id"] for line in lines} == {"app"}
        assert any(str(path) in line["msg"] for line in lines)
    finally:
        sidecar.__exit__()


def test_a_port_in_use_is_fatal_in_daprds_words():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(StartError, match="Fatal error from runtime: cannot bind"):
            Sidecar("app", "--dapr-http-port", port).__enter__()


def test_the_app_has_no_more_calls_at_one_time_than_it_wants():
    with EchoApp() as app:
        arguments = ("--app-port", str(app.port), "--app-max-concurrency", "2")
        with Sidecar("app", *arguments) as sidecar:
            statuses: list[int] = []

            def call() -> None:
                statuses.append(sidecar.call("GET", "/v1.0/invoke/app/method/gate").status)

            callers = [threading.Thread(target=call) for _ in range(5)]
            for caller in callers:
                caller.start()
            for _ in range(2):
                assert app.at_gate.acquire(timeout=20)
            # One who waits and goes away leaves nothing behind.
            with socket.create_connection(("127.0.0.1", sidecar.port), timeout=20) as peer:
                peer.sendall(b"GET /v1.0/invoke/app/method/x HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (
                sidecar.call("GET", "/v1.0/metadata").json["appConnectionProperties"][
                    "maxConcurrency"
                ]
                == 2
            )
            assert not app.at_gate.acquire(blocking=False)
            app.gate.set()
            for caller in callers:
                caller.join(20)
            assert statuses == [200] * 5
            assert sidecar.call("GET", "/v1.0/invoke/app/method/x").status == 200
