"""gRPC between apps: proxied calls of every shape, OnInvoke, InvokeService; two sidecars, two apps.

The app is a server of grpcio with services of its own and Dapr's callbacks beside them.
"""

import json
import threading

import pytest

pytest.importorskip("dapr")
import grpc
from dapr.proto import api_service_v1, api_v1, appcallback_service_v1
from dapr.proto.common.v1 import common_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status

from tests.integration.test_dapr_invoke import CONFIG
from tests.support.echo_app import EchoApp
from tests.support.grpc_app import TIMEOUT_S, GrpcChannel, GrpcServer
from tests.support.sidecar import Sidecar

TOKEN = "secret"
TO = (("dapr-app-id", "callee"), ("dapr-api-token", TOKEN))
MIB = 1 << 20


class App(appcallback_service_v1.AppCallbackServicer):
    """Answers an invocation with what it has seen of it."""

    def OnInvoke(self, request, context):
        if request.method == "fail":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        metadata = {each.key: each.value for each in context.invocation_metadata()}
        seen = {
            "method": request.method,
            "data": request.data.value.decode(),
            "type": request.content_type,
            "verb": request.http_extension.verb,
            "query": request.http_extension.querystring,
            "metadata": {k: v for k, v in metadata.items() if not k.endswith("-bin")},
        }
        answer = common_pb2.InvokeResponse(content_type="application/x-seen")
        answer.data.value = json.dumps(seen).encode()
        return answer


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("names") / "config.yaml"
    path.write_text(CONFIG.format(path=path.parent / "names.db"))
    return ("--config", str(path))


@pytest.fixture(scope="module")
def app():
    server = GrpcServer()
    appcallback_service_v1.add_AppCallbackServicer_to_server(App(), server._server)
    with server:
        yield server


@pytest.fixture(scope="module")
def callee(app, config):
    arguments = ("--app-port", str(app.port), "--app-protocol", "grpc", *config)
    env = {"APP_API_TOKEN": "app-secret", "DAPR_API_TOKEN": TOKEN}
    with Sidecar("callee", *arguments, env=env) as running:
        yield running


@pytest.fixture(scope="module")
def echo():
    with EchoApp() as running:
        yield running


@pytest.fixture(scope="module")
def caller(callee, echo, config):
    """Its own app speaks HTTP."""
    arguments = ("--app-port", str(echo.port), *config)
    with Sidecar("caller", *arguments, env={"DAPR_API_TOKEN": TOKEN}) as running:
        yield running


@pytest.fixture(params=["itself", "another"])
def sidecar(request, caller, callee):
    """The app's own sidecar, and one that has to find it."""
    return callee if request.param == "itself" else caller


@pytest.fixture
def channel(sidecar):
    with GrpcChannel(sidecar.grpc_port) as open_channel:
        yield open_channel


def failure(call, *arguments, **more) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as raised:
        call(*arguments, timeout=TIMEOUT_S, **more)
    return raised.value


# ---- calls of the app's own services -----------------------------------------------------------


def test_a_unary_call_carries_its_metadata_and_who_calls(channel, app, sidecar, callee):
    metadata = (*TO, ("x-echo-initial", "a"), ("x-echo-trailing-bin", b"\xff"), ("x-b-bin", b"\1"))
    forged = (("dapr-caller-app-id", "admin"), ("dapr-caller-namespace", "n"))
    answer, call = channel.unary("Unary").with_call(
        b"x" * 100_000, metadata=(*metadata, *forged), timeout=TIMEOUT_S
    )
    assert answer == b"x" * 100_000
    assert dict(call.initial_metadata())["x-echo-initial"] == "a"
    assert dict(call.trailing_metadata())["x-echo-trailing-bin"] == b"\xff"
    seen = app.seen[-1][1]
    assert seen["dapr-caller-app-id"] == ("callee" if sidecar is callee else "caller")
    assert (seen["dapr-callee-app-id"], seen["x-b-bin"]) == ("callee", b"\1")
    assert seen["dapr-api-token"] == "app-secret"
    assert "dapr-app-id" not in seen


def test_the_other_name_of_the_callee_is_taken_too(channel):
    metadata = (("dapr-callee-app-id", "callee"), ("dapr-api-token", TOKEN))
    assert channel.unary("Unary")(b"x", metadata=metadata, timeout=TIMEOUT_S) == b"x"


def test_streams_of_every_shape(channel):
    found = channel.server_stream()(b"1,65536,3", metadata=TO, timeout=TIMEOUT_S)
    assert [len(each) for each in found] == [1, 65536, 3]
    sent = iter([b"x" * size for size in (10, 100_000, 1)])
    assert channel.client_stream()(sent, metadata=TO, timeout=TIMEOUT_S) == b"100011"


