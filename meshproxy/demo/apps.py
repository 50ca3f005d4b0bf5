"""The small app behind the proxy, on aiohttp. Knows its own name and nothing of a mesh."""

from __future__ import annotations

from contextlib import AsyncExitStack

from aiohttp import web


async def start_app(name: str, stack: AsyncExitStack) -> int:
    """Serve version `name` on a free port of 127.0.0.1 until `stack` ends; return the port.

    It answers every request with its name and the headers that it received, as JSON.
    """

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"app": name, "received": dict(request.headers)})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port: int = runner.addresses[0][1]
    return port
