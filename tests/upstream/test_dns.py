"""STRICT_DNS and LOGICAL_DNS against names that answer what the test says, on a clock it moves."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any

import pytest

from meshproxy.stats.store import Store
from meshproxy.upstream.cluster import Cluster, ClusterConfig, DiscoveryType, DnsConfig
from meshproxy.upstream.cluster import DnsLookupFamily as Family
from meshproxy.upstream.cluster_manager import ClusterManager
from meshproxy.upstream.dns import DnsAnswer, DnsDiscovery, DnsError
from meshproxy.upstream.host import (
    FAILED_ACTIVE_HC,
    EndpointConfig,
    EndpointHealthCheck,
    LocalityConfig,
)
from tests.support.fake_stream import FakeDispatcher
from tests.upstream.health_check.world import config as check_config

HALF = 1 << 63  # of the random numbers
ONE, TWO, THREE = "192.0.2.1", "192.0.2.2", "192.0.2.3"


class Names:
    """A resolver: what each name answers now, an exception to raise it; `asked` has the queries."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = {
            name.replace("_", "."): answer for name, answer in answers.items()
        }
        self.asked: list[tuple[str, Family]] = []

    async def resolve(self, name: str, family: Family) -> DnsAnswer:
        self.asked.append((name, family))
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, DnsAnswer) else DnsAnswer(tuple(answer))


class Dispatcher(FakeDispatcher):
    """Runs coroutines at once; nothing here waits for anything."""

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> Any:
        with pytest.raises(StopIteration):
            coroutine.send(None)


class World:
    def __init__(
        self,
        names: Names,
        *endpoints: EndpointConfig,
        kind: DiscoveryType = DiscoveryType.STRICT_DNS,
        random: int = 4,
        more: dict[str, Any] | None = None,
        **dns: Any,
    ) -> None:
        self.names = names
        self.dispatcher = Dispatcher()
        self.dispatcher.random = lambda: random  # type: ignore[method-assign]
        localities = (LocalityConfig(endpoints),)
        config = ClusterConfig(
            name="c", type=kind, endpoints=localities, dns=DnsConfig(**dns), **(more or {})
        )
        self.cluster = Cluster(config, Store(), self.dispatcher.random)
        self.discovery = DnsDiscovery(self.cluster, names, self.dispatcher)
        self.discovery.start()

    @property
    def addresses(self) -> list[str]:
        return [host.address.text for host in self.cluster.hosts]

    def later(self, seconds: float = 5.0) -> list[str]:
        self.dispatcher.advance(seconds)
        return self.addresses


def name(text: str, port: int = 80, **more: Any) -> EndpointConfig:
    return EndpointConfig(text, port, **more)


def test_every_address_of_every_name_is_a_host_with_the_weight_of_its_name():
    names = Names(a_test=[ONE, TWO], b_test=[THREE])
    world = World(names, name("a.test", weight=3), name("b.test", 81))
    hosts = world.cluster.hosts
    assert world.addresses == [f"{ONE}:80", f"{TWO}:80", f"{THREE}:81"]
    assert [host.weight for host in hosts] == [3, 3, 1]
    assert [host.hostname for host in hosts] == ["a.test", "a.test", "b.test"]
    assert world.cluster.stats.max_host_weight.value == 3


def test_the_requests_are_shared_by_the_weights_of_the_names():
    names = Names(a_test=[ONE], b_test=[TWO])
    cluster = World(names, name("a.test", weight=3), name("b.test")).cluster
    picked = [cluster.choose_host(None, 0).hostname for _ in range(40)]
    assert (picked.count("a.test"), picked.count("b.test")) == (30, 10)


def test_hosts_come_and_go_with_the_answers_and_those_that_stay_are_the_same():
    names = Names(a_test=[ONE, TWO])
    world = World(names, name("a.test"))
    leaves, stays = world.cluster.hosts
    names.answers["a.test"] = [TWO, THREE]
    assert world.later() == [f"{TWO}:80", f"{THREE}:80"]
    assert world.cluster.hosts[0] is stays
    assert [host.gone for host in (leaves, *world.cluster.hosts)] == [True, False, False]
    assert world.cluster.stats.membership_change.value == 2


@pytest.mark.parametrize("ignored", [False, True])
def test_a_host_that_checks_find_well_stays_without_its_name_until_one_fails(ignored):
    names = Names(a_test=[ONE, TWO])
    more = {"health_check": check_config(), "ignore_health_on_host_removal": ignored}
    world = World(names, name("a.test"), more=more)
    gone, stays = world.cluster.hosts
    names.answers["a.test"] = [TWO]
    if ignored:
        assert world.later() == [f"{TWO}:80"]
        return
    assert world.later() == [f"{ONE}:80", f"{TWO}:80"]
    assert (gone.health_flags_text(), gone.healthy) == ("/pending_dynamic_removal", True)
    names.answers["a.test"] = [ONE, TWO]
    world.later()
    assert gone.health_flags_text() == "healthy"
    names.answers["a.test"] = [TWO]
    world.later()
    gone.set_health_flags(gone.health_flags | FAILED_ACTIVE_HC)
    assert world.later() == [f"{TWO}:80"]
    assert world.cluster.hosts == (stays,)


def test_a_host_that_is_never_checked_goes_with_its_name():
    names = Names(a_test=[ONE, TWO])
    disabled = EndpointHealthCheck(disabled=True)
    world = World(
        names, name("a.test", health_check=disabled), more={"health_check": check_config()}
    )
    names.answers["a.test"] = [TWO]
    assert world.later() == [f"{TWO}:80"]


