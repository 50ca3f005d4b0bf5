"""The `websockets` library at both ends, with the proxy between."""

import asyncio
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.tls import client_context, downstream_tls, tls_certificate
from tests.support.certificates import make
from tests.support.processes import ProxyProcess

ROUTES = """\
- match: {path: /denied}
  route: {cluster: up, upgrade_configs: [{upgrade_type: websocket, enabled: false}]}
- match: {prefix: /}
  route: {cluster: up, timeout: 1s}
"""
UPGRADES = "upgrade_configs: [{upgrade_type: websocket}]"


async def echo(peer: ServerConnection) -> None:
    async for message in peer:
        if message == "close":
            await peer.close(4001, "as you like")
        else:
            await peer.send(message)


def talk(directory: Path, *steps: object) -> None:
    """Run each step with (proxy, ws:// URL, wss:// context)."""
    authority = make("ca")
    authority.write(directory, "ca")
    make("leaf", authority).write(directory, "leaf")

    async def main() -> None:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(serve(echo, "127.0.0.1", 0, max_size=None))
            port = next(iter(server.sockets)).getsockname()[1]
            plain = listener("main", virtual_host(ROUTES), options=UPGRADES)
            secure = listener("secure", virtual_host(ROUTES), options=UPGRADES)
            secure["filter_chains"][0]["transport_socket"] = downstream_tls(
                {"tls_certificates": [tls_certificate(directory, "leaf")]}
            )
            yaml = bootstrap([plain, secure], [cluster("up", [port])])
            proxy = await asyncio.to_thread(stack.enter_context, ProxyProcess("meshproxy", yaml))
            for step in steps:
                await step(proxy)  # type: ignore[operator]

    asyncio.run(main())


async def exchange(client: ClientConnection) -> None:
    await client.send("text")
    assert await client.recv() == "text"
    big = bytes(range(256)) * 16384  # 4 MiB: more than any buffer between
    await client.send(big)
    assert await client.recv() == big
    await (await client.ping())
    await client.send("close")
    await client.wait_closed()
    assert (client.close_code, client.close_reason) == (4001, "as you like")


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_messages_pings_and_the_close_of_both_ends_pass(tmp_path: Path, scheme: str) -> None:
    async def step(proxy: ProxyProcess) -> None:
        port = proxy.ports["main" if scheme == "ws" else "secure"]
        context: ssl.SSLContext | None = client_context(tmp_path) if scheme == "wss" else None
        async with connect(f"{scheme}://127.0.0.1:{port}/x", ssl=context, max_size=None) as client:
            await exchange(client)

    talk(tmp_path, step)


def test_many_at_once_do_not_mix_and_none_goes_back_to_the_pool(tmp_path: Path) -> None:
    async def one(port: int, number: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/x") as client:
            for turn in range(20):
                await client.send(f"{number} {turn}")
                assert await client.recv() == f"{number} {turn}"

    async def step(proxy: ProxyProcess) -> None:
        await asyncio.gather(*(one(proxy.ports["main"], number) for number in range(20)))
        counters = await asyncio.to_thread(proxy.counters)
        assert counters["cluster.up.upstream_cx_total"] == 20
        assert counters["http.main.downstream_cx_upgrades_total"] == 20
        assert counters["http.main.downstream_cx_upgrades_active"] == 0

    talk(tmp_path, step)


def test_a_route_may_deny_it(tmp_path: Path) -> None:
    async def step(proxy: ProxyProcess) -> None:
        with pytest.raises(InvalidStatus, match="403"):
            async with connect(f"ws://127.0.0.1:{proxy.ports['main']}/denied"):
                pass

    talk(tmp_path, step)
