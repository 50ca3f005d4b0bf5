"""Resiliency around invoked apps and components, as a user starts it."""

import socket
from contextlib import ExitStack

import grpc
import pytest

from tests.integration.test_dapr_invoke import CONFIG
from tests.support.echo_app import EchoApp
from tests.support.grpc_app import TIMEOUT_S, GrpcChannel, GrpcServer
from tests.support.sidecar import Sidecar

RESOURCES = """\
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: resiliency}
spec:
  policies:
    timeouts:
      short: 200ms
    retries:
      quick: {policy: constant, duration: 10ms, maxRetries: 2}
      picky: {duration: 10ms, maxRetries: 2, matching: {httpStatusCodes: "503,504"}}
      DaprBuiltInServiceRetries: {duration: 10ms, maxRetries: 12}
    circuitBreakers:
      once: {trip: consecutiveFailures > 0, timeout: 1h}
  targets:
    apps:
      callee: {retry: quick}
      picky: {retry: picky}
      slow: {timeout: short}
      broken: {circuitBreaker: once, retry: quick}
    components:
      files: {outbound: {circuitBreaker: once}}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: files}
spec: {type: bindings.localstorage, metadata: [{name: rootPath, value: PLACE}]}
"""


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resiliency")
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(path=folder / "names.db"))
    resources = folder / "resources"
    resources.mkdir()
    (resources / "all.yaml").write_text(RESOURCES.replace("PLACE", str(folder / "files")))
    return ("--config", str(config), "--resources-path", str(resources))


@pytest.fixture(scope="module")
def running_app():
    with EchoApp() as running:
        yield running


@pytest.fixture
def app(running_app):
    running_app.failures.clear()
    running_app.requests.clear()
    running_app.gate.clear()
    yield running_app
    running_app.gate.set()


@pytest.fixture(scope="module")
def caller(arguments):
    with Sidecar("caller", *arguments) as running:
        yield running


def called(app_id: str):
    """A sidecar beside the app, under the name to which a policy belongs."""

    @pytest.fixture(scope="module")
    def sidecar(running_app, arguments):
        with Sidecar(app_id, "--app-port", str(running_app.port), *arguments) as running:
            yield running

    return sidecar


callee = called("callee")
picky = called("picky")
slow = called("slow")
broken = called("broken")


@pytest.fixture(params=["itself", "another"])
def sidecar(request, caller, callee):
    return callee if request.param == "itself" else caller


def test_an_answer_that_is_a_failure_is_asked_for_again(sidecar, app):
    app.failures += [503, 500]
    answer = sidecar.call("POST", "/v1.0/invoke/callee/method/x?q=1", b"body", {"x-mine": "1"})
    assert (answer.status, answer.json["body"], answer.json["path"]) == (200, "body", "/x?q=1")
    assert len(app.requests) == 3
    assert app.requests[0] == app.requests[1] == app.requests[2]


def test_the_last_failure_is_the_answer(sidecar, app):
    app.failures += [503, 502, 418]
    answer = sidecar.call("GET", "/v1.0/invoke/callee/method/x")
    assert (answer.status, answer.body) == (418, b"failure")
    assert len(app.requests) == 3


def test_a_body_that_has_no_length_is_sent_again_too(sidecar, app):
    app.failures.append(503)
    with socket.create_connection(("127.0.0.1", sidecar.port), timeout=20) as peer:
        head = b"POST /v1.0/invoke/callee/method/x HTTP/1.1\r\nhost: x\r\n"
        peer.sendall(
            head + b"transfer-encoding: chunked\r\n\r\n4\r\nmany\r\n6\r\npieces\r\n0\r\n\r\n"
        )
        assert peer.recv(64).startswith(b"HTTP/1.1 200 ")
    assert [request["body"] for request in app.requests] == ["manypieces"] * 2


def test_a_body_over_the_bound_passes_once(sidecar, app):
    app.failures.append(503)
    body = b"x" * (2 * 1024 * 1024)
    assert sidecar.call("POST", "/v1.0/invoke/callee/method/x", body).status == 503
    assert len(app.requests) == 1


def test_only_the_statuses_that_match_are_tried_again(caller, picky, app):
    app.failures += [503, 500]
    assert caller.call("GET", "/v1.0/invoke/picky/method/x").status == 500
    assert len(app.requests) == 2


def test_an_app_that_takes_too_long_is_told(caller, slow, app):
    answer = caller.call("GET", "/v1.0/invoke/slow/method/gate")
    assert (answer.status, answer.json) == (
        500,
        {
            "errorCode": "ERR_DIRECT_INVOKE",
            "message": "failed to invoke, id: slow, err: context deadline exceeded",
        },
    )


