"""The sidecar as its API sees it: who it is, its app, its health, what was written into it.

Owns those facts. Refuses to know how the process starts and ends: `quit` was given.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshproxy.dapr.access_control import AccessControl
from meshproxy.dapr.app_channel import AppChannel
from meshproxy.dapr.app_settings import AppSettings
from meshproxy.dapr.component import Identity
from meshproxy.dapr.outbox import Outboxes
from meshproxy.dapr.resiliency import Resiliency
from meshproxy.dapr.runtime import Runtime
from meshproxy.dapr.secretstores.scopes import SecretScopes


@dataclass(slots=True)
class Sidecar:
    """What every building block of the API may use.

    `outbound_ready`: components and API are up. `ready`: the app is too. `quit(force)` begins to
    end the process. `app_changed(healthy)` is called when the app has become well or ill. `channel`
    is there where an app is. `subscriptions` shows those that are active.
    """

    identity: Identity
    runtime: Runtime
    app: AppSettings = field(default_factory=AppSettings)
    secret_scopes: SecretScopes = field(default_factory=SecretScopes)
    quit: Callable[[bool], None] = lambda force: None
    outbound_ready: bool = False
    app_reachable: bool = False
    app_healthy: bool = True
    app_changed: Callable[[bool], None] = lambda healthy: None
    channel: AppChannel | None = None
    subscriptions: Callable[[], Sequence[dict[str, Any]]] = list
    access_control: AccessControl | None = None
    resiliency: Resiliency = field(default_factory=Resiliency)
    http_endpoints: Collection[str] = ()
    features: Sequence[str] = ()
    extended: dict[str, str] = field(default_factory=dict)
    outboxes: Outboxes = field(init=False)

    def __post_init__(self) -> None:
        self.outboxes = Outboxes(self.runtime)

    @property
    def ready(self) -> bool:
        """Whether `/v1.0/healthz` is green: the app, where there is one, answers on its port."""
        return self.outbound_ready and (not self.app.port or self.app_reachable)

    def component_of(self, category: str, name: str) -> Any:
        """A component that is ready, or None."""
        return self.runtime.find(category, name)
