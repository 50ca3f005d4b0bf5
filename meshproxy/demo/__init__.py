"""`meshproxy demo`: two versions of an app, the proxy before them, and a table of what happened.

Owns the order of the show and its end. The proxy is a child process like any other, so the demo
shows what a user would start, and knows nothing of its inside.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from meshproxy.demo import report, split
from meshproxy.demo.apps import start_app
from meshproxy.demo.proxy import DemoError, Proxy
from meshproxy.demo.traffic import send_requests


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says. `port` 0 is any free one, an empty `proxy` meshproxy itself."""

    port: int = 0
    requests: int = 300
    proxy: tuple[str, ...] = ()
    exit: bool = False


def run(settings: Settings) -> int:
    """Run the demo to its end. Returns 0, or 1 with the reason on stderr."""
    try:
        asyncio.run(_until_signal(settings))
    except DemoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


async def _until_signal(settings: Settings) -> None:
    """Run the show; SIGINT and SIGTERM cancel it, so that whatever it has started is ended."""
    show = asyncio.current_task()
    assert show is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, show.cancel)
    try:
        await _show(settings)
    except asyncio.CancelledError:
        print("\nended")


async def _show(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="meshproxy-demo-")))
        apps = {name: await start_app(name, stack) for name in split.VERSIONS}
        config = split.load(apps, settings.port)
        proxy = await Proxy.start(settings.proxy, config, directory)
        stack.push_async_callback(proxy.stop)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        url = f"http://{await proxy.listener('ingress', session)}"
        report.opening(url, proxy.admin, apps)

        progress = report.Progress(settings.requests)
        answers = await send_requests(session, url, settings.requests, progress)
        progress.done()
        report.closing(answers, split.weights(config), await proxy.stats(session), url, proxy.admin)
        if settings.exit:
            return
        print("\nServing until Ctrl-C.", flush=True)
        await proxy.ended()