def test_an_open_breaker_ends_the_retries_and_belongs_to_one_method(caller, broken, app):
    app.failures.append(503)
    answers = [caller.call("GET", "/v1.0/invoke/broken/method/x") for _ in range(2)]
    message = "failed to invoke, id: broken, err: circuit breaker is open"
    assert [answer.json["message"] for answer in answers] == [message] * 2
    assert [answer.status for answer in answers] == [500, 500]
    assert len(app.requests) == 1
    assert caller.call("GET", "/v1.0/invoke/broken/method/other").status == 200
    assert "changed state from closed to open" in caller.log


def test_an_app_without_a_target_is_tried_again_only_where_it_cannot_be_reached(
    caller, arguments, running_app, app
):
    app.failures.append(503)
    port = ("--app-port", str(app.port))
    with Sidecar("plain", *port, *arguments) as first:
        answer = caller.call("GET", "/v1.0/invoke/plain/method/x")
        assert (answer.status, len(app.requests)) == (503, 1)
        first.process.kill()
        first.process.wait(10)
        with Sidecar("plain", *port, *arguments):
            # The dead one is still in the registry for some seconds; the retries meet the other.
            answer = caller.call("POST", "/v1.0/invoke/plain/method/x", b"data")
            assert (answer.status, answer.json["body"]) == (200, "data")


def test_an_output_binding_has_its_breaker(caller):
    request = {"operation": "get", "metadata": {"fileName": "missing"}}
    answers = [caller.call("POST", "/v1.0/bindings/files", request) for _ in range(2)]
    assert [answer.status for answer in answers] == [500, 500]
    assert "circuit breaker is open" not in answers[0].json["message"]
    assert "circuit breaker is open" in answers[1].json["message"]


def test_the_retries_are_seen_in_the_log(caller, callee, app):
    app.failures.append(503)
    assert caller.call("GET", "/v1.0/invoke/callee/method/x").status == 200
    assert "Loading Resiliency configuration: resiliency" in caller.log
    assert "Error processing operation endpoint[callee]. Retrying in 0.01s" in caller.log
    assert "Recovered processing operation endpoint[callee] after 2 attempts" in caller.log


GRPC_POLICIES = """\
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: grpc}
spec:
  policies:
    timeouts: {short: 200ms}
    retries: {quick: {duration: 10ms, maxRetries: 2, matching: {gRPCStatusCodes: "9"}}}
    circuitBreakers: {once: {trip: consecutiveFailures > 0, timeout: 1h}}
  targets:
    apps:
      served: {retry: quick, circuitBreaker: once}
      sleepy: {timeout: short}
"""


def test_policies_stand_around_grpc_too_and_fail_in_its_words(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG.format(path=tmp_path / "names.db"))
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "r.yaml").write_text(GRPC_POLICIES)
    config = ("--config", str(tmp_path / "config.yaml"))
    resources = ("--resources-path", str(tmp_path / "r"))

    with ExitStack() as stack:
        app = stack.enter_context(GrpcServer())
        port = ("--app-port", str(app.port), "--app-protocol", "grpc")
        for name in ("served", "sleepy"):
            stack.enter_context(Sidecar(name, *port, *config))
        caller = stack.enter_context(Sidecar("caller", *config, *resources))
        channel = stack.enter_context(GrpcChannel(caller.grpc_port))

        def failure(app_id, method, data=b""):
            to = (("dapr-app-id", app_id),)
            with pytest.raises(grpc.RpcError) as raised:
                channel.unary(method)(data, metadata=to, timeout=TIMEOUT_S)
            return raised.value.code().name, raised.value.details()

        assert (
            channel.unary("Unary")(b"x", metadata=(("dapr-app-id", "served"),), timeout=TIMEOUT_S)
            == b"x"
        )
        text = "circuit breaker is open"
        assert failure("served", "Fail", b"9 no") == ("UNAVAILABLE", text)
        assert [method for method, _ in app.seen].count("Fail") == 1
        text = "context deadline exceeded"
        assert failure("sleepy", "Sleep") == ("DEADLINE_EXCEEDED", text)


def test_a_call_over_grpc_is_under_the_policies_too(sidecar, app):
    pytest.importorskip("dapr")
    from dapr.proto import api_service_v1, api_v1
    from dapr.proto.common.v1 import common_pb2

    extension = common_pb2.HTTPExtension(verb="POST")
    message = common_pb2.InvokeRequest(method="x", http_extension=extension)
    message.data.value = b"body"
    request = api_v1.InvokeServiceRequest(id="callee", message=message)
    app.failures += [503, 500]
    with GrpcChannel(sidecar.grpc_port) as channel:
        stub = api_service_v1.DaprStub(channel.channel)
        answer = stub.InvokeService(request, timeout=TIMEOUT_S)
        assert b'"body"' in answer.data.value
        assert len(app.requests) == 3
        app.failures += [302]  # over gRPC a redirect is no answer
        assert b'"body"' in stub.InvokeService(request, timeout=TIMEOUT_S).data.value
        assert len(app.requests) == 5
        app.failures += [503, 502, 404]
        with pytest.raises(grpc.RpcError) as raised:
            stub.InvokeService(request, timeout=TIMEOUT_S)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert len(app.requests) == 8
