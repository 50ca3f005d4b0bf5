"""Picking one host of a list: ROUND_ROBIN, LEAST_REQUEST and RANDOM, with and without weights.

Owns the order in which hosts are picked, which is Envoy's. Refuses to know which hosts may be
picked at all: health, priorities, localities and panic are `priority_set.py`'s.

A picker is made anew whenever the list changes and has one method, `choose(headers, random_value)`.
The arguments are those of a hashing balancer; the three here have a source of random bits of their
own, because the stream's `random_value` has already decided the weighted cluster, and a second
decision by the same number would not be independent of the first.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from meshproxy.http.header_map import HeaderMap
    from meshproxy.upstream.host import Host

T = TypeVar("T")
ChooseHost = Callable[["HeaderMap | None", int], "Host | None"]
RandomBits = Callable[[], int]
"""Returns a new random integer of 64 bits."""

_SYSTEM_RANDOM: Final = random.Random()  # noqa: S311  balancing load needs no secrecy


def random_bits() -> int:
    """64 random bits."""
    return _SYSTEM_RANDOM.getrandbits(64)


class LbPolicy(StrEnum):
    """`Cluster.LbPolicy`, as far as it is supported."""

    ROUND_ROBIN = "ROUND_ROBIN"
    LEAST_REQUEST = "LEAST_REQUEST"
    RANDOM = "RANDOM"


@dataclass(frozen=True, slots=True)
class LeastRequestConfig:
    """`LeastRequestLbConfig`. `choice_count` is at least 2, `active_request_bias` at least 0."""

    choice_count: int = 2
    active_request_bias: float = 1.0


class Picker(Protocol):
    """Chooses among hosts that are all eligible."""

    def choose(self, headers: HeaderMap | None, random_value: int) -> Host | None:
        """The next host, None where there is no host at all."""


class NoHost:
    """Chooses nothing, for an empty list."""

    __slots__ = ()

    def choose(self, headers: HeaderMap | None, random_value: int) -> Host | None:
        """None."""
        return None


class RoundRobin:
    """One after the other, for hosts of equal weight."""

    __slots__ = ("count", "hosts", "index")

    def __init__(self, hosts: Sequence[Host], start: int) -> None:
        self.hosts = hosts
        self.count = len(hosts)
        self.index = start % self.count

    def choose(self, headers: HeaderMap | None, random_value: int) -> Host | None:
        """The next host."""
        index = self.index
        self.index = index + 1 if index + 1 < self.count else 0
        return self.hosts[index]


class Edf(Generic[T]):
    """Earliest deadline first: each entry comes up as often as its weight says, evenly spread.

    Envoy's EdfScheduler: an entry picked at time t is due again at t + 1 / weight; equal deadlines
    are served in the order in which they were set.
    """

    __slots__ = ("_heap", "_order")

    def __init__(self, entries: Sequence[tuple[float, T]], picks: int = 0) -> None:
        """`entries` are (weight > 0, entry); the schedule begins as if `picks` had been made."""
        total = sum(weight for weight, _ in entries)
        self._heap: list[tuple[float, int, T]] = []
        made = 0
        for order, (weight, entry) in enumerate(entries):
            turns = int(weight * picks / total)
            made += turns
            self._heap.append(((turns + 1) / weight, order, entry))
        self._order = len(entries)
        heapq.heapify(self._heap)
        weights = {id(entry): weight for weight, entry in entries}
        for _ in range(picks - made):
            self.pick(lambda entry: weights[id(entry)])

    def pick(self, weight_of: Callable[[T], float]) -> T:
        """The entry that is due; `weight_of` says when it will be due again."""
        heap = self._heap
        deadline, _, entry = heap[0]
        heapq.heapreplace(heap, (deadline + 1.0 / weight_of(entry), self._order, entry))
        self._order += 1
        return entry


class WeightedRoundRobin:
    """One after the other, each as often as its weight says."""

    __slots__ = ("_edf",)

    def __init__(self, hosts: Sequence[Host], start: int) -> None:
        total = sum(host.weight for host in hosts)
        self._edf = Edf([(host.weight, host) for host in hosts], start % total)

    def choose(self, headers: HeaderMap | None, random_value: int) -> Host | None:
        """The next host."""
        return self._edf.pick(_weight)


class LeastRequest:
    """The least busy of a few chosen by chance ("power of two choices"), for equal weights."""

    __slots__ = ("choices", "count", "hosts", "random")

    def __init__(self, hosts: Sequence[Host], choices: int, random: RandomBits) -> None:
        self.hosts = hosts
        self.count = len(hosts)
        self.choices = choices
        self.random = random

    def choose(self, headers: HeaderMap | None, random_value: int) -> Host | None:
        """The host with the fewest active requests among the sample."""
        hosts = self.hosts
        best = hosts[self.random() % self.count]
        for _ in range(self.choices - 1):
            other = hosts[self.random() % self.count]
            if other.active_requests < best.active_requests:
                best = other
        return best


class WeightedLeastRequest:
    """Round robin by weights that shrink with the requests a host is busy with."""

    __slots__ = ("_edf", "bias")

    def __init__(self, hosts: Sequence[Host], bias: float, start: int) -> None:
        self.bias = bias
        total = sum(host.weight for host in hosts)
        self._edf = Edf([(self.weight(host), host) for host in hosts], start % total)

    def weight(self, host: Host) -> float:
        """`weight / (active_requests + 1) ^ active_request_bias`."""
        if self.bias == 1.0:
            return host.weight / (host.active_requests + 1)
        return host.weight / float((host.active_requests + 1) ** self.bias)

    def choose(self, headers: HeaderMap | None, random_value: int) -> Host | None:
        """The next host."""
        return self._edf.pick(self.weight)


class Random:
    """Any host, each with the same chance. Weights play no part, as in Envoy."""

    __slots__ = ("count", "hosts", "random")

    def __init__(self, hosts: Sequence[Host], random: RandomBits) -> None:
        self.hosts = hosts
        self.count = len(hosts)
        self.random = random

    def choose(self, headers: HeaderMap | None, random_value: int) -> Host | None:
        """One host by chance."""
        return self.hosts[self.random() % self.count]


class LoadBalancer:
    """The policy of a cluster: makes a picker for every list of hosts.

    `random` gives 64 random bits. Where a schedule starts is chance, but the same for every list of
    one balancer (Envoy's seed), so that proxies started together do not all hit the first host.
    """

    __slots__ = ("least_request", "policy", "random", "seed")

    def __init__(
        self,
        policy: LbPolicy,
        least_request: LeastRequestConfig | None = None,
        random: RandomBits = random_bits,
    ) -> None:
        self.policy = policy
        self.least_request = least_request or LeastRequestConfig()
        self.random = random
        self.seed = random()

    def picker(self, hosts: Sequence[Host]) -> Picker:
        """The way to choose among `hosts`, which must not change afterwards."""
        if not hosts:
            return NoHost()
        if self.policy is LbPolicy.RANDOM:
            return Random(hosts, self.random)
        equal = all(host.weight == hosts[0].weight for host in hosts)
        if self.policy is LbPolicy.ROUND_ROBIN:
            return (RoundRobin if equal else WeightedRoundRobin)(hosts, self.seed)
        if equal:
            return LeastRequest(hosts, self.least_request.choice_count, self.random)
        return WeightedLeastRequest(hosts, self.least_request.active_request_bias, self.seed)


def _weight(host: Host) -> float:
    return host.weight
