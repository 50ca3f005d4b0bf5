"""Who may call what: the API's token on every odd path, and the lists of allowed calls."""

import socket

import grpc
import pytest

from tests.support.echo_app import EchoApp
from tests.support.sidecar import Sidecar

TOKEN = "a-secret"
METADATA = "/dapr.proto.runtime.v1.Dapr/GetMetadata"
CONFIG = """\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: config}
spec:
  api:
    denied:
    - {name: state, version: v1, protocol: http}
    - {name: invoke, version: v1.0, protocol: http}
    - {name: metadata, version: v1, protocol: grpc}
"""


@pytest.fixture(scope="module")
def app():
    with EchoApp() as running:
        yield running


@pytest.fixture(scope="module")
def guarded(app):
    env = {"DAPR_API_TOKEN": TOKEN}
    with Sidecar("guarded", "--app-port", str(app.port), env=env) as running:
        yield running


def exchange(port: int, data: bytes) -> bytes:
    """What is answered until the peer closes or is silent for the rest of the test's patience."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        received = b""
        while piece := peer.recv(65536):
            received += piece
        return received


ODD = [
    "/v1.0/metadata", "/v1.0/%6detadata", "/v1.0//metadata", "//v1.0/metadata", "/v1.0/metadata/",
    "/v1.0/./metadata", "/v1.0/healthz/../metadata", "/v1.0/healthz/outbound/../../metadata",
    "/v1.0/healthz/%2e%2e/metadata", "/v1.0/healthz%2f..%2fmetadata", "/v1.0/healthz/x",
    "/V1.0/healthz", "/v1.0/healthz;x", "/v1.0/invoke/guarded/method/healthz",
    "/v1.0/invoke/guarded/method/v1.0/healthz", "/healthz", "/v1.0/state/x/y", "/",
    "/v1.0/secrets/s/healthz", "/v1.0-alpha1/healthz", "/v1.0/healthzz", "*",
]  # fmt: skip


@pytest.mark.parametrize("path", ODD)
@pytest.mark.parametrize("token", [None, "", "a-secre", "a-secret2", "A-SECRET", "\xe4"])
def test_no_odd_path_passes_without_the_token(guarded, app, path, token):
    before = len(app.requests)
    header = b"" if token is None else b"dapr-api-token: %b\r\n" % token.encode("latin-1")
    method = b"OPTIONS" if path == "*" else b"GET"
    head = b"%b %b HTTP/1.1\r\nhost: x\r\ndapr-app-id: guarded\r\nconnection: close\r\n"
    answer = exchange(guarded.port, head % (method, path.encode()) + header + b"\r\n")
    status, _, rest = answer.partition(b"\r\n")
    assert status.split()[1] in (b"401", b"400", b"404"), answer
    if status.split()[1] == b"401":
        assert rest.endswith(b"\r\n\r\ninvalid api token\n")
    assert len(app.requests) == before


def test_absolute_form_and_an_upgrade_to_http2_need_the_token_too(guarded):
    absolute = b"GET http://x/v1.0/metadata HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    assert exchange(guarded.port, absolute).startswith(b"HTTP/1.1 401 ")
    upgrade = (
        b"GET /v1.0/metadata HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\n"
        b"upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"
    )
    answer = exchange(guarded.port, upgrade)
    assert b"guarded" not in answer  # the metadata have the app's id
    assert b"invalid api token" in answer


@pytest.mark.parametrize("path", ["/v1.0/healthz", "/v1.0/healthz/outbound", "//v1.0//healthz"])
def test_health_needs_no_token(guarded, path):
    assert guarded.call("GET", path).status == 204


def test_with_the_token_calls_pass_and_the_app_does_not_see_it(guarded):
    headers = {"dapr-api-token": TOKEN}
    assert guarded.call("GET", "/v1.0/metadata", headers=headers).json["id"] == "guarded"
    answer = guarded.call("GET", "/v1.0/invoke/guarded/method/x", headers=headers)
    assert "dapr-api-token" not in dict(answer.json["headers"])


def grpc_status(port: int, path: str, *metadata: tuple[str, str]) -> tuple[str, str]:
    """Code and text of a call with an empty message."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(path)
        try:
            call(b"", metadata=metadata, timeout=20)
        except grpc.RpcError as error:
            return error.code().name, error.details()
    return "OK", ""


@pytest.mark.parametrize("path", [METADATA, "/dapr.proto.runtime.v1.Dapr/Nothing", "/x.Y/Z", "/"])
def test_the_grpc_api_asks_for_the_token_whatever_is_called(guarded, path):
    for metadata in ((), (("dapr-api-token", "a-secre"),), (("dapr-api-token", ""),)):
        found = grpc_status(guarded.grpc_port, path, ("dapr-app-id", "guarded"), *metadata)
        assert found == ("UNAUTHENTICATED", "Unauthorized")
    right = ("dapr-api-token", TOKEN)
    assert (grpc_status(guarded.grpc_port, path, right) == ("OK", "")) is (path == METADATA)


@pytest.fixture(scope="module")
def listed(app, tmp_path_factory):
    path = tmp_path_factory.mktemp("access") / "config.yaml"
    path.write_text(CONFIG)
    with Sidecar("listed", "--app-port", str(app.port), "--config", str(path)) as running:
        yield running


def test_a_denied_call_is_as_if_unknown(listed):
    assert listed.call("GET", "/v1.0/state/s/k").status == 404
    assert listed.call("GET", "/v1.0/metadata").status == 200
    assert listed.call("GET", "/v1.0/healthz").status == 204
    found = grpc_status(listed.grpc_port, METADATA)
    assert found == ("UNIMPLEMENTED", "Not Implemented")
    other = "/dapr.proto.runtime.v1.Dapr/GetSecret"
    assert grpc_status(listed.grpc_port, other)[0] == "FAILED_PRECONDITION"


def test_without_invocation_no_way_leads_to_an_app(listed, app):
    before = len(app.requests)
    for path, headers in (
        ("/v1.0/invoke/listed/method/x", {}),
        ("/x", {"dapr-app-id": "listed"}),
        ("/v1.0/state/s/k", {"dapr-app-id": "listed"}),
    ):
        answer = listed.call("GET", path, headers=headers)
        assert (answer.status, answer.body) == (404, b"404 page not found\n")
    assert len(app.requests) == before