def test_messages_go_through_one_by_one_and_much_more_than_one_message_may_have(channel):
    go_on = threading.Semaphore(0)

    def ask():
        for size in (1, 3 * MIB, 2 * MIB, 5):
            yield b"x" * size
            assert go_on.acquire(timeout=TIMEOUT_S)

    sizes = []
    for answer in channel.chat()(ask(), metadata=TO, timeout=TIMEOUT_S):
        sizes.append(len(answer))
        go_on.release()
    assert sizes == [1, 3 * MIB, 2 * MIB, 5]


def test_a_message_over_the_limit_is_refused(channel):
    error = failure(channel.unary("Unary"), b"x" * (5 * MIB), metadata=TO)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_apps_status_comes_with_its_details(channel):
    error = failure(channel.unary("Fail"), "9 not now, é%".encode(), metadata=TO)
    assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not now, é%")
    assert dict(error.trailing_metadata())["grpc-status-details-bin"] == b"\x08\x05\xff"


def test_the_clients_deadline_ends_the_call_at_the_app(channel, app):
    app.cancelled.clear()
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary("Sleep")(b"", metadata=TO, timeout=0.3)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert app.cancelled.wait(TIMEOUT_S)


def test_a_call_that_is_cancelled_ends_at_the_app(channel, app):
    app.cancelled.clear()
    more = threading.Event()

    def ask():
        yield b"1"
        more.wait(TIMEOUT_S)

    call = channel.chat()(ask(), metadata=TO)
    assert next(call) == b"1"
    call.cancel()
    assert app.cancelled.wait(TIMEOUT_S)
    more.set()


@pytest.mark.parametrize(
    ("metadata", "service", "code", "text"),
    [
        ((), "test.Interop", "UNIMPLEMENTED", "required metadata dapr-callee-app-id or"),
        ((("dapr-app-id", "nobody"),), "test.Interop", "UNKNOWN", "couldn't find service: nobody"),
        ((("dapr-app-id", "a.b.c"),), "test.Interop", "UNKNOWN", "invalid app id a.b.c"),
        ((("dapr-app-id", "callee"),), "none.Such", "UNIMPLEMENTED", ""),
        ((("dapr-app-id", "callee"),), "dapr.proto.runtime.v1.Dapr", "UNIMPLEMENTED", "unknown"),
        ((("dapr-app-id", "caller"),), "test.Interop", "UNIMPLEMENTED", "the app speaks http"),
    ],
)
def test_what_cannot_be_proxied_is_refused(caller, metadata, service, code, text):
    with GrpcChannel(caller.grpc_port) as channel:
        given = (*metadata, ("dapr-api-token", TOKEN))
        error = failure(channel.unary("Unary", service), b"", metadata=given)
        assert error.code().name == code
        assert text in error.details()
        refused = failure(channel.unary("Unary", service), b"", metadata=metadata)
        assert refused.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_callee_of_http_is_refused_by_its_own_sidecar(callee, caller):
    with GrpcChannel(callee.grpc_port) as channel:
        metadata = (("dapr-app-id", "caller"), ("dapr-api-token", TOKEN))
        error = failure(channel.unary("Unary"), b"", metadata=metadata)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "the app speaks http" in error.details()


# ---- over HTTP, to an app of gRPC --------------------------------------------------------------

HTTP = {"dapr-api-token": TOKEN, "content-type": "text/x", "x-own": "1"}


def test_an_invocation_over_http_is_the_apps_on_invoke(sidecar):
    path = "/v1.0/invoke/callee/method/a/b%20c?q=1&r=2"
    answer = sidecar.call("PUT", path, b"data", HTTP)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-seen")
    seen = answer.json
    assert (seen["method"], seen["query"]) == ("a/b%20c", "q=1&r=2")
    assert (seen["data"], seen["type"], seen["verb"]) == ("data", "text/x", 4)
    assert seen["metadata"]["x-own"] == "1"
    assert seen["metadata"]["dapr-callee-app-id"] == "callee"
    assert seen["metadata"]["dapr-api-token"] == "app-secret"


def test_the_apps_status_is_one_of_http(sidecar):
    answer = sidecar.call("POST", "/v1.0/invoke/callee/method/fail", b"", HTTP)
    assert answer.status == 404
    assert answer.json == {"code": 5, "message": "no such thing"}


def test_a_body_over_the_limit_is_refused(sidecar):
    answer = sidecar.call("POST", "/v1.0/invoke/callee/method/x", b"x" * (5 * MIB), HTTP)
    assert answer.status == 500
    assert answer.json["message"] == "failed to invoke, id: callee, err: stream too large"


# ---- InvokeService -----------------------------------------------------------------------------


def request(app_id, method, data=b"", verb="POST", query="", kind=""):
    extension = common_pb2.HTTPExtension(verb=verb, querystring=query)
    message = common_pb2.InvokeRequest(method=method, content_type=kind, http_extension=extension)
    message.data.value = data
    return api_v1.InvokeServiceRequest(id=app_id, message=message)


