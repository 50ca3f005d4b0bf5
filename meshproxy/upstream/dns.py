"""Hosts by name: STRICT_DNS and LOGICAL_DNS.

Owns when a name is looked up again, and what an answer does to the hosts. Refuses to know how names
are looked up (`resolver.py`) and what the time is: both are injected.

STRICT_DNS makes every address of every name a host. LOGICAL_DNS has one host whatever the answer,
and new connections go to the first address. A lookup that fails, or finds nothing where something
was found before, leaves the last good hosts in place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from meshproxy.network.address import Address
from meshproxy.upstream.cluster import Cluster, DiscoveryType, DnsConfig, DnsLookupFamily
from meshproxy.upstream.host import (
    FAILED_ACTIVE_HC,
    PENDING_DYNAMIC_REMOVAL,
    EndpointConfig,
    Host,
    LocalityConfig,
)

if TYPE_CHECKING:
    from meshproxy.http.dispatcher import Dispatcher, Timer

logger = logging.getLogger("meshproxy.upstream")


class DnsError(Exception):
    """A name could not be looked up: no server answered, or it answered with an error."""


class DnsAnswer:
    """What a lookup found: IP addresses in order of preference, and for how many seconds.

    No addresses means that the name is known to have none (NXDOMAIN, NODATA). `ttl` is None where
    the resolver cannot tell.
    """

    __slots__ = ("addresses", "ttl")

    def __init__(self, addresses: tuple[str, ...], ttl: float | None = None) -> None:
        self.addresses = addresses
        self.ttl = ttl


class Resolver(Protocol):
    """Looks up names."""

    async def resolve(self, name: str, family: DnsLookupFamily) -> DnsAnswer:
        """The addresses of `name`; raises DnsError where nobody can tell."""


class Backoff:
    """Envoy's JitteredExponentialBackOffStrategy: below base, then twice that, up to `top`."""

    __slots__ = ("_base", "_next", "_random", "_top")

    def __init__(self, base: float, top: float, random: Callable[[], int]) -> None:
        self._base = base
        self._top = max(base, top)
        self._next = base
        self._random = random

    def next(self) -> float:
        """Seconds to wait now."""
        interval = self._next
        self._next = min(self._top, interval * 2)
        return _fraction(self._random) * interval

    def reset(self) -> None:
        """Start small again."""
        self._next = self._base


class Target:
    """One name to look up, and the hosts it stood for at last."""

    __slots__ = ("backoff", "endpoint", "hosts", "locality", "resolved", "timer", "vanished")

    def __init__(
        self, locality: LocalityConfig, endpoint: EndpointConfig, backoff: Backoff | None
    ) -> None:
        self.locality = locality
        self.endpoint = endpoint
        self.backoff = backoff
        self.hosts: tuple[Host, ...] = ()
        self.resolved = False
        self.vanished = False
        self.timer: Timer | None = None

    def make_host(self, address: Address) -> Host:
        """A host at this address, with what the configuration says of the name."""
        endpoint = self.endpoint
        return Host(
            address,
            endpoint,
            self.locality.locality,
            self.locality.priority,
            hostname=endpoint.hostname or endpoint.address,
        )


