"""Messages through a running sidecar: published by HTTP, taken by an app, over both brokers."""

import queue
import threading

import orjson
import pytest

from tests.support.http_server import Handler, HttpServer
from tests.support.sidecar import Sidecar

SUBSCRIBE = [{"pubsubname": "bus", "topic": "asked", "route": "/asked"}]
RESOURCES = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: bus}}
spec:
  type: pubsub.{kind}
  metadata:
  - {{name: redisHost, value: "{host}"}}
  - {{name: processingTimeout, value: 20ms}}
  - {{name: redeliverInterval, value: 10ms}}
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {{name: orders}}
spec:
  pubsubname: bus
  topic: orders
  routes:
    rules: [{{match: event.data.large == true, path: /large}}]
    default: /small
"""


class App(HttpServer):
    """An HTTP app on a free port; it refuses the first delivery of everything.

    With `stuck` it answers none before it ends.
    """

    def __init__(self, *, stuck: bool = False) -> None:
        self.taken: queue.Queue = queue.Queue()
        self.seen: set[str] = set()
        self.stuck = stuck
        self.ending = threading.Event()
        super().__init__(Events)

    def close(self) -> None:
        self.ending.set()
        super().close()


class Events(Handler):
    def do_GET(self):
        self.answer(200 if self.path == "/dapr/subscribe" else 404, orjson.dumps(SUBSCRIBE))

    def do_POST(self):
        event = orjson.loads(self.body())
        if self.app.stuck:
            self.app.taken.put((self.path, event))
            self.app.ending.wait(30)
        elif event["id"] not in self.app.seen:
            self.app.seen.add(event["id"])
            self.answer(500)
        else:
            self.app.taken.put((self.path, event))
            self.answer(200, b'{"status":"SUCCESS"}')


@pytest.mark.parametrize("kind", ["in-memory", "redis"])
def test_what_is_published_is_taken_by_the_app_also_after_a_refusal(kind, tmp_path, redis_server):
    (tmp_path / "bus.yaml").write_text(RESOURCES.format(kind=kind, host=redis_server.address))
    arguments = ["--resources-path", str(tmp_path)]
    with App() as app, Sidecar("app", "--app-port", str(app.port), *arguments) as sidecar:
        sidecar.wait_for("app is subscribed to topic asked through pubsub=bus")
        for path, body in (
            ("orders", {"large": True}),
            ("orders", {"large": False}),
            ("asked", {"n": 1}),
        ):
            headers = {"content-type": "application/json"}
            answer = sidecar.call("POST", f"/v1.0/publish/bus/{path}", body, headers)
            assert (answer.status, answer.body) == (204, b"")
        taken = dict(app.taken.get(timeout=30) for _ in range(3))
        assert {path: event["data"] for path, event in taken.items()} == {
            "/large": {"large": True},
            "/small": {"large": False},
            "/asked": {"n": 1},
        }
        listed = sidecar.call("GET", "/v1.0/metadata").json["subscriptions"]
        assert [(each["topic"], each["type"]) for each in listed] == [
            ("orders", "DECLARATIVE"),
            ("asked", "PROGRAMMATIC"),
        ]


def test_a_sidecar_ends_without_an_app_that_never_answers_and_the_message_stays(
    tmp_path, redis_server
):
    (tmp_path / "bus.yaml").write_text(RESOURCES.format(kind="redis", host=redis_server.address))
    arguments = ["--resources-path", str(tmp_path), "--dapr-graceful-shutdown-seconds", "1"]
    with (
        App(stuck=True) as app,
        Sidecar("app", "--app-port", str(app.port), *arguments) as sidecar,
    ):
        sidecar.wait_for("app is subscribed to topic asked through pubsub=bus")
        sidecar.call("POST", "/v1.0/publish/bus/asked", {"n": 1})
        assert app.taken.get(timeout=30)[0] == "/asked"
        sidecar.process.terminate()
        assert sidecar.process.wait(20) == 0
        assert "messages that the app has not answered stay with their broker" in sidecar.log
    assert redis_server.client.xpending("asked", "app")["pending"] == 1
