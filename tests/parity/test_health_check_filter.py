"""`health_check`: which requests it answers, and how, told to fail or not; as Envoy does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.parity.config import bootstrap, cluster, extension, listener, virtual_host
from tests.parity.harness import Case, Pair
from tests.support.raw_client import http_request
from tests.support.upstreams import RecordingUpstream, answering

ROUTES = virtual_host("- match: {prefix: /}\n  route: {cluster: app}\n")
HEADERS = [{"name": ":path", "string_match": {"exact": "/hc"}}]
# Cluster -> the `health_status` of its hosts.
CLUSTERS = {
    "empty": (),
    "half": ("UNHEALTHY", "HEALTHY"),
    "degraded": ("DEGRADED",),
    "third": ("UNHEALTHY", "UNHEALTHY", "HEALTHY"),
}
ONLY_OTHERS = {"filter": {"not_health_check_filter": {}}}


def checking(**fields: Any) -> dict[str, Any]:
    return extension(
        "envoy.filters.http.health_check",
        "envoy.extensions.filters.http.health_check.v3.HealthCheck",
        headers=HEADERS,
        **fields,
    )


def percent(name: str, value: float) -> dict[str, Any]:
    return checking(
        pass_through_mode=False, cluster_min_healthy_percentages={name: {"value": value}}
    )


FILTERS = {
    "own": checking(pass_through_mode=False),
    "through": checking(pass_through_mode=True),
    "cached": checking(pass_through_mode=True, cache_time="60s"),
    "unknown": percent("nowhere", 0),
    "empty": percent("empty", 1),
    "none": percent("empty", 0),
    "half": percent("half", 50),
    "more": percent("half", 51),
    "degraded": percent("degraded", 100),
    "third": percent("third", 50),
    "quiet": checking(pass_through_mode=False),
}


def with_statuses(name: str, statuses: tuple[str, ...]) -> dict[str, Any]:
    one = cluster(name, range(1, len(statuses) + 1))
    [locality] = one["load_assignment"]["endpoints"]
    for endpoint, status in zip(locality["lb_endpoints"], statuses, strict=True):
        endpoint["health_status"] = status
    return one


def quiet(one: dict[str, Any]) -> dict[str, Any]:
    """A listener whose log leaves health checks out."""
    manager = one["filter_chains"][0]["filters"][0]["typed_config"]
    manager["access_log"][0].update(ONLY_OTHERS)
    return one


def configuration(up: int, _dead: int) -> str:
    listeners = [listener(name, ROUTES, http_filters=[each]) for name, each in FILTERS.items()]
    clusters = [with_statuses(name, statuses) for name, statuses in CLUSTERS.items()]
    quiet(listeners[-1])
    return bootstrap(listeners, [cluster("app", [up]), *clusters])


DEGRADED = answering(b"HTTP/1.1 201 OK\r\nx-envoy-degraded: 1\r\ncontent-length: 0\r\n\r\n")
GONE = answering(b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n")
CHECK = http_request("/hc")
POST = b"POST /hc HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc"
CHUNKS = b"POST /hc HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"

CASES = (
    Case("answered here", CHECK, listener="own"),
    Case("with a body", POST, listener="own"),
    Case("with a body in chunks", CHUNKS, listener="own"),
    Case("HEAD", CHECK.replace(b"GET", b"HEAD"), listener="own"),
    Case("no check", http_request("/x"), listener="own"),
    Case("passed on", CHECK, listener="through"),
    Case("passed on and ill", CHECK, GONE, listener="through"),
    Case("passed on and cached", CHECK, DEGRADED, listener="cached"),
    Case("from the cache", CHECK, GONE, listener="cached"),
    Case("cluster unknown", CHECK, listener="unknown"),
    Case("cluster empty", CHECK, listener="empty"),
    Case("cluster empty and nothing wanted", CHECK, listener="none"),
    Case("cluster half healthy", CHECK, listener="half"),
    Case("cluster not healthy enough", CHECK, listener="more"),
    Case("cluster degraded", CHECK, listener="degraded"),
    Case("cluster a third healthy", CHECK, listener="third"),
    Case("not logged", CHECK, listener="quiet", log_lines=1),
)
FAILING = (
    Case("answered here", CHECK, listener="own", closes=True),
    Case("not passed on", CHECK, listener="through", closes=True),
    Case("not from the cache", CHECK, listener="cached", closes=True),
    Case("cluster half healthy", CHECK, listener="half", closes=True),
    Case("no check", http_request("/x"), listener="own", closes=True),
    Case("no check, passed on", http_request("/x"), listener="through", closes=True),
)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with RecordingUpstream() as upstream, Pair(configuration(upstream.port, 1), upstream) as both:
        yield both


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_check_is_answered(pair: Pair, case: Case) -> None:
    pair.check(case)


@pytest.fixture
def failing(pair: Pair) -> Iterator[Pair]:
    for side in pair.sides.values():
        side.proxy.admin("/healthcheck/fail", "POST")
    yield pair
    for side in pair.sides.values():
        side.proxy.admin("/healthcheck/ok", "POST")


@pytest.mark.parametrize("case", FAILING, ids=lambda case: case.name)
def test_a_proxy_that_is_told_to_fail_fails(failing: Pair, case: Case) -> None:
    failing.check(case)


def test_a_proxy_that_is_told_so_is_well_again(pair: Pair) -> None:
    pair.check(Case("well again", CHECK, listener="own"))
