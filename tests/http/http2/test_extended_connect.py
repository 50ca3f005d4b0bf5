"""RFC 8441: upgrades of HTTP/1 and extended CONNECTs of HTTP/2 are each other."""

from meshproxy.http.http2.extended_connect import (
    extended_connect_of,
    granted,
    switched,
    upgrade_of,
)

EXTENDED = [
    (b":method", b"CONNECT"), (b":authority", b"h"), (b":path", b"/x"),
    (b":protocol", b"websocket"), (b"a", b"b"),
]  # fmt: skip
UPGRADE = [
    (b":method", b"GET"), (b":authority", b"h"), (b":path", b"/x"), (b"a", b"b"),
    (b"upgrade", b"websocket"), (b"connection", b"upgrade"),
]  # fmt: skip


def test_an_extended_connect_is_an_upgrade():
    assert upgrade_of(EXTENDED) == UPGRADE


def test_an_upgrade_is_an_extended_connect():
    assert extended_connect_of(UPGRADE) == (EXTENDED, b"websocket")


def test_other_requests_stay_what_they_are():
    assert upgrade_of([(b":method", b"CONNECT"), (b":authority", b"h:80")]) is None
    assert extended_connect_of([(b":method", b"GET"), (b"connection", b"x")]) is None


def test_101_is_200_and_back():
    there = [(b":status", b"101"), (b"a", b"b"), (b"upgrade", b"x"), (b"connection", b"upgrade")]
    here = [(b":status", b"200"), (b"a", b"b")]
    assert granted(there) == here
    assert switched(here, b"x") == there


def test_every_other_answer_stays_what_it_is():
    refused = [(b":status", b"403"), (b"connection", b"x")]
    assert granted(refused) == refused
    assert switched(refused, b"x") == refused
