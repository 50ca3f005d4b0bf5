"""Resiliency: how often is tried, what of it the caller sees, when a breaker opens and closes."""

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
from dapr.proto import api_v1 as pb
from dapr.proto.common.v1 import common_pb2 as common
from google.protobuf import empty_pb2

from tests.parity_daprd.blocks import PUBSUB, component, subscription
from tests.parity_daprd.harness import Pair, Setup, Side
from tests.parity_daprd.recorder import Reply

POLICIES = """
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: all}
spec:
  policies:
    timeouts: {short: 300ms, number: 300}
    retries:
      three: {policy: constant, duration: 10ms, maxRetries: 3}
      none: {policy: constant, duration: 10ms, maxRetries: 0}
      matched: {policy: constant, duration: 10ms, maxRetries: 3, matching: {httpStatusCodes: "429,500-502"}}
      growing: {policy: exponential, maxInterval: 20ms, maxRetries: 2}
    circuitBreakers:
      two: {maxRequests: 1, timeout: 1s, trip: consecutiveFailures >= 2}
  targets:
    apps:
      app: {retry: three}
    components:
      web: {outbound: {retry: three, timeout: short}}
      plain: {outbound: {retry: none}}
      growing: {outbound: {retry: growing}}
      broken: {outbound: {circuitBreaker: two}}
      both: {outbound: {circuitBreaker: two, retry: three}}
      bus: {inbound: {retry: three}}
"""
STATUSES = [200, 204, 301, 400, 401, 404, 408, 409, 418, 429, 500, 501, 502, 503, 504, 599]
HTTP_ENDPOINT = """
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: outside}
spec: {baseUrl: "http://127.0.0.1:{app}/base"}
"""


KIND = (("content-type", "text/x"),)


def slow(_: Any) -> Reply:
    time.sleep(0.6)
    return Reply(200, b"late")


class Flaky:
    """Fails so many times, then answers, in turns."""

    def __init__(self, failures: int, status: int = 500) -> None:
        self._turns = itertools.cycle([status] * failures + [200])

    def __call__(self, request: Any) -> Reply:
        return Reply(next(self._turns), b"answer")


def app() -> dict[str, Any]:
    replies: dict[str, Any] = {"GET /slow": slow, "POST /bus-refused": Reply(500)}
    for verb in ("GET", "POST"):
        for prefix in ("/", "/base/"):
            for status in STATUSES:
                body = b"" if status == 204 else b"%d" % status
                replies[f"{verb} {prefix}s{status}"] = Reply(status, body, KIND)
    return replies


def setup(**more: Any) -> Setup:
    web = "bindings.http"
    names = ("web", "plain", "growing", "broken", "both")
    listed = [component(name, web, url="http://127.0.0.1:{app}") for name in names]
    resources = {
        "policies.yaml": POLICIES,
        "endpoint.yaml": HTTP_ENDPOINT,
        "all.yaml": "".join([*listed, PUBSUB, subscription("bus", "refused")]),
    }
    return Setup(resources=resources, app=app(), **more)


@pytest.fixture(scope="module")
def running() -> Iterator[Pair]:
    with Pair(setup()) as both:
        yield both


def tries(side: Side, path: str) -> int:
    assert side.app is not None
    return len(side.app.all_for(path))


def invoke(side: Side, path: str, app_id: str = "app", verb: str = "GET") -> Any:
    answer = side.http(verb, f"/v1.0/invoke/{app_id}/method/{path}")
    return {"answer": answer._asdict(), "tries": tries(side, f"/{path}")}


def test_an_app_is_asked_again(pair):
    for status in STATUSES:
        pair.same(f"invoke {status}", invoke, f"s{status}")
        pair.same(f"invoke by POST {status}", invoke, f"s{status}", verb="POST")


def over_grpc(side: Side, path: str) -> Any:
    message = common.InvokeRequest(method=path)
    message.http_extension.verb = common.HTTPExtension.Verb.Value("GET")
    request = pb.InvokeServiceRequest(id="app", message=message)
    answer = side.grpc("InvokeService", request, empty_pb2.Empty)
    return {
        "code": answer["code"],
        "message": answer.get("message"),
        "tries": tries(side, f"/{path}"),
    }


def test_an_app_is_asked_again_over_grpc(pair):
    for status in STATUSES:
        pair.same(f"InvokeService {status}", over_grpc, f"s{status}")


def test_an_endpoint_is_asked_again(pair):
    def act(side: Side, status: int) -> Any:
        answer = side.http("GET", f"/v1.0/invoke/outside/method/s{status}")
        return {"answer": answer._asdict(), "tries": tries(side, f"/base/s{status}")}

    for status in (200, 404, 500, 503):
        pair.same(f"endpoint {status}", act, status)


def binding(side: Side, name: str, path: str) -> Any:
    body = {"operation": "get", "metadata": {"path": path}}
    answer = side.http("POST", f"/v1.0/bindings/{name}", body)
    return {"status": answer.status, "body": answer.body, "tries": tries(side, f"/{path}")}


def test_a_binding_is_asked_again(pair):
    for name in ("web", "plain", "growing"):
        for status in (200, 404, 500):
            pair.same(f"binding {name} {status}", binding, name, f"s{status}")
    pair.same("binding slow", binding, "web", "slow")
    pair.same(
        "binding unknown operation",
        lambda side: side.http("POST", "/v1.0/bindings/web", {"operation": "odd"}),
    )


@pytest.mark.parametrize("name", ["broken", "both"])
def test_a_breaker_opens_and_closes(pair, name):
    for step in ("first", "second", "third", "fourth"):
        pair.same(f"breaker {name} {step}", binding, name, "s500")
    pair.same(f"breaker {name} open", binding, name, "s200")
    deadline = time.monotonic() + 1.1  # the breaker's own time, which neither sidecar shows
    while time.monotonic() < deadline:
        time.sleep(0.05)
    pair.same(f"breaker {name} half", binding, name, "s500")
    pair.same(f"breaker {name} open again", binding, name, "s200")
    while time.monotonic() < deadline + 1.2:
        time.sleep(0.05)
    pair.same(f"breaker {name} closed", binding, name, "s200")
    pair.same(f"breaker {name} stays closed", binding, name, "s500")


def test_an_event_is_delivered_again(pair):
    def act(side: Side) -> Any:
        side.http("POST", "/v1.0/publish/bus/refused", b"x")
        return len(side.app.take("/bus-refused", 4))

    pair.same("event", act)
