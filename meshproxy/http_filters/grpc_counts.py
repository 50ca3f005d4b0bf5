"""What Envoy counts of gRPC calls, below `cluster.<name>.grpc.` and `grpc-web.`.

Owns the names and the metrics, made at first use. Refuses to know whose call it is, and when it is
counted.
"""

from __future__ import annotations

from typing import Any, Final

from meshproxy.http.grpc import OK
from meshproxy.http.header_map import HeaderMap
from meshproxy.stats.store import Counter

# Names come from paths, which clients choose: so many have metrics of their own, no more.
MAX_METHODS: Final = 1024

Method = tuple[str, str]


def service_and_method(path: bytes) -> Method | None:
    """The two parts of `/service/method`; None where a path is not of that form."""
    parts = path.partition(b"?")[0].split(b"/")
    if len(parts) != 3 or parts[0] or not parts[1] or not parts[2]:
        return None
    try:
        return parts[1].decode(), parts[2].decode()
    except UnicodeDecodeError:
        return None


class MethodCounts:
    """The metrics of one method of a cluster, or of all its calls."""

    __slots__ = ("_by_code", "_scope", "failure", "request_messages", "response_messages",
                 "success", "total")  # fmt: skip

    def __init__(self, scope: Any) -> None:
        self._scope = scope
        self._by_code: dict[bytes, Counter] = {}
        self.success: Counter = scope.counter("success")
        self.failure: Counter = scope.counter("failure")
        self.total: Counter = scope.counter("total")
        self.request_messages: Counter | None = None
        self.response_messages: Counter | None = None

    def charge(self, headers: HeaderMap) -> None:
        """Count the end of a call, if these headers or trailers have its status."""
        status = headers.get(b"grpc-status")
        if status is None:
            return
        if status.isdigit() and len(status) <= 3:
            counter = self._by_code.get(status)
            if counter is None:
                counter = self._scope.counter(status.decode())
                self._by_code[status] = counter
            counter.value += 1
        ended = self.success if status == b"%d" % OK else self.failure
        ended.value += 1
        self.total.value += 1

    def count_request_messages(self, count: int) -> None:
        """Count messages of the client."""
        if self.request_messages is None:
            self.request_messages = self._scope.counter("request_message_count")
        self.request_messages.value += count

    def count_response_messages(self, count: int) -> None:
        """Count messages of the server."""
        if self.response_messages is None:
            self.response_messages = self._scope.counter("response_message_count")
        self.response_messages.value += count

    def record_upstream_time(self, milliseconds: int) -> None:
        """How long the upstream took."""
        self._scope.histogram("upstream_rq_time").record(milliseconds)


class GrpcCounts:
    """The metrics of one filter's calls: by cluster and, where that is wanted, by method."""

    __slots__ = ("_kind", "_known")

    def __init__(self, kind: str) -> None:
        self._kind = kind  # `grpc` or `grpc-web`
        self._known: dict[tuple[Any, Method | None], MethodCounts] = {}

    def of(self, cluster: Any, method: Method | None) -> MethodCounts:
        """The metrics of a method; None stands for all calls."""
        key = (cluster, method)
        found = self._known.get(key)
        if found is None:
            if method is not None and len(self._known) >= MAX_METHODS:
                return self.of(cluster, None)
            name = f"{self._kind}.{method[0]}.{method[1]}." if method else f"{self._kind}."
            self._known[key] = found = MethodCounts(cluster.scope.scope(name))
        return found
