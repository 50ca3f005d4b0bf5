"""Every flood ends the connection, at Envoy's limit and under Envoy's counter, and not before."""

from __future__ import annotations

import itertools

import hpack
import pytest

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.http2.settings import Http2Settings
from tests.support.http2_floods import FLOODS
from tests.support.http2_frames import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    GET,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    Server,
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

_PING = frame(PING, 0, 0, b"12345678")
_PRIO = frame(PRIORITY, 0, 1, number(0) + b"\x0f")


def away(frames) -> list[str]:
    return [each.code for each in frames if each.kind == GOAWAY]


def test_one_empty_data_frame_in_a_row_is_enough():
    server = Server()
    assert not away(server.start(post(1), data(1, b"", 0), data(1, b"x", 0), data(1, b"", 0)))
    assert away(server.send(data(1, b"", 0))) == ["ENHANCE_YOUR_CALM"]
    assert server.wire.closed == "linger"
    assert server.stats.inbound_empty_frames_flood.value == 1
    assert server.requests[0].reset == "http2.inbound_empty_frames_flood"


def test_empty_continuations_count_as_empty_frames():
    server = Server()
    frames = server.start(
        frame(HEADERS, 0, 1, block()), *[frame(CONTINUATION, 0, 1, b"") for _ in range(2)]
    )
    assert away(frames) == ["ENHANCE_YOUR_CALM"]
    assert server.stats.inbound_empty_frames_flood.value == 1


def test_the_limit_of_empty_frames_is_the_configured_one():
    options = Http2Settings(max_consecutive_inbound_frames_with_empty_payload=3)
    server = Server(options=options)
    assert not away(server.start(post(1), *[data(1, b"", 0)] * 3))
    assert away(server.send(data(1, b"", 0)))


def test_priority_frames_are_bounded_for_each_stream():
    server = Server()
    assert not away(server.start(headers(1), _PRIO * 200))
    assert away(server.send(_PRIO)) == ["ENHANCE_YOUR_CALM"]
    assert server.stats.inbound_priority_frames_flood.value == 1


def test_window_updates_are_bounded_by_what_was_sent():
    server = Server()
    assert not away(server.start(headers(1), window_update(0, 1) * 7))
    assert away(server.send(window_update(0, 1))) == ["ENHANCE_YOUR_CALM"]
    assert server.stats.inbound_window_update_frames_flood.value == 1


def test_every_data_frame_sent_allows_more_window_updates():
    server = Server()
    server.start(headers(1))
    encoder = server.requests[0].encoder
    encoder.encode_headers(HeaderMap([(b":status", b"200")]), False)
    encoder.encode_data(b"x", False)
    assert not away(server.send(window_update(0, 1) * 27))
    assert away(server.send(window_update(0, 1)))


@pytest.mark.parametrize(
    ("hostile", "answer"), [(_PING, PING), (settings((3, 1)), SETTINGS)], ids=["ping", "settings"]
)
def test_answers_that_the_peer_does_not_read_are_bounded(hostile, answer):
    server = Server(options=Http2Settings(max_outbound_control_frames=50))
    server.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings())
    server.codec.dispatch(hostile * 49)  # the acknowledgement of SETTINGS is the first
    server.wire.take_turns()
    assert server.wire.closed is None
    server.codec.dispatch(hostile)
    if server.wire.closed is None:  # the first acknowledgement had been taken
        server.codec.dispatch(hostile)
    assert server.wire.closed == "abort"
    assert server.stats.outbound_control_flood.value == 1


@pytest.mark.parametrize("hostile", [_PING, settings((3, 1))], ids=["ping", "settings"])
def test_a_peer_that_reads_its_answers_may_ask_for_ever(hostile):
    server = Server(options=Http2Settings(max_outbound_control_frames=50))
    server.start()
    for _ in range(20):
        assert len(server.send(hostile * 40)) == 40
    assert server.wire.closed is None


def test_answers_to_acknowledgements_are_none():
    server = Server()
    assert server.start(frame(PING, ACK, 0, b"12345678") * 2000, settings()[:0]) == []


def test_frames_that_the_peer_does_not_read_are_bounded():
    server = Server(options=Http2Settings(max_outbound_frames=100))
    server.start(headers(1))
    encoder = server.requests[0].encoder
    encoder.encode_headers(HeaderMap([(b":status", b"200")]), False)
    for _ in range(99):
        encoder.encode_data(b"x", False)
    assert server.wire.closed is None
    encoder.encode_data(b"x", False)
    assert server.wire.closed == "abort"
    assert server.stats.outbound_flood.value == 1
    assert server.requests[0].reset == "http2.outbound_flood"


