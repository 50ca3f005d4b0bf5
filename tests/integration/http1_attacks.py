"""Requests that two HTTP/1 parsers may read differently: a table and a generator; sends nothing.

Each payload is aimed at the path `/attack`. Whatever a confused parser would take for a second
request is aimed at `/smuggled`, so a recording upstream sees at once that an attack has worked.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

REFUSE: Final = "refuse"
ACCEPT: Final = "accept"
EITHER: Final = "either"  # passed on or not: what arrives must be one well-formed request

SMUGGLED: Final = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
_CHUNKED: Final = b"Transfer-Encoding: chunked"


@dataclass(frozen=True, slots=True)
class Attack:
    """One payload and what meshproxy must do with it."""

    name: str
    payload: bytes
    verdict: str = REFUSE


def post(*lines: bytes, body: bytes = b"", start: bytes = b"POST /attack HTTP/1.1") -> bytes:
    """A request with these header lines after `Host`, none of them checked."""
    return b"\r\n".join([start, b"Host: h", *lines, b"", b""]) + body


def get(*lines: bytes, start: bytes = b"GET /attack HTTP/1.1") -> bytes:
    """A request without a body; `start` is its request line."""
    return post(*lines, start=start)


def _covering(*lines: bytes, body: bytes) -> bytes:
    """`lines` and a Content-Length for all of `body`, smuggled request included."""
    return post(b"Content-Length: %d" % len(body), *lines, body=body)


_ENDED: Final = b"0\r\n\r\n" + SMUGGLED


def _length_attacks() -> Iterator[Attack]:
    values = (
        b"+5", b"-5", b"0x5", b"5 5", b"5,5", b"5, 5", b"5,6", b"5;", b"5.0", b"5e0", b"1_0",
        b"5\x0b",
        b"\x0b5", b"5\x00", b"\xb2", b"", b"five", b"0o5", b"'5'", b"5\xa0",
        b"99999999999999999999",
        b"18446744073709551621", b"-0", b"+0", b"5\r\n ", b"\xef\xbc\x95",
    )  # fmt: skip
    for value in values:
        yield Attack(
            f"length {value!r}", post(b"Content-Length: " + value, body=b"hello" + SMUGGLED)
        )
    five = b"Content-Length: 5"
    yield Attack("lengths that agree", post(five, five, body=b"hello"))
    yield Attack("lengths that differ", post(five, b"Content-Length: 0", body=b"hello"))
    yield Attack("lengths that differ, other way", post(b"Content-Length: 0", five, body=b"hello"))
    yield Attack("lengths in two spellings", post(five, b"CONTENT-LENGTH: 05", body=b"hello"))
    yield Attack("length with a space before the colon", post(b"Content-Length : 5", body=b"hello"))
    yield Attack("length with a tab before the colon", post(b"Content-Length\t: 5", body=b"hello"))
    yield Attack("length with an underscore", post(b"Content_Length: 5", body=SMUGGLED[:5]), ACCEPT)
    yield Attack("length with leading zeros", post(b"Content-Length: 005", body=b"hello"), ACCEPT)
    yield Attack("length between blanks", post(b"Content-Length: \t 5 \t", body=b"hello"), ACCEPT)
    yield Attack("length of a GET", get(five) + b"hello", ACCEPT)


def _coding_attacks() -> Iterator[Attack]:
    values = (
        b"identity", b"gzip", b"chunked, identity", b"identity, chunked", b"gzip, chunked",
        b"chunked, chunked", b"chunked,", b",chunked", b"chunked;", b"chunked; q=1", b'"chunked"',
        b"'chunked'",
        b"xchunked", b"chunkedx", b"chunk", b"chunked\x00", b"\x0bchunked", b"chunked\x0b",
        b"\xa0chunked",
        b"chunked\xa0", b"chu nked", b"chunked chunked", b"c\xc4\xb1hunked", b"", b"x, chunked",
        b"\r\n chunked", b"chunked\r\n ", b"cow", b"trailers",
    )  # fmt: skip
    for value in values:
        line = b"Transfer-Encoding: " + value
        yield Attack(f"coding {value!r}", post(line, body=_ENDED))
        yield Attack(f"length and coding {value!r}", _covering(line, body=_ENDED))
    yield Attack("coding twice", post(_CHUNKED, _CHUNKED, body=b"0\r\n\r\n"))
    yield Attack(
        "coding twice, one identity", post(_CHUNKED, b"Transfer-Encoding: identity", body=_ENDED)
    )
    yield Attack(
        "coding with a space before the colon",
        _covering(b"Transfer-Encoding : chunked", body=_ENDED),
    )
    yield Attack(
        "coding with an underscore", _covering(b"Transfer_Encoding: chunked", body=_ENDED), ACCEPT
    )
    yield Attack(
        "coding in another header", _covering(b"X: Transfer-Encoding: chunked", body=_ENDED), ACCEPT
    )
    yield Attack(
        "coding folded away", _covering(b"X: x\r\n Transfer-Encoding: chunked", body=_ENDED)
    )
    yield Attack("length before coding", _covering(_CHUNKED, body=_ENDED))
    yield Attack("coding before length", post(_CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n"))
    yield Attack("coding and length zero", post(_CHUNKED, b"Content-Length: 0", body=b"0\r\n\r\n"))
    yield Attack(
        "coding in upper case", post(b"TRANSFER-ENCODING: CHUNKED", body=b"0\r\n\r\n"), ACCEPT
    )
    yield Attack(
        "coding nominated by connection",
        post(b"Connection: transfer-encoding", _CHUNKED, body=b"0\r\n\r\n"),
        EITHER,
    )
    yield Attack(
        "length nominated by connection, with a body",
        post(b"Connection: content-length", b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
        EITHER,
    )
    yield Attack("coding of HTTP/1.0", post(_CHUNKED, body=_ENDED, start=b"POST /attack HTTP/1.0"))


def _chunk_attacks() -> Iterator[Attack]:
    sizes = (
        b"0x5", b"+5", b"-5", b"5 ", b" 5", b"5\t", b"5_0", b"0_5", b"-0x0", b"", b"g", b"5\x00",
        b"5\x0b",
        b"\xb2", b"5,", b"ffffffffffffffff5", b"100000000000000005", b"5\r", b"5\n",
    )  # fmt: skip
    for size in sizes:
        yield Attack(
            f"chunk size {size!r}", post(_CHUNKED, body=size + b"\r\nhello\r\n0\r\n\r\n" + SMUGGLED)
        )
    bodies = {
        "chunk size ended by LF": b"5\nhello\r\n0\r\n\r\n",
        "chunk size ended by CR": b"5\rhello\r\n0\r\n\r\n",
        "chunk ended by LF": b"5\r\nhello\n0\r\n\r\n",
        "chunk without end": b"5\r\nhello0\r\n\r\n",
        "chunk too long": b"5\r\nhelloxx\r\n0\r\n\r\n",
        "chunk too short": b"6\r\nhello\r\n0\r\n\r\n",
        "last chunk ended by LF": b"0\n\n" + SMUGGLED,
        "extension with LF": b"5;x\n\r\nhello\r\n0\r\n\r\n",
        "extension with CR": b"5;x\ry\r\nhello\r\n0\r\n\r\n",
        "extension with two CR": b"5\r\r;\r\nhello\r\n0\r\n\r\n",
        "extension with NUL": b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
        "huge extension": b"5;" + b"x" * 20_000 + b"\r\nhello\r\n0\r\n\r\n",
        "trailer without colon": b"0\r\nnocolon\r\n\r\n",
        "trailer with LF": b"0\r\nx: 1\n\r\n",
        "trailer that frames": b"0\r\nContent-Length: 5\r\n\r\n",
        "trailer with a space": b"0\r\nx : 1\r\n\r\n",
    }  # fmt: skip
    for name, body in bodies.items():
        verdict = ACCEPT if name == "trailer that frames" else REFUSE
        yield Attack(name, post(_CHUNKED, body=body), verdict)
    yield Attack("extension", post(_CHUNKED, body=b"5;a=b\r\nhello\r\n0\r\n\r\n"), ACCEPT)
    yield Attack(
        "leading zeros of a chunk", post(_CHUNKED, body=b"0005\r\nhello\r\n000\r\n\r\n"), ACCEPT
    )


def _head_attacks() -> Iterator[Attack]:
    lines = {
        "no colon": b"nocolon",
        "empty name": b": x",
        "blank name": b" : x",
        "space in the name": b"x y: 1",
        "space before the colon": b"x : 1",
        "tab before the colon": b"x\t: 1",
        "leading blank": b" x: 1",
        "NUL in the name": b"x\x00: 1",
        "NUL in the value": b"x: a\x00b",
        "control in the value": b"x: a\x01b",
        "DEL in the value": b"x: a\x7fb",
        "CR in the value": b"x: a\rb",
        "CR in the value, smuggling": b"x: a\rContent-Length: 5",
        "LF in the value, smuggling": b"x: a\nContent-Length: 5",
        "CR before the CRLF": b"x: a\r",
        "folded": b"x: a\r\n b",
        "folded with a tab": b"x: a\r\n\tb",
        "high byte in the name": b"x\xe9: 1",
        "brackets in the name": b"x(y): 1",
        "quote in the name": b'x"y: 1',
        "slash in the name": b"x/y: 1",
        "at in the name": b"x@y: 1",
        "second host": b"Host: other",
        "host in another spelling": b"HOST: other",
        "host with a space before the colon": b"Host : other",
    }
    for name, line in lines.items():
        yield Attack(name, get(line))
    yield Attack("folded first line", b"GET /attack HTTP/1.1\r\n Host: h\r\n\r\n")
    yield Attack("no host", b"GET /attack HTTP/1.1\r\n\r\n")
    yield Attack("bare LF everywhere", b"GET /attack HTTP/1.1\nHost: h\n\n")
    yield Attack("bare LF after the request line", b"GET /attack HTTP/1.1\nHost: h\r\n\r\n")
    yield Attack("bare LF at the end of the head", b"GET /attack HTTP/1.1\r\nHost: h\r\n\n")
    yield Attack("bare CR everywhere", b"GET /attack HTTP/1.1\rHost: h\r\r")
    yield Attack("host with a path", b"GET /attack HTTP/1.1\r\nHost: h/smuggled\r\n\r\n")
    yield Attack("host with userinfo", b"GET /attack HTTP/1.1\r\nHost: a@b\r\n\r\n", EITHER)
    yield Attack("host with a space", b"GET /attack HTTP/1.1\r\nHost: a b\r\n\r\n")
    yield Attack("host with a comma", b"GET /attack HTTP/1.1\r\nHost: a,b\r\n\r\n", EITHER)
    yield Attack("high byte in a value", get(b"x: caf\xe9"), ACCEPT)
    yield Attack("empty value", get(b"x:"), ACCEPT)
    yield Attack("blanks around a value", get(b"x: \t a \t"), ACCEPT)
    yield Attack("colon in a value", get(b"x: a:b"), ACCEPT)


def _line_attacks() -> Iterator[Attack]:
    starts = (
        b"GET  /attack HTTP/1.1", b"GET /attack  HTTP/1.1", b"GET /attack HTTP/1.1 ",
        b" GET /attack HTTP/1.1",
        b"GET\t/attack\tHTTP/1.1", b"GET /attack", b"GET /attack HTTP/1.0", b"GET /attack HTTP/0.9",
        b"GET /attack HTTP/1.2", b"GET /attack HTTP/2.0", b"GET /attack HTTP/11",
        b"GET /attack HTTP/1.1.1",
        b"GET /attack http/1.1", b"GET /attack HTTP/ 1.1", b"GET /attack HTTP/1 .1",
        b"GET /attack HTTP/1.10",
        b"GET /attack HTTPS/1.1", b"GET /attack ICY/1.1", b"GET /attack HTTP/1.x",
        b"GET attack HTTP/1.1",
        b"GET /attack#x HTTP/1.1", b"GET /att ack HTTP/1.1", b"GET /attack\x00 HTTP/1.1",
        b"GET /attack\x01 HTTP/1.1", b"GET /attack\x7f HTTP/1.1", b"GET /attack\xe9 HTTP/1.1",
        b"GET /attack\x0b HTTP/1.1", b"GET /attack\rHTTP/1.1", b"G\x00ET /attack HTTP/1.1",
        b"get /attack HTTP/1.1", b"Get /attack HTTP/1.1", b"G ET /attack HTTP/1.1",
        b"GE(T /attack HTTP/1.1",
        b"/attack HTTP/1.1", b"HTTP/1.1 /attack GET", b"HTTP/1.1 200 OK",
        b"GET http:///attack HTTP/1.1",
        b"GET http://a b/attack HTTP/1.1", b"GET ftp://h/attack HTTP/1.1",
        b"GET //[::1 HTTP/1.1\x00",
        b"\xef\xbb\xbfGET /attack HTTP/1.1", b"* /attack HTTP/1.1",
    )  # fmt: skip
    for start in starts:
        # RFC 9112, 3: a recipient may split the request line at more than one space.
        verdict = ACCEPT if b"  " in start else REFUSE
        yield Attack(f"line {start!r}", get(start=start), verdict)
    yield Attack("absolute form", get(start=b"GET http://h/attack HTTP/1.1"), ACCEPT)
    yield Attack(
        "absolute form with userinfo", get(start=b"GET http://u@h/attack HTTP/1.1"), EITHER
    )
    yield Attack("empty lines first", b"\r\n\r\n" + get(), ACCEPT)


def _upgrade_attacks() -> Iterator[Attack]:
    upgrade = b"Connection: Upgrade"
    yield Attack("websocket with early data", get(upgrade, b"Upgrade: websocket") + SMUGGLED)
    yield Attack(
        "upgrade with a length",
        post(upgrade, b"Upgrade: websocket", b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
    )
    yield Attack("CONNECT with early data", get(start=b"CONNECT h:80 HTTP/1.1") + SMUGGLED)
    yield Attack("CONNECT with a path", get(start=b"CONNECT /attack HTTP/1.1") + SMUGGLED)
    yield Attack(
        "expectation with a body kept back",
        post(b"Expect: 100-continue", b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
        ACCEPT,
    )
    yield Attack("connection nominates the host", get(b"Connection: close, host"))
    yield Attack("connection nominates a pseudo header", get(b"Connection: :path"))


def table() -> list[Attack]:
    """The attacks with their verdicts, by hand."""
    return [
        *_length_attacks(), *_coding_attacks(), *_chunk_attacks(), *_head_attacks(),
        *_line_attacks(),
        *_upgrade_attacks(),
    ]  # fmt: skip


_BYTES: Final = (
    b"\x00", b"\x01", b"\x08", b"\t", b"\n", b"\x0b", b"\x0c", b"\r", b"\x1b", b"\x1f", b" ",
    b"\x7f",
    b"\x80", b"\x85", b"\xa0", b"\xff",
)  # fmt: skip
_PATTERNS: Final = {
    "before the name": b"%(c)b%(n)b: %(v)b",
    "in the name": b"%(n1)b%(c)b%(n2)b: %(v)b",
    "after the name": b"%(n)b%(c)b: %(v)b",
    "instead of the colon": b"%(n)b%(c)b%(v)b",
    "after the colon": b"%(n)b:%(c)b%(v)b",
    "before the value": b"%(n)b: %(c)b%(v)b",
    "in the value": b"%(n)b: %(v1)b%(c)b%(v2)b",
    "after the value": b"%(n)b: %(v)b%(c)b",
    "twice after the value": b"%(n)b: %(v)b%(c)b%(c)b",
    "hidden in another header": b"X: x%(c)b%(n)b: %(v)b",
    "hidden behind another header": b"X: x\r\n%(c)b%(n)b: %(v)b",
    "after the end of the line": b"%(n)b: %(v)b\r\n%(c)b",
    "value on the next line": b"%(n)b:\r\n%(c)b%(v)b",
}


def gadgets() -> list[Attack]:
    """Both framing headers with every control byte in every place; the verdict is Envoy's."""
    made: list[Attack] = []
    for byte in _BYTES:
        for place, pattern in _PATTERNS.items():
            coding = _filled(pattern, byte, b"Transfer-Encoding", b"chunked")
            made.append(Attack(f"coding, {byte!r} {place}", _covering(coding, body=_ENDED)))
            length = _filled(pattern, byte, b"Content-Length", b"15")
            made.append(
                Attack(
                    f"length, {byte!r} {place}",
                    post(length, _CHUNKED, body=b"0\r\n\r\n" + SMUGGLED[:10]),
                )
            )
    return made


def _filled(pattern: bytes, byte: bytes, name: bytes, value: bytes) -> bytes:
    parts = {
        b"n": name,
        b"n1": name[:8],
        b"n2": name[8:],
        b"v": value,
        b"v1": value[:1],
        b"v2": value[1:],
    }
    return pattern % {**parts, b"c": byte}
