"""The collectors: the log, Zipkin, and OpenTelemetry's over HTTP and gRPC, each with its form.

Owns what goes over the wire. Refuses to know when (`export.py`).

Sources: https://opentelemetry.io/docs/specs/otlp/, https://zipkin.io/zipkin-api/ (v2).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson

from meshproxy.dapr.tracing.export import SendError
from meshproxy.dapr.tracing.otlp import otlp_request
from meshproxy.dapr.tracing.settings import OtelSettings
from meshproxy.dapr.tracing.span import Kind, Span
from meshproxy.router.grpc_client import GrpcCall, GrpcClient

if TYPE_CHECKING:
    import aiohttp

logger: Final = logging.getLogger("meshproxy.dapr.runtime.trace")

OTEL_CLUSTER: Final = "dapr/otel"
METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
TRACES_PATH: Final = "/v1/traces"
_TIMEOUT: Final = 10.0  # seconds


class StdoutCollector:
    """`stdout: true`: a line of the log for each span."""

    async def send(self, spans: Sequence[Span]) -> None:
        """Write them."""
        for shown in zipkin_spans(spans, ""):
            logger.info("%s", orjson.dumps(shown).decode())

    async def close(self) -> None:
        """Nothing is held."""


class HttpCollector:
    """Posts batches to a URL."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout: float) -> None:
        self._url: Final = url
        self._headers: Final = headers
        self._timeout: Final = timeout
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: bytes) -> None:
        """One batch. Raises SendError."""
        import aiohttp

        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._timeout)
            self._session = aiohttp.ClientSession(timeout=timeout, headers=self._headers)
        try:
            async with self._session.post(self._url, data=body, allow_redirects=False) as response:
                if not 200 <= response.status < 300:
                    raise SendError(f"{self._url} answered {response.status}")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise SendError(f"{self._url}: {str(error) or type(error).__name__}") from error

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()


class ZipkinCollector(HttpCollector):
    """`zipkin.endpointAddress`."""

    def __init__(self, url: str, service: str) -> None:
        super().__init__(url, {"content-type": "application/json"}, _TIMEOUT)
        self._service = service

    async def send(self, spans: Sequence[Span]) -> None:
        """Hand a batch over."""
        await self.post(orjson.dumps(zipkin_spans(spans, self._service)))


class OtlpHttpCollector(HttpCollector):
    """`otel` with protocol http."""

    def __init__(self, settings: OtelSettings, service: str) -> None:
        headers = {**settings.headers, "content-type": "application/x-protobuf"}
        super().__init__(otlp_url(settings), headers, settings.timeout)
        self._service = service

    async def send(self, spans: Sequence[Span]) -> None:
        """Hand a batch over."""
        await self.post(otlp_request(spans, self._service))


class OtlpGrpcCollector:
    """`otel` with protocol grpc, by our own client; the cluster is `OTEL_CLUSTER`."""

    def __init__(self, settings: OtelSettings, service: str, client: GrpcClient) -> None:
        self._settings = settings
        self._service = service
        self._client = client

    async def send(self, spans: Sequence[Span]) -> None:
        """Hand a batch over."""
        settings = self._settings
        metadata = [
            (name.lower().encode(), text.encode()) for name, text in settings.headers.items()
        ]
        call = GrpcCall(OTEL_CLUSTER, METHOD, settings.endpoint, metadata, settings.timeout)
        ended: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

        def done(status: int, text: str, message: bytes) -> None:
            if not ended.done():
                ended.set_result((status, text))

        stream = self._client.unary(call, otlp_request(spans, self._service), done)
        assert stream is not None, "the sidecar has made the cluster"
        try:
            status, text = await ended
        except asyncio.CancelledError:
            stream.reset()
            raise
        if status:
            raise SendError(f"{settings.endpoint} answered {status}: {text}")

    async def close(self) -> None:
        """The connections are the cluster's."""


def otlp_url(settings: OtelSettings) -> str:
    """Where spans are posted: the endpoint's own path, or that of the specification."""
    scheme = "https" if settings.secure else "http"
    host, slash, path = settings.endpoint.partition("/")
    return f"{scheme}://{host}{slash + path if path else TRACES_PATH}"


def zipkin_spans(spans: Sequence[Span], service: str) -> list[dict[str, Any]]:
    """The document of `POST /api/v2/spans`."""
    return [_zipkin(span, service) for span in spans]


def _zipkin(span: Span, service: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "traceId": span.context.trace_id.hex(),
        "id": span.context.span_id.hex(),
        "name": span.name,
        "timestamp": span.start // 1000,
        "duration": max(1, (span.end - span.start) // 1000),
        "tags": dict(span.attributes),
    }
    if service:
        shown["localEndpoint"] = {"serviceName": service}
    if span.kind is not Kind.INTERNAL:
        shown["kind"] = span.kind.name
    if span.parent_id:
        shown["parentId"] = span.parent_id.hex()
    if span.error:
        shown["tags"]["error"] = span.error
    return shown
