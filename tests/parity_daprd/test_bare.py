"""A sidecar without app and components: which errors say so; tokens, CORS, allowed calls."""

from dapr.proto import api_v1 as pb
from google.protobuf import empty_pb2

from tests.parity_daprd.harness import NAMES, Setup

SETUP = Setup(
    arguments=["--allowed-origins", "http://a,http://b"],
    env={"DAPR_API_TOKEN": "secret"},
    config=NAMES
    + """
  api:
    denied:
    - {name: secrets, version: v1, protocol: http}
    - {name: configuration, version: v1, protocol: grpc}
""",
)
TOKEN = {"dapr-api-token": "secret"}
CALLS = [
    ("GET", "/v1.0/state/s/k", None), ("POST", "/v1.0/state/s", b"[]"), ("POST", "/v1.0/state/s/bulk", b"{}"),
    ("POST", "/v1.0/state/s/transaction", b"{}"), ("POST", "/v1.0-alpha1/state/s/query", b"{}"), ("POST", "/v1.0/publish/p/t", b"x"),
    ("POST", "/v1.0/publish/bulk/p/t", b"[]"), ("GET", "/v1.0/secrets/s/k", None), ("GET", "/v1.0/secrets/s/bulk", None),
    ("GET", "/v1.0/configuration/c", None), ("GET", "/v1.0/configuration/c/subscribe", None), ("GET", "/v1.0/configuration/c/i/unsubscribe", None),
    ("POST", "/v1.0-alpha1/lock/l", b'{"resourceId":"r","lockOwner":"o","expiryInSeconds":1}'), ("POST", "/v1.0-alpha1/unlock/l", b'{"resourceId":"r","lockOwner":"o"}'),
    ("POST", "/v1.0/bindings/b", b'{"operation":"create"}'), ("GET", "/v1.0/metadata", None), ("GET", "/v1.0/healthz", None), ("GET", "/v1.0/invoke/app/method/x", None),
    ("GET", "/v1.0/invoke/other/method/x", None), ("GET", "/x", None),
]  # fmt: skip


def test_nothing_is_there(pair):
    for method, path, body in CALLS:
        pair.same_http(f"{method} {path}", method, path, body, TOKEN)


def test_without_the_token(pair):
    for method, path, body in CALLS:
        pair.same_http(f"no token {method} {path}", method, path, body)
    pair.same_http("outbound", "GET", "/v1.0/healthz/outbound")
    pair.same_http("wrong token", "GET", "/v1.0/metadata", headers={"dapr-api-token": "Secret"})
    pair.same_http(
        "two tokens",
        "GET",
        "/v1.0/metadata",
        headers=[("dapr-api-token", "secret"), ("dapr-api-token", "x")],
    )


GRPC = [
    ("GetState", pb.GetStateRequest(store_name="s", key="k"), pb.GetStateResponse),
    ("SaveState", pb.SaveStateRequest(store_name="s"), empty_pb2.Empty),
    ("ExecuteStateTransaction", pb.ExecuteStateTransactionRequest(storeName="s"), empty_pb2.Empty),
    ("QueryStateAlpha1", pb.QueryStateRequest(store_name="s"), pb.QueryStateResponse),
    ("PublishEvent", pb.PublishEventRequest(pubsub_name="p", topic="t"), empty_pb2.Empty),
    ("GetSecret", pb.GetSecretRequest(store_name="s", key="k"), pb.GetSecretResponse),
    ("GetBulkSecret", pb.GetBulkSecretRequest(store_name="s"), pb.GetBulkSecretResponse),
    ("GetConfiguration", pb.GetConfigurationRequest(store_name="c"), pb.GetConfigurationResponse),
    ("GetConfigurationAlpha1", pb.GetConfigurationRequest(store_name="c"), pb.GetConfigurationResponse),
    ("TryLockAlpha1", pb.TryLockRequest(store_name="l", resource_id="r", lock_owner="o", expiry_in_seconds=1), pb.TryLockResponse),
    ("InvokeBinding", pb.InvokeBindingRequest(name="b", operation="create"), pb.InvokeBindingResponse),
    ("GetMetadata", pb.GetMetadataRequest(), pb.GetMetadataResponse),
]  # fmt: skip


def test_nothing_is_there_over_grpc(pair):
    for name, request, answer in GRPC:
        pair.same_grpc(name, name, request, answer, [("dapr-api-token", "secret")])
        pair.same_grpc(f"no token {name}", name, request, answer)
        pair.same_grpc(f"wrong token {name}", name, request, answer, [("dapr-api-token", "x")])


def test_origins(pair):
    for origin in ("http://a", "http://c", "HTTP://A", "null"):
        for method in ("GET", "OPTIONS"):
            for more in (
                {},
                {"access-control-request-method": "PUT"},
                {
                    "access-control-request-method": "PUT",
                    "access-control-request-headers": "X-Own, content-type",
                },
                {"access-control-request-method": "ODD"},
            ):
                headers = {**TOKEN, "origin": origin, **more}
                pair.same_http(f"{method} {headers}", method, "/v1.0/metadata", headers=headers)
