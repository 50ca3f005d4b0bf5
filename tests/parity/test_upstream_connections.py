"""Connections to the upstream: how many, how long, and what a client hears when there is none."""

import threading
from collections.abc import Iterator

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.differences import ANSWERED_BEYOND_ENVOY
from tests.parity.harness import PROXIES, Case, Pair
from tests.support.eventually import eventually
from tests.support.raw_client import http_request
from tests.support.upstreams import (
    OK_ANSWER,
    Peer,
    Play,
    RecordingUpstream,
    Request,
    SilentPort,
    answering,
)

# Cluster -> its options
CLUSTERS = {
    "plain": "",
    "gets": "",
    "posts": "",
    "idle": "common_http_protocol_options: {idle_timeout: 0.2s}",
    "once": "max_requests_per_connection: 1",
    "requests": "circuit_breakers: {thresholds: [{max_requests: 0}]}",
    "pending": "circuit_breakers: {thresholds: [{max_pending_requests: 0}]}",
    "connections": "circuit_breakers: {thresholds: [{max_connections: 0}]}",
}


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with RecordingUpstream() as upstream, SilentPort() as silent:
        routes = "\n".join(
            f"- match: {{prefix: /{name}}}\n  route: {{cluster: {name}}}"
            for name in (*CLUSTERS, "silent")
        )
        yaml = bootstrap(
            [listener("main", virtual_host(routes))],
            [
                *(cluster(name, [upstream.port], options=text) for name, text in CLUSTERS.items()),
                cluster("silent", [silent.port], options="connect_timeout: 0.2s"),
            ],
        )
        with Pair(yaml, upstream) as both:
            yield both


def test_a_connection_that_cannot_be_made_in_time_is_given_up(pair: Pair):
    pair.check(Case("silent", http_request("/silent")))
    pair.check(Case("silent, once more", http_request("/silent")))


def test_a_connection_serves_one_request_after_another(pair: Pair):
    requests = http_request("/plain/1") + http_request("/plain/2") + http_request("/plain/3")
    pair.check(Case("three", requests, answers=3))
    for side in pair.sides.values():
        assert side.proxy.counters()["cluster.plain.upstream_cx_total"] == 1


def test_a_connection_that_has_served_its_requests_is_closed(pair: Pair):
    pair.check(Case("two", http_request("/once/1") + http_request("/once/2"), answers=2))


@pytest.mark.parametrize("kind", PROXIES)
def test_an_idle_connection_is_closed_after_its_time(pair: Pair, kind: str):
    closed = threading.Event()

    def play(peer: Peer, _: Request) -> None:
        peer.send(OK_ANSWER)
        if not peer.read_some():
            closed.set()

    side = pair.sides[kind]
    side.run(Case("idle", http_request("/idle"), play))
    assert closed.wait(10)

    def counted() -> bool:
        found = side.proxy.counters()
        return (
            found["cluster.idle.upstream_cx_idle_timeout"],
            found["cluster.idle.upstream_cx_destroy_local"],
            found["cluster.idle.upstream_cx_active"],
        ) == (1, 1, 0)

    eventually(counted)


def test_a_connection_that_was_stale_costs_no_request_that_may_be_repeated(pair: Pair):
    two = http_request("/gets/1") + http_request("/gets/2")
    seen = pair.run(Case("stale", two, _once_per_connection(), answers=2))
    statuses = {kind: [answer[1] for answer in one.answers] for kind, one in seen.items()}
    assert "stale connection" in ANSWERED_BEYOND_ENVOY
    assert statuses == {"envoy": [200, 503, 200], "meshproxy": [200, 200, 200]}


def test_a_request_that_may_not_be_repeated_is_not(pair: Pair):
    posts = [
        http_request(f"/posts/{number}", "content-length: 0", method="POST") for number in (1, 2)
    ]
    pair.check(Case("stale", b"".join(posts), _once_per_connection(), answers=2))


def _once_per_connection() -> Play:
    """The first request of a connection is answered; at the second one the peer closes."""
    served: list[Peer] = []

    def play(peer: Peer, _: Request) -> None:
        if peer in served:
            peer.close()
        else:
            served.append(peer)
            peer.send(OK_ANSWER)

    return play


@pytest.mark.parametrize("limit", ["requests", "pending", "connections"])
def test_the_circuit_breaker_says_the_same(pair: Pair, limit: str):
    pair.check(Case(limit, http_request(f"/{limit}")))
    pair.check(Case(f"{limit}, HEAD", http_request(f"/{limit}", method="HEAD")))


def test_the_answer_of_a_next_request_is_not_the_rest_of_the_last(pair: Pair):
    pair.check(
        Case(
            "short, then long",
            http_request("/plain/1") + http_request("/plain/2"),
            answering(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc"),
            answers=2,
        )
    )
