"""Nothing is acknowledged before it was passed on, nothing is sent that nobody has room for."""

from __future__ import annotations

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.http2.settings import Http2Settings
from tests.support.http2_frames import (
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    WINDOW_UPDATE,
    Frame,
    Server,
    data,
    frame,
    headers,
    post,
    rst,
    settings,
    window_update,
)

OK = [(b":status", b"200")]
_SMALL = Http2Settings(
    initial_stream_window_size=65535, initial_connection_window_size=65535, buffer_limit=1000
)


def updates(frames: list[Frame]) -> list[tuple[int, int]]:
    return [
        (each.stream, int.from_bytes(each.payload, "big"))
        for each in frames
        if each.kind == WINDOW_UPDATE
    ]


def test_what_was_passed_on_is_acknowledged_half_a_window_at_a_time():
    server = Server(options=_SMALL)
    server.start(post(1))
    assert updates(server.send(data(1, b"x" * 16000, 0), data(1, b"x" * 16000, 0))) == []
    assert updates(server.send(data(1, b"x" * 1000, 0))) == [(0, 33000), (1, 33000)]


def test_padding_is_acknowledged_too():
    server = Server(options=_SMALL)
    server.start(post(1))
    padded = data(1, b"\xff" + b"x" * 200 + b"\0" * 255, 8)
    sent = updates(server.send(*[padded] * 80))
    assert sum(size for stream, size in sent if stream == 1) >= 32768
    assert server.wire.closed is None


def test_a_stream_that_does_not_read_closes_its_window_and_opens_it_again():
    server = Server(options=_SMALL)
    server.start(post(1))
    stream = server.requests[0].encoder
    stream.read_disable(True)
    assert updates(server.send(*[data(1, b"x" * 16000, 0)] * 4)) == []
    [gone] = server.send(data(1, b"x" * 16000, 0))
    assert (gone.kind, gone.code) == (GOAWAY, "FLOW_CONTROL_ERROR")

    server = Server(options=_SMALL)
    server.start(post(1))
    stream = server.requests[0].encoder
    stream.read_disable(True)
    stream.read_disable(True)
    server.send(*[data(1, b"x" * 16000, 0)] * 4)
    stream.read_disable(False)
    assert server.send() == []
    stream.read_disable(False)
    assert updates(server.send()) == [(0, 64000), (1, 64000)]


def test_what_a_reset_stream_kept_goes_back_to_the_connection():
    server = Server(options=_SMALL)
    server.start(post(1))
    server.requests[0].encoder.read_disable(True)
    server.send(*[data(1, b"x" * 16000, 0)] * 3)
    assert updates(server.send(rst(1))) == [(0, 48000)]


def test_data_of_a_stream_that_we_reset_is_acknowledged_for_the_connection_only():
    server = Server(options=_SMALL)
    server.start(post(1))
    server.requests[0].encoder.reset_stream()
    assert [each.kind for each in server.send()] == [RST_STREAM]
    assert updates(server.send(*[data(1, b"x" * 16000, 0)] * 3)) == [(0, 48000)]
    assert server.wire.closed is None


def test_a_body_waits_for_the_window_and_its_maker_is_told():
    server = Server(options=_SMALL)
    server.start(settings((4, 10)), headers(1))
    request = server.requests[0]
    request.encoder.encode_headers(HeaderMap(OK), False)
    request.encoder.encode_data(b"x" * 500, False)
    assert [len(each.payload) for each in server.send() if each.kind == DATA] == [10]
    assert request.watermarks == []
    request.encoder.encode_data(b"x" * 600, True)
    assert request.watermarks == [True]
    assert [len(each.payload) for each in server.send(window_update(1, 700))] == [490, 210]
    assert request.watermarks == [True, False]
    [last] = server.send(window_update(1, 1000))
    assert (len(last.payload), last.ends) == (390, True)
    assert server.codec.idle


def test_a_maker_is_told_when_the_window_of_the_connection_lets_everything_go_at_once():
    server = Server(options=_SMALL)
    server.start(settings((4, 1_000_000)), headers(1))
    request = server.requests[0]
    request.encoder.encode_headers(HeaderMap(OK), False)
    request.encoder.encode_data(b"x" * 70_000, False)
    assert request.watermarks == [True]
    server.send(window_update(0, 100_000))
    assert request.watermarks == [True, False]


def test_no_trailers_are_no_headers_but_the_end_of_the_body():
    server = Server(options=_SMALL)
    server.start(headers(1))
    encoder = server.requests[0].encoder
    encoder.encode_headers(HeaderMap(OK), False)
    encoder.encode_data(b"x", False)
    encoder.encode_trailers(HeaderMap())
    shown = [(each.kind, each.payload, each.ends) for each in server.send()][1:]
    assert shown == [(DATA, b"x", False), (DATA, b"", True)]


