"""A cluster whose hosts are checked, over wires that the test holds and a clock that it moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshproxy.network.address import Address
from meshproxy.stats.store import Store
from meshproxy.upstream.cluster import Cluster, ClusterConfig
from meshproxy.upstream.health_check.checker import HealthChecker
from meshproxy.upstream.health_check.config import HealthCheckConfig, HttpHealthCheck
from meshproxy.upstream.host import EndpointConfig, EndpointHealthCheck, Host
from tests.support.fake_stream import FakeDispatcher
from tests.support.fake_wire import FakeWire


def http_check(**fields: Any) -> HttpHealthCheck:
    """`http_health_check` of /hc."""
    return HttpHealthCheck(**{"path": b"/hc", **fields})


def config(check: Any = None, **fields: Any) -> HealthCheckConfig:
    """A check every 10 s that times out after 1 s, with the edge at 2 and 3."""
    interval = fields.get("interval", 10.0)
    defaults = {
        "check": check or http_check(),
        "timeout": 1.0,
        "interval": interval,
        "unhealthy_threshold": 2,
        "healthy_threshold": 3,
        "no_traffic_interval": interval,
        "no_traffic_healthy_interval": interval,
        "unhealthy_interval": interval,
        "unhealthy_edge_interval": interval,
        "healthy_edge_interval": interval,
    }
    return HealthCheckConfig(**{**defaults, **fields})


class Attempt:
    """One connection that is being made."""

    def __init__(self, owner: Any, address: Address, options: Any) -> None:
        self.owner = owner
        self.address = address
        self.options = options
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Connector:
    """Makes connections when the test says so."""

    def __init__(self) -> None:
        self.dispatcher = FakeDispatcher()
        self.attempts: list[Attempt] = []

    def connect(self, owner: Any, address: Address, options: Any) -> Attempt:
        self.attempts.append(Attempt(owner, address, options))
        return self.attempts[-1]


def host(port: int = 80, /, **check: Any) -> Host:
    """A host of 127.0.0.1; `check` is its `health_check_config`."""
    endpoint = EndpointConfig("127.0.0.1", port, health_check=EndpointHealthCheck(**check))
    return Host(Address.parse("127.0.0.1", port), endpoint)


class World:
    """`hosts`: those of the cluster; checks have begun, and the first is on its way, unless
    `begins` is false.
    """

    def __init__(
        self,
        check: HealthCheckConfig | None = None,
        hosts: list[Host] | None = None,
        begins: bool = True,
        **cluster: Any,
    ) -> None:
        check = check or config()
        self.connector = Connector()
        self.dispatcher = self.connector.dispatcher
        self.cluster = Cluster(ClusterConfig(name="c", health_check=check, **cluster), Store())
        self.events: list[bytes] = []
        self.checker = HealthChecker(self.cluster, check, self.connector, [self.events.append])
        self.cluster.health_checker = self.checker
        self.hosts = hosts or [host()]
        self.cluster.set_hosts(self.hosts)
        if begins:
            self.checker.begin()

    @property
    def host(self) -> Host:
        """The first one."""
        return self.hosts[0]

    @property
    def flags(self) -> str:
        """What `/clusters` says of the first host."""
        return self.host.health_flags_text()

    @property
    def stats(self) -> Any:
        """`cluster.c.health_check.`"""
        return self.checker.stats

    def accept(self) -> FakeWire:
        """The last connection is up."""
        wire = FakeWire()
        owner = self.connector.attempts[-1].owner
        wire.dispatch = owner.on_connected(wire)  # type: ignore[attr-defined]
        self.dispatcher.advance(0)
        return wire

    def refuse(self) -> None:
        """The last connection cannot be made."""
        self.connector.attempts[-1].owner.on_connect_failure("remote connection failure", "")

    def lose(self) -> None:
        """The peer closes the last connection."""
        self.connector.attempts[-1].owner.on_closed(False)

    def wait(self, seconds: float = 10.0) -> None:
        """Until the next check, if nothing else is said."""
        self.dispatcher.advance(seconds)

    def rounds(self, *results: Callable[[], None]) -> None:
        """One check after the other with these results."""
        for result in results:
            result()
            self.wait()
