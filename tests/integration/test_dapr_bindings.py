"""Input bindings through a running sidecar: the app is asked, told, and its answer is done."""

import queue

import orjson

from tests.support.eventually import eventually
from tests.support.http_server import Handler, HttpServer
from tests.support.sidecar import Sidecar

RESOURCES = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: tick}
spec:
  type: bindings.cron
  metadata:
  - {name: schedule, value: "@every 1s"}
  - {name: route, value: on/tick}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: unwanted}
spec:
  type: bindings.cron
  metadata: [{name: schedule, value: "@every 1s"}]
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: state}
spec: {type: state.in-memory}
"""


class App(HttpServer):
    """Takes `tick` and no other binding; its answer saves a state."""

    def __init__(self) -> None:
        self.taken: queue.Queue = queue.Queue()
        super().__init__(Ticks)


class Ticks(Handler):
    def do_GET(self):
        self.answer(404)

    def do_OPTIONS(self):
        self.answer(405 if self.path == "/on/tick" else 404)

    def do_POST(self):
        self.body()
        self.app.taken.put((self.path, self.lower_headers()))
        answer = {"storeName": "state", "state": [{"key": "ticked", "value": True}]}
        self.answer(200, orjson.dumps(answer))


def test_an_app_gets_the_events_it_wants_and_its_answer_is_done(tmp_path):
    (tmp_path / "components.yaml").write_text(RESOURCES)
    arguments = ["--resources-path", str(tmp_path)]
    with App() as app, Sidecar("app", "--app-port", str(app.port), *arguments) as sidecar:
        path, headers = app.taken.get(timeout=20)
        assert path == "/on/tick"
        assert headers["timezone"] == "Local"
        assert headers["readtimeutc"].endswith(" +0000 UTC")
        sidecar.wait_for("app has not subscribed to binding unwanted.")
        eventually(lambda: sidecar.call("GET", "/v1.0/state/state/ticked").body == b"true")
        refused = sidecar.call("POST", "/v1.0/bindings/tick", {"operation": "create"})
        assert (refused.status, refused.json["errorCode"]) == (500, "ERR_INVOKE_OUTPUT_BINDING")
