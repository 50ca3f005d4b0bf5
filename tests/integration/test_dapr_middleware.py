"""Pipelines of middleware before the HTTP API and before the app, a Wasm guest among them."""

import json

import pytest

from tests.http_wasm.conftest import PROBE
from tests.support.daprd_double import POST, call, messages_of, request
from tests.support.echo_app import EchoApp
from tests.support.filter_build import compile_filter
from tests.support.sidecar import Sidecar

TARGET = "/v1.0/invoke/app/method/y"
HEAD = {"apiVersion": "dapr.io/v1alpha1"}


def component(name: str, kind: str, **metadata: str) -> dict:
    items = [{"name": key, "value": value} for key, value in metadata.items()]
    spec = {"type": kind, "version": "v1", "metadata": items}
    return {**HEAD, "kind": "Component", "metadata": {"name": name}, "spec": spec}


def handlers(*names: str) -> dict:
    kinds = {"guest": "wasm", "alias": "routeralias", "upper": "uppercase", "rate": "ratelimit"} | {
        "check": "routerchecker"
    }
    entries = [{"name": name, "type": f"middleware.http.{kinds[name]}"} for name in names]
    return {"handlers": entries}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("middleware")
    (folder / "resources").mkdir()
    compile_filter(PROBE, PROBE, folder / "probe.wasm")
    resources = [
        component(
            "alias", "middleware.http.routeralias", **{"/x/{q}": "/v1.0/invoke/app/method/y"}
        ),
        component("upper", "middleware.http.uppercase"),
        component("check", "middleware.http.routerchecker", rule="^/[a-z]*([?].*)?$"),
        component(
            "guest",
            "middleware.http.wasm",
            url=f"file://{folder}/probe.wasm",
            guestConfig="the config",
        ),
    ]
    for resource in resources:
        path = folder / "resources" / f"{resource['metadata']['name']}.yaml"
        path.write_text(json.dumps(resource))
    spec = {
        "httpPipeline": handlers("alias", "rate", "guest"),
        "appHttpPipeline": handlers("upper", "check"),
    }
    config = {**HEAD, "kind": "Configuration", "metadata": {"name": "c"}, "spec": spec}
    (folder / "config.yaml").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def running(folder):
    arguments = (
        "--resources-path", str(folder / "resources"), "--config", str(folder / "config.yaml"),
    )  # fmt: skip
    with EchoApp() as app:
        port = ("--app-port", str(app.port))
        env = {"DAPR_API_TOKEN": "secret"}
        with Sidecar("app", *arguments, *port, env=env) as sidecar:
            yield app, sidecar


AUTH = {"dapr-api-token": "secret"}


def test_an_alias_is_invoked_and_the_app_gets_its_own_pipeline(running):
    _, sidecar = running
    answer = sidecar.call("POST", "/x/1?z=2", b"straight", AUTH)
    assert answer.status == 200, answer.body
    assert answer.json["path"] == "/y?q=1&z=2"
    assert answer.json["body"] == "STRAIGHT"


def test_a_middleware_before_the_app_may_answer_an_invocation(running):
    app, sidecar = running
    before = len(app.requests)
    answer = sidecar.call("POST", "/v1.0/invoke/app/method/no-such", b"x", AUTH)
    assert (answer.status, answer.body) == (400, b"invalid router")
    head = request("no-such", POST, headers={"dapr-callee-app-id": ["app"]})
    found = call(sidecar.internal_port, messages_of(head, [b"x"]))
    assert (found.code, found.head.status.code, found.body) == ("OK", 400, b"invalid router")
    assert len(app.requests) == before


def test_a_guest_answers_itself(running):
    _, sidecar = running
    answer = sidecar.call("POST", "/echo", b"0123456789", AUTH)
    assert (answer.status, answer.body) == (201, b"0123456789")
    assert answer.headers["x-config"] == "the config"
    assert answer.headers["x-source"].startswith("127.0.0.1:")


def test_a_guest_changes_an_answer_of_the_api(running):
    _, sidecar = running
    answer = sidecar.call("GET", "/change/../v1.0/metadata", headers=AUTH)
    assert answer.status == 203
    assert answer.body.startswith(b"<{")
    assert answer.body.endswith(b">")
    assert int(answer.headers["content-length"]) == len(answer.body)


def test_a_guest_that_traps_fails_one_request(running):
    _, sidecar = running
    assert sidecar.call("GET", "/trap", headers=AUTH).status == 500
    sidecar.wait_for("has trapped")
    while sidecar.call("GET", "/v1.0/metadata", headers=AUTH).status != 200:
        assert sidecar.process.poll() is None


def test_no_middleware_sees_what_has_no_token_and_health_needs_none(running):
    _, sidecar = running
    refused = sidecar.call("POST", "/echo", b"x")
    assert (refused.status, refused.body) == (401, b"invalid api token\n")
    assert sidecar.call("GET", "/v1.0/healthz").status == 204


def test_a_component_that_comes_later_takes_its_place(running, folder):
    _, sidecar = running
    assert "there is no middleware component rate (middleware.http.ratelimit/v1) yet" in sidecar.log
    late = component("rate", "middleware.http.ratelimit", maxRequestsPerSecond="0.001")
    (folder / "resources" / "rate.yaml").write_text(json.dumps(late))
    sidecar.wait_for("Component loaded: rate")
    path = "/v1.0/metadata?only=here"
    assert [sidecar.call("GET", path, headers=AUTH).status for _ in range(2)] == [200, 429]
