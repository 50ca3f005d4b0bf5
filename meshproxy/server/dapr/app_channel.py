"""The app beside the sidecar: wait until it listens, then look whether it is well.

Owns the probing. Refuses to know what the verdicts are for (`dapr/sidecar.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from meshproxy.dapr.app_health import AppHealth
from meshproxy.dapr.app_settings import AppHealthSettings, AppSettings
from meshproxy.dapr.sidecar import Sidecar

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

_LOOK: Final = 0.05  # seconds between two looks whether the app listens
_DIAL: Final = 0.5


async def wait_for_app(facts: Sidecar, initialized: Callable[[], None]) -> None:
    """Return never, or when there is nothing more to look at: the app listens, no health check."""
    app = facts.app
    logger.info(
        "application protocol: %s. waiting on port %d. This will block until the app is "
        "listening on that port.",
        app.protocol,
        app.port,
    )
    logger.info("waiting for application to listen on port %d", app.port)
    while not await _listens(app):  # noqa: ASYNC110 (nobody tells us)
        await asyncio.sleep(_LOOK)
    logger.info("application discovered on port %d", app.port)
    facts.app_reachable = True
    initialized()
    if app.health is not None:
        await _watch(facts, app.health)


async def _listens(app: AppSettings) -> bool:
    """Whether something accepts a connection there now."""
    try:
        async with asyncio.timeout(_DIAL):
            _, writer = await asyncio.open_connection(app.channel_address, app.port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _watch(facts: Sidecar, settings: AppHealthSettings) -> None:
    import aiohttp

    app = facts.app
    path = settings.path if settings.path.startswith("/") else f"/{settings.path}"
    url = f"http://{app.channel_address}:{app.port}{path}"
    headers = {"dapr-api-token": app.token} if app.token else {}
    health = AppHealth(settings.threshold)
    timeout = aiohttp.ClientTimeout(total=settings.probe_timeout)
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        while True:
            if health.record(await _is_well(session, url)):
                word = "healthy" if health.healthy else "unhealthy"
                logger.info("App entered %s status", word)
                facts.app_healthy = health.healthy
                facts.app_changed(health.healthy)
            await asyncio.sleep(settings.probe_interval)


async def _is_well(session: object, url: str) -> bool:
    import aiohttp

    assert isinstance(session, aiohttp.ClientSession)
    try:
        async with session.get(url, allow_redirects=False) as response:
            return 200 <= response.status < 300
    except (aiohttp.ClientError, TimeoutError):
        return False
