"""Clusters of other sidecars: cached answers, changes, and names that are not there."""

import pytest

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.peers import FRESH, NotFound, Peers
from meshproxy.http.filter_chain import FilterChain
from meshproxy.stats.store import Store
from meshproxy.upstream.cluster_manager import ClusterManager
from tests.dapr.support import run


class Dispatcher:
    def random(self) -> int:
        return 0


class Resolver:
    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}
        self.asked = 0
        self.error = ""
        self.forgotten: list[str] = []

    def forget(self, app_id: str, namespace: str) -> None:
        self.forgotten.append(app_id)

    async def resolve(self, app_id: str, namespace: str) -> list[str]:
        self.asked += 1
        if self.error:
            raise ComponentError(self.error)
        return self.known.get(f"{namespace}/{app_id}", [])


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.resolver = Resolver()
        self.clusters = ClusterManager(Store(), Dispatcher(), None)
        self.peers = Peers(self.clusters, self.resolver, lambda: self.now)
        self.speaks_http = None

    def with_daprds(self) -> Peers:
        """The same, where a sidecar may be a daprd."""

        def chain(speaks_http):
            self.speaks_http = speaks_http
            return FilterChain((), None, 0)

        return Peers(self.clusters, self.resolver, lambda: self.now, call_local=chain)

    def hosts(self, name: str) -> list:
        return self.clusters.get(name).hosts

    def addresses(self, name: str) -> list[str]:
        return [host.address.text for host in self.clusters.get(name).hosts]


@pytest.fixture
def world():
    return World()


def test_an_answer_counts_for_a_while(world):
    world.resolver.known["/b"] = ["127.0.0.1:1", "[::1]:2"]
    assert world.peers.cluster_of("b", "") is None
    name = run(world.peers.look_up("b", ""))
    assert name == "dapr/default/b"
    assert world.addresses(name) == ["127.0.0.1:1", "[::1]:2"]
    assert world.peers.cluster_of("b", "") == name
    assert world.peers.cluster_of("b", "other") is None
    world.now += FRESH
    assert world.peers.cluster_of("b", "") is None


def test_a_host_that_stays_is_the_same_host(world):
    world.resolver.known["/b"] = ["127.0.0.1:1", "127.0.0.1:2"]
    name = run(world.peers.look_up("b", ""))
    first = world.clusters.get(name).hosts
    world.resolver.known["/b"] = ["127.0.0.1:2", "127.0.0.1:3"]
    assert run(world.peers.look_up("b", "")) == name
    second = world.clusters.get(name).hosts
    assert world.addresses(name) == ["127.0.0.1:2", "127.0.0.1:3"]
    assert second[0] is first[1]


def test_an_app_that_has_gone_loses_its_cluster(world):
    world.resolver.known["ns/b"] = ["127.0.0.1:1"]
    name = run(world.peers.look_up("b", "ns"))
    world.resolver.known.clear()
    with pytest.raises(NotFound, match="couldn't find service: b"):
        run(world.peers.look_up("b", "ns"))
    assert world.clusters.get(name) is None


def test_names_that_clients_invent_leave_nothing_behind(world):
    for number in range(10):
        with pytest.raises(NotFound):
            run(world.peers.look_up(f"invented-{number}", ""))
    assert not world.clusters.clusters
    assert not world.peers._peers


def test_where_nobody_can_be_asked_the_older_answer_counts(world):
    world.resolver.known["/b"] = ["127.0.0.1:1"]
    name = run(world.peers.look_up("b", ""))
    world.peers.forget("b", "")
    assert world.resolver.forgotten == ["b"]
    assert world.peers.cluster_of("b", "") is None
    world.resolver.error = "database is locked"
    assert run(world.peers.look_up("b", "")) == name
    with pytest.raises(NotFound, match="couldn't find service: c: database is locked"):
        run(world.peers.look_up("c", ""))


def test_what_is_no_address_is_left_out(world, caplog):
    world.resolver.known["/b"] = ["somewhere:1", "127.0.0.1", "127.0.0.1:1"]
    assert world.addresses(run(world.peers.look_up("b", ""))) == ["127.0.0.1:1"]
    assert "'somewhere:1', which is no address" in caplog.text


def test_whoever_is_found_is_called_as_a_daprd_until_it_says_more(world):
    peers = world.with_daprds()
    world.resolver.known["/b"] = ["127.0.0.1:1", "127.0.0.1:2"]
    calls = run(peers.look_up("b", ""))
    assert calls == "dapr/call-local/default/b"
    assert world.clusters.get(calls).filter_chain is not None
    assert peers.cluster_of("b", "", grpc=True) == "dapr/default/b"
    first, second = world.hosts(calls)
    world.speaks_http(first)
    assert peers.cluster_of("b", "") == calls  # the other one may be a daprd
    world.speaks_http(second)
    assert peers.cluster_of("b", "") == "dapr/default/b"
    world.now += FRESH
    assert run(peers.look_up("b", "")) == "dapr/default/b"


def test_a_newcomer_may_be_a_daprd(world):
    peers = world.with_daprds()
    world.resolver.known["/b"] = ["127.0.0.1:1"]
    calls = run(peers.look_up("b", ""))
    (host,) = world.hosts(calls)
    world.speaks_http(host)
    world.resolver.known["/b"] = ["127.0.0.1:1", "127.0.0.1:2"]
    assert run(peers.look_up("b", "")) == calls
    world.resolver.known["/b"] = ["127.0.0.1:1"]
    assert run(peers.look_up("b", "")) == "dapr/default/b"


def test_whoever_did_not_answer_may_be_somebody_else_by_now(world):
    peers = world.with_daprds()
    world.resolver.known["/b"] = ["127.0.0.1:1"]
    calls = run(peers.look_up("b", ""))
    (host,) = world.hosts(calls)
    world.speaks_http(host)
    peers.forget("b", "")
    assert run(peers.look_up("b", "")) == calls


def test_a_host_that_has_gone_says_nothing_any_more(world):
    peers = world.with_daprds()
    world.resolver.known["/b"] = ["127.0.0.1:1"]
    calls = run(peers.look_up("b", ""))
    (host,) = world.hosts(calls)
    world.resolver.known.clear()
    with pytest.raises(NotFound):
        run(peers.look_up("b", ""))
    assert not world.clusters.clusters
    world.speaks_http(host)
    world.resolver.known["/b"] = ["127.0.0.1:1"]
    assert run(peers.look_up("b", "")) == calls