def test_frames_that_were_taken_do_not_count():
    server = Server(options=Http2Settings(max_outbound_frames=100))
    server.start(headers(1))
    encoder = server.requests[0].encoder
    encoder.encode_headers(HeaderMap([(b":status", b"200")]), False)
    for _ in range(1000):
        encoder.encode_data(b"x", False)
        server.wire.take()
    assert server.wire.closed is None


def test_the_ninth_continuation_ends_the_connection():
    server = Server()
    start = frame(HEADERS, 1, 1, block())
    piece = block((("x", "y"),))
    more = [frame(CONTINUATION, 0, 1, piece) for _ in range(7)]
    frames = server.start(start, *more, frame(CONTINUATION, END_HEADERS, 1, piece))
    assert not away(frames)
    assert len(server.requests) == 1
    server = Server()
    frames = server.start(start, *more, frame(CONTINUATION, 0, 1, piece),
                          frame(CONTINUATION, 0, 1, piece))  # fmt: skip
    assert away(frames) == ["ENHANCE_YOUR_CALM"]


def test_too_many_headers_cost_their_stream_and_a_bomb_everything():
    server = Server()
    encoder = hpack.Encoder()
    pairs = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"h")]
    fill = encoder.encode([*pairs, (b"x", b"y" * 3000)])
    repeated = b"\x82\x86\x84" + b"\xbe" * 30
    [reset] = server.start(frame(HEADERS, 5, 1, fill), frame(HEADERS, 5, 3, repeated))
    assert (reset.kind, reset.stream) == (RST_STREAM, 3)
    assert server.stats.header_list_size_too_large.value == 1
    assert [request.reset for request in server.requests] == [
        None, "http2.header_list_size_too_large",
    ]  # fmt: skip
    assert away(server.send(frame(HEADERS, 5, 5, b"\xbe" * 16000))) == ["ENHANCE_YOUR_CALM"]


def test_cookie_crumbs_count_as_headers():
    server = Server()
    crumbs = tuple(("cookie", "a") for _ in range(100))
    [reset] = server.start(headers(1, (*GET, *crumbs)))
    assert reset.kind == RST_STREAM
    assert server.requests[0].reset == "http2.too_many_headers"


def test_a_reset_stream_ends_at_once_so_that_streams_do_not_pile_up():
    server = Server(options=Http2Settings(max_concurrent_streams=1))
    server.start()
    for at in range(50):
        stream = 2 * at + 1
        assert server.send(headers(stream) + frame(RST_STREAM, 0, stream, number(8))) == []
    assert len(server.requests) == 50
    assert {request.reset for request in server.requests} == {"http2.remote_reset"}
    assert server.stats.rx_reset.value == 50
    assert server.stats.streams_active.value == 0


def test_a_reset_that_the_client_provoked_counts_as_sent():
    server = Server()
    server.start(post(1))
    [reset] = server.send(window_update(1, 0))
    assert (reset.kind, reset.code) == (RST_STREAM, "PROTOCOL_ERROR")
    assert server.stats.tx_reset.value == 1
    assert server.requests[0].reset == "http2.protocol_error"


def test_the_streams_of_a_client_that_goes_end_in_several_turns():
    server = Server()
    server.start()
    for n in range(100):
        server.send(headers(2 * n + 1))
    server.codec.on_closed(False)
    ended = [sum(each.reset is not None for each in server.requests)]
    server.codec.on_closed(False)  # an end, and then the loss of the connection
    while server.wire.put_off:
        server.wire.put_off.pop(0)()
        ended.append(sum(each.reset is not None for each in server.requests))
    assert ended == [16, 32, 48, 64, 80, 96, 100]
    assert {each.reset for each in server.requests} == {"downstream_remote_disconnect"}
    assert server.stats.streams_active.value == 0


def test_the_streams_of_a_connection_that_we_close_end_at_once():
    server = Server()
    server.start()
    for n in range(100):
        server.send(headers(2 * n + 1))
    server.codec.on_closed(True)
    assert {each.reset for each in server.requests} == {"downstream_remote_disconnect"}
    assert not server.wire.put_off


# -- turns -------------------------------------------------------------------------------------


def read_at_once(server: Server, octets: bytes) -> list[int]:
    """Give the octets in one read; how many frames were dealt with in each turn."""
    done = [server.codec.last_received]
    server.codec.dispatch(octets)
    done.append(server.codec.last_received)
    while server.wire.put_off:
        assert server.wire.disabled == 1, "it goes on reading"
        server.wire.put_off.pop(0)()
        done.append(server.codec.last_received)
    assert server.wire.disabled == 0 or server.codec.closed
    return [after - before for before, after in itertools.pairwise(done)]


