"""What a recording upstream receives, byte for byte, of every attack that is passed on.

Attacks of `http1_attacks.table()` that are not named here reach nobody.
"""

from typing import Final

from tests.integration.http1_attacks import SMUGGLED

# What the proxy adds to every request; the id is replaced by the test.
OWN: Final = (
    b"x-forwarded-proto: http\r\nx-request-id: ID\r\nx-envoy-expected-rq-timeout-ms: 15000\r\n"
)
_CHUNKED: Final = b"transfer-encoding: chunked\r\n"
_HELLO: Final = b"5\r\nhello\r\n0\r\n\r\n"
_EMPTY: Final = b"0\r\n\r\n"


def _get(fields: bytes = b"", body: bytes = b"", *, host: bytes = b"h") -> bytes:
    return b"GET /attack HTTP/1.1\r\nhost: %b\r\n%b%b\r\n%b" % (host, fields, OWN, body)


def _post(fields: bytes, body: bytes, *, framing: bytes = b"") -> bytes:
    return b"POST /attack HTTP/1.1\r\nhost: h\r\n%b%b%b\r\n%b" % (fields, OWN, framing, body)


RECEIVED: Final[dict[str, bytes]] = {
    "length with an underscore": _post(
        b"content_length: 5\r\n", b"", framing=b"content-length: 0\r\n"
    ),
    "length with leading zeros": _post(b"content-length: 5\r\n", b"hello"),
    "length between blanks": _post(b"content-length: 5\r\n", b"hello"),
    "length of a GET": _get(b"content-length: 5\r\n", b"hello"),
    "coding with an underscore": _post(
        b"content-length: 40\r\ntransfer_encoding: chunked\r\n", _EMPTY + SMUGGLED
    ),
    "coding in another header": _post(
        b"content-length: 40\r\nx: Transfer-Encoding: chunked\r\n", _EMPTY + SMUGGLED
    ),
    "coding in upper case": _post(b"", _EMPTY, framing=_CHUNKED),
    "coding nominated by connection": _post(b"", _EMPTY, framing=_CHUNKED),
    "length nominated by connection, with a body": _post(
        b"", b"23\r\n%b\r\n0\r\n\r\n" % SMUGGLED, framing=_CHUNKED
    ),
    "trailer that frames": _post(b"", _EMPTY, framing=_CHUNKED),
    "extension": _post(b"", _HELLO, framing=_CHUNKED),
    "leading zeros of a chunk": _post(b"", _HELLO, framing=_CHUNKED),
    "host with a comma": _get(host=b"a,b"),
    "high byte in a value": _get(b"x: caf\xe9\r\n"),
    "empty value": _get(b"x: \r\n"),
    "blanks around a value": _get(b"x: a\r\n"),
    "colon in a value": _get(b"x: a:b\r\n"),
    "line b'GET  /attack HTTP/1.1'": _get(),
    "line b'GET /attack  HTTP/1.1'": _get(),
    "absolute form": _get(),
    "empty lines first": _get(),
    "expectation with a body kept back": _post(b"content-length: 35\r\n", SMUGGLED),
}