@pytest.fixture
def invoke(channel):
    stub = api_service_v1.DaprStub(channel.channel)

    def invoke(*arguments, **more):
        metadata = (("dapr-api-token", TOKEN), ("x-own", "1"))
        return stub.InvokeService.with_call(
            request(*arguments, **more), metadata=metadata, timeout=TIMEOUT_S
        )

    return invoke


def test_a_service_of_grpc_is_invoked(invoke):
    answer, call = invoke("callee", "a/b", b"data", "PUT", "q=1", "text/x")
    assert json.loads(invoke("callee", "/../a//b")[0].data.value)["method"] == "a/b"
    seen = json.loads(answer.data.value)
    assert (answer.content_type, seen["method"], seen["verb"]) == ("application/x-seen", "a/b", 4)
    assert (seen["data"], seen["query"], seen["type"]) == ("data", "q=1", "text/x")
    assert seen["metadata"]["x-own"] == "1"
    assert dict(call.initial_metadata())["dapr-http-status"] == "200"


def test_the_status_of_a_service_of_grpc_is_kept(invoke):
    with pytest.raises(grpc.RpcError) as raised:
        invoke("callee", "fail")
    assert (raised.value.code().name, raised.value.details()) == ("NOT_FOUND", "no such thing")


def test_a_service_of_http_is_invoked(invoke):
    answer, call = invoke("caller", "a/b", b'{"x":1}', "PUT", "q=1", "application/json")
    seen = json.loads(answer.data.value)
    assert (seen["method"], seen["path"], seen["body"]) == ("PUT", "/a/b?q=1", '{"x":1}')
    headers = dict(seen["headers"])
    assert headers["content-type"] == "application/json"
    assert (headers["x-own"], headers["dapr-callee-app-id"]) == ("1", "caller")
    assert "dapr-api-token" not in headers
    metadata = dict(call.initial_metadata())
    assert metadata["dapr-http-status"] == "200"


def test_a_failure_over_http_has_its_code_and_details(invoke):
    with pytest.raises(grpc.RpcError) as raised:
        invoke("caller", "status/404", verb="GET")
    error = raised.value
    assert (error.code().name, error.details()) == ("NOT_FOUND", "Not Found")
    assert dict(error.initial_metadata())["dapr-http-status"] == "404"
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(error).details[0].Unpack(info)
    assert (info.domain, info.metadata["http.code"]) == ("dapr.io", "404")
    with pytest.raises(grpc.RpcError, match="I'm a teapot"):
        invoke("caller", "status/418", verb="GET")


@pytest.mark.parametrize(
    ("app_id", "method", "verb", "code"),
    [
        ("nobody", "x", "GET", "INTERNAL"),
        ("callee", "%2e%2e/x", "GET", "INTERNAL"),
        ("callee", "a?b", "GET", "INTERNAL"),
        ("callee", "x", "CONNECT", "INTERNAL"),
    ],
)
def test_what_cannot_be_invoked_is_refused(invoke, app_id, method, verb, code):
    with pytest.raises(grpc.RpcError) as raised:
        invoke(app_id, method, verb=verb)
    assert raised.value.code().name == code


# ---- the server itself -------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_the_api_is_described_by_reflection(caller, version):
    token = (("dapr-api-token", TOKEN),)
    method = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    with GrpcChannel(caller.grpc_port) as channel:
        ask = channel.channel.stream_stream(
            method,
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        request = reflection_pb2.ServerReflectionRequest
        questions = [
            request(list_services=""),
            request(file_containing_symbol="dapr.proto.runtime.v1.Dapr"),
        ]
        services, file = ask(iter(questions), metadata=token, timeout=TIMEOUT_S)
        assert "dapr.proto.runtime.v1.Dapr" in [
            each.name for each in services.list_services_response.service
        ]
        assert len(file.file_descriptor_response.file_descriptor_proto) > 10
        with pytest.raises(grpc.RpcError) as raised:
            list(ask(iter(questions), timeout=TIMEOUT_S))
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_health_is_asked_without_a_token_and_of_an_app_by_its_name(caller, app):
    app.health.set("mine", health_pb2.HealthCheckResponse.SERVING)
    method, request = "/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest
    with GrpcChannel(caller.grpc_port) as channel:
        check = channel.channel.unary_unary(
            method, request.SerializeToString, health_pb2.HealthCheckResponse.FromString
        )
        assert check(request(), timeout=TIMEOUT_S).status == 1
        mine = request(service="mine")
        assert check(mine, metadata=TO, timeout=TIMEOUT_S).status == 1
        with pytest.raises(grpc.RpcError) as raised:
            check(mine, timeout=TIMEOUT_S)
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.RpcError) as raised:
            check(mine, metadata=TO[:1], timeout=TIMEOUT_S)
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