class DnsDiscovery:
    """Keeps the hosts of one DNS cluster up to date, from `start` to `stop`."""

    def __init__(self, cluster: Cluster, resolver: Resolver, dispatcher: Dispatcher) -> None:
        self._cluster = cluster
        self._resolver = resolver
        self._dispatcher = dispatcher
        self._config: DnsConfig = cluster.config.dns
        self._stopped = False
        self._targets = [
            Target(locality, endpoint, self._backoff())
            for locality in cluster.config.endpoints
            for endpoint in locality.endpoints
        ]
        self._apply: Callable[[Target, tuple[str, ...]], bool] = (
            self._apply_logical
            if cluster.config.type is DiscoveryType.LOGICAL_DNS
            else self._apply_strict
        )

    def start(self) -> None:
        """Look up every name; the cluster is initialized when each has been answered once."""
        if not self._targets or not self._cluster.config.wait_for_warm_on_init:
            self._cluster.finish_initialization()
        for target in self._targets:
            self._resolve_soon(target)

    def stop(self) -> None:
        """Look nothing up any more; an answer that is on its way is ignored."""
        self._stopped = True
        for target in self._targets:
            if target.timer is not None:
                target.timer.cancel()

    def _resolve_soon(self, target: Target) -> None:
        target.timer = None
        name = f"dns {self._cluster.name} {target.endpoint.address}"
        self._dispatcher.spawn(self._resolve(target), name)

    async def _resolve(self, target: Target) -> None:
        stats = self._cluster.stats
        stats.update_attempt.value += 1
        name = target.endpoint.address
        try:
            answer = await self._resolver.resolve(name, self._config.lookup_family)
        except DnsError as error:
            answer = None
            stats.update_failure.value += 1
            logger.debug("DNS resolution for %s failed: %s", name, error)
        if self._stopped:
            return
        if answer is not None:
            stats.update_success.value += 1
            self._take(target, answer)
        target.resolved = True
        if all(each.resolved for each in self._targets):
            self._cluster.finish_initialization()
        target.timer = self._dispatcher.call_later(
            self._delay(target, answer), lambda: self._resolve_soon(target)
        )

    def _take(self, target: Target, answer: DnsAnswer) -> None:
        stats = self._cluster.stats
        vanished = not answer.addresses and bool(target.hosts)
        if vanished:
            # Envoy would drain the cluster. Names vanish by accident more often than on purpose.
            stats.update_empty.value += 1
            logger.log(
                logging.DEBUG if target.vanished else logging.WARNING,
                "DNS: %s has no address any more; keeping %d host(s) of cluster %s",
                target.endpoint.address, len(target.hosts), self._cluster.name,
            )  # fmt: skip
        elif self._apply(target, answer.addresses):
            target.vanished = False
            return
        target.vanished = vanished
        stats.update_no_rebuild.value += 1

    def _apply_strict(self, target: Target, addresses: tuple[str, ...]) -> bool:
        known = {host.address.text: host for host in target.hosts}
        hosts: dict[str, Host] = {}
        for ip in addresses:
            address = Address(ip, target.endpoint.port)
            if address.text not in hosts:
                hosts[address.text] = known.get(address.text) or target.make_host(address)
        self._keep_healthy(known, hosts)
        target.hosts = tuple(hosts.values())
        # An address that several names have is one host, that of the first name.
        every: dict[tuple[int, str], Host] = {}
        for each in self._targets:
            for host in each.hosts:
                every.setdefault((host.priority, host.address.text), host)
        self._cluster.stats.max_host_weight.value = max(
            (host.weight for host in every.values()), default=1
        )
        return self._cluster.set_hosts(every.values())

    def _keep_healthy(self, known: dict[str, Host], hosts: dict[str, Host]) -> None:
        """A host that checks find well stays, whatever its name says, until one of them fails."""
        config = self._cluster.config
        if config.health_check is None or config.ignore_health_on_host_removal:
            return
        for text, host in known.items():
            flags = host.health_flags
            if text in hosts:
                if flags & PENDING_DYNAMIC_REMOVAL:
                    host.set_health_flags(flags & ~PENDING_DYNAMIC_REMOVAL)
            elif host.is_checked and not flags & FAILED_ACTIVE_HC:
                host.set_health_flags(flags | PENDING_DYNAMIC_REMOVAL)
                hosts[text] = host

    def _apply_logical(self, target: Target, addresses: tuple[str, ...]) -> bool:
        if not addresses:
            return False
        address = Address(addresses[0], target.endpoint.port)
        if not target.hosts:
            target.hosts = (target.make_host(address),)
            return self._cluster.set_hosts(target.hosts)
        host = target.hosts[0]
        if host.address == address:
            return False
        # Connections that are open stay; the next one goes to the new address.
        host.address = address
        return True

    def _backoff(self) -> Backoff | None:
        rate = self._config.failure_refresh_rate
        return Backoff(rate[0], rate[1], self._dispatcher.random) if rate else None

    def _delay(self, target: Target, answer: DnsAnswer | None) -> float:
        """Seconds until the next lookup."""
        if answer is None and target.backoff is not None:
            return target.backoff.next()
        if target.backoff is not None:
            target.backoff.reset()
        delay = self._config.refresh_rate
        if answer is not None and answer.addresses and self._config.respect_ttl and answer.ttl:
            delay = answer.ttl
        return delay + _fraction(self._dispatcher.random) * self._config.jitter


def _fraction(random: Callable[[], int]) -> float:
    """A number from 0 up to, but not including, 1."""
    return (random() >> 11) * 2.0**-53
