"""The process: how it starts and refuses to, what it logs and counts."""

import json
import re
import subprocess

import pytest

from tests.parity_daprd.blocks import BINDINGS, PUBSUB, STATE
from tests.parity_daprd.harness import COMMANDS, Pair, Setup, Side
from tests.parity_daprd.recorder import Reply

RESOURCES = {"state.yaml": STATE, "pubsub.yaml": PUBSUB}
SUBSCRIBED = Reply(200, b'[{"pubsubname":"bus","topic":"t","route":"/t"}]')
COMPONENT = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: c}\nspec:\n"


def run(side: Side) -> tuple[int, str]:
    """Start and wait until the process ends; its code and what it has written."""
    done = subprocess.run(
        side.command(), cwd=side.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=60, env=None,
    )  # fmt: skip
    return done.returncode, done.stdout.decode(errors="replace")


FATAL = {
    "unknown type": {"resources": {"c.yaml": COMPONENT + "  type: state.odd\n  version: v1\n"}},
    "unknown version": {"resources": {"c.yaml": COMPONENT + "  type: state.redis\n  version: v9\n"}},
    "missing metadata": {"resources": {"c.yaml": COMPONENT + "  type: state.redis\n  version: v1\n"}},
    "category": {"resources": {"c.yaml": COMPONENT + "  type: odd.redis\n  version: v1\n"}},
    "no type": {"resources": {"c.yaml": COMPONENT + "  version: v1\n"}},
    "twice": {"resources": {"a.yaml": COMPONENT + "  type: state.in-memory\n  version: v1\n", "b.yaml": COMPONENT + "  type: state.in-memory\n  version: v1\n"}},
    "no resources": {"arguments": ["--resources-path", "/nowhere"]},
    "no config": {"arguments": ["--config", "/nowhere/config.yaml"]},
    "bad port": {"arguments": ["--dapr-http-port", "x"]},
    "bad app port": {"arguments": ["--app-port", "x"]},
    "bad protocol": {"arguments": ["--app-protocol", "smoke"]},
    "bad size": {"arguments": ["--max-body-size", "big"]},
    "bad level": {"arguments": ["--log-level", "loud"]},
    "bad mode": {"arguments": ["--mode", "odd"]},
    "unknown flag": {"arguments": ["--odd"]},
    "bad threshold": {"arguments": ["--app-port", "1", "--enable-app-health-check", "--app-health-threshold", "x"]},
}  # fmt: skip


@pytest.mark.parametrize("name", FATAL)
def test_what_does_not_start(name):
    """The code is the same; ours say the file, the line and what is expected, where there are any."""
    (expected, _), (measured, log) = [run(Side(kind, Setup(**FATAL[name]))) for kind in COMMANDS]
    assert measured == expected, log
    assert "level=fatal" in log or log.startswith(("invalid argument", "unknown flag", "--mode"))
    assert "Traceback" not in log


def families(side: Side) -> dict[str, list[str]]:
    """Kind and names of labels of each family of metrics that is Dapr's."""
    text = side.http("GET", "/", port=side.metrics_port).body
    kinds = dict(re.findall(r"^# TYPE (dapr_\S+) (\S+)$", text, re.M))
    found = {}
    for name, kind in kinds.items():
        labels = set()
        for inside in re.findall(rf"^{name}(?:_bucket|_sum|_count)?\{{(.*)\}} ", text, re.M):
            labels |= set(re.findall(r'(\w+)="', inside))
        found[name] = [kind, *sorted(labels)]
    return found


def test_metrics():
    from dapr.proto import api_v1 as pb
    from google.protobuf import empty_pb2

    setup = Setup(
        resources={**RESOURCES, "bindings.yaml": BINDINGS}, app={"GET /dapr/subscribe": SUBSCRIBED}
    )
    with Pair(setup) as pair:
        for side in pair.sides:
            side.http("POST", "/v1.0/state/store", [{"key": "k", "value": 1}])
            side.http("GET", "/v1.0/state/store/k")
            side.http("GET", "/v1.0/state/none/k")
            side.http("POST", "/v1.0/publish/bus/t", b"x")
            side.app.take("/t")
            side.http("POST", "/v1.0/bindings/disk", {"operation": "list"})
            side.http("GET", "/v1.0/invoke/app/method/x")
            side.grpc(
                "GetState", pb.GetStateRequest(store_name="store", key="k"), pb.GetStateResponse
            )
            side.grpc(
                "PublishEvent",
                pb.PublishEventRequest(pubsub_name="bus", topic="u"),
                empty_pb2.Empty,
            )
        pair.same("metrics", families)
        pair.check()


def test_the_log_is_json():
    with Pair(
        Setup(resources=RESOURCES, arguments=["--log-as-json", "--enable-api-logging"])
    ) as pair:

        def fields(side):
            side.http("GET", "/v1.0/state/none/k", headers={"user-agent": "me"})
            side.wait_for("HTTP API Called")
            lines = [json.loads(line) for line in side.log.splitlines()]
            common = set.intersection(*(set(line) for line in lines))
            call = next(line for line in lines if line["msg"] == "HTTP API Called")
            return {"common": sorted(common), "call": {k: type(v).__name__ for k, v in sorted(call.items())},
                    "scope": call["scope"], "method": call["method"], "components": sorted(line["msg"] for line in lines if line["msg"].startswith("Component loaded: ") and "name-res" not in line["msg"])}  # fmt: skip

        pair.same("JSON log", fields)
        pair.check()
