"""What both sides of HTTP/1 share: kinds of bodies, hop-by-hop fields, and the writing of fields.

Owns the rules of RFC 9110, 7.6.1 and RFC 9112, 6. Refuses to know which side uses them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from meshproxy.http.http1.head import Pairs

if TYPE_CHECKING:
    from meshproxy.http.codec import Wire

BODY_NONE: Final = 0
BODY_LENGTH: Final = 1
BODY_CHUNKED: Final = 2
BODY_UNTIL_CLOSE: Final = 3

# Pieces up to this size are joined with their chunk framing; larger ones are passed on as they
# came.
SMALL_BODY: Final = 8192

HOP_BY_HOP: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)


def connection_tokens(pairs: Pairs) -> frozenset[bytes]:
    """The lower-case options of every Connection field."""
    return frozenset(
        token.strip(b" \t").lower()
        for name, value in pairs
        if name == b"connection"
        for token in value.split(b",")
    )


def without_hop_by_hop(pairs: Pairs, tokens: frozenset[bytes]) -> Pairs:
    """The fields that may travel on. `te` stays only as `te: trailers` (RFC 9110, 10.1.4)."""
    drop = HOP_BY_HOP | tokens
    kept = [pair for pair in pairs if pair[0] not in drop]
    if b"te" in tokens and any(name == b"te" and wants_trailers(value) for name, value in pairs):
        kept.append((b"te", b"trailers"))
    return kept


def wants_trailers(te: bytes) -> bool:
    """Whether a TE field names `trailers` among its codings; in lower case, like Envoy."""
    return any(coding.strip(b" \t") == b"trailers" for coding in te.split(b","))


def encode_fields(pairs: Pairs, start: int = 0) -> bytes:
    """`name: value` lines from `start` on, each with its CRLF.

    A value that would start a line of its own cannot be written: its controls become spaces, so
    that no filter or formatter splits a message (RFC 9110, 5.5).
    """
    if len(pairs) <= start:
        return b""
    pieces: list[bytes] = []
    for name, value in pairs[start:] if start else pairs:
        pieces.append(name)
        pieces.append(b": ")
        pieces.append(value)
        pieces.append(b"\r\n")
    lines = b"".join(pieces)
    if len(lines.splitlines()) != len(pairs) - start:
        lines = b"".join(
            [b"%b: %b\r\n" % (_safe(name), _safe(value)) for name, value in pairs[start:]]
        )
    return lines


def write_chunk(wire: Wire, data: bytes, end_stream: bool) -> None:
    """A piece of a chunked body, and its end (RFC 9112, 7.1); large pieces are not copied."""
    if not data:
        if end_stream:
            wire.write(b"0\r\n\r\n")
        return
    tail = b"\r\n0\r\n\r\n" if end_stream else b"\r\n"
    if len(data) <= SMALL_BODY:
        wire.write(b"%x\r\n%b%b" % (len(data), data, tail))
    else:
        wire.writelines((b"%x\r\n" % len(data), data, tail))


def write_trailers(wire: Wire, pairs: Pairs) -> None:
    """The end of a chunked body that has trailers (RFC 9112, 7.1.2)."""
    wire.write(b"0\r\n" + encode_fields(pairs) + b"\r\n")


def _safe(text: bytes) -> bytes:
    return text.replace(b"\r", b" ").replace(b"\n", b" ").replace(b"\0", b" ")
