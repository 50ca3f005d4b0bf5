"""Collectors of spans: OpenTelemetry's over gRPC and HTTP, and Zipkin; they keep what they get."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
PATIENCE_S = 20.0


class Collectors:
    """All three on free ports of loopback. Use as a context manager."""

    def __init__(self) -> None:
        self.otlp: list[ExportTraceServiceRequest] = []
        self.zipkin: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
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
        return self._http.server_port

    def __enter__(self) -> Self:
        self._thread.start()
        self._grpc.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._grpc.stop(None)
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

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

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        kept = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                kept.headers.append({name.lower(): text for name, text in self.headers.items()})
                if self.path == "/v1/traces":
                    kept.otlp.append(ExportTraceServiceRequest.FromString(body))
                else:
                    kept.zipkin.extend(json.loads(body))
                self.send_response(202)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        return Handler
