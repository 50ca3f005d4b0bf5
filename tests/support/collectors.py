"""Collectors of spans: OpenTelemetry's over gRPC and HTTP, and Zipkin; they keep what they get."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.support.http_server import Handler, HttpServer

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
PATIENCE_S = 20.0


class Collectors(HttpServer):
    """All three on free ports of loopback. Use as a context manager."""

    def __init__(self) -> None:
        self.otlp: list[ExportTraceServiceRequest] = []
        self.zipkin: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        super().__init__(_Spans)
        self._grpc = grpc.server(ThreadPoolExecutor(2))
        export = grpc.unary_unary_rpc_method_handler(
            self._export,
            ExportTraceServiceRequest.FromString,
            ExportTraceServiceResponse.SerializeToString,
        )
        handler = grpc.method_handlers_generic_handler(SERVICE, {"Export": export})
        self._grpc.add_generic_rpc_handlers((handler,))
        self.grpc_port = self._grpc.add_insecure_port("127.0.0.1:0")

    @property
    def http_port(self) -> int:
        return self.port

    def __enter__(self) -> Self:
        self._grpc.start()
        return super().__enter__()

    def close(self) -> None:
        self._grpc.stop(None).wait(PATIENCE_S)
        super().close()

    def spans(self, service: str) -> dict[str, Any]:
        """OpenTelemetry's spans of a service by their names."""
        return {
            span.name: span
            for request in tuple(self.otlp)
            for resource in request.resource_spans
            if resource.resource.attributes[0].value.string_value == service
            for group in resource.instrumentation_library_spans
            for span in group.spans
        }

    def span(self, service: str, name: str) -> Any:
        """A span, once it is there."""
        end = time.monotonic() + PATIENCE_S
        while name not in self.spans(service):
            assert time.monotonic() < end, f"no {name} among {list(self.spans(service))}"
            time.sleep(0.02)
        return self.spans(service)[name]

    def _export(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.headers.append(dict(context.invocation_metadata()))
        self.otlp.append(request)
        return ExportTraceServiceResponse()


class _Spans(Handler):
    app: Collectors

    def do_POST(self) -> None:
        body = self.body()
        self.app.headers.append(self.lower_headers())
        if self.path == "/v1/traces":
            self.app.otlp.append(ExportTraceServiceRequest.FromString(body))
        else:
            self.app.zipkin.extend(json.loads(body))
        self.answer(202)