def test_readiness_does_not_wait_for_names_where_it_shall_not():
    dispatcher = FakeDispatcher()
    endpoints = (LocalityConfig((name("a.test"),)),)
    config = ClusterConfig(
        name="c", type=DiscoveryType.STRICT_DNS, endpoints=endpoints, wait_for_warm_on_init=False
    )
    dispatcher.spawn = lambda coroutine, _: coroutine.close()  # type: ignore[method-assign]
    cluster = Cluster(config, Store())
    DnsDiscovery(cluster, Names(), dispatcher).start()
    assert cluster.initialized


def test_an_address_that_two_names_have_is_one_host():
    world = World(Names(a_test=[ONE], b_test=[ONE]), name("a.test", weight=2), name("b.test"))
    [host] = world.cluster.hosts
    assert (host.hostname, host.weight) == ("a.test", 2)


@pytest.mark.parametrize("wrong", [DnsError("no server"), []], ids=["failure", "no address"])
def test_the_last_good_hosts_stay_where_a_name_has_no_answer(wrong, caplog):
    names = Names(a_test=[ONE])
    world = World(names, name("a.test"))
    names.answers["a.test"] = wrong
    with caplog.at_level(logging.WARNING):
        assert world.later(15.0) == [f"{ONE}:80"]
    stats = world.cluster.stats
    if wrong:
        assert (stats.update_failure.value, stats.update_success.value) == (3, 1)
    else:
        assert (stats.update_empty.value, stats.update_success.value) == (3, 4)
        assert len(caplog.records) == 1  # and not one with every lookup
    names.answers["a.test"] = [TWO]
    assert world.later() == [f"{TWO}:80"]


def test_a_cluster_is_initialized_when_every_name_has_been_answered_or_has_failed():
    started: list[bool] = []
    dispatcher = Dispatcher()
    waiting: list[Coroutine[Any, Any, None]] = []
    dispatcher.spawn = lambda coroutine, name: waiting.append(coroutine)  # type: ignore[method-assign]
    config = ClusterConfig(
        name="c",
        type=DiscoveryType.STRICT_DNS,
        endpoints=(LocalityConfig((name("a.test"), name("b.test"))),),
    )
    cluster = Cluster(config, Store())
    cluster.when_initialized(lambda: started.append(True))
    DnsDiscovery(cluster, Names(a_test=DnsError("x"), b_test=[ONE]), dispatcher).start()
    first, second = waiting
    for coroutine, expected in ((first, []), (second, [True])):
        with pytest.raises(StopIteration):
            coroutine.send(None)
        assert started == expected


def test_a_name_is_looked_up_again_after_the_refresh_rate_with_jitter():
    names = Names(a_test=[ONE])
    world = World(names, name("a.test"), random=HALF, refresh_rate=10.0, jitter=4.0)
    world.later(11.9)
    assert len(names.asked) == 1
    world.later(0.1)
    assert len(names.asked) == 2


@pytest.mark.parametrize(("respect", "asked"), [(True, 1), (False, 7)])
def test_a_time_to_live_counts_where_it_is_to_be_respected(respect, asked):
    names = Names(a_test=DnsAnswer((ONE,), 60.0))
    world = World(names, name("a.test"), respect_ttl=respect)
    world.later(30.0)
    assert len(names.asked) == asked


def test_failures_back_off_exponentially_until_one_succeeds():
    names = Names(a_test=DnsError("x"))
    rate = (2.0, 6.0)
    world = World(names, name("a.test"), random=HALF, refresh_rate=100.0, failure_refresh_rate=rate)
    counts = []
    for seconds in (0.9, 0.1, 1.9, 0.1, 2.9, 0.1, 2.9, 0.1):  # halves of 2, 4, 6, 6
        world.later(seconds)
        counts.append(len(names.asked))
    assert counts == [1, 2, 2, 3, 3, 4, 4, 5]
    names.answers["a.test"] = [ONE]
    world.later(3.0)
    names.answers["a.test"] = DnsError("x")
    world.later(100.0)
    asked = len(names.asked)
    world.later(1.0)  # begins anew with the base
    assert len(names.asked) == asked + 1


def test_a_logical_cluster_has_one_host_that_moves_to_the_first_address():
    names = Names(a_test=[ONE, TWO])
    world = World(names, name("a.test"), kind=DiscoveryType.LOGICAL_DNS)
    [host] = world.cluster.hosts
    names.answers["a.test"] = [THREE, ONE]
    assert world.later() == [f"{THREE}:80"]
    assert world.cluster.hosts == (host,)
    assert not host.gone  # connections to the old address may go on
    names.answers["a.test"] = DnsError("x")
    assert world.later() == [f"{THREE}:80"]


@pytest.mark.parametrize("family", list(Family))
def test_the_resolver_is_told_the_family(family):
    world = World(Names(a_test=[ONE]), name("a.test"), lookup_family=family)
    assert world.names.asked == [("a.test", family)]


def test_nothing_is_looked_up_after_the_stop():
    names = Names(a_test=[ONE])
    world = World(names, name("a.test"))
    world.discovery.stop()
    world.later(1000.0)
    assert len(names.asked) == 1


def test_an_answer_that_comes_after_the_stop_changes_nothing():
    names = Names(a_test=[ONE])
    dispatcher = Dispatcher()
    waiting: list[Coroutine[Any, Any, None]] = []
    dispatcher.spawn = lambda coroutine, name: waiting.append(coroutine)  # type: ignore[method-assign]
    config = ClusterConfig(
        name="c", type=DiscoveryType.STRICT_DNS, endpoints=(LocalityConfig((name("a.test"),)),)
    )
    manager = ClusterManager(Store(), dispatcher, names)
    cluster = manager.add(config)
    manager.remove("c")
    with pytest.raises(StopIteration):
        waiting[0].send(None)
    assert (cluster.hosts, dispatcher.timers) == ((), [])
