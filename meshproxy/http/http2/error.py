"""What costs a connection of HTTP/2. Refuses to know who raises it, and who tells the peer."""

from __future__ import annotations

from meshproxy.http.http2 import frames


class Http2Error(Exception):
    """The peer broke a rule that costs the connection: error code, and Envoy's word for it."""

    def __init__(self, code: int, details: str, counter: str | None = None) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.counter = counter


def protocol_error() -> Http2Error:
    """The peer broke a rule of RFC 9113 for which there is no word of its own."""
    return Http2Error(frames.PROTOCOL_ERROR, "http2.protocol_error")
