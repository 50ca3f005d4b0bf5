"""Every file of conf/, run by both proxies: the examples do what they say, and Envoy takes them.

Those of other protocols than HTTP/1.1 in the clear are in `test_conf_protocols.py`.
"""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import yaml

from tests.parity.harness import PROXIES, Case, Pair
from tests.parity.test_conf_protocols import TESTED
from tests.parity.test_retries import by_attempt, status
from tests.support.conf import conf_names, runnable
from tests.support.raw_client import TIMEOUT_S, RawClient, http_request
from tests.support.upstreams import RecordingUpstream, answering

CLOSE = "connection: close"  # no probe after it: these files have no route for one


def case(name: str, target: str, *fields: str, host: str = "h.example", **more: str) -> Case:
    """One GET on the listener that all examples have, answered and closed."""
    request = http_request(target, CLOSE, *fields, host=host, **more)
    return Case(name, request, ANSWER, "ingress", log_lines=0, stats=False)


ANSWER = answering(
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-powered-by: app\r\ncache-control: public\r\n\r\nok"
)
OLD = "old.example.com"
CASES = {
    "access_log.yaml": [case("proxied", "/a?b=c")],
    "dns.yaml": [
        case("strict", "/x"),
        case("logical", "/payments/1"),
        case("no prefix", "/paymentsx"),
    ],
    "ext_authz.yaml": [
        case("asked", "/x?y", "cookie: a=b", "authorization: c", "x-other: d"),
        replace(case("denied", "/x"), play=answering(status(403))),
        case("open", "/healthz"),
    ],
    "filters.yaml": [
        case("counted", "/api/orders", "x-tenant: acme", "x-debug: 1", "x-request-id: one"),
        case("site", "/", "x-request-id: two"),
    ],
    "headers.yaml": [
        case("api", "/api/orders", "x-internal-secret: s", "x-client: forged"),
        case("user", "/users/17"),
        case("rest", "/a//b/../c"),
        case("escaped slash", "/a%2Fb"),
    ],
    "health_checks.yaml": [case("proxied", "/x"), case("answered", "/healthz")],
    "minimal.yaml": [case("proxied", "/x", method="POST")],
    "redirects.yaml": [
        case("docs", "/docs/a?b=c", host=OLD),
        case("moved", "/a?b=c", host=f"www.{OLD}"),
        case("health", "/healthz"),
        case("search without q", "/search"),
        case("search", "/search?q=x"),
        case("admin", "/admin"),
        case("admin, allowed", "/admin", "x-admin: 1"),
        case("nothing", "/x"),
    ],
    "retries.yaml": [
        replace(case("again", "/orders"), play=by_attempt(answering(status(503)), ANSWER)),
        replace(case("not for this", "/x"), play=answering(status(503))),
    ],
    "split.yaml": [case("preview", "/x", "x-version: 2")],
}


@pytest.fixture(params=CASES)
def example(request: pytest.FixtureRequest) -> Iterator[tuple[str, Pair]]:
    with RecordingUpstream() as upstream:
        document = runnable(request.param, dict.fromkeys((8080, 8081, 8082), upstream.port))
        for one in document["static_resources"].get("clusters", ()):
            for check in one.get("health_checks", ()):
                check.update(interval="600s", no_traffic_interval="600s")
        with Pair(yaml.safe_dump(document, sort_keys=False), upstream) as both:
            upstream.take_all()  # the first check of each host
            yield request.param, both


def test_every_example_does_the_same_in_both(example: tuple[str, Pair]):
    name, pair = example
    for one in CASES[name]:
        seen = pair.check(one)
        assert seen.answers, one.name
    if name == "split.yaml":
        _both_versions_answer(pair)
    elif name == "access_log.yaml":
        _the_lines_are_the_same(pair)
    elif name == "filters.yaml":
        _the_filter_counts(pair)


def _both_versions_answer(pair: Pair) -> None:
    """Nine of ten go to version 1; 200 requests without one of either happen once in a billion."""
    seen = set()
    with RawClient(pair.sides["meshproxy"].proxy.ports["ingress"]) as client:
        for _ in range(200):
            seen.add(client.request(http_request("/x")).get("x-mesh-version"))
    assert seen == {"shop_v1", "shop_v2"}


def _the_lines_are_the_same(pair: Pair) -> None:
    json_lines, text_lines = (
        {kind: _logged(pair, kind, pattern) for kind in PROXIES}
        for pattern in (r"^\{.*\}$", r"^\[[^]]*\] GET .*ms$")
    )
    parsed = {kind: json.loads(line) for kind, line in json_lines.items()}
    volatile = {"time", "milliseconds", "client"}
    assert parsed["envoy"].keys() == parsed["meshproxy"].keys() >= volatile
    for fields in parsed.values():
        assert isinstance(fields["milliseconds"], int)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fields["time"])
        for name in volatile:
            del fields[name]
    assert parsed["envoy"] == parsed["meshproxy"]
    envoy, ours = (re.sub(r"^\[.*?\]|\d+ms$", "", text_lines[kind]) for kind in PROXIES)
    assert envoy == ours


def _logged(pair: Pair, kind: str, pattern: str) -> str:
    deadline = time.monotonic() + TIMEOUT_S
    while (found := re.search(pattern, pair.sides[kind].proxy.log, re.MULTILINE)) is None:
        assert time.monotonic() < deadline, pair.sides[kind].proxy.log
        time.sleep(0.005)
    return found[0]


def _the_filter_counts(pair: Pair) -> None:
    counted = {
        kind: {
            name: value
            for name, value in side.proxy.counters().items()
            if name.startswith("wasmcustom.")
        }
        for kind, side in pair.sides.items()
    }
    assert counted["envoy"]
    assert counted["envoy"] == counted["meshproxy"]


def test_every_example_has_a_case():
    assert sorted([*CASES, *TESTED]) == conf_names()
