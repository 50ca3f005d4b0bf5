"""`envoy.filters.http.grpc_stats`: counts gRPC calls and their messages.

Owns which calls are counted under which name. Refuses to touch them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import CONTINUE, FilterFactory, StreamFilter
from meshproxy.http.grpc import MessageCounter
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.status import is_grpc
from meshproxy.http_filters.grpc_counts import (
    GrpcCounts,
    Method,
    MethodCounts,
    service_and_method,
)
from meshproxy.http_filters.registry import HTTP_FILTERS, FactoryContext

TYPE: Final = "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcStatsConfig:
    """`FilterConfig`. `methods`: those that are counted by name; `all_methods`: every one is."""

    all_methods: bool = False
    methods: frozenset[Method] = frozenset()
    upstream_stats: bool = False
    replace_dots: bool = False


@HTTP_FILTERS.register(TYPE)
def grpc_stats(config: GrpcStatsConfig, context: FactoryContext) -> FilterFactory:
    """The filter of one chain."""
    counts = GrpcCounts("grpc")
    return lambda: GrpcStats(config, counts)


class GrpcStats(StreamFilter):
    """The filter of one stream."""

    __slots__ = ("_call", "_config", "_counts", "_requests", "_responses")

    def __init__(self, config: GrpcStatsConfig, counts: GrpcCounts) -> None:
        self._config = config
        self._counts = counts
        self._call: MethodCounts | None = None
        self._requests: MessageCounter | None = None
        self._responses: MessageCounter | None = None

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Find out whether it is a call, and of what."""
        content_type = headers.get(b"content-type")
        if content_type is None or not is_grpc(content_type) or self.callbacks.route is None:
            return CONTINUE
        cluster = self.callbacks.info.cluster
        if cluster is None:
            return CONTINUE
        config = self._config
        method = service_and_method(headers.get(b":path") or b"")
        if method is None:
            return CONTINUE
        if config.all_methods:
            if config.replace_dots:
                method = (method[0].replace(".", "_"), method[1])
        elif method not in config.methods:
            method = None
        self._call = self._counts.of(cluster, method)
        self._requests = MessageCounter()
        return CONTINUE

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """Count the client's messages."""
        if self._call is not None and self._requests is not None:
            found = self._requests.feed(data.peek())
            if found:
                self._call.count_request_messages(found)
        return CONTINUE

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """The answer begins, or is an end alone."""
        call = self._call
        if call is None:
            return CONTINUE
        call.charge(headers)
        content_type = headers.get(b"content-type")
        if end_stream:
            self._ended(call)
        elif content_type is not None and is_grpc(content_type):
            self._responses = MessageCounter()
        return CONTINUE

    def encode_data(self, data: Buffer, end_stream: bool) -> int:
        """Count the server's messages."""
        if self._call is not None and self._responses is not None:
            found = self._responses.feed(data.peek())
            if found:
                self._call.count_response_messages(found)
        return CONTINUE

    def encode_trailers(self, trailers: HeaderMap) -> int:
        """The status."""
        if self._call is not None:
            self._call.charge(trailers)
            self._ended(self._call)
        return CONTINUE

    def _ended(self, call: MethodCounts) -> None:
        info = self.callbacks.info
        start, end = info.upstream_request_end, info.upstream_response_end
        if self._config.upstream_stats and start is not None and end is not None:
            call.record_upstream_time(int((end - start) * 1000))
