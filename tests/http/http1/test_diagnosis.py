"""What a malformed head is answered with, as Envoy names it."""

import pytest

from meshproxy.http.http1.diagnosis import diagnose
from meshproxy.http.http1.head import RequestHeadParser

HOST = b"Host: h\r\n"


@pytest.mark.parametrize(
    ("head", "status", "details"),
    [
        (b"GET / HTTP/1.1\r\nX: a\x01\r\n\r\n", 400, "http1.invalid_characters"),
        (b"G\0ET / HTTP/1.2\r\nTransfer-Encoding: x\r\n\r\n", 400, "http1.invalid_characters"),
        (b"GET / HTTP/1.1\r\nX: a\x7f", 400, "http1.invalid_characters"),
        (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", 426, "low_version"),
        (b"GET / HTTP/3.0\r\nno colon\r\n\r\n", 426, "low_version"),
        (b"GET / HTTP/1.0\r\nno colon\r\n\r\n", 400, "http1.codec_error"),
        (b"GET / HTTP/1.10\r\n" + HOST + b"\r\n", 400, "http1.codec_error"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\nContent-Length: 1\r\n\r\n", 400,
         "http1.content_length_and_chunked_not_allowed"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501,
         "http1.invalid_transfer_encoding"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n", 501, "http1.invalid_transfer_encoding"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: CHUNKED \r\nno colon\r\n\r\n", 400,
         "http1.codec_error"),
        (b"GET / HTTP/1.1\nHost: h\n\n", 400, "http1.codec_error"),
    ],
)  # fmt: skip
def test_the_fault_that_envoy_finds_first_is_named(head, status, details):
    assert not RequestHeadParser().feed(head)
    reply = diagnose(head)
    assert (reply.status, reply.details) == (status, details)
    assert reply.close
