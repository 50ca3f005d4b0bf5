"""A span for every call of Dapr's APIs and every call between sidecars. Knows no exporter.

Owns the headers of trace context on a stream, and the names and attributes of spans, which are
daprd's. What goes on to an app, a broker or another sidecar carries this span as its parent.

Source: daprd v1.18, pkg/diagnostics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from meshproxy.dapr import invocation
from meshproxy.dapr.tracing import context as trace
from meshproxy.dapr.tracing.context import TraceContext
from meshproxy.dapr.tracing.span import Kind, Span, Tracer
from meshproxy.http.filter import CONTINUE, STOP_ITERATION, FilterFactory, StreamFilter
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.status import STATUS_TEXT, is_grpc
from meshproxy.http.stream_info import StreamInfo
from meshproxy.http_filters.dapr_metrics import grpc_status_of

_INVOKE = "/v1.0/invoke/"
_METHOD = "/method/"
_USER_HEADER = b"dapr-"
_SECRET: Final[tuple[bytes, ...]] = (invocation.API_TOKEN,)
_MAX_ATTRIBUTE = 1024
NO_BAGGAGE = LocalReply(400, "dapr_baggage", b"invalid baggage header")


def api_tracing(tracer: Tracer) -> FilterFactory:
    """The filter of an API."""
    return lambda: TracingFilter(tracer, Kind.CLIENT, api_name)


def internal_tracing(tracer: Tracer) -> FilterFactory:
    """The filter of the listener for other sidecars."""
    return lambda: TracingFilter(tracer, Kind.SERVER, internal_name)


def api_name(headers: HeaderMap, path: str) -> str:
    """`CallLocal/<app>/<method>` for an invocation, else the path."""
    if path.startswith(_INVOKE):
        app_id, _, method = path[len(_INVOKE) :].partition(_METHOD)
        return f"CallLocal/{app_id}/{method}"
    app_id = (headers.get(invocation.APP_ID) or b"").decode("latin-1")
    return f"CallLocal/{app_id}{path}" if app_id else path


def internal_name(headers: HeaderMap, path: str) -> str:
    """`CallLocal/<app>/<method>`."""
    callee = (headers.get(invocation.CALLEE_APP_ID) or b"").decode("latin-1")
    return f"CallLocal/{callee}{path}"


class TracingFilter(StreamFilter):
    """One request; `_span` is None for those that are never traced."""

    __slots__ = ("_baggage", "_grpc", "_kind", "_method", "_name", "_path", "_span", "_tracer")

    def __init__(self, tracer: Tracer, kind: Kind, name: Callable[[HeaderMap, str], str]) -> None:
        self._tracer = tracer
        self._kind = kind
        self._name = name
        self._span: Span | None = None
        self._baggage: bytes | None = None
        self._method = self._path = ""
        self._grpc = False

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Begin the span, and put it in the place of the one that the request came with."""
        path = (headers.get(b":path") or b"").decode("latin-1").partition("?")[0]
        if "/healthz" in path:
            return CONTINUE
        baggage = self._baggage = headers.joined(trace.BAGGAGE)
        if baggage is not None and not trace.is_baggage(baggage):
            self._baggage = None
            self.callbacks.send_local_reply(NO_BAGGAGE)
            return STOP_ITERATION
        self._path, self._method = path, (headers.get(b":method") or b"").decode("latin-1")
        self._grpc = is_grpc(headers.get(b"content-type") or b"")
        name = self._name(headers, path)
        span = self._span = self._tracer.start(name, _parent(headers), self._kind)
        if span.context.sampled:
            span.attributes = _user_attributes(headers)
        set_context(headers, span.context, binary=self._grpc)
        return CONTINUE

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Tell the app which trace its call was in."""
        span = self._span
        if span is not None and self._kind is Kind.CLIENT:
            if trace.TRACEPARENT not in headers:
                set_context(headers, span.context, binary=False)
            if self._baggage is not None and trace.BAGGAGE not in headers:
                headers.replace(trace.BAGGAGE, self._baggage)
        return CONTINUE

    def on_stream_complete(self) -> None:
        """End the span."""
        span = self._span
        if span is None or not span.context.sampled:
            return
        info = self.callbacks.info
        status = grpc_status_of(info) if self._grpc else str(info.response_code or 0)
        attributes = {
            "dapr.protocol": "grpc" if self._grpc else "http",
            "dapr.api": self._path if self._grpc else f"{self._method} {self._path}",
            "dapr.status_code": status,
            **_api_attributes(self._method, self._path),
        }
        if span.name.startswith("CallLocal/"):
            attributes["rpc.service"] = "ServiceInvocation"
            attributes["net.peer.name"] = span.name.split("/", 2)[1]
        self._tracer.end(span, _error(info, status, grpc=self._grpc), attributes)


def echo_trace(asked: HeaderMap, headers: HeaderMap) -> None:
    """Whoever calls within a trace gets its context back, also where nothing is traced."""
    parent = asked.get(trace.TRACEPARENT)
    if parent is None or trace.TRACEPARENT in headers or trace.from_parent(parent) is None:
        return
    headers.replace(trace.TRACEPARENT, parent)
    state = asked.joined(trace.TRACESTATE)
    if state is not None:
        headers.replace(trace.TRACESTATE, state)


def set_context(headers: HeaderMap, context: TraceContext, *, binary: bool) -> None:
    """Write trace context into headers; `binary`: gRPC's own form too."""
    headers.replace(trace.TRACEPARENT, context.parent_header)
    if context.state:
        headers.replace(trace.TRACESTATE, context.state)
    if binary:
        headers.replace(trace.GRPC_TRACE_BIN, context.binary_header)


def _parent(headers: HeaderMap) -> TraceContext | None:
    value = headers.get(trace.TRACEPARENT)
    if value is not None:
        return trace.from_parent(value, headers.joined(trace.TRACESTATE) or b"")
    binary = headers.get(trace.GRPC_TRACE_BIN)
    return None if binary is None else trace.from_binary(binary)


def _user_attributes(headers: HeaderMap) -> dict[str, str]:
    """What the app wants to see: its headers that begin with `dapr-`, but for the token."""
    return {
        name.decode("latin-1"): value.decode("latin-1")[:_MAX_ATTRIBUTE]
        for name, value in headers
        if name.startswith(_USER_HEADER) and name not in _SECRET
    }


def _api_attributes(method: str, path: str) -> dict[str, str]:
    """What a call of a building block is about, by its path."""
    parts = path.split("/")
    block, name = parts[2] if len(parts) > 3 else "", parts[3] if len(parts) > 3 else ""
    if block in ("state", "secrets", "bindings"):
        return {
            "db.name": name,
            "db.system": block,
            "db.statement": f"{method} {path}",
            "db.connection_string": block,
        }
    if block == "publish":
        return {
            "messaging.system": "pubsub",
            "messaging.destination": "/".join(parts[4:]),
            "messaging.destination_kind": "topic",
        }
    return {}


def _error(info: StreamInfo, status: str, *, grpc: bool) -> str:
    """Why a call counts as failed, empty where it does not."""
    if grpc:
        return "" if status == "OK" else status
    code = info.response_code or 0
    if 100 <= code < 400:
        return ""
    return f"Code({STATUS_TEXT[code].decode() if 0 <= code < 1000 else code})"
