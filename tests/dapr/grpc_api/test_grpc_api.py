"""gRPC calls without sockets: messages in, messages or errors out."""

import base64
import subprocess
import sys

import pytest

pytest.importorskip("dapr")

from dapr.proto import api_v1 as pb
from dapr.proto.common.v1 import common_pb2
from google.rpc import error_details_pb2, status_pb2

from meshproxy.dapr.api import Api
from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.component import ComponentError, Identity
from meshproxy.dapr.grpc_api import GRPC_API, perform
from meshproxy.dapr.grpc_api.status import details_bin
from meshproxy.dapr.sidecar import Sidecar
from meshproxy.http.header_map import HeaderMap
from tests.dapr.support import component, run, runtime


class Client:
    def __init__(self, sidecar: Sidecar) -> None:
        self.sidecar = sidecar
        self.api = Api(sidecar)

    def __call__(self, name: str, request):
        method = GRPC_API[f"/dapr.proto.runtime.v1.Dapr/{name}"]
        message = request.SerializeToString()
        answer, _ = run(perform(self.api, method, message, HeaderMap()))
        return method.response.FromString(answer)


@pytest.fixture
def client():
    life = runtime([component("mem", "state.in-memory")])
    run(life.start())
    return Client(Sidecar(Identity("app"), life))


def item(key: str, value: bytes = b"", etag: str | None = None, **more):
    tag = None if etag is None else common_pb2.Etag(value=etag)
    return common_pb2.StateItem(key=key, value=value, etag=tag, **more)


def save(client, *items):
    client("SaveState", pb.SaveStateRequest(store_name="mem", states=items))


def get(client, key: str):
    return client("GetState", pb.GetStateRequest(store_name="mem", key=key))


def test_bytes_come_back_as_they_were_and_a_missing_key_is_empty(client):
    save(client, item("k", b"\x00\xff"), item("ttl", b"1", metadata={"ttlInSeconds": "9"}))
    found = get(client, "k")
    assert found.data == b"\x00\xff"
    assert found.etag
    assert get(client, "ttl").metadata["ttlExpireTime"].endswith("Z")
    assert get(client, "none") == type(found)()


def test_json_is_kept_as_json_where_the_metadata_say_so(client):
    save(client, item("k", b'{"b": 1, "a": 2}', metadata={"contentType": "application/json"}))
    assert get(client, "k").data == b'{"a":2,"b":1}'
    stored = client.sidecar.component_of("state", "mem")._items["app||k"]
    assert not stored.binary
    with pytest.raises(ApiError) as raised:
        save(client, item("k", b"{", metadata={"contentType": "application/json"}))
    assert raised.value.grpc is Grpc.INVALID_ARGUMENT


def test_an_etag_guards_and_a_stale_one_is_aborted(client):
    save(client, item("k", b"1"))
    save(client, item("k", b"2", get(client, "k").etag))
    with pytest.raises(ApiError) as raised:
        save(client, item("k", b"3", "0"))
    assert raised.value.grpc is Grpc.ABORTED
    with pytest.raises(ApiError) as raised:
        client(
            "DeleteState",
            pb.DeleteStateRequest(store_name="mem", key="k", etag=common_pb2.Etag(value="0")),
        )
    assert raised.value.grpc is Grpc.ABORTED


def test_a_bulk_of_which_something_was_not_published_is_an_error(monkeypatch):
    async def half(requests):
        return [None, ComponentError("full")]

    life = runtime([component("bus", "pubsub.in-memory")])
    run(life.start())
    monkeypatch.setattr(life.find("pubsub", "bus"), "bulk_publish", half)
    kind = {"event": b"x", "content_type": "text/plain"}
    entries = [pb.BulkPublishRequestEntry(entry_id=name, **kind) for name in "12"]
    request = pb.BulkPublishRequest(pubsub_name="bus", topic="t", entries=entries)
    client = Client(Sidecar(Identity("app"), life))
    with pytest.raises(ApiError, match="publishing to topic t in pubsub bus: full") as raised:
        client("BulkPublishEvent", request)
    assert raised.value.grpc is Grpc.INTERNAL


def test_options_are_taken_by_their_numbers(client):
    options = common_pb2.StateOptions(concurrency=1, consistency=2)
    save(client, item("k", b"1", options=options))
    with pytest.raises(ApiError) as raised:
        save(client, item("k", b"2", options=options))
    assert raised.value.grpc is Grpc.ABORTED


