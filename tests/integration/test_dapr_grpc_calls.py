"""Calls of the gRPC API by a client of grpcio: what goes beside messages, how large they may be."""

import pytest

pytest.importorskip("dapr")
import grpc
from dapr.proto import api_service_v1, api_v1

from tests.support.echo_app import EchoApp
from tests.support.grpc_app import OPTIONS, TIMEOUT_S
from tests.support.sidecar import Sidecar

RESOURCES = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: web}}
spec:
  type: bindings.http
  version: v1
  metadata: [{{name: url, value: "http://127.0.0.1:{port}"}}]
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: store}}
spec: {{type: state.in-memory, version: v1}}
"""
LIMIT = 4096
CALL = (
    ("baggage", "k=v"),
    ("dapr-api-token", "secret"),
    ("traceparent", f"00-{'1' * 32}-{'2' * 16}-01"),
)


@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resources")
    with EchoApp() as app:
        (folder / "all.yaml").write_text(RESOURCES.format(port=app.port))
        arguments = ("--resources-path", str(folder), "--max-body-size", str(LIMIT))
        with (
            Sidecar("app", *arguments, env={"DAPR_API_TOKEN": "secret"}) as sidecar,
            grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc_port}", OPTIONS) as channel,
        ):
            yield api_service_v1.DaprStub(channel)


def invoke(stub, path):
    metadata = {"path": path, "X-Own": "1"}
    request = api_v1.InvokeBindingRequest(
        name="web", operation="post", data=b"x", metadata=metadata
    )
    return stub.InvokeBinding.with_call(request, timeout=TIMEOUT_S, metadata=CALL)


def test_the_metadata_of_a_bindings_answer_are_headers_too(stub):
    answer, call = invoke(stub, "status/201")
    assert answer.metadata["statusCode"] == "201"
    assert dict(call.initial_metadata())["metadata.statuscode"] == "201"


def test_of_a_bindings_failure_too(stub):
    with pytest.raises(grpc.RpcError, match="received status code 404") as raised:
        invoke(stub, "status/404")
    assert dict(raised.value.initial_metadata())["metadata.statuscode"] == "404"


def test_a_binding_gets_the_metadata_of_the_call_but_not_its_token(stub):
    answer, _ = invoke(stub, "x")
    text = answer.data.decode()
    assert "k=v" in text
    assert "1" * 32 in text
    assert "secret" not in text


def test_an_answer_has_the_same_limit_as_a_request(stub):
    for size, key in ((LIMIT - 100, "fits"), (LIMIT // 2, "a"), (LIMIT // 2, "b")):
        state = {"key": key, "value": b"x" * size}
        request = api_v1.SaveStateRequest(store_name="store", states=[state])
        stub.SaveState(request, timeout=TIMEOUT_S, metadata=CALL)
    fits = api_v1.GetStateRequest(store_name="store", key="fits")
    assert len(stub.GetState(fits, timeout=TIMEOUT_S, metadata=CALL).data) == LIMIT - 100
    both = api_v1.GetBulkStateRequest(store_name="store", keys=["a", "b"])
    with pytest.raises(grpc.RpcError) as raised:
        stub.GetBulkState(both, timeout=TIMEOUT_S, metadata=CALL)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "trying to send message larger than max" in raised.value.details()
    large = api_v1.PublishEventRequest(pubsub_name="none", topic="t", data=b"x" * LIMIT)
    with pytest.raises(grpc.RpcError, match="received message larger than max"):
        stub.PublishEvent(large, timeout=TIMEOUT_S, metadata=CALL)
