"""Invocation in a mesh of both kinds: what two daprds do, any other pair has to do."""

import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from dapr.proto import api_service_v1, api_v1, appcallback_service_v1
from dapr.proto.common.v1 import common_pb2

from tests.conformance.test_name_resolution import need_multicast
from tests.integration.test_dapr_grpc import App
from tests.parity_daprd.harness import TIMEOUT_S, Setup, Side, failure, free_ports
from tests.parity_daprd.mesh import KINDS, Mesh, each
from tests.parity_daprd.observed import read_headers
from tests.support.echo_app import EchoApp
from tests.support.grpc_app import OPTIONS, SERVICE, GrpcServer

NAMES = """
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {{name: config}}
spec:
  nameResolution:
    component: sqlite
    configuration: {{connectionString: "{path}", updateInterval: 30s, timeout: 10s}}
"""
DENY = """
  accessControl: {defaultAction: deny, trustDomain: public}
"""
MDNS = """
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: config}
spec: {nameResolution: {component: mdns}}
"""
LIMIT = ("--max-body-size", "2Mi")
METHODS = [
    "a/b?x=1&y=%2F", "", "a%2Fb", "a%252Fb", "a%20b", "%2e%2e/secret", "..%2Fsecret", "../secret",
    "a//b", "a/./b/../c", "a/", "caf%C3%A9", "a+b;c=1", "a%3Fb", "a%23b", "a%00b", "a%0Ab", "~a,b@c",
]  # fmt: skip
GIVEN = {
    "user-agent": "me", "x-mine": "yes", "connection": "x-hop", "x-hop": "1", "keep-alive": "5",
    "proxy-authorization": "x", "te": "trailers", "x-data-bin": "AA==", "cookie": "a=1; b=2",
    "destination-app-id": "x",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b",
    "baggage": "k=v", "content-type": "text/x", "accept": "text/y",
}  # fmt: skip


@pytest.fixture(scope="module")
def app() -> Iterator[EchoApp]:
    with EchoApp() as running:
        yield running


@pytest.fixture(scope="module")
def grpc_app() -> Iterator[GrpcServer]:
    server = GrpcServer()
    appcallback_service_v1.add_AppCallbackServicer_to_server(App(), server._server)
    with server:
        yield server


@pytest.fixture(scope="module")
def started(app, grpc_app, tmp_path_factory) -> Iterator[Mesh]:
    names = NAMES.format(path=tmp_path_factory.mktemp("names") / "names.db")
    http, grpcs = dict.fromkeys(KINDS, app.port), dict.fromkeys(KINDS, grpc_app.port)
    (nobody,) = free_ports(1)
    roles = {
        "callee": Setup(config=names, app_port=http, arguments=LIMIT),
        "grpc": Setup(config=names, app_port=grpcs, arguments=("--app-protocol", "grpc", *LIMIT)),
        "closed": Setup(config=names + DENY, app_port=http),
        "alone": Setup(config=names),
        "down": Setup(config=names, app_port=dict.fromkeys(KINDS, nobody), ready="HTTP server"),
        "caller": Setup(config=names, arguments=LIMIT),
    }
    with Mesh(roles) as mesh:
        yield mesh


@pytest.fixture
def mesh(started) -> Iterator[Mesh]:
    yield from each(started)


# ---- HTTP --------------------------------------------------------------------------------------


def test_methods_and_their_paths(mesh):
    for method in METHODS:
        mesh.same_http(f"GET {method}", "GET", f"/v1.0/invoke/callee-{{kind}}/method/{method}")
    mesh.same_http("by header", "GET", "/x//y/?z", headers={"dapr-app-id": "callee-{kind}"})
    both = "/v1.0/invoke/nobody/method/x"
    mesh.same_http("header first", "GET", both, headers={"dapr-app-id": "callee-{kind}"})
    mesh.same_http("namespace", "GET", "/v1.0/invoke/callee-{kind}.default/method/x")
    for path in ("/v1.0/invoke/callee-{kind}", "/v1.0/invoke/callee-{kind}/method", "/x"):
        mesh.same_http(f"no app {path}", "GET", path)


