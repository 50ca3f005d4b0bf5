"""Apps that speak https, h2c and grpcs: invoked, told of messages, looked at for their health."""

import json
import ssl
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tests.support.certificates import make
from tests.support.echo_app import EchoApp
from tests.support.eventually import eventually
from tests.support.http2_peers import Http2Upstream
from tests.support.processes import STOP_TIMEOUT_S
from tests.support.sidecar import Sidecar

RESOURCES = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: bus}
spec: {type: pubsub.in-memory}
---
apiVersion: dapr.io/v1alpha1
kind: Subscription
metadata: {name: orders}
spec: {pubsubname: bus, topic: orders, route: /hear}
"""
HEALTH = ("--enable-app-health-check", "--app-health-probe-interval", "1")


def sidecar(tmp_path, port, protocol, *more):
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources" / "bus.yaml").write_text(RESOURCES)
    arguments = ("--app-port", str(port), "--app-protocol", protocol, *more)
    return Sidecar("app", *arguments, "--resources-path", str(tmp_path / "resources"))


def test_an_app_behind_tls_with_a_certificate_of_its_own(tmp_path):
    certificate, key = make("app").write(tmp_path, "app")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with EchoApp(tls) as app, sidecar(tmp_path, app.port, "https", *HEALTH) as running:
        running.wait_for("App entered healthy status")
        seen = running.call("POST", "/v1.0/invoke/app/method/a?q=1", b"body").json
        assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/a?q=1", "body")
        running.wait_for("app is subscribed to topic orders")
        assert running.call("POST", "/v1.0/publish/bus/orders", {"n": 1}).status == 204
        eventually(lambda: any(each["path"] == "/hear" for each in app.requests))


def test_an_app_of_http2_without_tls(tmp_path):
    heard = []

    def answer(link, stream, request):
        path = request.get(":path")
        heard.append((path, request.body))
        status = "404" if path == "/dapr/subscribe" else "200"
        body = path.encode()
        link.h2.send_headers(stream, [(":status", status), ("x-version", "2")])
        link.send_body(stream, body)

    with Http2Upstream(answer) as app, sidecar(tmp_path, app.port, "h2c") as running:
        found = running.call("POST", "/v1.0/invoke/app/method/a?q=1", b"body")
        assert (found.status, found.headers["x-version"], found.body) == (200, "2", b"/a?q=1")
        running.wait_for("app is subscribed to topic orders")
        assert running.call("POST", "/v1.0/publish/bus/orders", {"n": 1}).status == 204
        eventually(lambda: any(path == "/hear" for path, _ in heard))
        assert ("/a?q=1", b"body") in heard


def test_an_app_of_grpc_behind_tls(tmp_path):
    pytest.importorskip("dapr")
    from dapr.proto import appcallback_service_v1 as services
    from dapr.proto import appcallback_v1 as messages
    from dapr.proto.common.v1 import common_pb2

    heard = []

    class App(services.AppCallbackServicer, services.AppCallbackHealthCheckServicer):
        def OnInvoke(self, request, context):
            answer = common_pb2.InvokeResponse(content_type="application/json")
            answer.data.value = json.dumps(request.method).encode()
            return answer

        def OnTopicEvent(self, request, context):
            heard.append((request.path, request.data))
            return messages.TopicEventResponse()

        def HealthCheck(self, request, context):
            return messages.HealthCheckResponse()

    made = make("app")
    server = grpc.server(ThreadPoolExecutor(4))
    services.add_AppCallbackServicer_to_server(App(), server)
    services.add_AppCallbackHealthCheckServicer_to_server(App(), server)
    credentials = grpc.ssl_server_credentials([(made.key, made.pem)])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        with sidecar(tmp_path, port, "grpc", "--app-ssl", *HEALTH) as running:
            running.wait_for("App entered healthy status")
            assert running.call("GET", "/v1.0/invoke/app/method/m").json == "m"
            running.wait_for("app is subscribed to topic orders")
            assert running.call("POST", "/v1.0/publish/bus/orders", {"n": 1}).status == 204
            eventually(lambda: heard == [("/hear", b'{"n": 1}')])
    finally:
        server.stop(None).wait(STOP_TIMEOUT_S)
