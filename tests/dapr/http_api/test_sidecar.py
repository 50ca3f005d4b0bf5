"""Health, metadata, shutdown, and the calls whose building block is not configured."""

import orjson
import pytest

from meshproxy.dapr.app_settings import AppHealthSettings, AppSettings
from meshproxy.dapr.component import Identity
from meshproxy.dapr.sidecar import Sidecar
from tests.dapr.http_api.support import Client, error
from tests.dapr.support import FakeRegistry, component, run, runtime


def client(**facts) -> Client:
    return Client(Sidecar(Identity("app"), runtime([]), **facts))


def test_health_waits_for_the_app_and_outbound_health_does_not():
    caller = client(app=AppSettings(port=80))
    assert error(run(caller.call("GET", "/v1.0/healthz/outbound"))) == (
        500,
        "ERR_OUTBOUND_HEALTH_NOT_READY",
        "dapr outbound is not ready",
    )
    caller.sidecar.outbound_ready = True
    assert run(caller.call("GET", "/v1.0/healthz/outbound")).status == 204
    assert error(run(caller.call("GET", "/v1.0/healthz"))) == (
        500,
        "ERR_HEALTH_NOT_READY",
        "dapr is not ready",
    )
    caller.sidecar.app_reachable = True
    assert run(caller.call("GET", "/v1.0/healthz?appid=app")).status == 204
    assert error(run(caller.call("GET", "/v1.0/healthz?appid=other"))) == (
        500,
        "ERR_HEALTH_APPID_NOT_MATCH",
        "dapr app-id does not match",
    )


def test_metadata_shows_components_and_what_was_put():
    life = runtime(
        [component("s", "state.x"), component("v", "secretstores.x")], registry=FakeRegistry()
    )
    app = AppSettings(port=80, health=AppHealthSettings())
    caller = Client(Sidecar(Identity("app"), life, app))

    async def main():
        await life.start()
        put = await caller.call("PUT", "/v1.0/metadata/cliPID", b"42")
        assert (put.status, put.body) == (204, b"")
        return orjson.loads((await caller.call("GET", "/v1.0/metadata")).body)

    document = run(main())
    assert (document["id"], document["extended"]["cliPID"]) == ("app", "42")
    assert [(c["name"], c["type"], c["version"]) for c in document["components"]] == [
        ("s", "state.x", "v1"),
        ("v", "secretstores.x", "v1"),
    ]
    assert document["appConnectionProperties"] == {
        "port": 80,
        "protocol": "http",
        "channelAddress": "127.0.0.1",
        "health": {
            "healthCheckPath": "/healthz",
            "healthProbeInterval": "5s",
            "healthProbeTimeout": "500ms",
            "healthThreshold": 3,
        },
    }


def test_of_metadata_what_is_empty_is_left_out_and_the_version_is_no_ones_to_set():
    caller = client(features=("HotReload",))
    run(caller.call("PUT", "/v1.0/metadata/daprRuntimeVersion", b"9"))
    document = orjson.loads(run(caller.call("GET", "/v1.0/metadata")).body)
    assert set(document) == {
        "id", "runtimeVersion", "enabledFeatures", "extended", "actorRuntime",
        "appConnectionProperties",
    }  # fmt: skip
    assert document["extended"] == {"daprRuntimeVersion": document["runtimeVersion"]}
    assert document["enabledFeatures"] == ["HotReload"]
    assert document["appConnectionProperties"] == {
        "protocol": "http",
        "channelAddress": "127.0.0.1",
    }


@pytest.mark.parametrize(
    ("header", "force"), [({}, False), ({"dapr_force_shutdown": "true"}, True)]
)
def test_shutdown_asks_the_process_to_end(header, force):
    asked: list[bool] = []
    answer = run(client(quit=asked.append).call("POST", "/v1.0/shutdown", **header))
    assert answer.status == 204
    assert asked == [force]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("PUT", "/v1.0-alpha1/crypto/c/encrypt", b"", 500, "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED"),
        ("POST", "/v1.0-alpha1/subtlecrypto/c/sign", {}, 501, "ERR_API_UNIMPLEMENTED"),
        ("POST", "/v1.0-alpha2/conversation/c/converse", b"", 400, "ERR_CONVERSATION_NOT_FOUND"),
        ("POST", "/v1.0-alpha2/conversation/c/converse", b"{", 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "/v1.0/actors/t/i/method/m", b"", 400, "ERR_ACTOR_NO_PLACEMENT"),
        ("GET", "/v1.0/actors/t/i/state/k", b"", 400, "ERR_ACTOR_NO_PLACEMENT"),
        ("POST", "/v1.0/actors/t/i/state", [], 400, "ERR_ACTOR_NO_PLACEMENT"),
        ("POST", "/v1.0/actors/t/i/state", b"{", 400, "ERR_MALFORMED_REQUEST"),
        ("DELETE", "/v1.0/actors/t/i/timers/r", b"", 400, "ERR_ACTOR_NO_PLACEMENT"),
        ("POST", "/v1.0-alpha1/jobs/j", {}, 400, "DAPR_SCHEDULER_SCHEDULE_EMPTY"),
        ("POST", "/v1.0/jobs/a%7Cb", {}, 400, "DAPR_SCHEDULER_JOB_NAME_EMPTY"),
        ("POST", "/v1.0/jobs/j", {"name": "x"}, 400, "DAPR_SCHEDULER_JOB_NAME"),
        ("POST", "/v1.0/jobs/j", b"{", 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "/v1.0/jobs/j", {"dueTime": "1s"}, 500, "DAPR_SCHEDULER_SCHEDULE_JOB"),
        ("GET", "/v1.0-alpha1/jobs/j", b"", 500, "DAPR_SCHEDULER_GET_JOB"),
        ("DELETE", "/v1.0/jobs/j", b"", 500, "DAPR_SCHEDULER_DELETE_JOB"),
        ("POST", "/v1.0-beta1/workflows/dapr/w/start", b"", 400, "ERR_ACTOR_NO_PLACEMENT"),
        ("GET", "/v1.0/workflows/dapr/i", b"", 400, "ERR_ACTOR_NO_PLACEMENT"),
    ],
)
def test_a_building_block_that_is_not_there_answers_as_in_daprd(method, path, body, status, code):
    assert error(run(client().call(method, path, body)))[:2] == (status, code)


def test_a_fault_in_an_operation_is_an_answer_without_a_trace(caplog):
    caller = client()
    caller.api.sidecar.get_metadata = None
    answer = run(caller.call("GET", "/v1.0/metadata"))
    assert error(answer) == (500, "ERR_INTERNAL", "the call has failed")
    assert "GET /v1.0/metadata failed" in caplog.text