def test_verbs_bodies_and_headers(mesh):
    path = "/v1.0/invoke/callee-{kind}/method/x"
    for verb in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"):
        mesh.same_http(f"verb {verb}", verb, path)
        if verb not in ("HEAD", "TRACE"):
            mesh.same_http(f"verb {verb} with a body", verb, path, b"body", GIVEN)
    mesh.same_http("no type", "POST", path, b"body")
    mesh.same_http("an empty body", "POST", path, b"")
    mesh.same_http("1 MiB", "POST", path, b"0123456789abcdef" * 65536)
    mesh.same_http("over the limit", "POST", path, b"x" * (2 * 1024 * 1024 + 1))
    mesh.same_http("1 MiB back", "GET", "/v1.0/invoke/callee-{kind}/method/size/1048576")


@pytest.mark.parametrize("class_", [2, 3, 4, 5])
def test_statuses(mesh, class_):
    for code in (0, 1, 2, 4, 5, 6, 8, 9, 29):
        status = class_ * 100 + code
        mesh.same_http(
            f"status {class_}xx", "GET", f"/v1.0/invoke/callee-{{kind}}/method/status/{status}"
        )


def test_failures(mesh):
    for app_id in ("nobody", "a.b.c", "alone-{kind}", "down-{kind}", "closed-{kind}", ""):
        name = f"invoke {app_id.partition('-')[0]}"
        mesh.same_http(name, "POST", f"/v1.0/invoke/{app_id}/method/x", b"x")
    mesh.same(
        "invoke itself",
        lambda side, kind: side.http("GET", f"/v1.0/invoke/{side.setup.app_id}/method/x"),
    )


def test_external_services(mesh, app):
    (nobody,) = free_ports(1)
    for base in (f"http://127.0.0.1:{app.port}", f"http%3A%2F%2F127.0.0.1%3A{app.port}"):
        mesh.same_http("by URL", "POST", f"/v1.0/invoke/{base}/method/a%20b?x", b"body", GIVEN)
    mesh.same_http("URL 404", "GET", f"/v1.0/invoke/http://127.0.0.1:{app.port}/method/status/404")
    mesh.same_http("no service", "GET", f"/v1.0/invoke/http://127.0.0.1:{nobody}/method/x")
    mesh.same_http("ftp", "GET", "/v1.0/invoke/ftp://127.0.0.1/method/x")


def test_a_body_of_unknown_length_passes(mesh):
    def chunked(caller: Side, kind: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", caller.port, timeout=TIMEOUT_S)
        try:
            pieces = iter([b"x" * 70_000, b"y", b"z" * 500_000])
            more = {"transfer-encoding": "chunked", "content-type": "text/x"}
            path = f"/v1.0/invoke/callee-{kind}/method/x"
            connection.request("POST", path, pieces, more, encode_chunked=True)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())["body"]
        finally:
            connection.close()

    mesh.same("a body of unknown length", chunked)


def test_an_app_of_grpc_is_invoked_over_http(mesh):
    path = "/v1.0/invoke/grpc-{kind}/method/"
    mesh.same_http("OnInvoke", "POST", f"{path}a/b?x=1", b"data", {"content-type": "text/x"})
    mesh.same_http("OnInvoke refused", "POST", f"{path}fail", b"")


# ---- gRPC --------------------------------------------------------------------------------------


def proxied(caller: Side, callee: str, shape: str, method: str, *requests: bytes) -> Any:
    """A call of the app's own services."""
    metadata = (("dapr-app-id", callee), ("x-echo-initial", "a"), ("x-echo-trailing", "b"))
    name = method if method.startswith("/") else f"/{SERVICE}/{method}"
    with grpc.insecure_channel(f"127.0.0.1:{caller.grpc_port}", OPTIONS) as channel:
        call = getattr(channel, shape)(name)
        given: Any = iter(requests) if shape.startswith("stream_") else requests[0]
        try:
            if shape.endswith("_stream"):
                running = call(given, timeout=TIMEOUT_S, metadata=metadata)
                answers = [len(each) for each in running]
            else:
                answer, running = call.with_call(given, timeout=TIMEOUT_S, metadata=metadata)
                answers = [answer.decode()[:99]]
        except grpc.RpcError as error:
            return {"code": error.code().name, "message": error.details()}
        return {
            "answers": answers,
            "headers": read_headers(running.initial_metadata() or ()),
            "trailers": read_headers(running.trailing_metadata() or ()),
        }


