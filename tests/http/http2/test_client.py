"""ClientCodec: requests and responses, and what a server may do; frames by hand, h2 as server."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import pytest

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.http2.client import ClientCodec, ClientStream
from meshproxy.http.http2.settings import Http2Settings, Keepalive
from meshproxy.stats.metrics import Http2CodecStats
from meshproxy.stats.store import Store
from tests.support.fake_wire import FakeWire, RecordedResponse, cuts
from tests.support.http2_frames import (
    ACK,
    END_HEADERS,
    GOAWAY,
    PING,
    PREFACE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    block,
    data,
    frame,
    headers,
    number,
    read_frames,
    rst,
    settings,
)

REQUEST = [
    (b":authority", b"h"), (b":path", b"/"), (b":method", b"GET"), (b":scheme", b"http"),
]  # fmt: skip
OK = ((":status", "200"),)


class Client:
    """A client codec without sockets."""

    def __init__(self, options: Http2Settings | None = None) -> None:
        self.wire = FakeWire()
        self.stats = Store().scope("http2.").block(Http2CodecStats)
        self.codec = ClientCodec(self.wire, options or Http2Settings(), self.stats)
        sent = self.wire.take()
        assert sent.startswith(PREFACE)
        self.greeting = read_frames(sent[len(PREFACE) :])

    def request(self, *fields, end: bool = True) -> tuple[ClientStream, RecordedResponse]:
        stream, response = ClientStream(self.codec), RecordedResponse()
        pairs = [pair for pair in REQUEST if pair[0] not in dict(fields)]
        stream.encode_headers(response, HeaderMap([*pairs, *fields]), end)
        return stream, response

    def send(self, *octets: bytes):
        for each in octets:
            self.codec.dispatch(each)
        return read_frames(self.wire.take())


def test_the_greeting_refuses_push():
    assert Client().greeting[0].kind == SETTINGS
    assert Client().greeting[0].payload[6:12] == b"\0\2\0\0\0\0"


ANSWER = (
    settings()
    + headers(1, ((":status", "103"), ("link", "x")), END_HEADERS)
    + headers(1, OK, END_HEADERS)
    + data(1, b"abc", 0)
    + headers(1, (("t", "1"),))
)


@pytest.mark.parametrize("pieces", cuts(ANSWER))
def test_a_response_arrives_in_its_parts_however_it_is_cut(pieces):
    client = Client()
    _, response = client.request()
    client.send(*pieces)
    assert response.informational == [[(b":status", b"103"), (b"link", b"x")]]
    assert (response.headers, response.body) == ([(b":status", b"200")], b"abc")
    assert response.trailers == [(b"t", b"1")]
    assert client.codec.streams == {}
    assert client.stats.streams_active.value == 0


def test_streams_are_numbered_and_answered_in_any_order():
    client = Client()
    (one, first), (two, second) = client.request(), client.request()
    assert (one.id, two.id) == (1, 3)
    client.send(settings(), headers(3, OK), headers(1, ((":status", "404"),)))
    assert first.headers == [(b":status", b"404")]
    assert second.headers == [(b":status", b"200")]


def test_connection_fields_are_not_sent():
    client = Client()
    client.request((b"connection", b"close"), (b"te", b"trailers"))
    [sent] = client.send()
    assert b"close" not in sent.payload
    assert b"trailers" in sent.payload


BAD_ANSWERS = {
    "no :status": headers(1, (("x", "y"),)),
    "status of 2 digits": headers(1, ((":status", "20"),)),
    "pseudo header of requests": headers(1, ((":path", "/"), *OK)),
    "two statuses": headers(1, (*OK, *OK)),
    "101": headers(1, ((":status", "101"),), END_HEADERS),
    "informational and the end": headers(1, ((":status", "100"),)),
    "upper case": headers(1, (*OK, ("X", "y"))),
    "connection field": headers(1, (*OK, ("connection", "close"))),
    "newline": headers(1, (*OK, ("x", "a\nb"))),
    "bad content-length": headers(1, (*OK, ("content-length", "x"))),
    "trailers without the end":
        headers(1, OK, END_HEADERS) + headers(1, (("a", "b"),), END_HEADERS),
}  # fmt: skip


BAD_BODIES = {
    "content-length without body": headers(1, (*OK, ("content-length", "1"))),
    "body longer than content-length":
        headers(1, (*OK, ("content-length", "1")), END_HEADERS) + data(1, b"ab"),
    "body shorter than content-length":
        headers(1, (*OK, ("content-length", "3")), END_HEADERS) + data(1, b"ab"),
    "trailers before the body's length":
        headers(1, (*OK, ("content-length", "3")), END_HEADERS) + headers(1, (("a", "b"),)),
    "body of 204": headers(1, ((":status", "204"),), END_HEADERS) + data(1, b"x"),
}  # fmt: skip


@pytest.mark.parametrize("octets", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_body_of_another_length_than_announced_ends_its_stream(octets):
    client = Client()
    _, response = client.request()
    client.request()
    client.send(settings())
    [wrong] = client.send(octets)
    assert (wrong.kind, wrong.code) == (RST_STREAM, "PROTOCOL_ERROR")
    assert response.reset == "protocol error"
    assert len(client.codec.streams) == 1


@pytest.mark.parametrize("octets", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
@pytest.mark.parametrize("lenient", [False, True])
def test_a_malformed_response_ends_its_stream_or_everything(octets, lenient):
    client = Client(Http2Settings(stream_error_on_invalid_http_messaging=lenient))
    _, response = client.request()
    client.request()
    client.send(settings())
    [wrong] = client.send(octets)
    assert (wrong.kind, wrong.code) == (RST_STREAM if lenient else GOAWAY, "PROTOCOL_ERROR")
    assert response.reset == "protocol error"
    assert client.stats.rx_messaging_error.value == 1
    assert client.codec.broken is not lenient
    assert len(client.codec.streams) == int(lenient)


def test_a_response_to_head_may_announce_a_body_and_have_none():
    client = Client()
    _, response = client.request((b":method", b"HEAD"))
    client.send(settings(), headers(1, (*OK, ("content-length", "9"))))
    assert response.ended


@pytest.mark.parametrize(
    ("code", "reason"),
    [(8, "remote reset"), (7, "remote refused stream reset"), (10, "connect error")],
)
def test_a_reset_has_envoys_reason(code, reason):
    client = Client()
    _, response = client.request()
    client.send(settings())
    assert client.send(rst(1, code)) == []
    assert response.reset == reason
    assert client.stats.rx_reset.value == 1


def test_goaway_refuses_what_was_not_begun_and_lets_the_rest_end():
    client = Client()
    changes = []
    client.codec.on_change = lambda: changes.append(client.codec.capacity)
    (_, first), (_, second) = client.request(), client.request()
    client.send(settings(), frame(GOAWAY, 0, 0, number(1) + number(0)))
    assert (first.reset, second.reset) == (None, "remote refused stream reset")
    assert client.codec.capacity == 0
    client.send(headers(1, OK))
    assert first.ended
    assert changes[-1] == 0


def test_streams_are_bounded_by_both_sides():
    client = Client(Http2Settings(max_concurrent_streams=5))
    assert client.codec.capacity == 5
    client.send(settings((3, 2)))
    client.request()
    assert client.codec.capacity == 1
    client.send(settings((3, 0)))
    assert client.codec.capacity == 0


def test_a_reset_from_here_forgets_the_stream_and_what_crosses_it():
    client = Client()
    stream, response = client.request()
    client.send(settings())
    stream.handler = None
    stream.abandon(8)
    [reset] = client.send(headers(1, OK, END_HEADERS), data(1, b"x"))
    assert (reset.kind, reset.code) == (RST_STREAM, "CANCEL")
    assert response.headers == []


@pytest.mark.parametrize(
    "octets",
    [headers(2, OK), data(3, b"x"), frame(PUSH_PROMISE, 4, 1, number(2) + block()),
     frame(PING, 0, 0, b"x"), headers(5, OK)],
)  # fmt: skip
def test_a_server_that_breaks_the_rules_ends_the_connection(octets):
    client = Client()
    _, response = client.request()
    client.send(settings())
    assert client.send(octets)[-1].kind == GOAWAY
    assert response.reset == "protocol error"
    assert client.codec.broken


def test_the_end_of_the_connection_ends_every_stream():
    client = Client()
    _, response = client.request()
    client.codec.on_closed()
    assert response.reset == "connection termination"
    assert client.codec.capacity == 0


def test_a_dead_server_is_noticed_by_a_ping_that_nobody_answers():
    client = Client(Http2Settings(keepalive=Keepalive(interval=10, timeout=3, jitter=0)))
    _, response = client.request()
    client.send(settings())
    for now in (0, 9.9):
        client.codec.sweep(now)
    assert client.send() == []
    client.codec.sweep(10)
    [ping] = client.send()
    client.send(frame(PING, ACK, 0, ping.payload))
    client.codec.sweep(13)
    client.codec.sweep(20)
    assert [each.kind for each in client.send()] == [PING]
    client.codec.sweep(22.9)
    assert client.wire.closed is None
    client.codec.sweep(23)
    assert client.wire.closed == "abort"
    assert response.reset == "connection termination"
    assert client.stats.keepalive_timeout.value == 1


def test_a_long_silence_is_asked_about_before_the_next_request():
    options = Keepalive(timeout=3, connection_idle_interval=5)
    client = Client(Http2Settings(keepalive=options))
    client.send(settings())
    client.codec.sweep(0)
    client.codec.before_use(4)
    assert client.send() == []
    client.codec.before_use(5)
    assert [each.kind for each in client.send()] == [PING]


def test_the_library_h2_as_server_understands_the_codec():
    server = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=False, header_encoding=False)
    )
    server.initiate_connection()
    wire, stats = FakeWire(), Store().scope("h.").block(Http2CodecStats)
    codec = ClientCodec(wire, Http2Settings(), stats)
    response, stream = RecordedResponse(), ClientStream(codec)
    stream.encode_headers(response, HeaderMap([*REQUEST, (b"x", b"y")]), False)
    stream.encode_data(b"z" * 100_000, False)
    stream.encode_trailers(HeaderMap([(b"t", b"1")]))
    got, trailers = b"", None
    for _ in range(20):
        for event in server.receive_data(wire.take()):
            if isinstance(event, h2.events.DataReceived):
                got += event.data
                server.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, h2.events.TrailersReceived):
                trailers = [tuple(pair) for pair in event.headers]
                server.send_headers(1, [(b":status", b"200")], end_stream=True)
        codec.dispatch(server.data_to_send())
    assert (len(got), trailers) == (100_000, [(b"t", b"1")])
    assert response.ended
