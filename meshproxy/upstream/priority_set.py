"""Which hosts of a cluster may be picked: health, priorities, localities, panic.

Owns the arithmetic of Envoy's LoadBalancerBase, redone whenever the hosts change. Refuses to know
the order of picking within a list (`load_balancer.py`).

Each priority gets a share of the load by its health (healthy hosts times the overprovisioning
factor); what one cannot carry goes to the next. Where too few hosts are healthy and the priorities
together cannot carry everything, a priority is in panic and picks among all its hosts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshproxy.upstream.load_balancer import (
    ChooseHost,
    Edf,
    LoadBalancer,
    NoHost,
    Picker,
    RandomBits,
)

if TYPE_CHECKING:
    from meshproxy.http.header_map import HeaderMap
    from meshproxy.stats.store import Counter
    from meshproxy.upstream.host import Host, Locality


@dataclass(frozen=True, slots=True)
class PrioritySettings:
    """What the configuration says about health.

    panic_threshold        percent of healthy hosts below which a priority panics; 0 never
    overprovisioning       percent: 140 lets 72 % of the hosts carry everything
    fail_traffic_on_panic  answer 503 in panic instead of trying everything
    locality_weights       `load_balancing_weight` of (priority, locality), None where localities
                           are not weighted (`locality_weighted_lb_config` absent)
    """

    panic_threshold: float = 50.0
    overprovisioning: int = 140
    fail_traffic_on_panic: bool = False
    locality_weights: dict[tuple[int, Locality], int] | None = None


class HostSet:
    """The hosts of one priority, sorted by what may be done with them."""

    __slots__ = ("degraded", "excluded_count", "healthy", "hosts", "priority")

    def __init__(self, priority: int, hosts: Sequence[Host]) -> None:
        self.priority = priority
        self.hosts = tuple(hosts)
        self.healthy = tuple(host for host in hosts if host.healthy)
        self.degraded = tuple(host for host in hosts if host.degraded)
        self.excluded_count = sum(host.excluded for host in hosts)

    @property
    def counted(self) -> int:
        """The hosts by which health is judged."""
        return len(self.hosts) - self.excluded_count

    def availability(self, eligible: int, overprovisioning: int) -> int:
        """How much of the whole load `eligible` hosts can carry, in percent."""
        return min(100, overprovisioning * eligible // self.counted) if self.counted > 0 else 0

    def in_panic(self, threshold: float) -> bool:
        """Whether fewer than `threshold` percent of the hosts may be picked."""
        if self.counted <= 0:
            return threshold > 0
        healthy = 100.0 * len(self.healthy) / self.counted
        degraded = 100.0 * len(self.degraded) / self.counted
        return healthy + degraded < threshold


@dataclass(frozen=True, slots=True)
class PriorityLoad:
    """Percent of the load per priority, for its healthy and its degraded hosts, and who panics."""

    healthy: tuple[int, ...]
    degraded: tuple[int, ...]
    panic: tuple[bool, ...]


def priority_load(host_sets: Sequence[HostSet], settings: PrioritySettings) -> PriorityLoad:
    """Share out 100 % of the load. `host_sets` has every priority from 0 without a gap."""
    factor = settings.overprovisioning
    health = [each.availability(len(each.healthy), factor) for each in host_sets]
    degraded = [each.availability(len(each.degraded), factor) for each in host_sets]
    available = min(100, sum(health) + sum(degraded))
    none = (0,) * len(host_sets)
    if available == 0 and settings.panic_threshold == 0:
        return PriorityLoad((100, *none[1:]), none, (False,) * len(host_sets))
    panic = tuple(available < 100 and each.in_panic(settings.panic_threshold) for each in host_sets)
    if all(panic):
        return PriorityLoad(_by_host_count(host_sets), none, panic)
    healthy_load, rest = _distribute(health, 100, available)
    degraded_load, rest = _distribute(degraded, rest, available)
    # What is left is rounding; the first that has anything to offer takes it.
    for load, offer in ((healthy_load, health), (degraded_load, degraded)):
        first = next((index for index, percent in enumerate(offer) if percent), None)
        if first is not None:
            load[first] += rest
            break
    return PriorityLoad(tuple(healthy_load), tuple(degraded_load), panic)


def _distribute(offers: list[int], load: int, available: int) -> tuple[list[int], int]:
    if available == 0:
        return [0] * len(offers), load
    shares = []
    for percent in offers:
        share = min(load, percent * 100 // available)
        shares.append(share)
        load -= share
    return shares, load


def _by_host_count(host_sets: Sequence[HostSet]) -> tuple[int, ...]:
    """The shares when every priority panics: health says nothing any more, size does."""
    total = sum(len(each.hosts) for each in host_sets)
    if total == 0:
        return (100,) + (0,) * (len(host_sets) - 1)
    shares = [100 * len(each.hosts) // total for each in host_sets]
    first = next(index for index, each in enumerate(host_sets) if each.hosts)
    shares[first] += 100 - sum(shares)
    return tuple(shares)


def choose_host(
    hosts: Sequence[Host],
    balancer: LoadBalancer,
    settings: PrioritySettings,
    healthy_panic: Counter,
) -> ChooseHost:
    """The cluster's way to choose among `hosts`; `healthy_panic` counts choices made in panic."""
    top = max((host.priority for host in hosts), default=0)
    host_sets = [
        HostSet(priority, [host for host in hosts if host.priority == priority])
        for priority in range(top + 1)
    ]
    load = priority_load(host_sets, settings)
    shares: list[tuple[int, Picker]] = []
    for host_set, percent, panic in zip(host_sets, load.healthy, load.panic, strict=True):
        if not percent:
            continue
        if panic:
            shares.append((percent, _panic_picker(host_set, balancer, settings, healthy_panic)))
        else:
            shares.append((percent, _picker(host_set, host_set.healthy, balancer, settings)))
    for host_set, percent, panic in zip(host_sets, load.degraded, load.panic, strict=True):
        if not percent:
            continue
        if panic:
            shares.append((percent, _panic_picker(host_set, balancer, settings, healthy_panic)))
        else:
            shares.append((percent, _picker(host_set, host_set.degraded, balancer, settings)))
    if len(shares) == 1:
        return shares[0][1].choose
    return Shared(shares, balancer.random).choose


