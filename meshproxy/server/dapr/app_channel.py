"""The app beside the sidecar: how it is spoken to, whether it listens, whether it is well.

Owns the choice of the channel, and the probing. Refuses to know what the verdicts are for
(`dapr/sidecar.py`).
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import Callable
from typing import Final

from meshproxy.dapr.app_channel import AppChannel
from meshproxy.dapr.app_health import AppHealth
from meshproxy.dapr.app_settings import AppHealthSettings, AppSettings
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.sidecar import Sidecar
from meshproxy.errors import StartupError
from meshproxy.router.async_client import AsyncClient
from meshproxy.router.grpc_client import GrpcClient

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

_LOOK: Final = 0.05  # seconds between two looks whether the app listens
_DIAL: Final = 0.5


def app_channel(settings: AppSettings, app_id: str, client: AsyncClient) -> AppChannel:
    """The channel of `--app-protocol`. Raises StartupError."""
    if not settings.is_grpc:
        from meshproxy.dapr.http_app_channel import HttpAppChannel

        return HttpAppChannel(settings, app_id, client)
    if importlib.util.find_spec("dapr") is None:
        text = f"--app-protocol {settings.protocol} needs pip install 'meshproxy[dapr]'"
        raise StartupError(text)
    from meshproxy.dapr.grpc_api.app_channel import GrpcAppChannel

    return GrpcAppChannel(settings, GrpcClient(client))


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
    channel = facts.channel
    assert channel is not None
    health = AppHealth(settings.threshold)
    while True:
        if health.record(await _is_well(channel, settings)):
            word = "healthy" if health.healthy else "unhealthy"
            logger.info("App entered %s status", word)
            facts.app_healthy = health.healthy
            facts.app_changed(health.healthy)
        await asyncio.sleep(settings.probe_interval)


async def _is_well(channel: AppChannel, settings: AppHealthSettings) -> bool:
    try:
        async with asyncio.timeout(settings.probe_timeout):
            return await channel.is_well(settings.path)
    except (ComponentError, TimeoutError):
        return False
