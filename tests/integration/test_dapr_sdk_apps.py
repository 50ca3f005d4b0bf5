"""Apps of Dapr's own Python SDK, unchanged, each run with its sidecar by `meshproxy run`.

Each hears of messages and of a binding, and is invoked by its name over HTTP and gRPC.
"""

import http.client
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("dapr")
pytest.importorskip("dapr.ext.grpc")
from tests.support.dapr_apps.client import run_script
from tests.support.dapr_apps.run import Run
from tests.support.eventually import eventually

APPS = Path(__file__).parents[1] / "support" / "dapr_apps"
RESOURCES = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: bus}
spec: {type: pubsub.in-memory}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: tick}
spec:
  type: bindings.cron
  metadata: [{name: schedule, value: "@every 1s"}, {name: direction, value: input}]
"""


@pytest.fixture(scope="module", params=["grpc", "fastapi", "flask"])
def running(request):
    protocol = "grpc" if request.param == "grpc" else "http"
    pytest.importorskip(f"dapr.ext.{request.param}")
    flags = ["--app-protocol", protocol]
    if protocol == "grpc":
        flags += ["--enable-app-health-check", "--app-health-probe-interval", "1"]
    command = [sys.executable, "-W", "ignore", str(APPS / f"{request.param}_app.py")]
    ready = "app is subscribed to topic dead"
    with Run("sdk-app", RESOURCES, command, *flags, ready=ready) as run:
        yield run, request.param


CLIENT = """
from dapr.clients import DaprClient
from dapr.conf import settings
with DaprClient() as client:
    for topic, text in (("plain", "first"), ("again", "retry me"), ("plain", "drop me")):
        client.publish_event("bus", topic, text, data_content_type="text/plain")
    metadata = {"cloudevent.type": "special", "cloudevent.subject": "s"}
    client.publish_event("bus", "routed", b"1", publish_metadata=metadata)
    client.publish_event("bus", "routed", b"2")
    shown = client.get_metadata()
    result["components"] = sorted(each.name for each in shown.registered_components)
for protocol in ("http", "grpc"):
    settings.DAPR_API_METHOD_INVOCATION_PROTOCOL = protocol
    with DaprClient() as client:
        answer = client.invoke_method(
            "sdk-app", "echo", data='"hello"', content_type="application/json", http_verb="POST"
        )
        result[protocol] = answer.text()
"""


@pytest.fixture(scope="module")
def told(running):
    """What an SDK's client has been told, which has also published."""
    return run_script(CLIENT, running[0].http, running[0].grpc)


@pytest.fixture
def heard(running, told):
    """The data of what the app has heard, by kind."""

    def heard(kind):
        connection = http.client.HTTPConnection("127.0.0.1", running[0].http, timeout=20)
        try:
            connection.request("POST", "/v1.0/invoke/sdk-app/method/heard", b"")
            document = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return [each[3] for each in document if each[0] == kind]

    return heard


def test_messages_arrive_are_retried_and_dropped_to_dead_letters(heard):
    eventually(lambda: "drop me" in heard("dead"))
    eventually(lambda: heard("again") == ["retry me", "retry me"])
    assert sorted(heard("plain")) == ["drop me", "first"]


def test_rules_choose_the_handler(running, heard):
    if running[1] != "grpc":
        pytest.skip("the extensions for HTTP have no rules")
    eventually(lambda: heard("other") == ["2"])
    eventually(lambda: heard("special") == ["1"])


def test_the_input_binding_ticks(heard):
    eventually(lambda: len(heard("tick")) > 1)


def test_a_method_is_invoked_over_both_protocols(told):
    for protocol in ("http", "grpc"):
        assert "sdk-app: " in told[protocol]
        assert "hello" in told[protocol]


def test_the_app_is_well_and_its_components_are_shown(running, told):
    assert told["components"] == ["bus", "tick"]
    if running[1] == "grpc":
        assert "App entered healthy status" in running[0].log
