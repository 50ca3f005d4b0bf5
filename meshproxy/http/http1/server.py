"""The server side of HTTP/1: requests in, responses out, one after another.

Owns request framing, keep-alive, pipelining and response framing. Refuses to know routes, filters
and sockets.

A request moves through `_reading`, its response through `_writing`; when both are done the next
request may begin. Bytes of the next request that arrive early are held and reading stops, so that
at most one read's worth is ever held. Where requests are answered as soon as they are read, only
some of those that came together have the same turn of the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from meshproxy.http.codec import RequestDecoder, ServerConnectionCallbacks, Wire
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.http1.chunked import BROKEN, DONE, ChunkedDecoder
from meshproxy.http.http1.diagnosis import BAD_REQUEST, diagnose
from meshproxy.http.http1.framing import (
    BODY_CHUNKED,
    BODY_LENGTH,
    BODY_NONE,
    BODY_UNTIL_CLOSE,
    encode_fields,
    write_chunk,
    write_trailers,
)
from meshproxy.http.http1.head import (
    HEAD_END,
    Pairs,
    RequestHeadParser,
    has_stray_controls_so_far,
    parse_trailers,
)
from meshproxy.http.http1.request_line import (
    RequestFraming,
    read_framing,
    request_pairs,
)
from meshproxy.http.http1.settings import Http1Settings
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.metadata import MetadataMap
from meshproxy.http.status import status_lines
from meshproxy.http.stream_info import HTTP10, HTTP11

# _reading; the BODY_* values of framing.py are its other states
HEAD: Final = 10
COMPLETE: Final = 11
DISCARD: Final = 12
WAITING: Final = 13  # a next request has been read, and waits until others had their turns
# _writing
IDLE: Final = 0
STARTED: Final = 1
FINISHED: Final = 2

# So many requests of a connection begin in one turn of the loop.
TURN: Final = 8

_CRLF: Final = frozenset(b"\r\n")
_CLOSE: Final = (b"connection", b"close")
_STATUS_LINES: Final = {"1.1": status_lines(b"HTTP/1.1"), "1.0": status_lines(b"HTTP/1.0")}

HEADERS_TOO_LARGE: Final = LocalReply(
    431, "http1.headers_too_large", b"Request Header Fields Too Large", close=True
)
TOO_MANY_HEADERS: Final = LocalReply(
    431, "http1.too_many_headers", b"Request Header Fields Too Large", close=True
)


SWITCHING: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: h2c\r\n\r\n"
)


class ServerCodec:
    """One downstream HTTP/1 connection. Also the encoder of its current stream."""

    __slots__ = (
        "_chunked",
        "_close",
        "_close_delimited",
        "_decoder",
        "_framing",
        "_held",
        "_left",
        "_parser",
        "_reading",
        "_stalled",
        "_stream",
        "_successor",
        "_writing",
        "callbacks",
        "head_started",
        "protocol",
        "settings",
        "wire",
    )

    def __init__(
        self, wire: Wire, callbacks: ServerConnectionCallbacks, settings: Http1Settings
    ) -> None:
        self.wire = wire
        self.callbacks = callbacks
        self.settings = settings
        self._parser = RequestHeadParser()
        self._reading = HEAD
        self._writing = IDLE
        self._stream: RequestDecoder | None = None
        self._framing: RequestFraming = RequestFraming()
        self._held = b""
        self._successor: Callable[[bytes], None] | None = None
        self._stalled = False  # reading stopped because bytes of a next request are held
        self._left = 0
        self._decoder: ChunkedDecoder | None = None
        self._chunked = False  # the response is
        self._close_delimited = False  # the response's end is the connection's end
        self._close = False  # the connection ends after this response
        self.head_started = False  # bytes of a head have arrived that is not complete
        self.protocol = HTTP11  # of the last request

    # -- reading -----------------------------------------------------------------------------

    def dispatch(self, data: bytes) -> None:
        """Take bytes from downstream. What belongs to a later request waits for its turn."""
        left = TURN
        while data:
            reading = self._reading
            if reading == HEAD:
                if not left:
                    self._wait(data)
                    return
                left -= 1
                data = self._read_head(data)
            elif reading == BODY_LENGTH:
                data = self._read_length(data)
            elif reading == BODY_CHUNKED:
                data = self._read_chunked(data)
            elif reading == COMPLETE:
                self._hold(data)
                return
            elif reading == BODY_UNTIL_CLOSE:
                assert self._stream is not None
                self._stream.decode_data(data, False)
                return
            elif reading == WAITING:
                self._held += data
                return
            else:
                if self._successor is not None:
                    self._successor(data)
                return

    def _hold(self, data: bytes) -> None:
        self._held += data
        if not self._stalled:
            self._stalled = True
            self.wire.read_disable(True)

    def _wait(self, data: bytes) -> None:
        """Others have their turn; meanwhile nothing more is read."""
        self._reading = WAITING
        self._held = data
        self.wire.read_disable(True)
        self.wire.next_turn(self._go_on)

    def _go_on(self) -> None:
        if self._reading != WAITING:
            return
        self._reading = HEAD
        held, self._held = self._held, b""
        self.dispatch(held)
        self.wire.read_disable(False)

    def _read_head(self, data: bytes) -> bytes:
        if self._held:
            data = self._held + data
            self._held = b""
        if data[0] in _CRLF and not self.head_started:
            data = data.lstrip(b"\r\n")  # RFC 9112, 2.2: empty lines before a request line
            if not data:
                return b""
        end = data.find(HEAD_END)
        limit = self.settings.max_headers_bytes  # of the head, from its first byte to its last
        if end < 0 or end + 4 > limit:
            if len(data) > limit:
                self.refuse(HEADERS_TOO_LARGE)
            elif has_stray_controls_so_far(data):
                self.refuse(diagnose(data))
            else:
                self._held = data
                self.head_started = True
            return b""
        self.head_started = False
        end += 4
        self._begin(data[:end])
        return data[end:]

    def _begin(self, head: bytes) -> None:
        parser = self._parser
        self.protocol = HTTP11
        if not parser.feed(head):
            return self.refuse(diagnose(head))
        if len(parser.pairs) > self.settings.max_headers_count:
            return self.refuse(TOO_MANY_HEADERS)
        framing = read_framing(parser, self.settings)
        if framing.refusal is not None:
            return self.refuse(framing.refusal)
        self._framing = framing
        if framing.h2c is not None and self._may_switch(framing):
            return self._switch(framing, framing.h2c)
        if framing.version == "1.0":
            self.protocol = HTTP10
        self._close = not framing.keep_alive
        self._chunked = self._close_delimited = False
        self._writing = IDLE
        body = framing.body
        if body == BODY_NONE:
            self._reading = COMPLETE
        else:
            self._reading = body
            self._left = framing.length
            if body == BODY_CHUNKED:
                self._decoder = ChunkedDecoder(self.settings.max_headers_bytes)
        self._stream = stream = self.callbacks.new_stream(self)
        stream.decode_headers(HeaderMap(request_pairs(parser, framing)), body == BODY_NONE)

    def _may_switch(self, framing: RequestFraming) -> bool:
        return self.settings.upgrade_h2c and framing.body == BODY_NONE and framing.version == "1.1"

    def _switch(self, framing: RequestFraming, settings: bytes) -> None:
        """The client goes on in HTTP/2, and gets its answer there; what follows is not ours."""
        self._reading = DISCARD
        self.wire.write(SWITCHING)
        pairs = request_pairs(self._parser, framing)
        self._successor = self.callbacks.switch_to_http2(settings, pairs)

    def _read_length(self, data: bytes) -> bytes:
        left = self._left
        size = len(data)
        stream = self._stream
        assert stream is not None
        if size < left:
            self._left = left - size
            stream.decode_data(data, False)
            return b""
        rest = b""
        if size > left:
            data, rest = data[:left], data[left:]
        self._request_complete()
        stream.decode_data(data, True)
        return rest

    def _read_chunked(self, data: bytes) -> bytes:
        decoder = self._decoder
        stream = self._stream
        assert decoder is not None
        assert stream is not None
        payload = decoder.feed(data)
        if decoder.state == BROKEN:
            self._break(stream)
            return b""
        if decoder.state != DONE:
            if payload:
                stream.decode_data(payload, False)
            return b""
        trailers: Pairs | None = []
        if len(decoder.trailers) > 2:
            trailers = parse_trailers(decoder.trailers)
            if trailers is None:
                self._break(stream)
                return b""
            if not self.settings.enable_trailers:
                trailers = []
        self._decoder = None
        self._request_complete()
        if trailers:
            if payload:
                stream.decode_data(payload, False)
            if self._stream is stream:
                stream.decode_trailers(HeaderMap(trailers))
        else:
            stream.decode_data(payload, True)
        return decoder.rest

    def _request_complete(self) -> None:
        # Before the last bytes are handed up: the stream may answer, and so end, while it takes
        # them.
        if self._reading != DISCARD:
            self._reading = COMPLETE

    def _break(self, stream: RequestDecoder) -> None:
        """The body is malformed: nothing after it can be trusted."""
        self._reading = DISCARD
        self._close = True
        stream.on_codec_error(BAD_REQUEST)

    def refuse(self, reply: LocalReply) -> None:
        """The head is not a request: its answer is the connection's last."""
        self._refused_stream().on_codec_error(reply)

    def give_up(self, reply: LocalReply) -> None:
        """The head has not become a request in time: its answer is the connection's last."""
        self._refused_stream().send_local_reply(reply)

    def _refused_stream(self) -> RequestDecoder:
        self._held = b""
        self._reading = DISCARD
        self._writing = IDLE
        self._framing = RequestFraming()
        self._close = True
        self._chunked = self._close_delimited = False
        self._stream = stream = self.callbacks.new_stream(self)
        return stream

    def on_eof(self) -> bool:
        """The peer will send no more, and so will not wait for an answer either.

        A connection that is closed looks like one that is closed for writing only; to serve the
        second, Envoy and we would work on for every client that has long been gone. False: close.
        What has been read before is served first.
        """
        while self._reading == WAITING:
            self._go_on()
        self.on_closed(False)
        return False

    def on_closed(self, local: bool) -> None:
        """The connection is gone: a stream that is not finished ends with it."""
        stream = self._stream
        if stream is None and self.head_started and not local:
            stream = self.callbacks.new_stream(self)  # a request that ended within its head
        self.head_started = False
        self._reading = DISCARD
        if stream is not None:
            self._stream = None
            stream.on_reset("downstream_remote_disconnect")

    @property
    def idle(self) -> bool:
        """No stream is active and no head has begun to arrive."""
        waits = self.head_started or self._reading == WAITING
        return self._stream is None and not waits

    # -- writing -----------------------------------------------------------------------------

    def encode_1xx(self, headers: HeaderMap) -> None:
        """Send an informational response. HTTP/1.0 clients have no word for it and get none."""
        if self._framing.version == "1.1" and self._writing == IDLE:
            pairs = headers.pairs
            self.wire.write(_STATUS_LINES["1.1"][pairs[0][1]] + encode_fields(pairs[1:]) + b"\r\n")

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Send the final response's head, with the framing that its body needs."""
        pairs = headers.pairs
        status = pairs[0][1]
        framing = self._framing
        line = _STATUS_LINES[framing.version].get(status)
        if line is None:  # filters may say anything; Envoy sends it as it is
            line = b"HTTP/%b %b Unknown\r\n" % (framing.version.encode(), status)
        if self._switches(status):
            extra = b""  # what follows belongs to the other protocol
        else:
            extra = self._frame_response(pairs, status, end_stream)
        if self._reading != COMPLETE and not self._switches(status):
            # Answered before the request has ended: what is still to come cannot be told apart
            # from a next request by everybody, so the connection ends with this response.
            self._close = True
        if self._close:
            pairs.append(_CLOSE)  # among the headers, where access logs look for it
        elif framing.version == "1.0":
            extra += b"connection: keep-alive\r\n"
        self._writing = STARTED
        self.wire.write(b"%b%b%b\r\n" % (line, encode_fields(pairs, 1), extra))
        if end_stream:
            self._response_complete()

    def _switches(self, status: bytes) -> bool:
        """Whether this answer grants what the request has asked for: another protocol."""
        framing = self._framing
        if framing.upgrade is not None:
            return status == b"101"
        return framing.method == b"CONNECT" and status[:1] == b"2"

    def _frame_response(self, pairs: Pairs, status: bytes, end_stream: bool) -> bytes:
        """The framing field to add, b'' where the headers say it or the status forbids it."""
        for name, _ in pairs:
            if name == b"content-length":
                if status[:1] == b"1" or status == b"204":
                    pairs[:] = [pair for pair in pairs if pair[0] != b"content-length"]
                return b""
        if status == b"204" or status == b"304" or status[:1] == b"1":
            return b""
        if end_stream and not self._framing.head:
            return b"content-length: 0\r\n"
        if self._framing.version == "1.0":
            self._close = self._close_delimited = True
            return b""
        self._chunked = not self._framing.head
        return b"transfer-encoding: chunked\r\n"

    def encode_data(self, data: bytes, end_stream: bool) -> None:
        """Send a piece of the response's body."""
        if self._framing.head:
            data = b""
        if self._chunked:
            write_chunk(self.wire, data, end_stream)
        elif data:
            self.wire.write(data)
        if end_stream:
            self._response_complete()

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """End the response with trailers, where its framing and the configuration have room."""
        if self._chunked:
            write_trailers(self.wire, trailers.pairs if self.settings.enable_trailers else [])
        self._response_complete()

    def encode_metadata(self, metadata: MetadataMap) -> bool:
        """HTTP/1 has none."""
        return False

    def _response_complete(self) -> None:
        self._writing = FINISHED
        self._stream = None
        if self._reading == BODY_UNTIL_CLOSE and not self._close:
            # The other protocol has ended: what still comes is never read as a request.
            self._reading = DISCARD
            self.wire.close_after_flush(False)
            return
        if self._close:
            # A client that did not ask for the end may be sending: it is to close first. So is one
            # that named no host: Envoy refuses it before it looks at who closes.
            framing = self._framing
            linger = self._reading != COMPLETE or (
                (framing.keep_alive or framing.authority is None) and not self._close_delimited
            )
            self._reading = DISCARD
            self._held = b""
            self.wire.close_after_flush(linger)
            return
        self._reading = HEAD
        if self._stalled:
            self._stalled = False
            held, self._held = self._held, b""
            self.wire.read_disable(False)
            self.dispatch(held)

    def reset_stream(self) -> None:
        """The response cannot be finished: the connection is the only way to say so."""
        self._stream = None
        self._reading = DISCARD
        self.wire.close_after_flush(True)

    def read_disable(self, disable: bool) -> None:
        """Stop or go on reading the request's body."""
        self.wire.read_disable(disable)

    def close_when_done(self) -> None:
        """This response is the connection's last; said in its head if that is still to come."""
        self._close = True