def test_bulk_calls_and_transactions(client):
    save(client, item("a", b"1"), item("b", b"2"))
    request = pb.GetBulkStateRequest(store_name="mem", keys=["b", "none", "a"])
    found = client("GetBulkState", request)
    assert [(each.key, each.data) for each in found.items] == [
        ("b", b"2"),
        ("none", b""),
        ("a", b"1"),
    ]
    client("DeleteBulkState", pb.DeleteBulkStateRequest(store_name="mem", states=[item("a")]))
    operation = pb.TransactionalStateOperation
    operations = [
        operation(operationType="upsert", request=item("c", b"3")),
        operation(operationType="delete", request=item("b")),
    ]
    request = pb.ExecuteStateTransactionRequest(storeName="mem", operations=operations)
    client("ExecuteStateTransaction", request)
    assert [get(client, key).data for key in "abc"] == [b"", b"", b"3"]
    operations.append(operation(operationType="x", request=item("b")))
    request = pb.ExecuteStateTransactionRequest(storeName="mem", operations=operations)
    with pytest.raises(ApiError) as raised:
        client("ExecuteStateTransaction", request)
    assert raised.value.grpc is Grpc.UNIMPLEMENTED
    text = details_bin(raised.value)
    status = status_pb2.Status.FromString(base64.b64decode(text + b"=" * (-len(text) % 4)))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, dict(info.metadata)) == ("ERR_NOT_SUPPORTED_STATE_OPERATION", {})


def test_a_key_may_be_empty_but_for_saving(client):
    client("DeleteState", pb.DeleteStateRequest(store_name="mem", key=""))
    with pytest.raises(ApiError, match="state key cannot be empty") as raised:
        client("SaveState", pb.SaveStateRequest(store_name="mem", states=[item("", b"1")]))
    assert raised.value.grpc is Grpc.INVALID_ARGUMENT


def test_an_unknown_store_is_told_without_the_app(client):
    with pytest.raises(ApiError, match="state store none is not found") as raised:
        client("GetState", pb.GetStateRequest(store_name="none", key="k"))
    assert raised.value.details[0]["metadata"] is None


def test_secrets_metadata_and_shutdown(tmp_path):
    path = tmp_path / "secrets.json"
    path.write_text('{"a": "1"}')
    life = runtime([component("v", "secretstores.local.file", {"secretsFile": str(path)})])
    run(life.start())
    asked: list[bool] = []
    client = Client(Sidecar(Identity("app"), life, quit=asked.append))
    secret = client("GetSecret", pb.GetSecretRequest(store_name="v", key="a"))
    assert dict(secret.data) == {"a": "1"}
    everything = client("GetBulkSecret", pb.GetBulkSecretRequest(store_name="v"))
    assert dict(everything.data["a"].secrets) == {"a": "1"}
    client("SetMetadata", pb.SetMetadataRequest(key="k", value="v"))
    shown = client("GetMetadata", pb.GetMetadataRequest())
    assert (shown.id, shown.extended_metadata["k"]) == ("app", "v")
    assert [each.type for each in shown.registered_components] == ["secretstores.local.file"]
    client("Shutdown", pb.ShutdownRequest())
    assert asked == [False]


def test_rich_details_are_a_status_of_google(client):
    with pytest.raises(ApiError) as raised:
        get(client, "a||b")
    text = details_bin(raised.value)
    status = status_pb2.Status.FromString(base64.b64decode(text + b"=" * (-len(text) % 4)))
    assert status.code == Grpc.INVALID_ARGUMENT
    info = error_details_pb2.ErrorInfo()
    assert status.details[2].Unpack(info)
    assert (info.domain, info.reason) == ("dapr.io", "DAPR_STATE_ILLEGAL_KEY")
    violation = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(violation)
    assert violation.field_violations[0].field == "a||b"


def test_what_is_no_message_and_what_fails_are_errors(client, caplog):
    method = GRPC_API["/dapr.proto.runtime.v1.Dapr/GetState"]
    with pytest.raises(ApiError, match="is no GetStateRequest"):
        run(perform(client.api, method, b"\xff\xff", HeaderMap()))
    client.api.state.get = None
    with pytest.raises(ApiError, match="the call has failed"):
        get(client, "k")
    assert "GetState failed" in caplog.text


def test_grpc_itself_is_not_loaded():
    code = "import meshproxy.dapr.grpc_api, sys; print('grpc' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("name", "grpc", "text"),
    [
        ("InvokeActor", Grpc.UNAVAILABLE, "placement service is not configured"),
        ("ListActorReminders", Grpc.UNAVAILABLE, "placement service is not configured"),
        ("ScheduleJobAlpha1", Grpc.INVALID_ARGUMENT, "Job is empty"),
        ("DeleteJob", Grpc.INVALID_ARGUMENT, "Name is empty"),
        ("ListJobs", Grpc.INTERNAL, "failed to list jobs due to: scheduler clients are disabled"),
        ("StartWorkflowBeta1", Grpc.UNAVAILABLE, "placement service is not configured"),
        ("SubtleSignAlpha1", Grpc.UNIMPLEMENTED, "this API is currently not implemented"),
        ("ConverseAlpha2", Grpc.INVALID_ARGUMENT, "failed finding conversation component echo"),
    ],
)
def test_blocks_that_are_not_there_answer_as_without_their_servers(client, name, grpc, text):
    request = GRPC_API[f"/dapr.proto.runtime.v1.Dapr/{name}"].request()
    if name == "ConverseAlpha2":
        request.name = "echo"
    with pytest.raises(ApiError) as raised:
        client(name, request)
    assert (raised.value.grpc, raised.value.message) == (grpc, text)
