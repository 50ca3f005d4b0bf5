"""Every call of the Dapr service over gRPC: codes, messages, details, answers."""

import grpc
import pytest
from dapr.proto import api_v1 as pb
from dapr.proto.common.v1 import common_pb2 as common
from dapr.proto.runtime.v1 import dapr_pb2
from google.protobuf import empty_pb2
from google.protobuf.message_factory import GetMessageClass

from tests.parity_daprd.blocks import BINDINGS, PUBSUB, REDIS, SECRETS, SECRETS_FILE, STATE
from tests.parity_daprd.harness import DAPR, NAMES, TIMEOUT_S, Setup, as_dict, failure

SETUP = Setup(
    resources={
        "state.yaml": STATE,
        "pubsub.yaml": PUBSUB,
        "secrets.yaml": SECRETS,
        "secrets.json": SECRETS_FILE,
        "bindings.yaml": BINDINGS,
        "redis.yaml": REDIS,
    },
    config=NAMES
    + """
  secrets:
    scopes:
    - {storeName: secrets, defaultAccess: allow, deniedSecrets: [hidden]}
""",
)
EMPTY = empty_pb2.Empty
CALLS = dapr_pb2.DESCRIPTOR.services_by_name["Dapr"].methods
ITEM = common.StateItem


def item(key="k", value=b'"v"', etag=None, **more):
    made = ITEM(key=key, value=value, **more)
    if etag is not None:
        made.etag.value = etag
    return made


