"""In which order hosts are picked: the three policies, with and without weights."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from meshproxy.network.address import Address
from meshproxy.upstream.host import EndpointConfig, Host
from meshproxy.upstream.load_balancer import LbPolicy, LeastRequestConfig, LoadBalancer


def hosts(*weights: int) -> list[Host]:
    """One host for each weight: the ports are 1, 2, 3."""
    return [
        Host(Address.parse("127.0.0.1", port), EndpointConfig("127.0.0.1", port, weight=weight))
        for port, weight in enumerate(weights, 1)
    ]


def picks(balancer: LoadBalancer, among: Sequence[Host], count: int) -> list[int]:
    picker = balancer.picker(among)
    found = [picker.choose(None, 0) for _ in range(count)]
    return [host.address.port for host in found if host is not None]


def scripted(*values: int) -> Callable[[], int]:
    """Random bits that are these, the first of which is the balancer's seed."""
    rest = iter(values)
    return lambda: next(rest)


@pytest.mark.parametrize("policy", list(LbPolicy))
def test_nothing_is_picked_of_nothing(policy):
    assert LoadBalancer(policy).picker([]).choose(None, 0) is None


@pytest.mark.parametrize(("seed", "expected"), [(0, [1, 2, 3, 1, 2]), (4, [2, 3, 1, 2, 3])])
def test_round_robin_starts_by_chance_and_goes_round(seed, expected):
    balancer = LoadBalancer(LbPolicy.ROUND_ROBIN, random=lambda: seed)
    assert picks(balancer, hosts(1, 1, 1), 5) == expected


def test_weights_are_served_evenly_spread():
    balancer = LoadBalancer(LbPolicy.ROUND_ROBIN, random=lambda: 0)
    assert picks(balancer, hosts(5, 2), 7) == [1, 1, 2, 1, 1, 2, 1]


@pytest.mark.parametrize("weights", [(2, 1, 5), (1, 100), (7, 7, 1), (128, 64, 32, 16)])
def test_every_round_serves_each_host_as_often_as_its_weight_wherever_it_starts(weights):
    total = sum(weights)
    for seed in range(0, 2 * total, 7):
        balancer = LoadBalancer(LbPolicy.ROUND_ROBIN, random=lambda seed=seed: seed)
        counted = Counter(picks(balancer, hosts(*weights), 10 * total))
        for port, weight in enumerate(weights, 1):
            assert abs(counted[port] - 10 * weight) <= 1


def test_least_request_takes_the_less_busy_of_two():
    one, two, three = among = hosts(1, 1, 1)
    one.active_requests, two.active_requests, three.active_requests = 5, 2, 0
    balancer = LoadBalancer(LbPolicy.LEAST_REQUEST, random=scripted(0, 0, 1, 1, 2, 0, 0))
    assert picks(balancer, among, 3) == [2, 3, 1]


def test_more_choices_find_the_least_busy_more_often():
    among = hosts(*[1] * 10)
    for host in among[1:]:
        host.active_requests = 1
    config = LeastRequestConfig(choice_count=10)
    balancer = LoadBalancer(LbPolicy.LEAST_REQUEST, config, scripted(0, *range(10)))
    assert picks(balancer, among, 1) == [1]


@pytest.mark.parametrize("bias", [0.0, 1.0, 2.0])
def test_a_weight_shrinks_with_the_requests_of_its_host_by_the_bias(bias):
    among = hosts(20, 10)
    among[0].active_requests = 1
    config = LeastRequestConfig(active_request_bias=bias)
    balancer = LoadBalancer(LbPolicy.LEAST_REQUEST, config, lambda: 0)
    counted = Counter(picks(balancer, among, 300))
    weight = 20 / 2**bias
    assert abs(counted[1] - 300 * weight / (weight + 10)) <= 2


def test_a_random_choice_does_not_look_at_weights():
    generator = random.Random(1)
    balancer = LoadBalancer(LbPolicy.RANDOM, random=lambda: generator.getrandbits(64))
    counted = Counter(picks(balancer, hosts(100, 1), 2000))
    assert 900 < counted[1] < 1100
