"""Dapr's own SDK for Python, unchanged, against a sidecar."""

from typing import Any

import pytest

from tests.support.dapr_apps.client import run_script
from tests.support.echo_app import EchoApp
from tests.support.sidecar import Sidecar

pytest.importorskip("dapr")

TOKEN = "secret"


@pytest.fixture(scope="module")
def app():
    with EchoApp() as running:
        yield running


@pytest.fixture(scope="module")
def sidecar(app):
    with Sidecar("sdk", "--app-port", str(app.port), env={"DAPR_API_TOKEN": TOKEN}) as running:
        yield running


def run(sidecar: Sidecar, script: str) -> Any:
    """What a script has put into `result`."""
    return run_script(script, sidecar.port, sidecar.grpc_port, TOKEN)


INVOKE = """
from dapr.clients import DaprClient
from dapr.clients.exceptions import DaprHttpError
with DaprClient() as client:
    answer = client.invoke_method(
        "sdk", "a/b", data=json.dumps({"x": 1}), content_type="application/json",
        http_verb="POST", http_querystring=(("q", "1"),),
    )
    result["seen"] = answer.json()
    try:
        client.invoke_method("nobody", "x", data=b"", http_verb="GET")
    except DaprHttpError as error:
        result["error"] = error.as_dict()["errorCode"]
        result["status"] = error.status_code
"""


def test_a_method_is_invoked_and_an_error_is_the_sdks_own(sidecar):
    result = run(sidecar, INVOKE)
    seen = result["seen"]
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/a/b?q=1", '{"x": 1}')
    headers = dict(seen["headers"])
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("dapr-sdk-python/")
    assert "dapr-api-token" not in headers
    assert (result["error"], result["status"]) == ("ERR_DIRECT_INVOKE", 500)


STATE = """
import grpc
from dapr.clients import DaprClient
from dapr.clients.grpc._state import StateItem, StateOptions, Concurrency
from dapr.clients.grpc._request import TransactionalStateOperation, TransactionOperationType
from dapr.clients.exceptions import DaprGrpcError
with DaprClient() as client:
    client.save_state("mem", "k", "v1", state_metadata={"ttlInSeconds": "100"})
    first = client.get_state("mem", "k")
    result["first"] = first.data.decode()
    client.save_state("mem", "k", "v2", etag=first.etag)
    try:
        client.save_state("mem", "k", "v3", etag=first.etag)
    except DaprGrpcError as error:
        result["stale"] = [error.code().name, error.details()]
    client.save_bulk_state("mem", [StateItem("a", "1"), StateItem("b", "2")])
    bulk = client.get_bulk_state("mem", ["a", "b", "none"])
    result["bulk"] = [[item.key, item.data.decode()] for item in bulk.items]
    client.execute_state_transaction("mem", [
        TransactionalStateOperation(key="a", data="3"),
        TransactionalStateOperation(
            operation_type=TransactionOperationType.delete, key="b", data=""),
    ])
    result["after"] = [client.get_state("mem", key).data.decode() for key in "ab"]
    client.delete_state("mem", "k")
    result["deleted"] = client.get_state("mem", "k").data.decode()
    result["big"] = len(client.get_state("mem", "big").data)
    client.save_state("mem", "big", "x" * 1_000_000)
    result["big"] = len(client.get_state("mem", "big").data)
    result["secret"] = dict(client.get_secret("vault", "key").secret)
    result["secrets"] = client.get_bulk_secret("vault").secrets
    client.set_metadata("mine", "yes")
    shown = client.get_metadata()
    result["metadata"] = [shown.application_id, shown.extended_metadata["mine"]]
    result["components"] = sorted(c.type for c in shown.registered_components)
    for name, call in {
        "illegal": lambda: client.get_state("mem", "a||b"),
        "missing": lambda: client.get_secret("vault", "none"),
        "unknown": lambda: client.get_state("none", "k"),
    }.items():
        try:
            call()
        except grpc.RpcError as error:
            result[name] = [error.code().name, error.details()]
"""

RAW = """
import grpc, os
from dapr.proto import api_v1, api_service_v1
channel = grpc.insecure_channel("127.0.0.1:" + os.environ["DAPR_GRPC_PORT"])
stub = api_service_v1.DaprStub(channel)
for name, call, metadata in (
    ("no token", stub.GetMetadata, ()),
    ("wrong token", stub.GetMetadata, (("dapr-api-token", "wrong"),)),
    ("no actors", stub.GetActorState, (("dapr-api-token", "secret"),)),
    ("not there", stub.GetActorTimer, (("dapr-api-token", "secret"),)),
    ("too large", stub.SetMetadata, (("dapr-api-token", "secret"),)),
):
    request = api_v1.GetMetadataRequest()
    if name == "no actors":
        request = api_v1.GetActorStateRequest()
    if name == "not there":
        request = api_v1.GetActorTimerRequest()
    if name == "too large":
        request = api_v1.SetMetadataRequest(key="k", value="x" * (5 << 20))
    try:
        call(request, metadata=metadata, timeout=20)
    except grpc.RpcError as error:
        result[name] = [error.code().name, error.details()]
"""


@pytest.fixture(scope="module")
def with_state(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resources")
    (folder / "secrets.json").write_text('{"key": "value"}')
    (folder / "mem.yaml").write_text(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: mem}\n"
        "spec: {type: state.in-memory}\n---\n"
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: vault}\n"
        f"spec: {{type: secretstores.local.file, metadata: [{{name: secretsFile, "
        f"value: {folder / 'secrets.json'}}}]}}\n"
    )
    arguments = ("--resources-path", str(folder))
    with Sidecar("sdk", *arguments, env={"DAPR_API_TOKEN": TOKEN}) as running:
        yield running


def test_state_secrets_and_metadata_over_grpc(with_state):
    result = run(with_state, STATE)
    assert result["first"] == "v1"
    assert result["stale"][0] == "ABORTED"
    assert "possible etag mismatch" in result["stale"][1]
    assert result["bulk"] == [["a", "1"], ["b", "2"], ["none", ""]]
    assert result["after"] == ["3", ""]
    assert result["deleted"] == ""
    assert result["big"] == 1_000_000
    assert result["secret"] == {"key": "value"}
    assert result["secrets"] == {"key": {"key": "value"}}
    assert result["metadata"] == ["sdk", "yes"]
    assert result["components"] == ["secretstores.local.file", "state.in-memory"]
    assert result["illegal"][0] == "INVALID_ARGUMENT"
    assert "can't contain" in result["illegal"][1]
    assert result["missing"][0] == "INTERNAL"
    assert result["unknown"] == ["INVALID_ARGUMENT", "state store none is not found"]


def test_calls_that_may_not_be_have_the_codes_of_grpc(with_state):
    result = run(with_state, RAW)
    assert result["no token"] == ["UNAUTHENTICATED", "Unauthorized"]
    assert result["wrong token"] == ["UNAUTHENTICATED", "Unauthorized"]
    assert result["no actors"] == ["UNAVAILABLE", "placement service is not configured"]
    assert result["not there"][0] == "UNIMPLEMENTED"
    assert result["too large"][0] == "RESOURCE_EXHAUSTED"


def test_what_is_not_grpc_is_refused_on_its_port(with_state):
    answer = with_state.call("GET", "/v1.0/metadata", port=with_state.grpc_port)
    assert (answer.status, answer.body) == (415, b"this port speaks gRPC")