STATE_CALLS = [
    ("SaveState", pb.SaveStateRequest(store_name="store", states=[item()]), EMPTY),
    ("GetState", pb.GetStateRequest(store_name="store", key="k"), pb.GetStateResponse),
    ("SaveState", pb.SaveStateRequest(store_name="store", states=[item(value=b"\x00\xff")]), EMPTY),
    ("GetState", pb.GetStateRequest(store_name="store", key="k"), pb.GetStateResponse),
    ("SaveState", pb.SaveStateRequest(store_name="store", states=[item(value=b"plain")]), EMPTY),
    ("GetState", pb.GetStateRequest(store_name="store", key="k"), pb.GetStateResponse),
    ("SaveState", pb.SaveStateRequest(store_name="store", states=[item(value=b'{"a":1}', metadata={"contentType": "application/json"})]), EMPTY),
    ("GetState", pb.GetStateRequest(store_name="store", key="k"), pb.GetStateResponse),
    ("SaveState", pb.SaveStateRequest(store_name="store", states=[item(value=b'{', metadata={"contentType": "application/json"})]), EMPTY),
    ("SaveState", pb.SaveStateRequest(store_name="store", states=[item(value=b"")]), EMPTY),
    ("GetState", pb.GetStateRequest(store_name="store", key="k"), pb.GetStateResponse),
    ("SaveState", pb.SaveStateRequest(store_name="store", states=[item(value=b"null")]), EMPTY),
    ("GetState", pb.GetStateRequest(store_name="store", key="k"), pb.GetStateResponse),
    ("GetState", pb.GetStateRequest(store_name="store", key="none"), pb.GetStateResponse),
    ("GetState", pb.GetStateRequest(store_name="store", key=""), pb.GetStateResponse),
    ("GetState", pb.GetStateRequest(store_name="store", key="a||b"), pb.GetStateResponse),
    ("GetState", pb.GetStateRequest(store_name="none", key="k"), pb.GetStateResponse),
    ("GetState", pb.GetStateRequest(store_name="", key="k"), pb.GetStateResponse),
    ("GetState", pb.GetStateRequest(store_name="store", key="k", consistency=1), pb.GetStateResponse),
    ("GetState", pb.GetStateRequest(store_name="store", key="k", consistency=9), pb.GetStateResponse),
    ("SaveState", pb.SaveStateRequest(store_name="none", states=[item()]), EMPTY),
    ("SaveState", pb.SaveStateRequest(store_name="store"), EMPTY),
    ("SaveState", pb.SaveStateRequest(store_name="store", states=[item(key="")]), EMPTY),
    ("SaveState", pb.SaveStateRequest(store_name="store", states=[item(key="a||b")]), EMPTY),
    ("SaveState", pb.SaveStateRequest(store_name="store", states=[item(etag="odd")]), EMPTY),
    ("SaveState", pb.SaveStateRequest(store_name="store", states=[item(etag="")]), EMPTY),
    ("SaveState", pb.SaveStateRequest(store_name="file", states=[item(etag="odd")]), EMPTY),
    ("SaveState", pb.SaveStateRequest(store_name="store", states=[item(), item(key="m", etag="odd")]), EMPTY),
    ("SaveState", pb.SaveStateRequest(store_name="store", states=[item(options=common.StateOptions(concurrency=1))]), EMPTY),
    ("SaveState", pb.SaveStateRequest(store_name="store", states=[item(key="new", options=common.StateOptions(concurrency=1, consistency=2))]), EMPTY),
    ("SaveState", pb.SaveStateRequest(store_name="store", states=[item(metadata={"ttlInSeconds": "odd"})]), EMPTY),
    ("SaveState", pb.SaveStateRequest(store_name="store", states=[item(metadata={"ttlInSeconds": "1000"})]), EMPTY),
    ("GetState", pb.GetStateRequest(store_name="store", key="k"), pb.GetStateResponse),
    ("GetBulkState", pb.GetBulkStateRequest(store_name="store", keys=["k", "none"]), pb.GetBulkStateResponse),
    ("GetBulkState", pb.GetBulkStateRequest(store_name="store", keys=[]), pb.GetBulkStateResponse),
    ("GetBulkState", pb.GetBulkStateRequest(store_name="store", keys=["a||b"]), pb.GetBulkStateResponse),
    ("GetBulkState", pb.GetBulkStateRequest(store_name="none", keys=["k"]), pb.GetBulkStateResponse),
    ("GetBulkState", pb.GetBulkStateRequest(store_name="store", keys=["k"], parallelism=-1), pb.GetBulkStateResponse),
    ("DeleteState", pb.DeleteStateRequest(store_name="store", key="k", etag=common.Etag(value="odd")), EMPTY),
    ("DeleteState", pb.DeleteStateRequest(store_name="store", key="k", options=common.StateOptions(concurrency=1)), EMPTY),
    ("DeleteState", pb.DeleteStateRequest(store_name="store", key="k"), EMPTY),
    ("DeleteState", pb.DeleteStateRequest(store_name="store", key="k"), EMPTY),
    ("DeleteState", pb.DeleteStateRequest(store_name="store", key=""), EMPTY),
    ("DeleteState", pb.DeleteStateRequest(store_name="store", key="a||b"), EMPTY),
    ("DeleteState", pb.DeleteStateRequest(store_name="none", key="k"), EMPTY),
    ("DeleteBulkState", pb.DeleteBulkStateRequest(store_name="store", states=[item(), item(key="m")]), EMPTY),
    ("DeleteBulkState", pb.DeleteBulkStateRequest(store_name="store", states=[]), EMPTY),
    ("DeleteBulkState", pb.DeleteBulkStateRequest(store_name="store", states=[item(etag="odd"), item(key="m")]), EMPTY),
    ("DeleteBulkState", pb.DeleteBulkStateRequest(store_name="store", states=[item(key="a||b")]), EMPTY),
    ("DeleteBulkState", pb.DeleteBulkStateRequest(store_name="none", states=[item()]), EMPTY),
    ("ExecuteStateTransaction", pb.ExecuteStateTransactionRequest(storeName="store", operations=[pb.TransactionalStateOperation(operationType="upsert", request=item())]), EMPTY),
    ("ExecuteStateTransaction", pb.ExecuteStateTransactionRequest(storeName="store", operations=[pb.TransactionalStateOperation(operationType="delete", request=item())]), EMPTY),
    ("ExecuteStateTransaction", pb.ExecuteStateTransactionRequest(storeName="store", operations=[pb.TransactionalStateOperation(operationType="odd", request=item())]), EMPTY),
    ("ExecuteStateTransaction", pb.ExecuteStateTransactionRequest(storeName="store", operations=[pb.TransactionalStateOperation(operationType="upsert", request=item(etag="odd"))]), EMPTY),
    ("ExecuteStateTransaction", pb.ExecuteStateTransactionRequest(storeName="store", operations=[pb.TransactionalStateOperation(operationType="upsert", request=item(key="a||b"))]), EMPTY),
    ("ExecuteStateTransaction", pb.ExecuteStateTransactionRequest(storeName="store", operations=[pb.TransactionalStateOperation(operationType="upsert")]), EMPTY),
    ("ExecuteStateTransaction", pb.ExecuteStateTransactionRequest(storeName="store"), EMPTY),
    ("ExecuteStateTransaction", pb.ExecuteStateTransactionRequest(storeName="none"), EMPTY),
    ("QueryStateAlpha1", pb.QueryStateRequest(store_name="store", query="{}"), pb.QueryStateResponse),
    ("QueryStateAlpha1", pb.QueryStateRequest(store_name="none", query="{}"), pb.QueryStateResponse),
]  # fmt: skip
ENTRY = pb.BulkPublishRequestEntry
OTHER_CALLS = [
    ("PublishEvent", pb.PublishEventRequest(pubsub_name="bus", topic="t", data=b"x"), EMPTY),
    ("PublishEvent", pb.PublishEventRequest(pubsub_name="bus", topic="t", data=b"x", metadata={"rawPayload": "true"}), EMPTY),
    ("PublishEvent", pb.PublishEventRequest(pubsub_name="bus", topic="t"), EMPTY),
    ("PublishEvent", pb.PublishEventRequest(pubsub_name="none", topic="t"), EMPTY),
    ("PublishEvent", pb.PublishEventRequest(pubsub_name="", topic="t"), EMPTY),
    ("PublishEvent", pb.PublishEventRequest(pubsub_name="", topic="t", metadata={"a": "b"}), EMPTY),
    ("PublishEvent", pb.PublishEventRequest(pubsub_name="bus", topic=""), EMPTY),
    ("PublishEvent", pb.PublishEventRequest(pubsub_name="bus", topic="t", metadata={"rawPayload": "x"}), EMPTY),
    ("PublishEvent", pb.PublishEventRequest(pubsub_name="bus", topic="t", data=b"x", data_content_type="application/cloudevents+json"), EMPTY),
    ("PublishEvent", pb.PublishEventRequest(pubsub_name="scoped", topic="d"), EMPTY),
    ("BulkPublishEvent", pb.BulkPublishRequest(pubsub_name="bus", topic="t", entries=[ENTRY(entry_id="1", event=b"x", content_type="text/plain")]), pb.BulkPublishResponse),
    ("BulkPublishEventAlpha1", pb.BulkPublishRequest(pubsub_name="bus", topic="t", entries=[ENTRY(entry_id="1", event=b"x", content_type="text/plain")]), pb.BulkPublishResponse),
    ("BulkPublishEvent", pb.BulkPublishRequest(pubsub_name="bus", topic="t"), pb.BulkPublishResponse),
    ("BulkPublishEvent", pb.BulkPublishRequest(pubsub_name="bus", topic="t", entries=[ENTRY(entry_id="", event=b"x")]), pb.BulkPublishResponse),
    ("BulkPublishEvent", pb.BulkPublishRequest(pubsub_name="bus", topic="t", entries=[ENTRY(entry_id="1"), ENTRY(entry_id="1")]), pb.BulkPublishResponse),
    ("BulkPublishEvent", pb.BulkPublishRequest(pubsub_name="bus", topic="t", entries=[ENTRY(entry_id="1", event=b"x", content_type="application/cloudevents+json")]), pb.BulkPublishResponse),
    ("BulkPublishEvent", pb.BulkPublishRequest(pubsub_name="bus", topic="t", entries=[ENTRY(entry_id="1", event=b"x")], metadata={"rawPayload": "x"}), pb.BulkPublishResponse),
    ("BulkPublishEvent", pb.BulkPublishRequest(pubsub_name="none", topic="t", entries=[ENTRY(entry_id="1")]), pb.BulkPublishResponse),
    ("BulkPublishEvent", pb.BulkPublishRequest(pubsub_name="bus", topic="", entries=[ENTRY(entry_id="1")]), pb.BulkPublishResponse),
    ("BulkPublishEvent", pb.BulkPublishRequest(pubsub_name="scoped", topic="c", entries=[ENTRY(entry_id="1")]), pb.BulkPublishResponse),
    ("GetSecret", pb.GetSecretRequest(store_name="secrets", key="plain"), pb.GetSecretResponse),
    ("GetSecret", pb.GetSecretRequest(store_name="secrets", key="none"), pb.GetSecretResponse),
    ("GetSecret", pb.GetSecretRequest(store_name="secrets", key=""), pb.GetSecretResponse),
    ("GetSecret", pb.GetSecretRequest(store_name="secrets", key="hidden"), pb.GetSecretResponse),
    ("GetSecret", pb.GetSecretRequest(store_name="none", key="plain"), pb.GetSecretResponse),
    ("GetBulkSecret", pb.GetBulkSecretRequest(store_name="none"), pb.GetBulkSecretResponse),
    ("InvokeBinding", pb.InvokeBindingRequest(name="disk", operation="odd"), pb.InvokeBindingResponse),
    ("InvokeBinding", pb.InvokeBindingRequest(name="disk", operation=""), pb.InvokeBindingResponse),
    ("InvokeBinding", pb.InvokeBindingRequest(name="none", operation="list"), pb.InvokeBindingResponse),
    ("InvokeBinding", pb.InvokeBindingRequest(name="tick", operation="list"), pb.InvokeBindingResponse),
    ("TryLockAlpha1", pb.TryLockRequest(store_name="locks", resource_id="r", lock_owner="o", expiry_in_seconds=60), pb.TryLockResponse),
    ("TryLockAlpha1", pb.TryLockRequest(store_name="locks", resource_id="r", lock_owner="p", expiry_in_seconds=60), pb.TryLockResponse),
    ("TryLockAlpha1", pb.TryLockRequest(store_name="locks", resource_id="r", lock_owner="o", expiry_in_seconds=0), pb.TryLockResponse),
    ("TryLockAlpha1", pb.TryLockRequest(store_name="locks", resource_id="", lock_owner="o", expiry_in_seconds=1), pb.TryLockResponse),
    ("TryLockAlpha1", pb.TryLockRequest(store_name="locks", resource_id="r", lock_owner="", expiry_in_seconds=1), pb.TryLockResponse),
    ("TryLockAlpha1", pb.TryLockRequest(store_name="locks", resource_id="a||b", lock_owner="o", expiry_in_seconds=1), pb.TryLockResponse),
    ("TryLockAlpha1", pb.TryLockRequest(store_name="none", resource_id="r", lock_owner="o", expiry_in_seconds=1), pb.TryLockResponse),
    ("UnlockAlpha1", pb.UnlockRequest(store_name="locks", resource_id="r", lock_owner="p"), pb.UnlockResponse),
    ("UnlockAlpha1", pb.UnlockRequest(store_name="locks", resource_id="r", lock_owner="o"), pb.UnlockResponse),
    ("UnlockAlpha1", pb.UnlockRequest(store_name="locks", resource_id="r", lock_owner="o"), pb.UnlockResponse),
    ("UnlockAlpha1", pb.UnlockRequest(store_name="none", resource_id="r", lock_owner="o"), pb.UnlockResponse),
    ("GetConfiguration", pb.GetConfigurationRequest(store_name="settings", keys=["a"]), pb.GetConfigurationResponse),
    ("GetConfiguration", pb.GetConfigurationRequest(store_name="settings", keys=["none"]), pb.GetConfigurationResponse),
    ("GetConfiguration", pb.GetConfigurationRequest(store_name="settings"), pb.GetConfigurationResponse),
    ("GetConfiguration", pb.GetConfigurationRequest(store_name="none"), pb.GetConfigurationResponse),
    ("GetConfigurationAlpha1", pb.GetConfigurationRequest(store_name="none"), pb.GetConfigurationResponse),
    ("UnsubscribeConfiguration", pb.UnsubscribeConfigurationRequest(store_name="settings", id="x"), pb.UnsubscribeConfigurationResponse),
    ("UnsubscribeConfiguration", pb.UnsubscribeConfigurationRequest(store_name="none", id="x"), pb.UnsubscribeConfigurationResponse),
    ("SetMetadata", pb.SetMetadataRequest(key="a", value="b"), EMPTY),
    ("SetMetadata", pb.SetMetadataRequest(key="", value="b"), EMPTY),
]  # fmt: skip


