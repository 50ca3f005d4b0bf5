"""ServerCodec: requests and responses, translated; the library h2 as the client."""

from __future__ import annotations

import gc
import weakref

import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.http2.settings import Http2Settings, decode_upgrade_settings
from tests.support.fake_wire import RecordedRequest, cuts
from tests.support.http2_frames import (
    DATA,
    GET,
    GOAWAY,
    HEADERS,
    POST,
    RST_STREAM,
    START,
    Server,
    data,
    headers,
    post,
    rst,
)


def echo(request: RecordedRequest) -> None:
    request.encoder.encode_headers(HeaderMap([(b":status", b"200"), (b"x", b"y")]), False)
    request.encoder.encode_data(request.body, False)
    request.encoder.encode_trailers(HeaderMap([(b"t", b"1")]))


TRANSCRIPT = START + post(1) + data(1, b"abc", 0) + headers(3) + headers(1, (("a", "b"),))


@pytest.mark.parametrize("pieces", cuts(TRANSCRIPT))
def test_streams_are_told_apart_however_the_octets_are_cut(pieces):
    server = Server(echo)
    frames = [(each.kind, each.stream, each.ends) for each in server.send(*pieces)][1:]
    assert frames == [
        (HEADERS, 3, False), (HEADERS, 3, True),
        (HEADERS, 1, False), (DATA, 1, False), (HEADERS, 1, True),
    ]  # fmt: skip
    first, second = server.requests
    assert (first.body, first.trailers) == (b"abc", [(b"a", b"b")])
    assert second.headers == [tuple(map(str.encode, pair)) for pair in GET]
    assert server.codec.idle


def test_the_greeting_has_envoys_settings_and_window():
    greeting = Server().greeting
    assert greeting[0].payload.hex() == "000100001000000800000000000300000400000401000000"
    assert int.from_bytes(greeting[1].payload, "big") == 24 * 1024 * 1024 - 65535


def test_host_becomes_authority_and_cookies_become_one():
    server = Server(echo)
    server.start(
        headers(1, (*GET[:3], ("host", "a.b"), ("cookie", "x=1"), ("z", "1"), ("cookie", "y=2")))
    )
    assert server.requests[0].headers == [
        (b":authority", b"a.b"), (b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"),
        (b"z", b"1"), (b"cookie", b"x=1; y=2"),
    ]  # fmt: skip


BAD_REQUESTS = {
    "space in :method": (((":method", "G ET"), *GET[1:])),
    "space in :path": (*GET[:2], (":path", "/a b"), GET[3]),
    "control in :path": (*GET[:2], (":path", "/a\x7f"), GET[3]),
    ":path without slash": (*GET[:2], (":path", "a"), GET[3]),
    "asterisk for GET": (*GET[:2], (":path", "*"), GET[3]),
    "junk :scheme": (GET[0], (":scheme", "ht tp"), *GET[2:]),
    "bad :authority": (*GET[:3], (":authority", "a/b")),
    "userinfo in :authority": (*GET[:3], (":authority", "u@h")),
    "two hosts": (*GET[:3], ("host", "a"), ("host", "b")),
    "CONNECT with :path": ((":method", "CONNECT"), *GET[1:]),
    "CONNECT without :authority": ((":method", "CONNECT"),),
    ":protocol not offered": (*GET, (":protocol", "websocket")),
    "newline in a value": (*GET, ("x", "a\nb")),
    "NUL in a value": (*GET, ("x", "a\0b")),
    "space in a name": (*GET, ("a b", "x")),
    "empty name": (*GET, ("", "x")),
    "transfer-encoding": (*GET, ("transfer-encoding", "chunked")),
    "upgrade": (*GET, ("upgrade", "h2c")),
    "negative content-length": (*GET, ("content-length", "-1")),
    "two content-lengths": (*GET, ("content-length", "0"), ("content-length", "0")),
    "content-length without a body": (*GET, ("content-length", "1")),
}


@pytest.mark.parametrize("fields", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
@pytest.mark.parametrize("lenient", [False, True])
def test_of_a_malformed_request_only_the_end_is_seen(fields, lenient):
    server = Server(options=Http2Settings(stream_error_on_invalid_http_messaging=lenient))
    [wrong] = server.start(headers(1, fields))
    assert (wrong.kind, wrong.code) == (RST_STREAM if lenient else GOAWAY, "PROTOCOL_ERROR")
    [request] = server.requests
    assert request.headers == []
    assert request.reset in ("http2.invalid.header.field", "http2.violation.of.messaging.rule")
    assert server.stats.rx_messaging_error.value == 1
    assert server.manager.protocol_errors == (not lenient)


@pytest.mark.parametrize("fields", [
    (*GET, ("te", "trailers")), (*GET, ("x", "")), (*GET, ("x", "\xff".encode("latin-1"))),
    ((":method", "OPTIONS"), (":scheme", "http"), (":path", "*"), GET[3]),
    ((":method", "CONNECT"), (":authority", "h:1")), GET[:3],
])  # fmt: skip
def test_what_is_unusual_and_allowed_goes_through(fields):
    server = Server(echo)
    server.start(headers(1, fields))
    assert len(server.requests) == 1


def test_a_response_before_the_end_of_the_request_stops_the_request():
    server = Server()
    server.start(post(1))
    server.requests[0].encoder.encode_headers(HeaderMap([(b":status", b"200")]), True)
    head, reset = server.send()
    assert head.ends
    assert (reset.kind, reset.code) == (RST_STREAM, "NO_ERROR")
    assert server.send(data(1, b"late")) == []
    assert server.codec.idle


def test_informational_responses_come_first():
    server = Server()
    server.start(headers(1))
    encoder = server.requests[0].encoder
    encoder.encode_1xx(HeaderMap([(b":status", b"103")]))
    encoder.encode_headers(HeaderMap([(b":status", b"200")]), True)
    assert [server.decode(each)[0][1] for each in server.send()] == [b"103", b"200"]


def test_draining_says_so_twice_and_ends_with_the_last_stream():
    server = Server()
    server.start(headers(1))
    server.codec.shutdown_notice()
    [notice] = server.send()
    assert (notice.kind, notice.payload[:4]) == (GOAWAY, b"\x7f\xff\xff\xff")
    server.send(headers(3))
    server.codec.finish()
    [final] = server.send()
    assert (final.payload[:4], final.code) == (b"\0\0\0\3", "NO_ERROR")
    [refused] = server.send(headers(5))
    assert refused.code == "REFUSED_STREAM"
    assert server.stats.goaway_sent.value == 2
    for request in server.requests:
        assert server.wire.closed is None
        echo(request)
    assert server.wire.closed == "flush"


def test_an_idle_connection_ends_at_once():
    server = Server()
    server.start()
    server.codec.finish()
    assert server.wire.closed == "flush"


def test_streams_end_with_their_connection():
    server = Server()
    server.start(headers(1), headers(3))
    assert server.codec.on_eof() is False
    assert {request.reset for request in server.requests} == {"downstream_remote_disconnect"}
    assert server.stats.streams_active.value == 0


def test_nothing_is_sent_on_a_stream_that_was_reset():
    server = Server()
    server.start(headers(1), rst(1))
    echo(server.requests[0])
    assert server.send() == []


@given(st.lists(st.tuples(st.binary(max_size=40_000), st.booleans()), min_size=1, max_size=6))
def test_the_library_h2_and_the_codec_understand_each_other(bodies):
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=False))
    client.initiate_connection()
    server = Server(echo)
    got: dict[int, bytes] = {}
    ended: set[int] = set()

    def turn() -> None:
        server.codec.dispatch(client.data_to_send())
        for event in client.receive_data(server.wire.take()):
            if isinstance(event, h2.events.DataReceived):
                got[event.stream_id] = got.get(event.stream_id, b"") + event.data
                client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                ended.add(event.stream_id)
            assert not isinstance(event, h2.events.ConnectionTerminated | h2.events.StreamReset)

    expected = {}
    for body, trailers in bodies:
        stream = client.get_next_available_stream_id()
        client.send_headers(stream, [(k.encode(), v.encode()) for k, v in POST])
        for at in range(0, len(body), 16384):
            client.send_data(stream, body[at : at + 16384])
            turn()
        if trailers:
            client.send_headers(stream, [(b"t", b"1")], end_stream=True)
        else:
            client.end_stream(stream)
        expected[stream] = body
        turn()
    for _ in range(100):
        turn()
        if len(ended) == len(expected):
            break
    assert {stream: got.get(stream, b"") for stream in expected} == expected


