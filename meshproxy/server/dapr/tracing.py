"""Tracing as part of the process: settings from file and environment, the tracer, its exporters.

Owns their start and end. Refuses to know spans.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/ for the variables.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from meshproxy.dapr.app_settings import AppSettings
from meshproxy.dapr.tracing.collectors import (
    OTEL_CLUSTER,
    OtlpGrpcCollector,
    OtlpHttpCollector,
    StdoutCollector,
    ZipkinCollector,
)
from meshproxy.dapr.tracing.export import Exporter, SpanQueue
from meshproxy.dapr.tracing.settings import (
    GRPC,
    HTTP,
    OtelSettings,
    TracingSettings,
    parse_headers,
)
from meshproxy.dapr.tracing.span import Tracer
from meshproxy.errors import StartupError
from meshproxy.network.tasks import TaskOwner, spawn
from meshproxy.router.async_client import AsyncClient
from meshproxy.router.grpc_client import GrpcClient
from meshproxy.server.dapr.listeners import app_cluster

_OTLP: Final = "OTEL_EXPORTER_OTLP_"

_PORTS: Final = {GRPC: 4317, HTTP: 4318}
_TRUE: Final = frozenset({"true", "1"})


class Tracing:
    """The tracer with its queue, which runs until `close`."""

    def __init__(self, tracer: Tracer, queue: SpanQueue) -> None:
        self.tracer: Final = tracer
        self._queue = queue
        self._owner = TaskOwner()
        spawn(self._owner, queue.run(), "spans")

    @classmethod
    def start(cls, settings: TracingSettings, service: str, client: AsyncClient) -> Tracing | None:
        """Begin to trace; None where nothing is traced."""
        if not settings.rate:
            return None
        queue = SpanQueue(_exporters(settings, service, client))
        return cls(Tracer(settings.rate, queue.add), queue)

    async def close(self) -> None:
        """Send what is left, and end."""
        await self._owner.close()
        await self._queue.close()


def with_environment(settings: TracingSettings, env: Mapping[str, str]) -> TracingSettings:
    """The settings with OpenTelemetry's variables, where no otel endpoint is configured.

    Raises StartupError for a variable that cannot be.
    """
    endpoint = _variable(env, "ENDPOINT")
    if settings.otel is not None or not endpoint:
        return settings
    parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    protocol = {"": GRPC, "grpc": GRPC, "http/protobuf": HTTP}.get(_variable(env, "PROTOCOL"))
    timeout = _variable(env, "TIMEOUT")
    if protocol is None or not parts.hostname or not (timeout or "1").isdecimal():
        raise StartupError(f"the {_OTLP}* variables name no collector that can be reached")
    path = parts.path
    if protocol == HTTP and not env.get(f"{_OTLP}TRACES_ENDPOINT"):
        path = f"{path.rstrip('/')}/v1/traces"
    insecure = parts.scheme == "http" or _variable(env, "INSECURE").lower() in _TRUE
    otel = OtelSettings(
        f"{parts.hostname}:{parts.port or _PORTS[protocol]}{path}",
        protocol,
        not insecure,
        parse_headers(_variable(env, "HEADERS")),
        int(timeout) / 1000 if timeout else 10.0,
    )
    return replace(settings, otel=otel, rate=settings.rate or 1.0)


def tracing_cluster(settings: TracingSettings) -> dict[str, Any] | None:
    """The cluster of an OTLP collector that speaks gRPC, None where there is none."""
    otel = settings.otel
    if not settings.rate or otel is None or otel.protocol != GRPC:
        return None
    host, _, port = otel.endpoint.partition("/")[0].rpartition(":")
    host = host.strip("[]")
    protocol = "grpcs" if otel.secure else "grpc"
    cluster = app_cluster(OTEL_CLUSTER, AppSettings(int(port), protocol, host))
    if otel.secure:
        tls = cluster["transport_socket"]["typed_config"]
        tls["sni"] = host
        tls["common_tls_context"]["validation_context"] = {
            "trusted_ca": {"filename": ssl.get_default_verify_paths().cafile or ""},
            "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": host}}],
        }
    return cluster


def _exporters(settings: TracingSettings, service: str, client: AsyncClient) -> list[Exporter]:
    found: list[Exporter] = []
    if settings.stdout:
        found.append(StdoutCollector())
    if settings.zipkin:
        found.append(ZipkinCollector(settings.zipkin, service))
    if settings.otel is not None and settings.otel.protocol == GRPC:
        found.append(OtlpGrpcCollector(settings.otel, service, GrpcClient(client)))
    elif settings.otel is not None:
        found.append(OtlpHttpCollector(settings.otel, service))
    return found


def _variable(env: Mapping[str, str], name: str) -> str:
    return env.get(f"{_OTLP}TRACES_{name}") or env.get(f"{_OTLP}{name}", "")
