"""What every name resolver does: find who has registered, until it leaves. Being registered is
being tested.
"""

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager

import orjson
import pytest

from meshproxy.dapr.component import ComponentContext, Identity, Metadata
from meshproxy.dapr.components import COMPONENTS
from meshproxy.upstream.dns import DnsAnswer
from tests.support.consul_agent import ConsulAgent
from tests.support.toolchains import without


class World:
    """The sidecars of one test."""

    def __init__(self, type_name: str, metadata: dict[str, str]) -> None:
        self.type_name = type_name
        self.metadata = metadata
        self.sidecars: list[tuple[ComponentContext, object]] = []

    async def sidecar(self, app_id: str, address: str = ""):
        context = ComponentContext("names", Identity(app_id, ""))
        resolver = COMPONENTS.constructor(self.type_name, "v1")(context)
        self.prepare(resolver)
        await resolver.init(Metadata(self.metadata))
        self.sidecars.append((context, resolver))
        if address:
            await self.register(resolver, app_id, address)
        return resolver

    def prepare(self, resolver) -> None:
        """Before `init`."""

    def hasten(self, resolver) -> None:
        """Nobody will answer: do not wait for long."""

    async def register(self, resolver, app_id: str, address: str) -> None:
        await resolver.register(address)

    async def leave(self, resolver, app_id: str, address: str) -> None:
        """One sidecar ends."""
        context = next(context for context, each in self.sidecars if each is resolver)
        await context.owner.close()
        await resolver.close()

    async def settle(self) -> None:
        """Everything that looks around in the background has looked."""
        for context, _ in self.sidecars:
            await asyncio.gather(*context.owner.tasks)

    async def close(self) -> None:
        for context, resolver in self.sidecars:
            await context.owner.close()
            await resolver.close()


class Mdns(World):
    """On loopback alone; every sidecar here is the same process, so they need names."""

    def prepare(self, resolver) -> None:
        resolver.interfaces = ["127.0.0.1"]
        resolver.instance = f"host:{len(self.sidecars)}"
        resolver.first_seconds = 20.0  # for the first answer, which is there at once
        resolver.refresh_seconds = 0.3

    def hasten(self, resolver) -> None:
        resolver.first_seconds = 0.1


class Sqlite(World):
    async def settle(self) -> None:
        """Its task renews for ever."""


class Cluster(World):
    """The services of a Kubernetes cluster, as its DNS has them."""

    def __init__(self, type_name: str, metadata: dict[str, str]) -> None:
        super().__init__(type_name, metadata)
        self.services: dict[str, list[str]] = {}

    def prepare(self, resolver) -> None:
        resolver.dns = self

    async def resolve(self, name, family) -> DnsAnswer:
        return DnsAnswer(tuple(self.services.get(name, ())))

    async def register(self, resolver, app_id: str, address: str) -> None:
        await super().register(resolver, app_id, address)
        ip = address.rpartition(":")[0]
        self.services.setdefault(f"{app_id}-dapr.default.svc.cluster.local", []).append(ip)

    async def leave(self, resolver, app_id: str, address: str) -> None:
        ip = address.rpartition(":")[0]
        self.services[f"{app_id}-dapr.default.svc.cluster.local"].remove(ip)


def need_multicast() -> None:
    """Skip the test where datagrams of a group do not come back on loopback."""
    group = ("224.0.0.251", 53535)
    member = socket.inet_aton(group[0]) + socket.inet_aton("127.0.0.1")
    with socket.socket(type=socket.SOCK_DGRAM) as heard, socket.socket(type=socket.SOCK_DGRAM) as s:
        try:
            heard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            heard.bind(group)
            heard.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            heard.settimeout(5)
            s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, member[4:])
            s.sendto(b"?", group)
            heard.recv(1)
        except OSError as error:
            without(f"no multicast on loopback: {error}")


@asynccontextmanager
async def world_of(name: str, folder):
    type_name = name.partition("/")[0]
    async with AsyncExitStack() as stack:
        match type_name:
            case "nameresolution.consul":
                agent = await stack.enter_async_context(ConsulAgent())
                settings = {"selfRegister": "true", "selfDeregister": "true"}
                client = orjson.dumps({"address": agent.address}).decode()
                made = World(type_name, {**settings, "client": client})
            case "nameresolution.kubernetes":
                made = Cluster(type_name, {})
            case "nameresolution.mdns":
                need_multicast()
                made = Mdns(type_name, {})
            case "nameresolution.sqlite":
                made = Sqlite(type_name, {"connectionString": str(folder / "names.db")})
            case _:
                raise AssertionError(f"{type_name} has no world here")
        stack.push_async_callback(made.close)
        yield made


@pytest.fixture(params=COMPONENTS.of("nameresolution"))
def play(request, tmp_path):
    """Runs a scenario in a world of each resolver."""

    def run(scenario):
        async def main():
            async with world_of(request.param, tmp_path) as world:
                await scenario(world)

        asyncio.run(main())

    return run


ONE, TWO = "127.0.0.1:50002", "127.0.0.2:50002"


def test_sidecars_find_each_other(play):
    async def scenario(world):
        shop = await world.sidecar("shop", "127.0.0.3:50002")
        cart = await world.sidecar("cart", ONE)
        assert await shop.resolve("cart", "") == [ONE]
        assert await cart.resolve("shop", "") == ["127.0.0.3:50002"]
        assert await cart.resolve("cart", "") == [ONE]

    play(scenario)


def test_nobody_is_found_under_a_name_that_nobody_has(play):
    async def scenario(world):
        shop = await world.sidecar("shop", ONE)
        world.hasten(shop)
        assert await shop.resolve("cart", "") == []

    play(scenario)


def test_all_instances_of_an_app_are_found_and_those_that_leave_no_more(play):
    async def scenario(world):
        shop = await world.sidecar("shop", "127.0.0.3:50002")
        first = await world.sidecar("cart", ONE)
        await world.sidecar("cart", TWO)
        assert set(await shop.resolve("cart", "")) <= {ONE, TWO}
        await world.settle()
        assert sorted(await shop.resolve("cart", "")) == [ONE, TWO]
        await world.leave(first, "cart", ONE)
        shop.forget("cart", "")
        await world.settle()
        assert await shop.resolve("cart", "") == [TWO]

    play(scenario)
