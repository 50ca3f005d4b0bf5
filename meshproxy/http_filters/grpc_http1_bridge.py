"""`envoy.filters.http.grpc_http1_bridge`: lets HTTP/1.1 clients, which read no trailers, call gRPC.

Owns the translation: the answer waits for its trailers, whose status becomes part of its headers.
Refuses to know what is in a message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import (
    CONTINUE,
    STOP_ITERATION,
    STOP_ITERATION_AND_BUFFER,
    FilterFactory,
    StreamFilter,
)
from meshproxy.http.grpc import CONTENT_TYPE, PREFIX_SIZE, encode_message
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.status import is_grpc
from meshproxy.http.stream_info import HTTP2
from meshproxy.http_filters.registry import HTTP_FILTERS, FactoryContext

TYPE: Final = "envoy.extensions.filters.http.grpc_http1_bridge.v3.Config"
_PROTOBUF: Final = b"application/x-protobuf"


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeConfig:
    """`Config`: whether bare messages are made into gRPC's, and paths lose their query then."""

    upgrade_protobuf_to_grpc: bool = False
    ignore_query_parameters: bool = False


@HTTP_FILTERS.register(TYPE)
def grpc_http1_bridge(config: BridgeConfig, context: FactoryContext) -> FilterFactory:
    """The filter of one chain."""
    return lambda: GrpcHttp1Bridge(config)


class GrpcHttp1Bridge(StreamFilter):
    """The filter of one stream."""

    __slots__ = ("_bridges", "_config", "_frames", "_response")

    def __init__(self, config: BridgeConfig) -> None:
        self._config = config
        self._bridges = False
        self._frames = False  # messages come and go without their prefix
        self._response: HeaderMap | None = None

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Is it a call of such a client?"""
        content_type = headers.get(b"content-type") or b""
        config = self._config
        bare = config.upgrade_protobuf_to_grpc and content_type == _PROTOBUF
        if self.callbacks.info.protocol == HTTP2 or not (bare or is_grpc(content_type)):
            return CONTINUE
        self._bridges = True
        if bare:
            self._frames = True
            headers.replace(b"content-type", CONTENT_TYPE)
            headers.remove(b"content-length")
            path = headers.get(b":path")
            if config.ignore_query_parameters and path is not None:
                headers.replace(b":path", path.partition(b"?")[0])
            self.callbacks.clear_route_cache()
        return CONTINUE

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """A bare message needs its length, and so its end."""
        if not self._frames:
            return CONTINUE
        if not end_stream:
            return STOP_ITERATION_AND_BUFFER
        held = self.callbacks.decoding_buffer
        whole = (held.take() if held is not None else b"") + data.take()
        data.set(encode_message(whole))
        return CONTINUE

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """The answer's headers wait for its trailers."""
        if not self._bridges or end_stream:
            return CONTINUE
        self._response = headers
        return STOP_ITERATION

    def encode_data(self, data: Buffer, end_stream: bool) -> int:
        """So does its body."""
        if not self._bridges or end_stream:
            return CONTINUE
        return STOP_ITERATION_AND_BUFFER

    def encode_trailers(self, trailers: HeaderMap) -> int:
        """The trailers say what the headers are to say."""
        response = self._response
        if response is None:
            return CONTINUE
        status = trailers.get(b"grpc-status")
        if status is not None:
            if status != b"0":
                response.replace(b":status", b"503")
            response.replace(b"grpc-status", status)
        message = trailers.get(b"grpc-message")
        if message is not None:
            response.replace(b"grpc-message", message)
        held = self.callbacks.encoding_buffer
        if self._frames and held is not None:
            held.drain(PREFIX_SIZE)
        length = held.length if held is not None else 0
        response.replace(b"content-length", b"%d" % length)
        return CONTINUE