@pytest.mark.parametrize(
    ("name", "frames"),
    {"rapid reset": 4, "MadeYouReset": 4, "SETTINGS": 16, "PING": 64, "HPACK bomb": 1,
     "PRIORITY": 128, "WINDOW_UPDATE": 128, "more headers than allowed": 1}.items(),
)  # fmt: skip
def test_of_a_flood_that_comes_in_one_read_a_turn_takes_few_frames(name, frames):
    server = Server()
    server.start()
    first, more = FLOODS[name]
    turns = read_at_once(server, first + b"".join(more(n) for n in range(400)))
    assert max(turns) <= frames
    assert server.codec.closed or sum(turns) >= 400


@pytest.mark.parametrize("name", ["rapid reset", "MadeYouReset"])
def test_of_a_connection_whose_streams_end_in_resets_a_turn_takes_one(name):
    server = Server()
    server.start()
    _, more = FLOODS[name]
    turns = read_at_once(server, b"".join(more(n) for n in range(100)))
    assert set(turns[4:]) == {2}  # the stream's beginning, and what ends it


def test_a_client_that_gives_up_now_and_then_has_the_turns_of_everybody():
    server = Server()
    server.start()
    for n in range(100):
        server.send(headers(2 * n + 1), *([rst(2 * n + 1)] if n % 5 == 0 else ()))
    begun = read_at_once(server, b"".join(headers(2 * n + 1) for n in range(100, 130)))
    assert begun[0] > 8


def test_streams_that_are_refused_make_turns_smaller_too():
    server = Server(options=Http2Settings(max_concurrent_streams=1))
    server.start(headers(1))
    turns = read_at_once(server, b"".join(headers(2 * n + 3) for n in range(60)))
    assert max(turns[8:]) == 1


def test_no_turn_is_taken_from_others_where_the_frames_of_a_read_are_few():
    server = Server()
    server.start()
    assert read_at_once(server, b"".join(headers(2 * n + 1) for n in range(12))) == [12]


def test_a_body_comes_as_it_was_read():
    server = Server(options=Http2Settings(initial_stream_window_size=1 << 20))
    server.start(post(1))
    assert read_at_once(server, data(1, b"x" * 16000, 0) * 4) == [4]


def test_what_was_put_off_comes_in_order_and_whole_wherever_a_read_was_cut():
    octets = b"".join(post(2 * n + 1) + data(2 * n + 1, b"%d" % n) for n in range(60))
    for cut in range(0, len(octets), 7):
        server = Server()
        server.start()
        server.codec.dispatch(octets[:cut])
        server.codec.dispatch(octets[cut:])  # TLS may have had more in the same read
        server.wire.take_turns()
        assert [each.body for each in server.requests] == [b"%d" % n for n in range(60)]
        assert server.wire.disabled == 0


def test_what_was_put_off_is_done_before_the_end_of_the_connection():
    server = Server()
    server.start()
    server.codec.dispatch(b"".join(headers(2 * n + 1) for n in range(60)))
    assert len(server.requests) < 60
    server.codec.on_eof()
    assert len(server.requests) == 60
    server.wire.take_turns()
    assert len(server.requests) == 60


def test_what_was_put_off_by_a_connection_that_is_gone_is_dropped():
    server = Server()
    server.start()
    server.codec.dispatch(b"".join(headers(2 * n + 1) for n in range(60)))
    begun = len(server.requests)
    server.codec.on_closed(False)
    server.wire.take_turns()
    assert len(server.requests) == begun < 60


def test_a_flood_of_one_read_is_one_flood_in_however_many_turns():
    server = Server(options=Http2Settings(max_outbound_control_frames=500))
    server.start()
    turns = 0
    server.codec.dispatch(_PING * 501)
    while server.wire.put_off:
        server.wire.take()  # it is gone, as far as the system knows
        server.wire.put_off.pop(0)()
        turns += 1
    assert turns > 3
    assert server.wire.closed == "abort"


def test_answers_that_were_taken_before_a_read_do_not_count_to_its_flood():
    server = Server(options=Http2Settings(max_outbound_control_frames=500))
    server.start()
    for _ in range(10):  # never more than allowed, so nobody has looked yet which of them are out
        server.send(_PING * 40)
    server.codec.dispatch(_PING * 200)
    assert server.wire.take_turns() > 1
    assert server.wire.closed is None
