"""`envoy.filters.http.grpc_web`: gRPC for browsers, whose scripts see no trailers.

Owns the translation of gRPC-Web to gRPC and back: content types, base64, and trailers as the last
message. Refuses to know what is in a message.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import Final

from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import (
    CONTINUE,
    STOP_ITERATION,
    STOP_ITERATION_AND_BUFFER,
    STOP_ITERATION_NO_BUFFER,
    FilterFactory,
    StreamFilter,
)
from meshproxy.http.grpc import CONTENT_TYPE, PREFIX_SIZE, encode_text
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.status import grpc_status, is_grpc
from meshproxy.http_filters.grpc_counts import GrpcCounts, MethodCounts, service_and_method
from meshproxy.http_filters.registry import HTTP_FILTERS, FactoryContext

TYPE: Final = "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb"
_BINARY: Final = (b"application/grpc-web", b"application/grpc-web+proto")
_TEXT: Final = (b"application/grpc-web-text", b"application/grpc-web-text+proto")
_TRAILERS: Final = 0x80
# Of an answer that is not gRPC so many bytes become the message.
_MAX_PLAIN: Final = 16384

BAD_BASE64: Final = LocalReply(
    400, "grpc_base_64_decode_failed", b"Bad gRPC-web request, invalid base64 data."
)
BAD_BASE64_SIZE: Final = LocalReply(
    400, "grpc_base_64_decode_failed_bad_size", b"Bad gRPC-web request, invalid base64 data."
)


@HTTP_FILTERS.register(TYPE)
def grpc_web(config: object, context: FactoryContext) -> FilterFactory:
    """The filter of one chain; it has no options."""
    counts = GrpcCounts("grpc-web")
    return lambda: GrpcWeb(counts)


class GrpcWeb(StreamFilter):
    """The filter of one stream."""

    __slots__ = ("_active", "_call", "_counts", "_plain", "_request_rest", "_response_rest",
                 "_text_request", "_text_response")  # fmt: skip

    def __init__(self, counts: GrpcCounts) -> None:
        self._counts = counts
        self._call: MethodCounts | None = None
        self._active = False
        self._text_request = False
        self._text_response = False
        self._request_rest = b""  # base64 that is not yet a whole group
        self._response_rest = b""  # a message that is not yet complete
        self._plain: HeaderMap | None = None  # an answer that is not gRPC

    # -- request -------------------------------------------------------------------------------

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Make a call of gRPC of it."""
        content_type = headers.get(b"content-type")
        if content_type not in _BINARY and content_type not in _TEXT:
            return CONTINUE
        self._active = True
        self._find_counts(headers)
        headers.remove(b"content-length")
        headers.replace(b"content-type", CONTENT_TYPE)
        self._text_request = content_type in _TEXT
        self._text_response = headers.get(b"accept") in _TEXT
        headers.replace(b"te", b"trailers")
        headers.replace(b"grpc-accept-encoding", b"identity")
        return CONTINUE

    def _find_counts(self, headers: HeaderMap) -> None:
        if self.callbacks.route is not None and self.callbacks.info.cluster is not None:
            method = service_and_method(headers.get(b":path") or b"")
            if method is not None:
                self._call = self._counts.of(self.callbacks.info.cluster, method)

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """Undo base64, four characters at a time."""
        if not self._text_request:
            return CONTINUE
        text = self._request_rest + data.take()
        whole = len(text) // 4 * 4
        self._request_rest = text[whole:]
        if end_stream and self._request_rest:
            self.callbacks.send_local_reply(BAD_BASE64_SIZE)
            return STOP_ITERATION_NO_BUFFER
        if not whole:
            return CONTINUE if end_stream else STOP_ITERATION_NO_BUFFER
        try:
            data.set(b64decode(text[:whole], validate=True))
        except binascii.Error:
            self.callbacks.send_local_reply(BAD_BASE64)
            return STOP_ITERATION_NO_BUFFER
        return CONTINUE

    # -- response ------------------------------------------------------------------------------

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Say what the answer is, or make one of what is none."""
        if self._call is not None:
            self._call.charge(headers)
        if not self._active:
            return CONTINUE
        content_type = headers.get(b"content-type") or b""
        known = is_grpc(content_type) or content_type in _BINARY or content_type in _TEXT
        if not known and not end_stream:
            self._plain = headers
            return STOP_ITERATION
        self._name(headers)
        return CONTINUE

    def _name(self, headers: HeaderMap) -> None:
        name = _TEXT[1] if self._text_response else _BINARY[1]
        headers.replace(b"content-type", name)

    def encode_data(self, data: Buffer, end_stream: bool) -> int:
        """Messages as they are, or in base64, each by itself."""
        if self._plain is not None:
            return self._take_plain(self._plain, data, end_stream)
        if not self._active or not self._text_response:
            return CONTINUE
        data.set(b"".join(map(b64encode, self._whole_messages(data.take()))))
        return CONTINUE if data.length or end_stream else STOP_ITERATION_NO_BUFFER

    def _whole_messages(self, octets: bytes) -> list[bytes]:
        octets = self._response_rest + octets
        found, at = [], 0
        while len(octets) - at >= PREFIX_SIZE:
            end = at + PREFIX_SIZE + int.from_bytes(octets[at + 1 : at + PREFIX_SIZE], "big")
            if end > len(octets):
                break
            found.append(octets[at:end])
            at = end
        self._response_rest = octets[at:]
        return found

    def encode_trailers(self, trailers: HeaderMap) -> int:
        """Trailers become the last message."""
        if self._call is not None:
            self._call.charge(trailers)
        if not self._active:
            return CONTINUE
        if self._plain is not None:
            held = self.callbacks.encoding_buffer
            self._translate(self._plain, held.take() if held is not None else b"")
            self._name(self._plain)
            return CONTINUE
        lines = b"".join(b"%b:%b\r\n" % pair for pair in trailers.pairs)
        trailers.pairs.clear()  # the codec sends none, and nobody counts them twice
        frame = b"%c%b%b" % (_TRAILERS, len(lines).to_bytes(4, "big"), lines)
        self.callbacks.inject_encoded_data(b64encode(frame) if self._text_response else frame)
        return CONTINUE

    # -- answers that are not gRPC -------------------------------------------------------------

    def _take_plain(self, headers: HeaderMap, data: Buffer, end_stream: bool) -> int:
        held = self.callbacks.encoding_buffer
        size = (held.length if held is not None else 0) + data.length
        if not end_stream and size < _MAX_PLAIN:
            return STOP_ITERATION_AND_BUFFER
        text = (held.take() if held is not None else b"") + data.take()
        self._translate(headers, text[:_MAX_PLAIN])
        self._name(headers)
        self._plain = None
        return CONTINUE

    def _translate(self, headers: HeaderMap, text: bytes) -> None:
        status = headers.get(b":status") or b"0"
        headers.replace(b"grpc-status", b"%d" % grpc_status(int(status)))
        if text:
            headers.replace(b"grpc-message", encode_text(text))
        headers.replace(b"content-length", b"0")
