"""How the app is reached, as values, and the version that it is told. Imports nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RUNTIME_VERSION: Final = "1.18.3"
"""The version of daprd whose behaviour this is; SDKs read it."""


@dataclass(frozen=True, slots=True)
class AppHealthSettings:
    """The `--app-health-*` flags; times are seconds."""

    path: str = "/healthz"
    probe_interval: float = 5.0
    probe_timeout: float = 0.5
    threshold: int = 3


@dataclass(frozen=True, slots=True)
class AppSettings:
    """How the app is reached; `port` 0: there is no app to call."""

    port: int = 0
    protocol: str = "http"
    channel_address: str = "127.0.0.1"
    max_concurrency: int = -1
    health: AppHealthSettings | None = None
    token: str = ""
