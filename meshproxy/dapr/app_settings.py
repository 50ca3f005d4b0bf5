"""How the app is reached, as values, and the version that it is told. Imports nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RUNTIME_VERSION: Final = "1.18.3"
"""The version of daprd whose behaviour this is; SDKs read it."""

PROTOCOLS: Final = ("http", "https", "h2c", "grpc", "grpcs")
"""What an app may speak."""

APP_CLUSTER: Final = "dapr/app"
"""The name of the cluster that is the app."""


@dataclass(frozen=True, slots=True)
class AppHealthSettings:
    """The `--app-health-*` flags; times are seconds."""

    path: str = "/healthz"
    probe_interval: float = 5.0
    probe_timeout: float = 0.5
    threshold: int = 3


@dataclass(frozen=True, slots=True)
class AppSettings:
    """How the app is reached; `port` 0: there is no app to call.

    `protocol` is one of PROTOCOLS.
    `binding_options_timeout` is the time in seconds for its answer whether it takes a binding.
    """

    port: int = 0
    protocol: str = "http"
    channel_address: str = "127.0.0.1"
    max_concurrency: int = -1
    health: AppHealthSettings | None = None
    token: str = ""
    binding_options_timeout: float = 3.0

    @property
    def is_grpc(self) -> bool:
        """Whether the app is a server of gRPC, with Dapr's callbacks among its services."""
        return self.protocol in ("grpc", "grpcs")

    @property
    def is_secure(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.protocol in ("https", "grpcs")

    @property
    def is_http2(self) -> bool:
        """Whether it is spoken to in HTTP/2."""
        return self.protocol in ("h2c", "grpc", "grpcs")
