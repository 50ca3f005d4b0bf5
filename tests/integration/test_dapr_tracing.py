"""Traces through two sidecars, an app and a broker, as collectors see them."""

import json
import time

import pytest

from tests.support.collectors import PATIENCE_S, Collectors
from tests.support.echo_app import EchoApp
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
spec: {pubsubname: bus, topic: orders, route: /orders}
"""
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def configuration(folder, **tracing):
    path = folder / "config.json"
    head = {"apiVersion": "dapr.io/v1alpha1", "kind": "Configuration", "metadata": {"name": "c"}}
    path.write_text(json.dumps({**head, "spec": {"tracing": tracing}}))
    return str(path)


@pytest.fixture(scope="module")
def collectors():
    with Collectors() as running:
        yield running


@pytest.fixture(scope="module")
def traced(collectors, tmp_path_factory):
    """The app, its sidecar (OTLP over gRPC), and a caller's (over HTTP, and Zipkin)."""
    folder = tmp_path_factory.mktemp("tracing")
    (folder / "resources").mkdir()
    (folder / "resources" / "all.yaml").write_text(RESOURCES)
    registry = {"XDG_RUNTIME_DIR": str(folder)}
    for name in ("shop", "caller"):
        (folder / name).mkdir()
    otel = {"isSecure": False, "headers": "x-team=a"}
    by_grpc = configuration(
        folder / "shop",
        samplingRate="1",
        otel={**otel, "endpointAddress": f"127.0.0.1:{collectors.grpc_port}"},
    )
    http = f"127.0.0.1:{collectors.http_port}"
    by_http = configuration(
        folder / "caller",
        samplingRate="1",
        stdout=True,
        otel={**otel, "endpointAddress": http, "protocol": "http"},
        zipkin={"endpointAddress": f"http://{http}/api/v2/spans"},
    )
    with EchoApp() as app:
        resources = str(folder / "resources")
        arguments = ("--app-port", str(app.port), "--resources-path", resources)
        with (
            Sidecar("shop", *arguments, "--config", by_grpc, env=registry) as shop,
            Sidecar("caller", "--config", by_http, env=registry) as caller,
        ):
            shop.wait_for("app is subscribed to topic orders")
            yield app, shop, caller


def attributes(span):
    return {each.key: each.value.string_value for each in span.attributes}


def test_an_invocation_is_one_trace_from_caller_to_app(collectors, traced):
    app, _, caller = traced
    headers = {"traceparent": PARENT, "tracestate": "a=b", "dapr-user": "me"}
    answer = caller.call("GET", "/v1.0/invoke/shop/method/hello", headers=headers)
    assert answer.status == 200
    sent = collectors.span("caller", "CallLocal/shop/hello")
    received = collectors.span("shop", "CallLocal/shop/hello")
    assert sent.trace_id.hex() == received.trace_id.hex() == TRACE
    assert sent.parent_span_id.hex() == "b7ad6b7169203331"
    assert received.parent_span_id == sent.span_id
    assert (sent.kind, received.kind, sent.trace_state) == (3, 2, "a=b")
    assert sent.end_time_unix_nano > sent.start_time_unix_nano
    shown = attributes(sent)
    assert shown["dapr.api"] == "GET /v1.0/invoke/shop/method/hello"
    assert (shown["dapr.status_code"], shown["net.peer.name"]) == ("200", "shop")
    assert shown["dapr-user"] == "me"
    [request] = [each for each in app.requests if each["path"] == "/hello"]
    seen = {name.lower(): value for name, value in request["headers"]}
    assert seen["traceparent"] == f"00-{TRACE}-{received.span_id.hex()}-01"
    assert seen["tracestate"] == "a=b"
    assert answer.headers["traceparent"] == f"00-{TRACE}-{sent.span_id.hex()}-01"
    assert all(each["x-team"] == "a" for each in collectors.headers if "x-team" in each)
    assert any("x-team" in each for each in collectors.headers)