def test_calls_of_every_shape_are_proxied(mesh, grpc_app):
    calls = [
        ("unary_unary", "Unary", b"x" * 70_000),
        ("unary_stream", "ServerStream", b"1,65536,3"),
        ("stream_unary", "ClientStream", b"x" * 10, b"y" * 100_000, b"z"),
        ("stream_stream", "Chat", b"one", b"two", b"three"),
        ("unary_unary", "Fail", b"5 no such thing"),
        ("unary_unary", "Nothing", b""),
        ("unary_unary", "/test.Nothing/At", b""),
    ]
    for shape, method, *requests in calls:
        mesh.same(
            f"proxy {method}",
            lambda side, kind: proxied(side, f"grpc-{kind}", shape, method, *requests),  # noqa: B023
        )

    def metadata(side: Side, kind: str) -> Any:
        proxied(side, f"grpc-{kind}", "unary_unary", "Unary", b"x")
        return sorted(name for name in grpc_app.seen[-1][1] if name.startswith(("dapr", "x-")))

    mesh.same("proxied metadata", metadata)


def test_proxied_calls_that_fail(mesh):
    for app_id in ("nobody", "a.b.c", "alone-{kind}", "down-{kind}", "closed-{kind}"):

        def call(side: Side, kind: str, named: str = app_id) -> Any:
            callee = named.replace("{kind}", kind)
            return proxied(side, callee, "unary_unary", "Unary", b"x")

        mesh.same(f"proxy to {app_id.partition('-')[0]}", call)


def test_invoke_service(mesh):
    def invoke(app_id: str, method: str, verb: str = "POST", **more: Any) -> Any:
        def act(side: Side, kind: str) -> Any:
            message = common_pb2.InvokeRequest(method=method, content_type="text/x")
            message.data.value = b"data"
            verbs = common_pb2.HTTPExtension.Verb
            message.http_extension.verb = verbs.Value(verb)
            if "/" not in method[:7]:
                message.http_extension.querystring = "x=1"
            request = api_v1.InvokeServiceRequest(
                id=app_id.replace("{kind}", kind), message=message
            )
            with grpc.insecure_channel(f"127.0.0.1:{side.grpc_port}", OPTIONS) as channel:
                stub = api_service_v1.DaprStub(channel)
                try:
                    answer = stub.InvokeService(request, timeout=TIMEOUT_S)
                except grpc.RpcError as error:
                    return failure(error)
            return {"type": answer.content_type, "size": len(answer.data.value) > 0}

        return act

    for app_id in ("callee-{kind}", "grpc-{kind}"):
        for method in ("a/b", "status/201", "status/404", "status/500", "fail", "a?b"):
            name = f"InvokeService {app_id.partition('-')[0]} {method}"
            mesh.same(name, invoke(app_id, method))
    for app_id in ("nobody", "a.b.c", "alone-{kind}", "down-{kind}", "closed-{kind}"):
        mesh.same(f"InvokeService {app_id.partition('-')[0]}", invoke(app_id, "x"))
    mesh.same("InvokeService CONNECT", invoke("callee-{kind}", "x", "CONNECT"))


# ---- multicast DNS -----------------------------------------------------------------------------


def test_both_kinds_find_each_other_on_the_network(app):
    need_multicast()
    with ExitStack() as stack:
        roles = {
            f"mdns{app.port}": Setup(config=MDNS, app_port=dict.fromkeys(KINDS, app.port)),
            "caller": Setup(config=MDNS),
        }
        mesh = stack.enter_context(Mesh(roles))
        answer = mesh.same_http("mdns", "GET", f"/v1.0/invoke/mdns{app.port}-{{kind}}/method/x")
        assert answer["status"] == 200
        mesh.same_http("mdns unknown", "GET", "/v1.0/invoke/nobody/method/x")
        mesh.check()
