"""Components behind sockets, through a running sidecar: every kind, errors, the end and return."""

import json
import queue

import pytest

from tests.support.http_server import Handler, HttpServer
from tests.support.pluggable_components import PluggableProcess
from tests.support.sidecar import Sidecar

EVERYTHING = (
    "StateStore",
    "TransactionalStateStore",
    "TransactionalStoreMultiMaxSize",
    "PubSub",
    "InputBinding",
    "OutputBinding",
    "SecretStore",
)
COMPONENT = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: {name}}}
spec:
  type: {type}
  metadata: [{{name: some, value: thing}}]
---
"""
SUBSCRIPTION = """\
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: s}
spec: {pubsubname: bus, topic: orders, routes: {default: /orders}}
"""
RESOURCES = (
    "".join(
        COMPONENT.format(name=name, type=f"{kind}.mine")
        for name, kind in (
            ("store", "state"),
            ("bus", "pubsub"),
            ("way", "bindings"),
            ("vault", "secretstores"),
        )
    )
    + SUBSCRIPTION
)
PATIENCE = 30


class App(HttpServer):
    """Takes what is sent to it; answers 500 at first, then 200 with the length of the body."""

    def __init__(self):
        self.taken = queue.Queue()
        self.seen = set()
        super().__init__(Calls)


class Calls(Handler):
    def do_OPTIONS(self):
        self.answer(200)

    def do_GET(self):
        self.answer(404)

    def do_POST(self):
        call = (self.path, self.body())
        self.app.taken.put(call)
        status = 200 if call in self.app.seen else 500
        self.app.seen.add(call)
        self.answer(status, str(len(call[1])).encode())


def started(folder, *arguments):
    resources = folder / "resources"
    resources.mkdir(exist_ok=True)
    (resources / "all.yaml").write_text(RESOURCES)
    env = {"DAPR_COMPONENTS_SOCKETS_FOLDER": str(folder)}
    return Sidecar("app", "--resources-path", str(resources), *arguments, env=env)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plug")
    with (
        App() as app,
        PluggableProcess(folder / "mine.sock", *EVERYTHING) as process,
        started(folder, "--app-port", str(app.port)) as sidecar,
    ):
        sidecar.wait_for("app is subscribed to topic orders")
        yield app, process, sidecar


def test_each_gets_its_metadata_under_its_name_and_says_what_it_can(world):
    _, process, sidecar = world
    inits = {call for call in process.calls if call[2] == "Init"}
    assert inits == {
        ("store", "StateStore", "Init"),
        ("bus", "PubSub", "Init"),
        ("way", "InputBinding", "Init"),
        ("way", "OutputBinding", "Init"),
        ("vault", "SecretStore", "Init"),
    }
    assert all(each == {"some": "thing"} for each in process.properties.values())
    shown = {
        each["name"]: each["capabilities"]
        for each in sidecar.call("GET", "/v1.0/metadata").json["components"]
    }
    assert shown == {
        "store": ["ETAG", "TRANSACTIONAL"],
        "bus": ["MESSAGE_TTL"],
        "way": ["INPUT_BINDING", "OUTPUT_BINDING"],
        "vault": [],
    }


def test_state_is_saved_read_and_removed_and_its_etags_count(world):
    _, process, sidecar = world

    def save(**item):
        return sidecar.call("POST", "/v1.0/state/store", [{"key": "k", "value": 1, **item}]).status

    assert sidecar.call("GET", "/v1.0/state/store/k").status == 204
    assert save() == 204
    assert process.state["app||k"][0] == b"1"
    answer = sidecar.call("GET", "/v1.0/state/store/k")
    assert (answer.status, answer.json) == (200, 1)
    etag = answer.headers["etag"].strip('"')
    assert save(etag="999", options={"concurrency": "first-write"}) == 409
    assert save(etag="no number", options={"concurrency": "first-write"}) == 400
    assert save(etag=etag, value=2) == 204
    found = sidecar.call("POST", "/v1.0/state/store/bulk", {"keys": ["k", "none", "broken"]}).json
    assert [(each["key"], each.get("data"), each.get("error")) for each in found] == [
        ("k", 2, None),
        ("none", None, None),
        ("broken", None, "broken"),
    ]
    assert sidecar.call("DELETE", "/v1.0/state/store/k").status == 204
    assert "app||k" not in process.state


def test_transactions_go_as_one_call_up_to_their_size(world):
    _, process, sidecar = world

    def transact(count):
        operations = [
            {"operation": "upsert", "request": {"key": f"t{number}", "value": number}}
            for number in range(count)
        ]
        body = {"operations": operations}
        return sidecar.call("POST", "/v1.0/state/store/transaction", body).status

    assert transact(2) == 204
    assert process.state["app||t1"][0] == b"1"
    assert transact(3) == 400
    assert "app||t2" not in process.state


def test_messages_are_published_pulled_refused_and_acknowledged(world):
    app, process, sidecar = world
    headers = {"content-type": "application/json"}
    assert sidecar.call("POST", "/v1.0/publish/bus/orders", {"n": 1}, headers).status == 204
    bodies = [app.taken.get(timeout=PATIENCE) for _ in range(2)]
    assert bodies[0] == bodies[1]  # refused, and sent again
    assert json.loads(bodies[0][1])["data"] == {"n": 1}
    refused, taken = (process.acknowledged.get(timeout=PATIENCE) for _ in range(2))
    assert "the app answered 500" in refused[1]
    assert taken[1] == ""
    entries = [
        {"entryId": name, "event": name, "contentType": "text/plain"} for name in ("good", "bad")
    ]
    answer = sidecar.call("POST", "/v1.0-alpha1/publish/bulk/bus/other", entries, headers)
    assert [each["entryId"] for each in answer.json["failedEntries"]] == ["bad"]


def test_a_binding_does_what_it_can_and_its_events_reach_the_app(world):
    app, process, sidecar = world

    def invoke(operation):
        body = {"operation": operation, "data": "hello", "metadata": {"a": "b"}}
        return sidecar.call("POST", "/v1.0/bindings/way", body)

    answer = invoke("shout")
    assert answer.body == b'"HELLO"'
    assert (answer.headers["metadata.did"], answer.headers["metadata.a"]) == ("shout", "b")
    assert "supported operations:create shout" in invoke("whisper").json["message"]
    for _ in range(2):
        process.events.put(b"event")
    for _ in range(2):
        assert app.taken.get(timeout=PATIENCE) == ("/way", b"event")
    answers = {process.acknowledged.get(timeout=PATIENCE)[1:] for _ in range(2)}
    assert (b"5", "") in answers
    assert any(error for _, error in answers)


def test_secrets_are_read(world):
    _, _, sidecar = world
    assert sidecar.call("GET", "/v1.0/secrets/vault/key").json == {"key": "value"}
    assert sidecar.call("GET", "/v1.0/secrets/vault/bulk").json == {"login": {"user": "ada"}}
    answer = sidecar.call("GET", "/v1.0/secrets/vault/nothing")
    assert answer.status == 500
    assert "no such secret" in answer.json["message"]


def test_a_process_that_comes_back_is_begun_with_and_pulled_from_again(tmp_path):
    socket = tmp_path / "mine.sock"
    first = PluggableProcess(socket, *EVERYTHING)
    with App() as app, first, started(tmp_path, "--app-port", str(app.port)) as sidecar:
        sidecar.wait_for("app is subscribed to topic orders")
        first.stop()
        sidecar.wait_for("topic orders of bus:")
        assert sidecar.call("GET", "/v1.0/state/store/k").status == 500
        with PluggableProcess(socket, *EVERYTHING) as second:
            second.topics.setdefault("orders", queue.Queue()).put((b'{"id":"1"}', {}))
            path, body = app.taken.get(timeout=PATIENCE)
            assert (path, json.loads(body)["id"]) == ("/orders", "1")
            assert ("bus", "PubSub", "Init") in second.calls
            assert sidecar.call("GET", "/v1.0/state/store/k").status == 204
            assert ("store", "StateStore", "Init") in second.calls


def test_a_type_without_a_socket_is_refused_with_its_place(tmp_path):
    with pytest.raises(Exception, match="couldn't find component"):
        started(tmp_path).__enter__()


def test_a_process_without_the_service_is_named_with_what_it_has(tmp_path):
    with (
        PluggableProcess(tmp_path / "mine.sock", "SecretStore"),
        pytest.raises(Exception, match="its process has SecretStore; expected "),
    ):
        started(tmp_path).__enter__()
