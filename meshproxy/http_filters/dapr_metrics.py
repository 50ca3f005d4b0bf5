"""Counts the requests of Dapr's listeners: of both APIs, and between sidecars. Knows no API.

Owns what is read off a stream at its end. A request is looked at before anything rewrites it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from meshproxy.dapr import invocation
from meshproxy.dapr.app_settings import APP_CLUSTER
from meshproxy.http.filter import CONTINUE, FilterFactory, StreamFilter
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.status import is_grpc
from meshproxy.http.stream_info import StreamInfo
from meshproxy.stats.dapr_metrics import DaprMetrics, GrpcSide

GRPC_STATUS: Final = (
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
    "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange",
    "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated",
)  # fmt: skip
_UNARY: Final = "unary"
_PEER: Final = "dapr/"


class Requests:
    """Counts requests of one listener. `api`: it is one that the app calls."""

    def __init__(
        self,
        metrics: DaprMetrics,
        now: Callable[[], float] = time.monotonic,
        *,
        api: bool = True,
    ) -> None:
        self._metrics = metrics
        self._now = now
        self._api = api
        self._verbs = not metrics.settings.exclude_verbs

    def ended(self, info: StreamInfo, method: str, path: str, caller: str, grpc: bool) -> None:
        """A stream is complete; `method`, `path` and `caller` are those that it came with."""
        elapsed = (self._now() - info.start) * 1000
        cluster = info.cluster_name
        if self._api and grpc:
            self._grpc(self._metrics.grpc.server, info, path, elapsed)
        elif self._api:
            self._http(info, method, path, elapsed)
        else:
            self._received(info, caller)
        if cluster == APP_CLUSTER:
            self._called_app(info, grpc)
        elif self._api and cluster.startswith(_PEER):
            self._sent(info, cluster.rpartition("/")[2], elapsed)

    def _http(self, info: StreamInfo, method: str, path: str, elapsed: float) -> None:
        http, settings = self._metrics.http, self._metrics.settings
        labels = (
            method if self._verbs else "",
            self._metrics.path_label(path),
            str(info.response_code or 0),
        )
        http.request_count.at(*labels).value += 1
        if settings.increased_cardinality:
            http.response_count.at(*labels).value += 1
        http.latency.at(*labels).record(elapsed)
        http.request_bytes.at().record(info.bytes_received)
        http.response_bytes.at().record(info.bytes_sent)

    def _grpc(self, side: GrpcSide, info: StreamInfo, method: str, elapsed: float) -> None:
        """Bytes are those of the messages with their prefixes."""
        status = grpc_status_of(info)
        side.completed.at(method, status).value += 1
        side.latency.at(method, status).record(elapsed)
        server = side is self._metrics.grpc.server
        received, sent = info.bytes_received, info.bytes_sent
        side.received_bytes.at(method).record(received if server else sent)
        side.sent_bytes.at(method).record(sent if server else received)

    def _called_app(self, info: StreamInfo, grpc: bool) -> None:
        """The request went on to the app: another call, which began when it was sent there."""
        start = info.upstream_request_start
        end = info.upstream_response_end or self._now()
        elapsed = (end - start) * 1000 if start is not None else 0.0
        headers = info.request_headers or HeaderMap()
        path = _text(headers, b":path").partition("?")[0]
        if grpc:
            self._grpc(self._metrics.grpc.client, info, path, elapsed)
            return
        http = self._metrics.http
        labels = (
            _text(headers, b":method") if self._verbs else "",
            self._metrics.path_label(path),
            str(info.response_code or 0),
        )
        http.completed_count.at(*labels).value += 1
        http.roundtrip_latency.at(*labels).record(elapsed)
        http.sent_bytes.at(*labels).record(info.bytes_received)
        http.received_bytes.at().record(info.bytes_sent)

    def _sent(self, info: StreamInfo, app_id: str, elapsed: float) -> None:
        runtime, status = self._metrics.runtime, str(info.response_code or 0)
        runtime.req_sent.at(app_id, _UNARY).value += 1
        runtime.res_recv.at(app_id, status, _UNARY).value += 1
        runtime.res_latency.at(app_id, status).record(elapsed)

    def _received(self, info: StreamInfo, caller: str) -> None:
        runtime = self._metrics.runtime
        runtime.req_recv.at(caller).value += 1
        runtime.res_sent.at(caller, str(info.response_code or 0)).value += 1


def metrics_filter(requests: Requests) -> FilterFactory:
    """The filter of a listener; the outermost one, so that it sees what was asked."""
    return lambda: MetricsFilter(requests)


class MetricsFilter(StreamFilter):
    """One request."""

    __slots__ = ("_caller", "_grpc", "_method", "_path", "_requests")

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._method = self._path = self._caller = ""
        self._grpc = False

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Remember what was asked."""
        self._method = _text(headers, b":method")
        self._path = _text(headers, b":path").partition("?")[0]
        self._caller = _text(headers, invocation.CALLER_APP_ID)
        self._grpc = is_grpc(headers.get(b"content-type") or b"")
        return CONTINUE

    def on_stream_complete(self) -> None:
        """Count it."""
        if self._method:
            info = self.callbacks.info
            self._requests.ended(info, self._method, self._path, self._caller, self._grpc)


def grpc_status_of(info: StreamInfo) -> str:
    """The status of a gRPC answer by its name; one that was never given is `Unknown`."""
    for headers in (info.response_trailers, info.response_headers):
        value = headers.get(b"grpc-status") if headers is not None else None
        if value is not None:
            number = int(value) if value.isdigit() else 2
            return GRPC_STATUS[number] if number < len(GRPC_STATUS) else "Unknown"
    return "Unknown"


def _text(headers: HeaderMap, name: bytes) -> str:
    return (headers.get(name) or b"").decode("latin-1")