def shown(request):
    return str(as_dict(request))


def test_state(pair):
    for name, request, answer in STATE_CALLS:
        bad_json = [each.value for each in getattr(request, "states", ())] == [b"{"]
        title = "value that is no JSON" if bad_json else f"{name} {shown(request)}"
        pair.same_grpc(title, name, request, answer)


def test_other_blocks(pair, request):
    redis = request.getfixturevalue("_redis")
    for database in ("1", "2"):
        redis.client.execute_command("SELECT", database)
        redis.client.execute_command("SET", "a", "value||1")
    for name, message, answer in OTHER_CALLS:
        pair.same_grpc(f"{name} {shown(message)}", name, message, answer)

    def metadata(side):
        seen = side.grpc("GetMetadata", pb.GetMetadataRequest(), pb.GetMetadataResponse)
        seen["answer"]["registered_components"].sort(key=lambda each: each["name"])
        return seen

    pair.same("metadata", metadata)


# calls that are newer than this daprd, and those whose difference has a name
NEWER = ("Index", "Search", "Collection", "Vectors", "BinaryFile", "Documents", "ActorTimer")
NAMED = {
    **{
        each.name: "a call that is none"
        for each in CALLS
        if any(word in each.name for word in NEWER)
    },
    "InvokeService": "invocation",
    "SubscribeTopicEventsAlpha1": "subscribe to nothing",
}
for _name in ("RegisterActorTimer", "UnregisterActorTimer"):
    del NAMED[_name]