def _picker(
    host_set: HostSet, eligible: Sequence[Host], balancer: LoadBalancer, settings: PrioritySettings
) -> Picker:
    if settings.locality_weights is None:
        return balancer.picker(eligible)
    localities: dict[Locality, list[Host]] = {}
    for host in host_set.hosts:
        localities.setdefault(host.locality, []).append(host)
    weighted: list[tuple[float, Picker]] = []
    for locality, hosts in localities.items():
        weight = settings.locality_weights.get((host_set.priority, locality), 0)
        chosen = [host for host in hosts if host in eligible]
        if not weight or not chosen:
            continue
        part = len(chosen) / max(1, sum(not host.excluded for host in hosts))
        effective = weight * min(1.0, settings.overprovisioning / 100 * part)
        weighted.append((effective, balancer.picker(chosen)))
    if not weighted:
        # A locality without a weight gets no load, but where none has one localities do not count.
        return balancer.picker(eligible)
    return Localities(weighted, balancer.seed)


def _panic_picker(
    host_set: HostSet, balancer: LoadBalancer, settings: PrioritySettings, counter: Counter
) -> Picker:
    picker = NoHost() if settings.fail_traffic_on_panic else balancer.picker(host_set.hosts)
    return Panic(picker, counter)


class Shared:
    """Several lists, each with its percent of the load."""

    __slots__ = ("_edges", "_random")

    def __init__(self, shares: Sequence[tuple[int, Picker]], random: RandomBits) -> None:
        self._random = random
        self._edges: list[tuple[int, Picker]] = []
        edge = 0
        for percent, picker in shares:
            edge += percent
            self._edges.append((edge, picker))

    def choose(self, headers: HeaderMap | None, random_value: int) -> Host | None:
        """A host of one of the lists."""
        point = self._random() % 100 + 1
        for edge, picker in self._edges:
            if point <= edge:
                return picker.choose(headers, random_value)
        return None


class Localities:
    """Several localities, each as often as its weight says."""

    __slots__ = ("_edf", "_weights")

    def __init__(self, weighted: Sequence[tuple[float, Picker]], start: int) -> None:
        self._weights: dict[int, float] = {id(picker): weight for weight, picker in weighted}
        self._edf: Edf[Picker] = Edf(weighted, start % len(weighted))

    def choose(self, headers: HeaderMap | None, random_value: int) -> Host | None:
        """A host of the locality whose turn it is."""
        return self._edf.pick(self._weight).choose(headers, random_value)

    def _weight(self, picker: Any) -> float:
        return self._weights[id(picker)]


class Panic:
    """Every host, healthy or not, counting each choice."""

    __slots__ = ("_counter", "_picker")

    def __init__(self, picker: Picker, counter: Counter) -> None:
        self._picker = picker
        self._counter = counter

    def choose(self, headers: HeaderMap | None, random_value: int) -> Host | None:
        """Any host; None where the configuration says to fail."""
        self._counter.value += 1
        return self._picker.choose(headers, random_value)
