"""`--metrics-port`: what Prometheus reads of two sidecars that were used."""

import json
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.echo_app import EchoApp
from tests.support.sidecar import Sidecar

RESOURCES = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: store}
spec: {type: state.in-memory}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: bus}
spec: {type: pubsub.in-memory}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: broken}
spec:
  type: secretstores.local.file
  ignoreErrors: true
  metadata: [{name: secretsFile, value: /nowhere}]
---
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: policies}
spec:
  policies: {circuitBreakers: {breaker: {trip: consecutiveFailures > 5}}}
  targets: {components: {store: {outbound: {circuitBreaker: breaker}}}}
---
apiVersion: dapr.io/v1alpha1
kind: Subscription
metadata: {name: orders}
spec: {pubsubname: bus, topic: orders, route: /orders}
"""
CONFIG = """\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: config}
spec: {metrics: {recordErrorCodes: true}}
"""


class Scrape:
    """The samples of one look, by name and labels."""

    def __init__(self, sidecar: Sidecar) -> None:
        answer = sidecar.call("GET", "/any/path", port=sidecar.port_of("metrics"))
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4"
        self.samples = [
            sample
            for family in text_string_to_metric_families(answer.body.decode())
            for sample in family.samples
        ]

    def __call__(self, name: str, /, **labels: str) -> float:
        """The sum over the samples that have these labels."""
        return sum(
            sample.value
            for sample in self.samples
            # The parser appends what the format of today wants counters to end in.
            if sample.name in (f"dapr_{name}", f"dapr_{name}_total")
            and labels.items() <= sample.labels.items()
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resources")
    (folder / "all.yaml").write_text(RESOURCES)
    (folder / "config.cfg").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def used(folder, tmp_path_factory):
    """A sidecar and its peer, after some calls."""
    registry = {"XDG_RUNTIME_DIR": str(tmp_path_factory.mktemp("registry"))}
    with EchoApp() as app:
        arguments = (
            "--app-port", str(app.port), "--resources-path", str(folder),
            "--config", str(folder / "config.cfg"),
            "--enable-app-health-check", "--app-health-probe-interval", "1",
            "--app-health-probe-timeout", "900",
        )  # fmt: skip
        with (
            Sidecar("shop", *arguments, env=registry) as shop,
            Sidecar("caller", env=registry) as caller,
        ):
            shop.wait_for("app is subscribed to topic orders")
            shop.call("POST", "/v1.0/state/store", [{"key": "k", "value": 1}])
            shop.call("GET", "/v1.0/state/store/k?metadata.x=1")
            shop.call("GET", "/v1.0/state/store/none")
            shop.call("GET", "/v1.0/state/other/none")
            shop.call("POST", "/v1.0/publish/bus/orders", {"id": 7})
            caller.call("POST", "/v1.0/invoke/shop/method/echo", b"12345")
            while not any(request["path"] == "/orders" for request in app.requests):
                assert shop.process.poll() is None
            yield shop, caller


def test_the_http_api_is_counted_by_method_path_and_status(used):
    scrape = Scrape(used[0])
    get = {"app_id": "shop", "method": "GET", "path": "/v1.0/state/store"}
    assert scrape("http_server_request_count", status="200", **get) == 1
    assert scrape("http_server_response_count", status="204", **get) == 1
    assert scrape("http_server_latency_count", status="200", **get) == 1
    assert scrape("http_server_latency_bucket", le="100000", status="200", **get) == 1
    assert scrape("http_server_request_bytes_count", app_id="shop") == 5


def test_components_are_counted_by_operation(used):
    scrape = Scrape(used[0])
    of = {"app_id": "shop", "component": "store", "namespace": "", "success": "true"}
    assert scrape("component_state_count", operation="get", **of) == 2
    assert scrape("component_state_latencies_count", operation="set", **of) == 1
    assert not scrape("component_state_count", component="other")
    bus = {"app_id": "shop", "component": "bus", "topic": "orders"}
    assert scrape("component_pubsub_egress_count", success="true", **bus) == 1
    assert scrape("component_pubsub_ingress_count", process_status="success", **bus) == 1


def test_the_life_of_components_is_counted(used):
    scrape = Scrape(used[0])
    assert scrape("runtime_component_loaded", app_id="shop") == 2
    assert scrape("runtime_component_init_total", component="state.in-memory") == 1
    failed = {"component": "secretstores.local.file", "reason": "init", "componentName": "broken"}
    assert scrape("runtime_component_init_fail_total", **failed) >= 1


def test_invocation_is_counted_at_both_ends(used):
    shop, caller = (Scrape(each) for each in used)
    sent = {"app_id": "caller", "dst_app_id": "shop", "type": "unary"}
    assert caller("runtime_service_invocation_req_sent_total", **sent) == 1
    answered = {"app_id": "caller", "src_app_id": "shop", "status": "200"}
    assert caller("runtime_service_invocation_res_recv_total", **answered) == 1
    assert caller("runtime_service_invocation_res_recv_latency_ms_count", **answered) == 1
    assert shop("runtime_service_invocation_req_recv_total", src_app_id="caller") == 1
    assert shop("runtime_service_invocation_res_sent_total", dst_app_id="caller") == 1
    echo = {"method": "POST", "path": "/echo", "status": "200"}
    assert shop("http_client_completed_count", **echo) == 1
    assert shop("http_client_sent_bytes_sum", **echo) == 5
    assert caller("http_server_request_count", path="/v1.0/invoke/shop/method/echo") == 1


def test_calls_of_the_app_by_the_sidecar_itself_are_counted(used):
    scrape = Scrape(used[0])
    assert scrape("http_client_completed_count", path="/orders", status="200") == 1
    assert scrape("http_client_completed_count", path="/dapr/subscribe") >= 1
    assert scrape("http_healthprobes_completed_count", status="200") >= 1


def test_errors_are_counted_by_code_where_that_is_wanted(used):
    shop, caller = (Scrape(each) for each in used)
    code = {"error_code": "ERR_STATE_STORE_NOT_FOUND", "category": "state"}
    assert shop("error_code_total", **code) == 1
    assert not caller("error_code_total")


def test_policies_and_the_state_of_a_breaker_are_shown(used):
    scrape = Scrape(used[0])
    assert scrape("resiliency_loaded", name="policies") == 1
    of = {"policy": "circuitbreaker", "target": "statestore_store", "flow_direction": "outbound"}
    assert scrape("resiliency_count", status="closed", **of) == 3
    assert scrape("resiliency_cb_state", status="closed", **of) == 1
    assert scrape("resiliency_cb_state", status="open", **of) == 0


def test_low_cardinality_shows_no_path_and_no_verb(tmp_path):
    config = tmp_path / "config.yaml"
    spec = {"metrics": {"http": {"increasedCardinality": False, "excludeVerbs": True}}}
    config.write_text(CONFIG.partition("spec:")[0] + f"spec: {json.dumps(spec)}\n")
    with Sidecar("low", "--config", str(config)) as sidecar:
        sidecar.call("GET", "/v1.0/metadata")
        scrape = Scrape(sidecar)
        labels = {"app_id": "low", "method": "", "path": "", "status": "200"}
        assert scrape("http_server_request_count", **labels) == 1
        assert not scrape("http_server_response_count")


def test_metrics_can_be_switched_off():
    with Sidecar("off", "--enable-metrics=false") as sidecar:
        assert "metrics server" not in sidecar.log


def test_only_a_port_that_was_asked_for_has_to_be_free(used):
    port = str(used[0].port_of("metrics"))
    sidecar = Sidecar("late", "--metrics-port", port, ready=False)
    try:
        assert sidecar.process.wait(20) == 1
        assert re.search(rf"Fatal error from runtime: cannot bind '0.0.0.0:{port}'", sidecar.log)
    finally:
        sidecar.__exit__()