def test_trailers_wait_for_the_body():
    server = Server()
    server.start(settings((4, 3)), headers(1))
    encoder = server.requests[0].encoder
    encoder.encode_headers(HeaderMap(OK), False)
    encoder.encode_data(b"abcdef", False)
    encoder.encode_trailers(HeaderMap([(b"x", b"y")]))
    assert [each.kind for each in server.send()] == [HEADERS, DATA]
    rest = server.send(window_update(1, 100))
    assert [(each.kind, each.ends) for each in rest] == [(DATA, False), (HEADERS, True)]


def test_an_empty_end_needs_no_window():
    server = Server()
    server.start(settings((4, 0)), headers(1))
    encoder = server.requests[0].encoder
    encoder.encode_headers(HeaderMap(OK), False)
    encoder.encode_data(b"", True)
    assert [(each.kind, each.ends) for each in server.send()] == [(HEADERS, False), (DATA, True)]


def test_streams_share_the_connections_window_in_turn():
    server = Server()
    server.start(settings((4, 200_000)), headers(1), headers(3))
    for request in server.requests:
        request.encoder.encode_headers(HeaderMap(OK), False)
        request.encoder.encode_data(b"x" * 100_000, True)
    server.send()
    sent = [each.stream for each in server.send(window_update(0, 4 * 16384))]
    assert sent == [1, 3, 1, 3]
    assert server.wire.closed is None


def test_frames_are_never_larger_than_the_peer_takes():
    server = Server()
    server.start(headers(1))
    encoder = server.requests[0].encoder
    encoder.encode_headers(HeaderMap([*OK, (b"x", b"y" * 40_000)]), False)
    encoder.encode_data(b"x" * 40_000, True)
    frames = server.send()
    assert max(len(each.payload) for each in frames) == 16384
    assert [each.flags & 4 for each in frames[:3]] == [0, 0, 4]


def test_a_full_transport_makes_every_stream_wait():
    server = Server()
    server.start(headers(1), headers(3))
    server.codec.on_watermark(True)
    server.send(headers(5))
    server.codec.on_watermark(False)
    assert [request.watermarks for request in server.requests] == [[True, False]] * 3


def test_a_complete_response_that_nobody_takes_ends_after_its_time():
    server = Server()
    server.codec.flush_timeout = 5.0
    server.start(settings((4, 1)), headers(1), headers(3))
    for request, end in zip(server.requests, (True, False), strict=True):
        request.encoder.encode_headers(HeaderMap(OK), False)
        request.encoder.encode_data(b"abc", end)
    server.send()
    server.codec.sweep(0.0)
    server.codec.sweep(4.9)
    server.send(window_update(1, 1))
    server.codec.sweep(5.0)
    server.codec.sweep(9.9)
    assert server.send() == []
    server.codec.sweep(10.0)
    assert [(each.kind, each.stream) for each in server.send()] == [(RST_STREAM, 1)]
    assert server.stats.tx_flush_timeout.value == 1
    assert list(server.codec.streams) == [3]


def test_what_waits_for_a_window_is_shown_until_it_is_out_or_given_up():
    server = Server()
    server.start(settings((4, 10)), headers(1), headers(3))
    shown = server.stats.pending_send_bytes
    for request in server.requests:
        request.encoder.encode_headers(HeaderMap(OK), False)
        request.encoder.encode_data(b"x" * 50, True)
    assert shown.value == 80
    server.send(window_update(1, 30))
    assert shown.value == 50
    server.send(rst(3))
    assert shown.value == 10
    server.codec.on_closed(False)
    assert shown.value == 0


def shown(stats):
    return stats.outbound_frames_active.value, stats.outbound_control_frames_active.value


def test_frames_that_the_transport_holds_are_shown_while_it_does():
    server = Server()
    server.start(headers(1))
    stats = server.stats
    encoder = server.requests[0].encoder
    encoder.encode_headers(HeaderMap(OK), False)
    encoder.encode_data(b"x", False)
    server.codec.dispatch(frame(PING, 0, 0, b"12345678"))
    server.codec.sweep(0.0)
    assert shown(stats) == (3, 1)
    server.wire.take()
    server.codec.on_watermark(False)
    assert shown(stats) == (0, 0)
    encoder.encode_data(b"x", False)
    server.codec.on_watermark(True)
    assert stats.outbound_frames_active.value == 1
    server.codec.on_closed(False)
    assert stats.outbound_frames_active.value == 0
