"""A guest of the http-wasm ABI on a stream: what it waits for, and what becomes of its answers.

Owns the holding back of bodies, within the stream's own limits. Refuses to know the ABI.
"""

from __future__ import annotations

from typing import Final

from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import (
    CONTINUE,
    STOP_ITERATION,
    STOP_ITERATION_AND_BUFFER,
    STOP_ITERATION_NO_BUFFER,
    StreamFilter,
)
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.stream_info import HTTP2
from meshproxy.http_wasm.exchange import Body, Exchange
from meshproxy.http_wasm.guest import Guest, GuestFailed

_DETAILS: Final = "dapr_wasm"
_FAILED: Final = LocalReply(500, "dapr_wasm_failed", b"Internal Server Error")
_LENGTH: Final = b"content-length"


class WasmFilter(StreamFilter):
    """One request."""

    __slots__ = ("_answered", "_context", "_exchange", "_guest", "_headers", "_next", "_waits")

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._exchange: Exchange | None = None
        self._headers: HeaderMap | None = None  # of the response, while its body is held back
        self._context = 0
        self._waits = False  # for the request's body
        self._next = False  # the next handler was called
        self._answered = False

    # -- the request -------------------------------------------------------------------------

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Handle it, at once or when its body is there."""
        info = self.callbacks.info
        protocol = "HTTP/2.0" if info.protocol == HTTP2 else "HTTP/1.1"
        source = str(info.downstream_remote_address or "")
        self._exchange = self._guest.exchange(headers, protocol, source)
        if not end_stream and self._guest.wants_request_body:
            self._waits = True
            return STOP_ITERATION
        return self._handle(self._exchange, None)

    def decode_data(self, data: Buffer, end_stream: bool) -> int:
        """Gather the body, where it is waited for."""
        if self._answered and not self._next:
            data.clear()
            return STOP_ITERATION_NO_BUFFER
        if not self._waits:
            return CONTINUE
        if not end_stream:
            return STOP_ITERATION_AND_BUFFER
        return self._complete(data)

    def decode_trailers(self, trailers: HeaderMap) -> int:
        """The request is complete."""
        return self._complete(None) if self._waits else CONTINUE

    def _complete(self, last: Buffer | None) -> int:
        held = self.callbacks.decoding_buffer
        body = (held.peek() if held is not None else b"") + (last.peek() if last else b"")
        exchange = self._exchange
        assert exchange is not None
        exchange.request_body = Body(body)
        self._waits = False
        status = self._handle(exchange, held if held is not None else last)
        if status == CONTINUE and exchange.request_body.written and held is not None and last:
            last.clear()  # the whole body is in what was held back
        return status

    def _handle(self, exchange: Exchange, body: Buffer | None) -> int:
        self._answered = True
        try:
            self._next, self._context = self._guest.handle_request(exchange)
        except GuestFailed:
            self.callbacks.send_local_reply(_FAILED)
            return STOP_ITERATION
        if not self._next:
            self.callbacks.send_local_reply(_own_reply(exchange))
            return STOP_ITERATION
        if exchange.request_body.written and body is not None:
            replaced = bytes(exchange.request_body.data)
            body.set(replaced)
            if _LENGTH in exchange.request:
                exchange.request.replace(_LENGTH, b"%d" % len(replaced))
        self.callbacks.clear_route_cache()
        return CONTINUE

    # -- the response ------------------------------------------------------------------------

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Hold the response back, where the guest may change it."""
        exchange = self._exchange
        if exchange is None or not self._next:
            return CONTINUE
        exchange.response = headers
        status = headers.get(b":status") or b"0"
        exchange.status = int(status) if status.isdigit() else 0
        if not self._guest.wants_response(exchange):
            if end_stream:
                self._respond(exchange)
            return CONTINUE
        if end_stream:
            self._change(exchange, headers, None)
            return CONTINUE
        self._headers = headers
        return STOP_ITERATION

    def encode_data(self, data: Buffer, end_stream: bool) -> int:
        """Gather the body, where it is held back."""
        exchange, headers = self._exchange, self._headers
        if exchange is None or not self._next:
            return CONTINUE
        if headers is None:
            if end_stream:
                self._respond(exchange)
            return CONTINUE
        if not end_stream:
            return STOP_ITERATION_AND_BUFFER
        self._finish(exchange, headers, data)
        return CONTINUE

    def encode_trailers(self, trailers: HeaderMap) -> int:
        """The response is complete."""
        exchange, headers = self._exchange, self._headers
        if exchange is not None and self._next:
            if headers is None:
                self._respond(exchange)
            else:
                self._finish(exchange, headers, None)
        return CONTINUE

    def _finish(self, exchange: Exchange, headers: HeaderMap, last: Buffer | None) -> None:
        held = self.callbacks.encoding_buffer
        body = (held.peek() if held is not None else b"") + (last.peek() if last else b"")
        exchange.response_body = Body(body)
        self._change(exchange, headers, held if held is not None else last)
        if exchange.response_body.written and held is not None and last:
            last.clear()

    def _change(self, exchange: Exchange, headers: HeaderMap, body: Buffer | None) -> None:
        """Let the guest see a response that is complete, and take over what it has changed."""
        if not self._respond(exchange):
            exchange.status = 500
            exchange.response_body.write(_FAILED.body)
        headers.replace(b":status", b"%d" % exchange.status)
        if exchange.response_body.written and body is not None:
            replaced = bytes(exchange.response_body.data)
            body.set(replaced)
            headers.replace(_LENGTH, b"%d" % len(replaced))

    def _respond(self, exchange: Exchange) -> bool:
        """Call the guest once; whether it has done well."""
        self._next = False
        try:
            self._guest.handle_response(exchange, self._context, is_error=False)
        except GuestFailed:
            return False
        return True


def _own_reply(exchange: Exchange) -> LocalReply:
    """What the guest answers itself."""
    pairs = [(name, value) for name, value in exchange.response if name != _LENGTH]
    body = bytes(exchange.response_body.data)
    return LocalReply(exchange.status, _DETAILS, body, headers=pairs)
