"""Components that do as they are told, and the running of coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from meshproxy.dapr.app_settings import APP_CLUSTER
from meshproxy.dapr.component import (
    ComponentContext,
    ComponentError,
    ComponentSpec,
    Identity,
    Metadata,
    MetadataItem,
)
from meshproxy.dapr.registry import Registry
from meshproxy.dapr.resiliency import Means, PolicyNames, Resiliency, ResiliencySpec, RetryPolicy
from meshproxy.dapr.runtime import Runtime, Settings
from meshproxy.network.connector import Connector
from meshproxy.network.dispatcher import LoopDispatcher
from meshproxy.network.tasks import TaskOwner
from meshproxy.router.async_client import AsyncClient
from meshproxy.router.router import RouterFactory
from meshproxy.stats.metrics import RouterStats
from meshproxy.stats.store import Store
from meshproxy.upstream.cluster import ClusterConfig
from meshproxy.upstream.cluster_manager import ClusterManager
from meshproxy.upstream.host import EndpointConfig, LocalityConfig
from meshproxy.upstream.resolver import SystemResolver

APP = Identity("app", "")


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


@asynccontextmanager
async def client_to_app(port: int, **cluster: Any) -> AsyncIterator[AsyncClient]:
    """A client whose cluster of the app is this port of loopback."""
    owner = TaskOwner()
    dispatcher = LoopDispatcher(asyncio.get_running_loop(), owner)
    store = Store()
    manager = ClusterManager(store, dispatcher, SystemResolver())
    hosts = (LocalityConfig(endpoints=(EndpointConfig("127.0.0.1", port),)),)
    manager.add(ClusterConfig(name=APP_CLUSTER, endpoints=hosts, **cluster))
    await manager.initialize()
    stats = store.scope("http.async-client.").block(RouterStats)
    try:
        yield AsyncClient(manager, dispatcher, RouterFactory(Connector(dispatcher), stats))
    finally:
        manager.close()
        cluster = manager.clusters[APP_CLUSTER]
        for host in cluster.hosts:
            if host.pool is not None:
                host.pool.drain()
        for _ in range(20_000):
            if not cluster.stats.upstream_cx_active.value:
                break
            await asyncio.sleep(0.001)
        await owner.close()


def component(
    name: str, type_name: str, metadata: Mapping[str, str] | None = None, **more: Any
) -> ComponentSpec:
    items = tuple(MetadataItem(key, value) for key, value in (metadata or {}).items())
    return ComponentSpec(name, type_name, metadata=items, **more)


def runtime(specs: Iterable[ComponentSpec], **settings: Any) -> Runtime:
    return Runtime(APP, specs, Settings(**settings))


async def no_time(seconds: float) -> None:
    await asyncio.sleep(0)


def retrying(name: str, attempts: int, **more: Any) -> Resiliency:
    """Inbound, a component's failures are tried again until there were this many attempts."""
    policy = RetryPolicy(max_retries=attempts - 1, **more)
    names = {name: PolicyNames(retry="often")}
    spec = ResiliencySpec("r", retries={"often": policy}, inbound=names)
    return Resiliency([spec], APP, Means(sleep=no_time))


class Scripted:
    """Fails as often as it is told, and writes down what happens to it."""

    events: ClassVar[list[str]] = []
    failures: ClassVar[dict[str, int]] = {}
    hang: ClassVar[set[str]] = set()

    def __init__(self, context: ComponentContext) -> None:
        self.name = context.name
        self.metadata: Metadata | None = None
        self.events.append(f"{self.name} made")

    async def init(self, metadata: Metadata) -> None:
        self.events.append(f"{self.name} init")
        if self.name in self.hang:
            await asyncio.Event().wait()
        if self.failures.get(self.name, 0) > 0:
            self.failures[self.name] -= 1
            raise ComponentError("missing connection string")
        self.metadata = metadata

    async def close(self) -> None:
        self.events.append(f"{self.name} close")

    async def get_secret(self, name: str, metadata: Mapping[str, str]) -> Mapping[str, str]:
        return {"user": "alice", "pass": "secret"}


class FakeRegistry(Registry):
    """Knows one class under every type."""

    def constructor(self, type_name: str, version: str) -> Any:
        if type_name.endswith(".unknown"):
            return super().constructor(type_name, version)
        return Scripted
