"""The sidecar of one process: resources, components, API listeners, and when each is there.

Owns the order of daprd's start and end. Refuses to know signals and sockets (`server/server.py`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from meshproxy.config import ServerConfig
from meshproxy.config.dapr import Resources, load_configurations, load_resources
from meshproxy.config.problems import Problems
from meshproxy.dapr.api import Api
from meshproxy.dapr.app_settings import RUNTIME_VERSION
from meshproxy.dapr.component import Identity
from meshproxy.dapr.http_api import HTTP_API
from meshproxy.dapr.runtime import Runtime
from meshproxy.dapr.secretstores.scopes import SecretScopes
from meshproxy.dapr.sidecar import Sidecar
from meshproxy.errors import ConfigErrors, StartupError
from meshproxy.http_filters.dapr_api import DaprFilterConfig
from meshproxy.network.listener import Listener
from meshproxy.network.tasks import TaskOwner, spawn
from meshproxy.server.dapr.listeners import (
    api_listener,
    pipe_address,
    read,
    socket_address,
    with_filter,
)
from meshproxy.server.dapr.options import DaprOptions

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 (daprd's default: a pod's other containers may call)
_APP_LOOK: Final = 0.05  # seconds between two looks whether the app listens
_APP_DIAL: Final = 0.5


class DaprSidecar:
    """What a server runs beside its Envoy configuration. Raises ConfigErrors for bad resources."""

    def __init__(self, options: DaprOptions, *, allow_unsupported: bool = False) -> None:
        self.options: Final = options
        self._started = time.monotonic()
        resources = _resources(options, allow_unsupported)
        for warning in resources.warnings:
            logger.warning("%s", warning)
        identity = Identity(options.app_id, options.namespace)
        self._owner = TaskOwner()
        self.quit: Callable[[bool], None] = lambda force: None
        self.facts: Final = Sidecar(
            identity,
            Runtime(identity, resources.components),
            options.app,
            SecretScopes(resources.secret_scopes),
            lambda force: self.quit(force),
        )

    # -- configuration -----------------------------------------------------------------------

    def extend(self, config: ServerConfig) -> ServerConfig:
        """The configuration with the sidecar's own listeners and clusters."""
        options = self.options
        document = {"static_resources": {"listeners": self._listeners()}}
        own = read(document)
        api = Api(self.facts)
        taken = {listener.name for listener in config.listeners}
        for listener in own.listeners:
            if listener.name in taken:
                raise StartupError(f"the listener name '{listener.name}' is the sidecar's own")
        filter_config = DaprFilterConfig(api, HTTP_API, options.api_token, options.max_body_size)
        listeners = [with_filter(each, filter_config) for each in own.listeners]
        return replace(config, listeners=(*config.listeners, *listeners))

    def _listeners(self) -> list[dict[str, object]]:
        options = self.options
        if options.unix_domain_socket:
            path = f"{options.unix_domain_socket}/dapr-{options.app_id}-http.socket"
            return [api_listener("dapr-http", pipe_address(path), options.read_buffer_size)]
        return [
            api_listener(
                "dapr-http" if index == 0 else f"dapr-http-{index}",
                socket_address(address, options.dapr_http_port),
                options.read_buffer_size,
            )
            for index, address in enumerate(options.dapr_listen_addresses or (EVERYWHERE,))
        ]

    # -- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Before the listeners open: every component is up. Raises StartupError."""
        options = self.options
        logger.info(
            "starting Dapr Runtime -- version %s -- app %s", RUNTIME_VERSION, options.app_id
        )
        _set_environment(options)
        await self.facts.runtime.start()
        for store in self.facts.secret_scopes.stores:
            if self.facts.component_of("secretstores", store) is None:
                logger.warning(
                    "Secrets configuration added for '%s', but no matching secret store was found",
                    store,
                )

    def listening(self, listeners: list[Listener]) -> None:
        """After they have opened: calls are answered, and the app is waited for."""
        for listener in listeners:
            if listener.config.name.startswith("dapr-http"):
                logger.info("HTTP server listening on TCP address: %s", listener.local_address.text)
        self.facts.outbound_ready = True
        if self.options.app.port:
            spawn(self._owner, self._wait_for_app(), "wait for the app")
        else:
            self._initialized()

    def _initialized(self) -> None:
        elapsed = (time.monotonic() - self._started) * 1000
        logger.info("dapr initialized. Status: Running. Init Elapsed %.0fms", elapsed)

    async def _wait_for_app(self) -> None:
        app = self.options.app
        logger.info(
            "application protocol: %s. waiting on port %d. This will block until the app is "
            "listening on that port.",
            app.protocol,
            app.port,
        )
        logger.info("waiting for application to listen on port %d", app.port)
        while not await _listens(app.channel_address, app.port):  # noqa: ASYNC110 (nobody tells us)
            await asyncio.sleep(_APP_LOOK)
        logger.info("application discovered on port %d", app.port)
        self.facts.app_reachable = True
        self._initialized()

    async def close(self) -> None:
        """After the last answer: close every component."""
        self.facts.outbound_ready = False
        await self._owner.close()
        await self.facts.runtime.close()
        logger.info("Daprd shutdown gracefully")


async def _listens(host: str, port: int) -> bool:
    """Whether something accepts a connection there now."""
    try:
        async with asyncio.timeout(_APP_DIAL):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _resources(options: DaprOptions, allow_unsupported: bool) -> Resources:
    problems = Problems()
    resources = load_resources(options.resources_path, problems)
    load_configurations(options.config, problems, resources)
    errors, warnings = problems.split(allow_unsupported=allow_unsupported)
    if errors:
        raise ConfigErrors(errors)
    resources.warnings += warnings
    return resources


def _set_environment(options: DaprOptions) -> None:
    """What daprd sets in its own environment, for components to read."""
    os.environ["APP_ID"] = options.app_id
    os.environ["APP_PORT"] = str(options.app.port or "")
    os.environ["DAPR_HTTP_PORT"] = os.environ["DAPR_PORT"] = str(options.dapr_http_port)
    os.environ["DAPR_GRPC_PORT"] = str(options.dapr_grpc_port)
    os.environ.setdefault("HOST_ADDRESS", os.environ.get("DAPR_HOST_IP", "127.0.0.1"))
