"""Where spans go, as values. Imports nothing that sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

GRPC: Final = "grpc"
HTTP: Final = "http"


@dataclass(frozen=True, slots=True)
class OtelSettings:
    """`tracing.otel`. `endpoint` is host and port, with a path for HTTP; `timeout` in seconds."""

    endpoint: str
    protocol: str = GRPC
    secure: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 10.0


def parse_headers(text: str) -> dict[str, str]:
    """`name=value,name=value`, percent-encoded as in baggage."""
    pairs = (pair.partition("=") for pair in text.split(",") if "=" in pair)
    return {name.strip(): unquote(value.strip()) for name, _, value in pairs}


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """`spec.tracing` of a Configuration; `rate` 0: nothing is traced. `zipkin` is a URL."""

    rate: float = 0.0
    stdout: bool = False
    zipkin: str = ""
    otel: OtelSettings | None = None
