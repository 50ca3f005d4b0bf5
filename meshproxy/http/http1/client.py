"""The client side of HTTP/1: one request out, its response in, again and again.

Owns request writing, response framing and whether the connection may serve once more. Refuses to
know pools, clusters and sockets.
"""

from __future__ import annotations

from typing import Final

from meshproxy.http.codec import ResponseDecoder, Wire
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.http1.chunked import BROKEN, DONE, ChunkedDecoder
from meshproxy.http.http1.framing import (
    BODY_CHUNKED,
    BODY_LENGTH,
    BODY_NONE,
    BODY_UNTIL_CLOSE,
    HOP_BY_HOP,
    connection_tokens,
    encode_fields,
    without_hop_by_hop,
    write_chunk,
    write_trailers,
)
from meshproxy.http.http1.head import (
    HEAD_END,
    Pairs,
    ResponseHeadParser,
    has_stray_controls_so_far,
    parse_content_length,
    parse_trailers,
)
from meshproxy.http.http1.settings import Http1Settings
from meshproxy.http.metadata import MetadataMap
from meshproxy.http.status import STATUS_TEXT

# _reading; the BODY_* values of framing.py are its other states
IDLE: Final = 10
HEAD: Final = 11
FINISHED: Final = 12
ABANDONED: Final = 13  # by us: what still comes is nobody's

PROTOCOL_ERROR: Final = "protocol error"
TERMINATION: Final = "connection termination"
_FRAMED: Final = HOP_BY_HOP | {b"content-length"}
_NOT_SHOWN: Final = HOP_BY_HOP - {b"transfer-encoding"}


