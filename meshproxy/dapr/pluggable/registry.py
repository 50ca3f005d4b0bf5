"""The types of sockets beside those of this package. Knows no kind of component but by name."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Final, cast

from meshproxy.dapr.pluggable.sockets import socket_of
from meshproxy.dapr.registry import Constructor, Registry

if TYPE_CHECKING:
    from meshproxy.router.async_client import AsyncClient
    from meshproxy.upstream.cluster_manager import ClusterManager

_CLASSES: Final = {
    "bindings": "binding:PluggableBinding",
    "pubsub": "pubsub:PluggablePubSub",
    "secretstores": "secret_store:PluggableSecretStore",
    "state": "state_store:PluggableStateStore",
}


class PluggableRegistry(Registry):
    """A registry with the types of sockets besides; those of this package come first."""

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self._registry = registry
        self._way: tuple[ClusterManager, AsyncClient] | None = None

    def connect(self, clusters: ClusterManager, client: AsyncClient) -> None:
        """From now on processes can be reached."""
        self._way = clusters, client

    def constructor(self, type_name: str, version: str) -> Constructor:
        """The class of a type. Raises ComponentError where there is none."""
        if self._registry.knows(type_name, version):
            return self._registry.constructor(type_name, version)
        socket = socket_of(type_name)
        if socket is None or self._way is None:
            return self._registry.constructor(type_name, version)  # raises
        from meshproxy.dapr.pluggable.process import Processes  # few have one

        processes = Processes(*self._way)
        module, _, class_name = _CLASSES[type_name.partition(".")[0]].partition(":")
        found = getattr(importlib.import_module(f"meshproxy.dapr.pluggable.{module}"), class_name)
        find = functools.partial(processes.find, socket)
        return cast("Constructor", functools.partial(found, find))
