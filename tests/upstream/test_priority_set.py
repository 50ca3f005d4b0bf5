"""Who may be picked: health, priorities, panic and localities, as Envoy's documents have it."""

from __future__ import annotations

from collections import Counter

import pytest

from meshproxy.network.address import Address
from meshproxy.stats.store import Counter as Stat
from meshproxy.stats.store import Store
from meshproxy.upstream.host import (
    DEGRADED,
    DRAINING,
    HEALTHY,
    UNHEALTHY,
    EndpointConfig,
    Host,
    Locality,
)
from meshproxy.upstream.load_balancer import LbPolicy, LoadBalancer
from meshproxy.upstream.priority_set import HostSet, PrioritySettings, choose_host, priority_load

EAST, WEST = Locality("east"), Locality("west")


def some(
    healthy: int = 0,
    unhealthy: int = 0,
    degraded: int = 0,
    draining: int = 0,
    *,
    priority: int = 0,
    locality: Locality = EAST,
) -> list[Host]:
    """That many hosts of each kind; the port tells its number, the host its priority."""
    statuses = (
        [HEALTHY] * healthy
        + [UNHEALTHY] * unhealthy
        + [DEGRADED] * degraded
        + [DRAINING] * draining
    )
    return [
        Host(
            Address.parse("127.0.0.1", 1000 * (1 + priority) + number),
            EndpointConfig("127.0.0.1", 1, health_status=status),
            locality,
            priority,
        )
        for number, status in enumerate(statuses)
    ]


def loads(*priorities: list[Host], **settings: object) -> tuple[tuple[int, ...], ...]:
    sets = [HostSet(number, hosts) for number, hosts in enumerate(priorities)]
    load = priority_load(sets, PrioritySettings(**settings))  # type: ignore[arg-type]
    return load.healthy, load.degraded


# The tables of Envoy's "Priority levels" and "Degraded endpoints", in hosts of a hundred.
@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(100, 100, (100, 0)), (72, 72, (100, 0)), (71, 71, (99, 1)), (50, 50, (70, 30)),
     (25, 100, (35, 65)), (25, 25, (50, 50)), (0, 100, (0, 100))],
)  # fmt: skip
def test_what_a_priority_cannot_carry_goes_to_the_next(first, second, expected):
    priorities = (some(first, 100 - first), some(second, 100 - second))
    assert loads(*priorities, panic_threshold=0.0)[0] == expected


def test_the_overprovisioning_factor_says_what_a_healthy_host_can_carry():
    assert loads(some(50, 50), some(100), overprovisioning=100)[0] == (50, 50)
    assert loads(some(50, 50), some(100), overprovisioning=200)[0] == (100, 0)


def test_degraded_hosts_get_what_healthy_ones_cannot_carry():
    assert loads(some(healthy=25, unhealthy=0, degraded=75)) == ((35,), (65,))
    assert loads(some(healthy=100, degraded=0)) == ((100,), (0,))
    assert loads(some(unhealthy=50, degraded=50)) == ((0,), (100,))


def test_hosts_that_are_leaving_do_not_count():
    assert loads(some(healthy=72, draining=28), some(100))[0] == (100, 0)


def test_when_every_priority_panics_size_decides():
    assert loads(some(1, 29), some(1, 9))[0] == (75, 25)


def chooser(hosts: list[Host], stat: Stat | None = None, random: int = 0, **settings: object):
    balancer = LoadBalancer(LbPolicy.ROUND_ROBIN, random=lambda: random)
    counter = stat if stat is not None else Store().scope("x.").counter("healthy_panic")
    return choose_host(hosts, balancer, PrioritySettings(**settings), counter)  # type: ignore[arg-type]


def test_hosts_that_are_not_healthy_are_not_picked_while_enough_are():
    hosts = some(3, 2)
    choose = chooser(hosts)
    assert {choose(None, 0) for _ in range(9)} == set(hosts[:3])


@pytest.mark.parametrize(("healthy", "panics"), [(50, False), (49, True)])
def test_below_the_threshold_every_host_is_picked_and_the_choices_are_counted(healthy, panics):
    hosts = some(healthy, 100 - healthy)
    counter = Store().scope("x.").counter("healthy_panic")
    choose = chooser(hosts, counter)
    picked = {choose(None, 0) for _ in range(100)}
    assert len(picked) == (100 if panics else healthy)
    assert counter.value == (100 if panics else 0)


def test_in_panic_nobody_is_picked_where_the_configuration_says_to_fail():
    assert chooser(some(0, 5), fail_traffic_on_panic=True)(None, 0) is None


def test_a_threshold_of_zero_never_panics():
    assert chooser(some(0, 5), panic_threshold=0.0)(None, 0) is None


def test_nobody_is_picked_of_nobody():
    assert chooser([])(None, 0) is None


@pytest.mark.parametrize(("random", "priority"), [(0, 0), (69, 0), (70, 1), (99, 1)])
def test_chance_spreads_the_load_over_the_priorities(random, priority):
    hosts = some(50, 50) + some(100, priority=1)
    host = chooser(hosts, random=random)(None, 0)
    assert host is not None
    assert (host.priority, host.healthy) == (priority, True)


def regions(hosts: list[Host], count: int, weights: dict[tuple[int, Locality], int]) -> Counter:
    choose = chooser(hosts, locality_weights=weights)
    picked = [choose(None, 0) for _ in range(count)]
    return Counter(host.locality.region for host in picked if host is not None)


def test_localities_are_served_by_their_weights():
    hosts = some(4) + some(4, locality=WEST)
    assert regions(hosts, 40, {(0, EAST): 3, (0, WEST): 1}) == {"east": 30, "west": 10}


def test_a_locality_with_few_healthy_hosts_gets_less():
    hosts = some(5, 5) + some(10, locality=WEST)
    # 50 % healthy and a factor of 1.4: 0.7 of its weight.
    found = regions(hosts, 170, {(0, EAST): 1, (0, WEST): 1})
    assert abs(found["east"] - 70) <= 1


def test_a_locality_without_a_weight_gets_nothing_unless_none_has_one():
    hosts = some(2) + some(2, locality=WEST)
    assert regions(hosts, 10, {(0, WEST): 1}) == {"west": 10}
    assert regions(hosts, 12, {}) == {"east": 6, "west": 6}
