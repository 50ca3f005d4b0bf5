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
from meshproxy.stats.labelled import MAX_SERIES, Series

GRPC_STATUS: Final = (
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
    "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange",
    "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated",
)  # fmt: skip
_UNARY: Final = "unary"
_PEER: Final = "dapr/"
_NOT_SHOWN: Final = Series()
"""Takes what is not counted without increased cardinality."""


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
        self._request_bytes = metrics.http.request_bytes.at()
        self._response_bytes = metrics.http.response_bytes.at()
        self._known: dict[tuple[bytes, bytes, int], tuple[Series, Series, Series]] = {}
        self._at_app: dict[tuple[bytes, bytes, int], tuple[Series, Series, Series, Series]] = {}

    def ended(self, info: StreamInfo, method: bytes, path: bytes, caller: bytes) -> None:
        """A stream is complete; `method`, `path` and `caller` are those that it came with."""
        elapsed = (self._now() - info.start) * 1000
        cluster = info.cluster_name
        grpc = info.request_headers is not None and is_grpc(
            info.request_headers.get(b"content-type") or b""
        )
        if self._api and grpc:
            self._grpc(self._metrics.grpc.server, info, path.decode("latin-1"), elapsed)
        elif self._api:
            self._http(info, method, path, elapsed)
        else:
            self._received(info, caller.decode("latin-1"))
        if cluster == APP_CLUSTER:
            self._called_app(info, grpc)
        elif self._api and cluster.startswith(_PEER):
            self._sent(info, cluster.rpartition("/")[2], elapsed)

    def _http(self, info: StreamInfo, method: bytes, path: bytes, elapsed: float) -> None:
        key = (method, path, info.response_code or 0)
        requests, responses, latency = self._known.get(key) or self._series(*key)
        requests.value += 1
        responses.value += 1
        latency.record(elapsed)
        self._request_bytes.record(info.bytes_received)
        self._response_bytes.record(info.bytes_sent)

    def _series(self, method: bytes, path: bytes, status: int) -> tuple[Series, Series, Series]:
        """Those of a request; they are remembered, as long as there are not too many."""
        http, metrics = self._metrics.http, self._metrics
        shown = metrics.path_label(path.decode("latin-1"))
        labels = (method.decode("latin-1") if self._verbs else "", shown, str(status))
        responses = _NOT_SHOWN
        if metrics.settings.increased_cardinality:
            responses = http.response_count.at(*labels)
        found = (http.request_count.at(*labels), responses, http.latency.at(*labels))
        if len(self._known) < MAX_SERIES:
            self._known[method, path, status] = found
        return found

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
        path = (headers.get(b":path") or b"").partition(b"?")[0]
        if grpc:
            self._grpc(self._metrics.grpc.client, info, path.decode("latin-1"), elapsed)
            return
        key = (headers.get(b":method") or b"", path, info.response_code or 0)
        calls, latency, sent, received = self._at_app.get(key) or self._series_at_app(*key)
        calls.value += 1
        latency.record(elapsed)
        sent.record(info.bytes_received)
        received.record(info.bytes_sent)

    def _series_at_app(
        self, method: bytes, path: bytes, status: int
    ) -> tuple[Series, Series, Series, Series]:
        """Those of a call of the app; they are remembered as those of `_series` are."""
        http = self._metrics.http
        shown = self._metrics.path_label(path.decode("latin-1"))
        labels = (method.decode("latin-1") if self._verbs else "", shown, str(status))
        found = (
            http.completed_count.at(*labels),
            http.roundtrip_latency.at(*labels),
            http.sent_bytes.at(*labels),
            http.received_bytes.at(),
        )
        if len(self._at_app) < MAX_SERIES:
            self._at_app[method, path, status] = found
        return found

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

    __slots__ = ("_caller", "_method", "_path", "_requests")

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._method = self._path = self._caller = b""

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Remember what was asked."""
        for name, value in headers.pairs:
            if name == b":method":
                self._method = value
            elif name == b":path":
                self._path = value.partition(b"?")[0]
            elif name == invocation.CALLER_APP_ID:
                self._caller = value
        return CONTINUE

    def on_stream_complete(self) -> None:
        """Count it."""
        if self._method:
            self._requests.ended(self.callbacks.info, self._method, self._path, self._caller)


def grpc_status_of(info: StreamInfo) -> str:
    """The status of a gRPC answer by its name; one that was never given is `Unknown`."""
    number = int(grpc_number_of(info))
    return GRPC_STATUS[number] if number < len(GRPC_STATUS) else "Unknown"


def grpc_number_of(info: StreamInfo) -> str:
    """The same as the number that it has on the wire."""
    for headers in (info.response_trailers, info.response_headers):
        value = headers.get(b"grpc-status") if headers is not None else None
        if value is not None:
            return value.decode("ascii") if value.isdigit() else "2"
    return "2"