def test_upgrade_settings_are_base64url_of_whole_settings():
    assert decode_upgrade_settings(b"AAMAAABkAAQCAAAAAAIAAAAA") == bytes.fromhex(
        "000300000064000402000000000200000000"
    )
    assert decode_upgrade_settings(b"") == b""
    assert decode_upgrade_settings(b"AAMA") is None
    assert decode_upgrade_settings(b"!!!") is None


def test_an_upgraded_connection_begins_with_its_request_answered_as_stream_1():
    server = Server(echo)
    server.codec.upgrade(b"", [(b":method", b"GET"), (b":path", b"/")])
    assert [each.stream for each in server.send(START, headers(3)) if each.kind == HEADERS] == [
        1, 1, 3, 3,
    ]  # fmt: skip


def half(request: RecordedRequest) -> None:
    request.encoder.encode_headers(HeaderMap([(b":status", b"200")]), False)


def given_up(request: RecordedRequest) -> None:
    request.encoder.reset_stream()


@pytest.mark.parametrize(
    ("answer", "octets"),
    [
        (echo, headers(1)),
        (echo, post(1) + data(1, b"abc")),
        (echo, post(1) + headers(1, (("a", "b"),))),
        (given_up, headers(1)),
        (half, headers(1) + rst(1)),
        (half, post(1) + data(1, b"abc") + data(1, b"too late")),
        (half, headers(1, (("no-method", "x"),))),
        (half, post(1) + headers(1, (("no trailer", "b"),))),
        (half, headers(1) + data(0, b"")),
    ],
)
def test_whoever_answered_a_stream_that_has_ended_dies_without_the_cycle_collector(answer, octets):
    server = Server(answer)
    gc.disable()
    try:
        server.send(START + octets)
        (request,) = map(weakref.ref, server.requests)
        server.requests.clear()
        assert request() is None
    finally:
        gc.enable()


def test_so_does_one_who_answered_before_the_request_was_complete():
    server = Server()
    gc.disable()
    try:
        server.send(START + post(1))
        server.requests[0].encoder.encode_headers(HeaderMap([(b":status", b"200")]), True)
        request = weakref.ref(server.requests.pop())
        assert request() is None
    finally:
        gc.enable()
