"""The cases of the public HTTP/2 conformance list, named by section: what is sent, what must come.

Data only. `send` follows preface and an empty SETTINGS unless it says `bare`. What must come:

    answer          the request on stream 1 (or on each of `streams`) is answered completely
    alive           a PING sent afterwards is acknowledged
    close           the connection ends, with one of `codes` where any are given
    stream          RST_STREAM with one of `codes`, or the connection ends with one of them
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.support.http2_frames import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    GET,
    GOAWAY,
    HAS_PRIORITY,
    HEADERS,
    PADDED,
    PING,
    POST,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    START,
    WINDOW_UPDATE,
    Fields,
    block,
    data,
    frame,
    headers,
    number,
    post,
    rst,
    settings,
    window_update,
)


@dataclass(frozen=True, slots=True)
class Case:
    """One case."""

    section: str
    name: str
    send: bytes
    expect: str = "answer"
    codes: str = ""
    streams: tuple[int, ...] = (1,)
    bare: bool = False

    @property
    def id(self) -> str:
        """How pytest calls it."""
        return f"{self.section} {self.name}"


PROTOCOL: Final = "PROTOCOL_ERROR"
CLOSED: Final = "STREAM_CLOSED"
SIZE: Final = "FRAME_SIZE_ERROR"
FLOW: Final = "FLOW_CONTROL_ERROR"
COMPRESSION: Final = "COMPRESSION_ERROR"
_PRIO: Final = number(0) + b"\x0f"


def _prio(stream: int, payload: bytes = _PRIO) -> bytes:
    return frame(PRIORITY, 0, stream, payload)


def _cont(stream: int, payload: bytes = b"", flags: int = END_HEADERS) -> bytes:
    return frame(CONTINUATION, flags, stream, payload)


def _more(*fields: tuple[str, str]) -> Fields:
    return (*GET, *fields)


_DUMMY: Final = block((("x-dummy", "d" * 50),))
_OPEN: Final = frame(HEADERS, END_STREAM, 1, block())  # a block that goes on
_BODY: Final = post(1)


GENERIC: Final = [
    Case("generic/1", "preface", START + headers(1)),
    Case("generic/2", "PRIORITY on an idle stream", _prio(1) + headers(1)),
    Case("generic/2", "WINDOW_UPDATE on half-closed (remote)", headers(1) + window_update(1, 100)),
    Case("generic/2", "PRIORITY on half-closed (remote)", headers(1) + _prio(1)),
    Case("generic/2", "RST_STREAM on half-closed (remote)", headers(1) + rst(1), "alive"),
    Case("generic/2", "PRIORITY on closed", headers(1) + rst(1) + _prio(1), "alive"),
    Case("generic/3.1", "DATA", _BODY + data(1, b"test")),
    Case("generic/3.1", "several DATA", _BODY + data(1, b"test", 0) + data(1, b"test")),
    Case("generic/3.1", "padded DATA",
         _BODY + data(1, b"\x06test" + b"\0" * 6, END_STREAM | PADDED)),
    Case("generic/3.2", "HEADERS", headers(1)),
    Case("generic/3.2", "padded HEADERS",
         frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, b"\x06" + block() + b"\0" * 6)),
    Case("generic/3.2", "HEADERS with priority",
         frame(HEADERS, END_STREAM | END_HEADERS | HAS_PRIORITY, 1, _PRIO + block())),
    Case("generic/3.3", "weight 1", _prio(1, number(0) + b"\0") + headers(1)),
    Case("generic/3.3", "weight 256", _prio(1, number(0) + b"\xff") + headers(1)),
    Case("generic/3.3", "dependency", _prio(1) + _prio(3, number(1) + b"\xff") + headers(1)),
    Case("generic/3.3", "exclusive dependency",
         _prio(1) + _prio(3, number(1 << 31 | 1) + b"\xff") + headers(1)),
    Case("generic/3.3", "idle stream, then HEADERS of a lower one", _prio(3) + headers(1)),
    Case("generic/3.4", "RST_STREAM", headers(1) + rst(1), "alive"),
    Case("generic/3.5", "SETTINGS", settings((3, 100)) + headers(1)),
    Case("generic/3.7", "PING", frame(PING, 0, 0, b"h2spec\0\0") + headers(1)),
    Case("generic/3.8", "GOAWAY", frame(GOAWAY, 0, 0, number(0) + number(0)), "alive"),
    Case("generic/3.9", "WINDOW_UPDATE of the connection", window_update(0, 1) + headers(1)),
    Case("generic/3.9", "WINDOW_UPDATE of a stream",
         _BODY + window_update(1, 1) + data(1, b"test")),
    Case("generic/3.10", "CONTINUATION", _OPEN + _cont(1, _DUMMY)),
    Case("generic/3.10", "several CONTINUATIONs", _OPEN + _cont(1, _DUMMY, 0) + _cont(1, _DUMMY)),
    Case("generic/4", "GET", headers(1)),
    Case("generic/4", "HEAD", headers(1, ((":method", "HEAD"), *GET[1:]))),
    Case("generic/4", "POST", _BODY + data(1, b"test")),
    Case("generic/4", "POST with trailers",
         _BODY + data(1, b"test", 0) + headers(1, (("x-test", "ok"),))),
]  # fmt: skip

# Literals of user-agent (58 in the static table) and of x-test, plain and in Huffman code.
_AGENT, _TEST = b"\x01a", b"\x06x-test"
_HUFF_A, _HUFF_TEST = b"\x81\x1f", b"\x85\xf2\xb4\xa8\x4a\x7f"


def _literal(octets: bytes) -> bytes:
    return frame(HEADERS, END_STREAM | END_HEADERS, 1, block() + octets)


HPACK: Final = [
    Case("hpack/6.1", "indexed field", _literal(b"\x90")),
    *(
        Case("hpack/6.2", f"literal {kind}, {how}", _literal(octets))
        for kind, mark, index in (
            ("with indexing", b"\x40", b"\x7a"),
            ("without indexing", b"\x00", b"\x0f\x2b"),
            ("never indexed", b"\x10", b"\x1f\x2b"),
        )
        for how, octets in (
            ("indexed name", index + _AGENT),
            ("indexed name, Huffman", index + _HUFF_A),
            ("new name", mark + _TEST + _AGENT),
            ("new name, Huffman", mark + _HUFF_TEST + _HUFF_A),
        )
    ),
    Case("hpack/6.3", "table size update",
         frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x21" + block())),
    Case("hpack/6.3", "several table size updates",
         frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x20\x3f\xe1\x1f" + block())),
    Case("hpack/2.3.3", "index out of the table", _literal(b"\xc6"), "close", COMPRESSION),
    Case("hpack/2.3.3", "name index out of the table", _literal(b"\x7f\x07\x01a"), "close",
         COMPRESSION),
    Case("hpack/4.2", "table size update at the end", _literal(b"\x20"), "close", COMPRESSION),
    Case("hpack/5.2", "padding of more than 7 bits", _literal(b"\x00\x01a\x82\x1f\xff"), "close",
         COMPRESSION),
    Case("hpack/5.2", "padding that is not the end of EOS", _literal(b"\x00\x01a\x81\x18"),
         "close", COMPRESSION),
    Case("hpack/5.2", "EOS in a string", _literal(b"\x00\x01a\x84\xff\xff\xff\xff"), "close",
         COMPRESSION),
    Case("hpack/6.1", "index 0", _literal(b"\x80"), "close", COMPRESSION),
    Case("hpack/6.3", "table size above the setting",
         frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x3f\xe2\x1f" + block()), "close",
         COMPRESSION),
]  # fmt: skip

CONNECTION: Final = [
    Case("3.5", "valid preface", START + headers(1)),
    Case("3.5", "invalid preface", b"INVALID CONNECTION PREFACE\r\n\r\n", "close", bare=True),
    Case("3.5", "first frame is not SETTINGS", PREFACE + headers(1), "close", bare=True),
    Case("4.1", "unknown type", frame(255, 0, 0, b"unknown") + headers(1)),
    Case("4.1", "undefined flags", frame(PING, 0xFE, 0, b"h2spec\0\0") + headers(1)),
    Case("4.1", "reserved bit", frame(PING, 0, 1 << 31, b"h2spec\0\0") + headers(1)),
    Case("4.2", "DATA of 2^14 octets", _BODY + data(1, b"x" * 16384)),
    Case("4.2", "DATA above SETTINGS_MAX_FRAME_SIZE", _BODY + data(1, b"x" * 16385), "stream",
         SIZE),
    Case("4.2", "HEADERS above SETTINGS_MAX_FRAME_SIZE",
         headers(1, _more(("x", "x" * 16384))), "close", SIZE),
    Case("4.3", "invalid block", frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\xff\xff"), "close",
         COMPRESSION),
    Case("4.3", "PRIORITY inside of a block", _OPEN + _prio(1) + _cont(1, _DUMMY), "close",
         PROTOCOL),
    Case("4.3", "HEADERS of another stream inside of a block", _OPEN + headers(3), "close",
         PROTOCOL),
    Case("5.1", "idle: DATA", data(1, b"test"), "close", PROTOCOL),
    Case("5.1", "idle: RST_STREAM", rst(1), "close", PROTOCOL),
    Case("5.1", "idle: WINDOW_UPDATE", window_update(1, 100), "close", PROTOCOL),
    Case("5.1", "idle: CONTINUATION", _cont(1, _DUMMY), "close", PROTOCOL),
    Case("5.1", "half-closed: DATA", headers(1) + data(1, b"test"), "stream", CLOSED),
    Case("5.1", "half-closed: HEADERS", headers(1) + headers(1), "stream", CLOSED),
    Case("5.1", "half-closed: CONTINUATION", headers(1) + _cont(1, _DUMMY), "stream",
         f"{CLOSED} {PROTOCOL}"),
    Case("5.1", "after RST_STREAM: DATA", _BODY + rst(1) + data(1, b"test"), "stream", CLOSED),
    Case("5.1", "after RST_STREAM: HEADERS", _BODY + rst(1) + headers(1), "stream", CLOSED),
    Case("5.1", "after RST_STREAM: CONTINUATION", _BODY + rst(1) + _cont(1, _DUMMY), "stream",
         f"{CLOSED} {PROTOCOL}"),
    Case("5.1", "closed: DATA", headers(1) + data(1, b"test"), "stream", CLOSED),
    Case("5.1", "closed: HEADERS", headers(1) + headers(1), "stream", f"{CLOSED} {PROTOCOL}"),
    Case("5.1", "closed: CONTINUATION", headers(1) + _cont(1, _DUMMY), "stream",
         f"{CLOSED} {PROTOCOL}"),
    Case("5.1.1", "even stream", headers(2), "close", PROTOCOL),
    Case("5.1.1", "smaller stream", headers(5) + headers(3), "close", f"{PROTOCOL} {CLOSED}"),
    Case("5.1.2", "more streams than allowed", b"".join(post(2 * n + 1) for n in range(101)),
         "stream", "REFUSED_STREAM PROTOCOL_ERROR"),
    Case("5.3.1", "HEADERS that depend on themselves",
         frame(HEADERS, END_STREAM | END_HEADERS | HAS_PRIORITY, 1, number(1) + b"\x0f" + block()),
         "stream", PROTOCOL),
    Case("5.3.1", "PRIORITY that depends on itself", _prio(1, number(1) + b"\x0f"), "stream",
         PROTOCOL),
    Case("5.4.1", "invalid PING", frame(PING, 0, 0, b"inval"), "close", SIZE),
    Case("5.4.1", "invalid PING, then GOAWAY and the end",
         headers(1) + frame(PING, 0, 3, b"h2spec\0\0"), "close", PROTOCOL),
    Case("5.5", "unknown frame", frame(255, 0, 0, b"h2spec") + headers(1)),
    Case("5.5", "unknown frame inside of a block", _OPEN + frame(255, 0, 0, b"x"), "close",
         PROTOCOL),
]  # fmt: skip

FRAMES: Final = [
    Case("6.1", "DATA on stream 0", data(0, b"test"), "close", PROTOCOL),
    Case("6.1", "DATA on a stream that is not open", headers(1) + data(1, b"test"), "stream",
         CLOSED),
    Case("6.1", "padding longer than the frame", _BODY + data(1, b"\x06test", PADDED), "close",
         PROTOCOL),
    Case("6.2", "no END_HEADERS, then PRIORITY", _OPEN + _prio(1), "close", PROTOCOL),
    Case("6.2", "no END_HEADERS, then HEADERS of another stream", _OPEN + headers(3), "close",
         PROTOCOL),
    Case("6.2", "HEADERS on stream 0", headers(0), "close", PROTOCOL),
    Case("6.2", "padding longer than the frame",
         frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, b"\xff" + block()), "close",
         PROTOCOL),
    Case("6.3", "PRIORITY on stream 0", _prio(0), "close", PROTOCOL),
    Case("6.3", "PRIORITY of another length", headers(1) + _prio(1, b"\0\0\0\1"), "stream", SIZE),
    Case("6.4", "RST_STREAM on stream 0", rst(0), "close", PROTOCOL),
    Case("6.4", "RST_STREAM on an idle stream", rst(1), "close", PROTOCOL),
    Case("6.4", "RST_STREAM of another length", _BODY + frame(RST_STREAM, 0, 1, b"\0\0\0"),
         "close", SIZE),
    Case("6.5", "SETTINGS ACK with a payload", frame(SETTINGS, ACK, 0, b"\0\3\0\0\0\1"), "close",
         SIZE),
    Case("6.5", "SETTINGS on a stream", frame(SETTINGS, 0, 1, b"\0\3\0\0\0\1"), "close", PROTOCOL),
    Case("6.5", "SETTINGS of another length", frame(SETTINGS, 0, 0, b"\0\3\0"), "close", SIZE),
    Case("6.5.2", "ENABLE_PUSH of 2", settings((2, 2)), "close", PROTOCOL),
    Case("6.5.2", "INITIAL_WINDOW_SIZE above 2^31-1", settings((4, 1 << 31)), "close", FLOW),
    Case("6.5.2", "MAX_FRAME_SIZE below 2^14", settings((5, 16383)), "close", PROTOCOL),
    Case("6.5.2", "MAX_FRAME_SIZE above 2^24-1", settings((5, 1 << 24)), "close", PROTOCOL),
    Case("6.5.2", "unknown setting", settings((0xFF, 1)) + headers(1)),
    Case("6.5.3", "the last of several values counts",
         settings((4, 100), (4, 1)) + headers(1) + settings((4, 65535))),
    Case("6.5.3", "SETTINGS is acknowledged", settings((3, 100)) + headers(1)),
    Case("6.7", "PING", frame(PING, 0, 0, b"h2spec\0\0"), "alive"),
    Case("6.7", "PING ACK is not answered", frame(PING, ACK, 0, b"invalid\0"), "alive"),
    Case("6.7", "PING on a stream", frame(PING, 0, 1, b"h2spec\0\0"), "close", PROTOCOL),
    Case("6.7", "PING of another length", frame(PING, 0, 0, b"h2spec"), "close", SIZE),
    Case("6.8", "GOAWAY on a stream", frame(GOAWAY, 0, 1, number(0) * 2), "close", PROTOCOL),
    Case("6.9", "increment 0", window_update(0, 0), "close", PROTOCOL),
    Case("6.9", "increment 0 on a stream", _BODY + window_update(1, 0), "stream", PROTOCOL),
    Case("6.9", "WINDOW_UPDATE of another length", frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"), "close",
         SIZE),
    Case("6.9.1", "window of 1 octet", settings((4, 1)) + headers(1) + settings((4, 65535))),
    Case("6.9.1", "connection's window above 2^31-1", window_update(0, 2**31 - 1) * 2, "close",
         FLOW),
    Case("6.9.1", "stream's window above 2^31-1", _BODY + window_update(1, 2**31 - 1) * 2,
         "stream", FLOW),
    Case("6.9.2", "window changed after HEADERS",
         settings((4, 0)) + headers(1) + settings((4, 1)) + settings((4, 65535))),
    Case("6.9.2", "window becomes negative",
         settings((4, 3)) + headers(1) + settings((4, 2)) + window_update(1, 65535)),
    Case("6.9.2", "INITIAL_WINDOW_SIZE above 2^31-1", settings((4, 2**31)), "close", FLOW),
    Case("6.10", "several CONTINUATIONs", _OPEN + _cont(1, _DUMMY, 0) + _cont(1, _DUMMY)),
    Case("6.10", "another frame between CONTINUATIONs", _OPEN + _cont(1, _DUMMY, 0) + data(1, b"x"),
         "close", PROTOCOL),
    Case("6.10", "CONTINUATION on stream 0", _OPEN + _cont(0, _DUMMY), "close", PROTOCOL),
    Case("6.10", "CONTINUATION after END_HEADERS", _BODY + _cont(1, _DUMMY), "close", PROTOCOL),
    Case("6.10", "CONTINUATION after a CONTINUATION with END_HEADERS",
         frame(HEADERS, 0, 1, block(POST)) + _cont(1, _DUMMY) + _cont(1, _DUMMY), "close",
         PROTOCOL),
    Case("6.10", "CONTINUATION after DATA", _BODY + data(1, b"x", 0) + _cont(1, _DUMMY), "close",
         PROTOCOL),
    Case("7", "GOAWAY with an unknown code", frame(GOAWAY, 0, 0, number(0) + number(255)), "alive"),
    Case("7", "RST_STREAM with an unknown code", headers(1) + rst(1, 255), "alive"),
]  # fmt: skip

_TRAILERS: Final = _BODY + data(1, b"test", 0)


def _bad(section: str, name: str, fields: Fields) -> Case:
    return Case(section, name, headers(1, fields), "stream", PROTOCOL)


MESSAGES: Final = [
    Case("8.1", "second HEADERS without END_STREAM",
         _BODY + headers(1, (("x", "y"),), END_HEADERS), "stream", PROTOCOL),
    _bad("8.1.2", "name in upper case", _more(("X-TEST", "ok"))),
    _bad("8.1.2.1", "unknown pseudo header", ((":test", "ok"), *GET)),
    _bad("8.1.2.1", "pseudo header of responses", ((":status", "200"), *GET)),
    Case("8.1.2.1", "pseudo header in trailers", _TRAILERS + headers(1, ((":method", "GET"),)),
         "stream", PROTOCOL),
    _bad("8.1.2.1", "pseudo header after a field", (*GET[:3], ("x", "y"), GET[3])),
    _bad("8.1.2.2", "field of the connection", _more(("connection", "keep-alive"))),
    _bad("8.1.2.2", "TE other than trailers", _more(("te", "trailers, deflate"))),
    _bad("8.1.2.3", "empty :path", ((":method", "GET"), (":scheme", "http"), (":path", ""))),
    *(
        _bad("8.1.2.3", f"no {name}", tuple(pair for pair in GET if pair[0] != name))
        for name in (":method", ":scheme", ":path")
    ),
    *(
        _bad("8.1.2.3", f"two {pair[0]}", (pair, *GET))
        for pair in GET[:3]
    ),
    Case("8.1.2.6", "content-length that is not the DATA's length",
         post(1, (*POST, ("content-length", "1"))) + data(1, b"test"), "stream", PROTOCOL),
    Case("8.1.2.6", "content-length that is not the sum of several DATA",
         post(1, (*POST, ("content-length", "1"))) + data(1, b"test", 0) + data(1, b"test"),
         "stream", PROTOCOL),
    Case("8.2", "PUSH_PROMISE", frame(PUSH_PROMISE, END_HEADERS, 1, number(3) + block()), "close",
         PROTOCOL),
]  # fmt: skip

CASES: Final = [*GENERIC, *HPACK, *CONNECTION, *FRAMES, *MESSAGES]
