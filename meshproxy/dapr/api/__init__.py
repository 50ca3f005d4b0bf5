"""Dapr's API: each operation once, typed and async. Knows neither HTTP nor gRPC.

A building block is one file and one attribute of `Api`; `http_api/` and `grpc_api/` are tables onto
it. Operations raise ApiError and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from meshproxy.dapr.api.bindings import BindingsApi
from meshproxy.dapr.api.configuration import ConfigurationApi
from meshproxy.dapr.api.lock import LockApi
from meshproxy.dapr.api.pubsub import PubSubApi
from meshproxy.dapr.api.secrets import SecretsApi
from meshproxy.dapr.api.sidecar import SidecarApi
from meshproxy.dapr.api.state import StateApi
from meshproxy.dapr.api.streaming import StreamingApi
from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.sidecar import Sidecar

if TYPE_CHECKING:
    from meshproxy.dapr.api.invoke import InvokeApi

__all__ = ["Api"]


class Api:
    """All building blocks of one sidecar. `on_error` is told of every error that is answered.

    `service` is the way to other apps, for those calls that do not stream; None: there is none.
    """

    on_error: Callable[[ApiError], None]

    def __init__(self, sidecar: Sidecar) -> None:
        self.on_error = lambda error: None
        self.identity: Final = sidecar.identity
        self.channel: Final = sidecar.channel
        self.bindings: Final = BindingsApi(sidecar)
        self.configuration: Final = ConfigurationApi(sidecar)
        self.lock: Final = LockApi(sidecar)
        self.pubsub: Final = PubSubApi(sidecar)
        self.secrets: Final = SecretsApi(sidecar)
        self.service: InvokeApi | None = None
        self.state: Final = StateApi(sidecar)
        self.streaming: Final = StreamingApi(sidecar)
        self.sidecar: Final = SidecarApi(sidecar)

    def close(self) -> None:
        """The sidecar ends: so do the calls that would last as long as it does."""
        self.configuration.close()
        self.streaming.close()