def test_every_call_with_an_empty_message(pair):
    done = {name for name, *_ in [*STATE_CALLS, *OTHER_CALLS]}
    for method in CALLS:
        if method.name in done or method.name in ("Shutdown", "GetMetadata"):
            continue
        request = GetMessageClass(method.input_type)()
        answer = GetMessageClass(method.output_type)

        def act(side, method=method, request=request, answer=answer):
            if not method.client_streaming and not method.server_streaming:
                return side.grpc(method.name, request, answer)
            call = side.channel.stream_stream(
                DAPR + method.name, lambda message: message.SerializeToString(), answer.FromString
            )
            try:
                return [as_dict(each) for each in call(iter([request]), timeout=TIMEOUT_S)]
            except grpc.RpcError as error:
                return failure(error)

        pair.same(NAMED.get(method.name, f"empty {method.name}"), act)


def test_what_is_no_call(pair):
    for path in (
        "Unknown", "/x.Y/Z", "/x", "/grpc.reflection.v1.Other/Z", "/dapr.proto.runtime.v1.dapr/GetState",
        "/dapr.proto.runtime.v1.AppCallback/OnInvoke",
    ):  # fmt: skip
        pair.same_grpc("a call that is none", path, EMPTY(), EMPTY)
    pair.same_grpc("gRPC health", "/grpc.health.v1.Health/Check", EMPTY(), EMPTY)

    def broken(side):
        call = side.channel.unary_unary(DAPR + "GetState", lambda raw: raw, lambda raw: raw)
        try:
            return call(b"\xff\xff", timeout=TIMEOUT_S).hex()
        except grpc.RpcError as error:
            return failure(error)

    pair.same("broken message", broken)


@pytest.mark.parametrize("size", [4 << 20, (4 << 20) - 100, (4 << 20) + 1])
def test_sizes_of_messages(pair, size):
    request = pb.SaveStateRequest(store_name="store", states=[item(value=b"x" * (size - 30))])
    pair.same_grpc(f"size {size}", "SaveState", request, EMPTY)


def test_metadata_of_a_call(pair):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    request = pb.GetStateRequest(store_name="store", key="none")
    for metadata in [
        (("traceparent", trace), ("tracestate", "a=b")),
        (("baggage", "a=b"),),
        (("baggage", "?"),),
        (("x-own", "1"),),
    ]:
        name = "bad baggage" if metadata[0][1] == "?" else f"metadata {metadata}"
        pair.same_grpc(name, "GetState", request, pb.GetStateResponse, metadata)
