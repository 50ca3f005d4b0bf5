"""Hosts by weight, by health and by name: the same share of the requests as with Envoy."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.harness import PROXIES
from tests.support.processes import ProxyProcess
from tests.support.raw_client import RawClient, http_request
from tests.support.upstreams import Peer, ScriptedUpstream

ROUND = 40
CANARY = {"filter_metadata": {"envoy.lb": {"canary": True}}}
NAMES = ("weighted", "equal", "unhealthy", "panic", "spare", "strict", "logical")
ROUTES = "".join(f"- match: {{prefix: /{name}}}\n  route: {{cluster: {name}}}\n" for name in NAMES)


class Hosts:
    """Three servers that answer with their own number."""

    def __init__(self) -> None:
        self.servers = [ScriptedUpstream(self._answering(number)) for number in range(3)]
        self.ports = [server.port for server in self.servers]

    @staticmethod
    def _answering(number: int):
        def serve(peer: Peer) -> None:
            while peer.read_head():
                peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d" % number)

        return serve

    def stop(self) -> None:
        for server in self.servers:
            server.stop()


def made(name: str, ports: list[int], *changes: dict, address: str = "", **fields: object) -> dict:
    """A cluster; `changes` are for its endpoints in their order."""
    one = {**cluster(name, ports), **fields}
    [locality] = one["load_assignment"]["endpoints"]
    for endpoint, change in zip(locality["lb_endpoints"], changes, strict=False):
        endpoint.update(change)
    for endpoint in locality["lb_endpoints"] if address else ():
        endpoint["endpoint"]["address"]["socket_address"]["address"] = address
    return one


def with_spare(name: str, ports: list[int]) -> dict:
    """The hosts of the first priority are all ill: the last takes everything."""
    *first, last = ports
    one = made(name, first, {"health_status": "UNHEALTHY"}, {"health_status": "UNHEALTHY"})
    [spare] = cluster(name, [last])["load_assignment"]["endpoints"]
    one["load_assignment"]["endpoints"].append({**spare, "priority": 1})
    return one


@pytest.fixture(scope="module")
def proxies() -> Iterator[dict[str, ProxyProcess]]:
    hosts = Hosts()
    ports = hosts.ports
    ill = {"health_status": "UNHEALTHY"}
    dns = {"dns_lookup_family": "V4_ONLY", "address": "localhost"}
    clusters = [
        made(
            "weighted",
            ports,
            {"load_balancing_weight": 5, "metadata": CANARY},
            {"load_balancing_weight": 2},
        ),
        made("equal", ports),
        made("unhealthy", ports, {}, ill, {}),
        made("panic", ports, ill, ill, {}),
        with_spare("spare", ports),
        made("strict", ports, {"load_balancing_weight": 2}, type="STRICT_DNS", **dns),
        made("logical", ports[:1], type="LOGICAL_DNS", **dns),
    ]
    yaml = bootstrap([listener("main", virtual_host(ROUTES))], clusters)
    with ProxyProcess("envoy", yaml) as envoy, ProxyProcess("meshproxy", yaml) as ours:
        yield {"envoy": envoy, "meshproxy": ours}
    hosts.stop()


def shares(proxy: ProxyProcess, name: str) -> Counter[bytes]:
    with RawClient(proxy.ports["main"]) as client:
        return Counter(client.request(http_request(f"/{name}")).body for _ in range(ROUND))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("weighted", (25, 10, 5)), ("equal", (14, 13, 13)), ("unhealthy", (20, 0, 20)),
        ("panic", (14, 13, 13)), ("spare", (0, 0, 40)), ("strict", (20, 10, 10)),
        ("logical", (40, 0, 0)),
    ],
)  # fmt: skip
def test_every_host_gets_its_share(
    proxies: dict[str, ProxyProcess], name: str, expected: tuple[int, ...]
):
    for kind in PROXIES:
        counted = shares(proxies[kind], name)
        for number, share in enumerate(expected):
            assert abs(counted[b"%d" % number] - share) <= 1, (kind, counted)


def test_hosts_are_listed_as_envoy_lists_them(proxies: dict[str, ProxyProcess]):
    """With weights, health and names, in `/clusters`; addresses of names are the resolver's."""
    listed = {}
    for kind in PROXIES:
        statuses = json.loads(proxies[kind].admin("/clusters?format=json"))["cluster_statuses"]
        listed[kind] = {
            status["name"]: [
                (host["address"], host["weight"], host["health_status"], host.get("hostname", ""),
                 host.get("priority", 0))
                for host in status["host_statuses"]
            ]
            for status in statuses
        }  # fmt: skip
    assert listed["meshproxy"] == listed["envoy"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "gauge",
    ["membership_total", "membership_healthy", "membership_degraded", "membership_excluded"],
)
def test_members_are_counted_as_envoy_counts_them(
    proxies: dict[str, ProxyProcess], name: str, gauge: str
):
    values = {kind: proxies[kind].counters()[f"cluster.{name}.{gauge}"] for kind in PROXIES}
    assert values["meshproxy"] == values["envoy"]


def test_the_answers_of_a_canary_are_counted_apart(proxies: dict[str, ProxyProcess]):
    name = "cluster.weighted.canary.upstream_rq_200"
    for kind in PROXIES:
        before = proxies[kind].counters().get(name, 0)
        counted = shares(proxies[kind], "weighted")
        assert proxies[kind].counters()[name] - before == counted[b"0"] > 0