class ClientCodec:
    """One upstream HTTP/1 connection: at most one request at a time."""

    __slots__ = (
        "_chunked",
        "_decoder",
        "_handler",
        "_held",
        "_left",
        "_method",
        "_parser",
        "_reading",
        "_request_done",
        "_switched",
        "_switching",
        "broken",
        "close_announced",
        "reusable",
        "settings",
        "wire",
    )

    protocol: Final = "HTTP/1.1"

    def __init__(self, wire: Wire, settings: Http1Settings) -> None:
        self.wire = wire
        self.settings = settings
        self.reusable = True  # False: the connection ends with this exchange
        self.close_announced = False  # the peer says that it will close
        self.broken = False  # what the peer sent was not HTTP, or was cut off
        self._parser = ResponseHeadParser()
        self._handler: ResponseDecoder | None = None
        self._reading = IDLE
        self._request_done = False
        self._switching = False  # another protocol is asked for
        self._switched = False  # and granted
        self._chunked = False  # the request is
        self._method = b""
        self._held = b""
        self._left = 0
        self._decoder: ChunkedDecoder | None = None

    # -- writing -----------------------------------------------------------------------------

    def encode_headers(
        self, handler: ResponseDecoder, headers: HeaderMap, end_stream: bool
    ) -> None:
        """Begin a request: `headers` has `:authority :path :method`; `handler` gets the
        response."""
        self._handler = handler
        self._reading = HEAD
        self._request_done = end_stream
        self._chunked = False
        authority = path = method = b""
        framed = upgrade = nominated = False
        fields: Pairs = []
        # One pass: the pseudo headers are the first few, so the ladder is short for every field.
        for pair in headers.pairs:
            name = pair[0]
            if name[:1] == b":":
                if name == b":path":
                    path = pair[1]
                elif name == b":method":
                    method = pair[1]
                elif name == b":authority":
                    authority = pair[1]
            elif name not in HOP_BY_HOP:
                if name == b"content-length":
                    framed = True
                fields.append(pair)
            elif name == b"upgrade" or name == b"connection":
                upgrade = upgrade or name == b"upgrade"
                nominated = True
                fields.append(pair)
        self._method = method
        extra = b""
        self._switching = upgrade or (method == b"CONNECT" and not path)
        if self._switching:
            path = path or authority
        elif nominated:
            fields = [pair for pair in fields if pair[0] != b"connection"]
        if not framed and not self._switching:
            if not end_stream:
                extra = b"transfer-encoding: chunked\r\n"
                self._chunked = True
            elif method not in _METHODS_WITHOUT_CONTENT:
                extra = b"content-length: 0\r\n"
        self.wire.write(
            b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b\r\n"
            % (method, path, authority, encode_fields(fields), extra)
        )

    def encode_data(self, data: bytes, end_stream: bool) -> None:
        """Send a piece of the request's body."""
        if self._chunked:
            write_chunk(self.wire, data, end_stream)
        elif data:
            self.wire.write(data)
        if end_stream:
            self._end_request()

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """End the request with trailers, where its framing and the configuration have room."""
        if self._chunked:
            write_trailers(self.wire, trailers.pairs if self.settings.enable_trailers else [])
        self._end_request()

    def encode_metadata(self, metadata: MetadataMap) -> bool:
        """HTTP/1 has none."""
        return False

    def _end_request(self) -> None:
        self._request_done = True
        if self._switched:  # the only end that the other protocol can have
            self.wire.write_eof()

    def reset_stream(self) -> None:
        """Nobody wants the rest of the response: the connection has no other way to say so."""
        self._handler = None
        self.reusable = False
        self._reading = ABANDONED
        self.wire.abort()

    # -- reading -----------------------------------------------------------------------------

    def dispatch(self, data: bytes) -> None:
        """Take bytes from upstream."""
        while data:
            reading = self._reading
            if reading == HEAD:
                data = self._read_head(data)
            elif reading == BODY_LENGTH:
                data = self._read_length(data)
            elif reading == BODY_CHUNKED:
                data = self._read_chunked(data)
            elif reading == BODY_UNTIL_CLOSE:
                self._deliver(data, False)
                return
            elif reading == ABANDONED:
                return
            else:
                # Bytes nobody asked for: whose answer they are, nobody can say.
                self.reusable = False
                self.broken = True
                self.wire.abort()
                return

    def _read_head(self, data: bytes) -> bytes:
        if self._held:
            data = self._held + data
            self._held = b""
        end = data.find(HEAD_END)
        limit = self.settings.max_headers_bytes
        if end < 0 or end > limit:
            if len(data) > limit or has_stray_controls_so_far(data):
                return self._break()
            self._held = data
            return b""
        end += 4
        parser = self._parser
        if not parser.feed(data[:end]) or len(parser.pairs) > self.settings.max_headers_count:
            return self._break()
        rest = data[end:]
        self._headers(parser, rest)
        return rest

    def _headers(self, parser: ResponseHeadParser, rest: bytes) -> None:
        status = parser.status
        pairs = parser.pairs
        handler = self._handler
        assert handler is not None
        fields = dict(pairs)
        strip = not HOP_BY_HOP.isdisjoint(fields)
        if 100 <= status < 200:
            if status == 101:
                if not self._switching:  # nobody here asked to switch protocols
                    self._break()
                else:
                    self._switch(HeaderMap([(b":status", b"101"), *pairs]))
                return
            if strip:
                pairs = without_hop_by_hop(pairs, frozenset())
            handler.on_1xx(HeaderMap([(b":status", STATUS_TEXT[status]), *pairs]))
            return
        if self._switching and self._method == b"CONNECT" and status < 300:
            framing = (b"transfer-encoding", b"content-length")  # RFC 9110, 9.3.6: means nothing
            fitting = [pair for pair in pairs if pair[0] not in framing]
            self._switch(HeaderMap([(b":status", STATUS_TEXT[status]), *fitting]))
            return
        if parser.version != "1.1":
            self.reusable = False
            self.close_announced = True
        body = self._read_framing(status, pairs, fields, strip)
        if body is None:
            self._break()
            return
        if strip:
            tokens = connection_tokens(pairs)
            if b"close" in tokens:
                self.reusable = False
                self.close_announced = True
            elif b"keep-alive" in tokens and parser.version == "1.0":
                self.reusable = body != BODY_UNTIL_CLOSE
                self.close_announced = False
            # Unlike in requests, Envoy keeps what a response's Connection field nominates, and
            # shows filters the transfer coding.
            pairs = [pair for pair in pairs if pair[0] not in _NOT_SHOWN]
        headers = HeaderMap([(b":status", STATUS_TEXT[status]), *pairs])
        if body == BODY_NONE:
            self._finish(rest)
            handler.on_headers(headers, True)
            return
        self._reading = body
        handler.on_headers(headers, False)

    def _switch(self, headers: HeaderMap) -> None:
        """The peer has agreed: from now on the bytes are another protocol's, until one closes."""
        handler = self._handler
        assert handler is not None
        self._switched = True
        self.reusable = False
        self._reading = BODY_UNTIL_CLOSE
        handler.on_headers(headers, False)

    def _read_framing(
        self, status: int, pairs: Pairs, fields: dict[bytes, bytes], strip: bool
    ) -> int | None:
        """RFC 9112, 6.3: how the response's body ends. None: it says two things at once."""
        coding = fields.get(b"transfer-encoding") if strip else None
        length = fields.get(b"content-length")
        if coding is None and length is not None and len(fields) == len(pairs) and length.isdigit():
            number = int(length)  # the common case: one plain number
        elif coding is not None:
            codings = [value for name, value in pairs if name == b"transfer-encoding"]
            if length is not None or len(codings) > 1 or coding.lower() != b"chunked":
                return None
            number = -1
        elif length is not None:
            one = parse_content_length(
                [value for name, value in pairs if name == b"content-length"]
            )
            if one is None:
                return None
            number = one
        else:
            number = -2
        if status == 204 and (number == -1 or number > 0):
            return None
        if self._method == b"HEAD" or status == 204 or status == 304:
            return BODY_NONE
        if number == -1:
            self._decoder = ChunkedDecoder(self.settings.max_headers_bytes)
            return BODY_CHUNKED
        if number == -2:
            self.reusable = False
            return BODY_UNTIL_CLOSE
        self._left = number
        return BODY_LENGTH if number else BODY_NONE

    def _read_length(self, data: bytes) -> bytes:
        left = self._left
        size = len(data)
        if size < left:
            self._left = left - size
            self._deliver(data, False)
            return b""
        rest = b""
        if size > left:
            data, rest = data[:left], data[left:]
        handler = self._handler
        self._finish(rest)
        if handler is not None:
            handler.on_data(data, True)
        return rest

    def _read_chunked(self, data: bytes) -> bytes:
        decoder = self._decoder
        assert decoder is not None
        payload = decoder.feed(data)
        if decoder.state == BROKEN:
            return self._break()
        if decoder.state != DONE:
            if payload:
                self._deliver(payload, False)
            return b""
        trailers: Pairs | None = []
        if len(decoder.trailers) > 2:
            trailers = parse_trailers(decoder.trailers)
            if trailers is None:
                return self._break()
            if not self.settings.enable_trailers:
                trailers = []
        self._decoder = None
        handler = self._handler
        self._finish(decoder.rest)
        if handler is not None:
            if trailers:
                if payload:
                    handler.on_data(payload, False)
                handler.on_trailers(HeaderMap(trailers))
            else:
                handler.on_data(payload, True)
        return decoder.rest

    def _deliver(self, data: bytes, end_stream: bool) -> None:
        if self._handler is not None:
            self._handler.on_data(data, end_stream)

    def _finish(self, rest: bytes) -> None:
        """The response has ended. A request that has not ends the connection with it.

        So do bytes after it (`rest`): taken as a next response, they would answer a stranger.
        """
        self._handler = None
        self._reading = IDLE
        if rest or not self._request_done:
            self._reading = FINISHED
            self.reusable = False
            self.broken = bool(rest)

    def _break(self) -> bytes:
        handler, self._handler = self._handler, None
        self.reusable = False
        self.broken = True
        self._reading = FINISHED
        if handler is not None:
            handler.on_reset(PROTOCOL_ERROR, "")
        self.wire.abort()
        return b""

    def on_eof(self) -> None:
        """The peer closed. For a body that lasts until then, that is its proper end."""
        self.reusable = False
        handler, self._handler = self._handler, None
        reading, self._reading = self._reading, FINISHED
        if handler is None:
            return
        if reading == BODY_UNTIL_CLOSE and not self._switched:
            handler.on_data(b"", True)
        elif self._switched or (reading == HEAD and not self._held):
            handler.on_reset(TERMINATION, "")
        else:  # cut off in the middle of a message
            self.broken = True
            handler.on_reset(PROTOCOL_ERROR, "")

    @property
    def ends_with_eof(self) -> bool:
        """The peer's closing is the proper end of the response being read."""
        return self._reading == BODY_UNTIL_CLOSE and not self._switched

    @property
    def idle(self) -> bool:
        """No response is awaited and nothing of one is left over."""
        return self._handler is None and self._reading == IDLE and not self._held


# RFC 9110, 8.6: these say nothing about a body that they do not have.
_METHODS_WITHOUT_CONTENT: Final = frozenset((b"GET", b"HEAD", b"DELETE", b"TRACE", b"CONNECT"))