def test_a_message_takes_its_trace_along(collectors, traced):
    app, shop, _ = traced
    shop.call("POST", "/v1.0/publish/bus/orders", {"id": 1})
    published = collectors.span("shop", "/v1.0/publish/bus/orders")
    delivered = collectors.span("shop", "pubsub/orders")
    assert delivered.trace_id == published.trace_id
    assert delivered.parent_span_id == published.span_id
    assert attributes(published)["messaging.destination"] == "orders"
    [request] = [each for each in app.requests if each["path"] == "/orders"]
    event = json.loads(request["body"])
    parent = f"00-{published.trace_id.hex()}-{published.span_id.hex()}-01"
    assert (event["traceparent"], event["traceid"]) == (parent, parent)
    seen = {name.lower(): value for name, value in request["headers"]}
    assert seen["traceparent"] == f"00-{delivered.trace_id.hex()}-{delivered.span_id.hex()}-01"


def test_a_failed_call_is_an_error_and_health_is_no_call(collectors, traced):
    _, shop, _ = traced
    shop.call("GET", "/v1.0/healthz")
    shop.call("GET", "/v1.0/state/none/k")
    span = collectors.span("shop", "/v1.0/state/none/k")
    assert (span.status.code, span.status.message) == (2, "Code(500)")
    assert attributes(span)["db.system"] == "state"
    assert not [name for name in collectors.spans("shop") if "healthz" in name]


def test_zipkin_and_the_log_get_the_same_spans(collectors, traced):
    _, _, caller = traced
    caller.call("GET", "/v1.0/metadata")
    end = time.monotonic() + PATIENCE_S
    while not (found := [s for s in collectors.zipkin if s["name"] == "/v1.0/metadata"]):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert found[0]["localEndpoint"] == {"serviceName": "caller"}
    caller.wait_for(found[0]["traceId"])


def test_what_is_not_sampled_goes_on_and_is_not_sent(collectors, traced):
    app, shop, _ = traced
    headers = {"traceparent": PARENT[:-1] + "0"}
    shop.call("GET", "/v1.0/invoke/shop/method/unsampled", headers=headers)
    [request] = [each for each in app.requests if each["path"] == "/unsampled"]
    seen = {name.lower(): value for name, value in request["headers"]}
    assert seen["traceparent"].startswith(f"00-{TRACE}-")
    assert seen["traceparent"].endswith("-00")
    shop.call("GET", "/v1.0/metadata")
    collectors.span("shop", "/v1.0/metadata")
    assert "CallLocal/shop/unsampled" not in collectors.spans("shop")


def test_baggage_goes_on_and_comes_back_and_what_is_none_is_refused(traced):
    app, shop, _ = traced
    path = "/v1.0/invoke/shop/method/packed"
    answer = shop.call("GET", path, headers={"baggage": "a=b,c=d;p=1"})
    assert (answer.status, answer.headers["baggage"]) == (200, "a=b,c=d;p=1")
    [request] = [each for each in app.requests if each["path"] == "/packed"]
    assert ["baggage", "a=b,c=d;p=1"] in [[n.lower(), v] for n, v in request["headers"]]
    refused = shop.call("GET", path, headers={"baggage": "no baggage"})
    assert (refused.status, refused.body) == (400, b"invalid baggage header")


def test_a_collector_that_is_not_there_harms_nobody(tmp_path):
    config = configuration(
        tmp_path,
        samplingRate="1",
        otel={"endpointAddress": "127.0.0.1:9", "isSecure": False, "protocol": "http"},
    )
    with Sidecar("alone", "--config", config) as sidecar:
        assert sidecar.call("GET", "/v1.0/metadata").status == 200
        sidecar.wait_for("spans were not taken")
        assert sidecar.call("POST", "/v1.0/shutdown").status == 204
        assert sidecar.process.wait(20) == 0
