"""A sidecar as a process: start, API, tokens, limits, the end."""

import json
import socket

import pytest

from tests.support.processes import StartError
from tests.support.sidecar import Sidecar

COMPONENT = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: vault}}
spec:
  type: secretstores.local.file
  metadata: [{{name: secretsFile, value: {path}}}]
"""


@pytest.fixture(scope="module")
def resources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resources")
    secrets = folder / "secrets.json"
    secrets.write_text(json.dumps({"key": "value"}))
    (folder / "vault.yaml").write_text(COMPONENT.format(path=secrets))
    return folder


@pytest.fixture(scope="module")
def sidecar(resources):
    arguments = ("--resources-path", str(resources), "--max-body-size", "1Ki")
    with Sidecar("app", *arguments, env={"DAPR_API_TOKEN": "secret"}) as running:
        yield running


AUTH = {"dapr-api-token": "secret"}


def test_a_component_is_served(sidecar):
    answer = sidecar.call("GET", "/v1.0/secrets/vault/key", headers=AUTH)
    assert (answer.status, answer.json) == (200, {"key": "value"})
    assert answer.headers["content-type"] == "application/json"
    assert "server" not in answer.headers


@pytest.mark.parametrize("path", ["/v1.0/healthz", "/v1.0/healthz/outbound", "//v1.0/healthz/"])
def test_health_needs_no_token(sidecar, path):
    answer = sidecar.call("GET", path)
    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1.0/secrets/vault/key"),
        ("GET", "/v1.0/metadata"),
        ("POST", "/v1.0/shutdown"),
        ("POST", "/v1.0/healthz"),
        ("GET", "/v1.0/healthz/../metadata"),
        ("GET", "/v1.0/healthz/outbound/x"),
        ("GET", "/v1.0/%68ealthz"),
        ("GET", "/nothing"),
        ("POST", "/v1.0/invoke/app/method/x"),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"dapr-api-token": "wrong"}, {"dapr-api-token": ""}])
def test_everything_else_does(sidecar, method, path, headers):
    answer = sidecar.call(method, path, headers=headers)
    assert (answer.status, answer.body) == (401, b"invalid api token\n")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_what_is_no_call_asks_for_an_app_id(sidecar):
    answer = sidecar.call("GET", "/nothing", headers=AUTH)
    assert answer.status == 404
    assert answer.json["errorCode"] == "ERR_DIRECT_INVOKE"


@pytest.mark.parametrize(
    "path", ["/v1.0/secrets/vault/%zz", "/v1.0/invoke/%zz/method/x", "/v1.0/invoke/a/method/%z"]
)
def test_a_broken_escape_is_no_request(sidecar, path):
    answer = sidecar.call("GET", path, headers=AUTH)
    assert (answer.status, answer.body) == (400, b"400 Bad Request")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_a_client_of_http_1_0_is_served(sidecar):
    with socket.create_connection(("127.0.0.1", sidecar.port), timeout=20) as peer:
        peer.sendall(b"GET /v1.0/healthz HTTP/1.0\r\n\r\n")
        assert b" 204 " in peer.recv(4096)


def test_baggage_comes_back_and_what_is_none_is_refused(sidecar):
    for path in ("/v1.0/metadata", "/nothing"):
        answer = sidecar.call("GET", path, headers={**AUTH, "baggage": "a=b;c, d=e"})
        assert answer.headers["baggage"] == "a=b;c, d=e"
        assert sidecar.call("GET", path, headers={**AUTH, "baggage": "?"}).status == 400


def test_a_trace_comes_back_where_nothing_is_traced(sidecar):
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    trace = {**AUTH, "traceparent": parent, "tracestate": "a=b"}
    for path in ("/v1.0/metadata", "/v1.0/secrets/none/x", "/nothing"):
        headers = sidecar.call("GET", path, headers=trace).headers
        assert (headers["traceparent"], headers["tracestate"]) == (parent, "a=b")
    assert "traceparent" not in sidecar.call("GET", "/v1.0/healthz", headers=trace).headers
    wrong = {**AUTH, "traceparent": "00-0-0-01"}
    assert "traceparent" not in sidecar.call("GET", "/v1.0/metadata", headers=wrong).headers


def test_a_body_over_the_limit_is_refused_with_and_without_its_length(sidecar):
    whole = sidecar.call("PUT", "/v1.0/metadata/a", b"x" * 1025, AUTH)
    assert (whole.status, whole.json["errorCode"]) == (413, "ERR_BODY_READ")
    with socket.create_connection(("127.0.0.1", sidecar.port), timeout=10) as peer:
        head = b"PUT /v1.0/metadata/a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"
        peer.sendall(head + b"dapr-api-token: secret\r\n\r\n401\r\n" + b"x" * 1025 + b"\r\n")
        assert peer.recv(100).startswith(b"HTTP/1.1 413 ")
    assert sidecar.call("PUT", "/v1.0/metadata/a", b"x" * 1024, AUTH).status == 204


def test_shutdown_ends_the_process_well(resources):
    with Sidecar("app") as running:
        assert running.call("POST", "/v1.0/shutdown").status == 204
        assert running.process.wait(10) == 0
        assert 'msg="Shutdown requested via API"' in running.log
        assert 'msg="Daprd shutdown gracefully"' in running.log


def test_a_forced_shutdown_ends_it_with_1():
    with Sidecar("app") as running:
        running.call("POST", "/v1.0/shutdown", headers={"dapr-force-shutdown": "true"})
        assert running.process.wait(10) == 1


def test_health_waits_for_the_app_to_listen():
    with socket.socket() as app:
        app.bind(("127.0.0.1", 0))
        port = app.getsockname()[1]
        with Sidecar("app", "--app-port", str(port), ready=False) as running:
            assert running.call("GET", "/v1.0/healthz/outbound").status == 204
            assert running.call("GET", "/v1.0/healthz").status == 500
            assert f"waiting for application to listen on port {port}" in running.log
            app.listen()
            while running.call("GET", "/v1.0/healthz").status != 204:
                assert running.process.poll() is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind: Component\n", "'apiVersion' is missing"),
        (COMPONENT.format(path="/none"), "Fatal error from runtime: process component vault error"),
    ],
)
def test_a_bad_component_stops_the_start(tmp_path, text, told):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(StartError) as raised, Sidecar("app", "--resources-path", str(tmp_path)):
        pass
    assert told in str(raised.value)
    assert "Traceback" not in str(raised.value)
