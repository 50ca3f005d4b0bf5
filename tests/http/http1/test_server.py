"""ServerCodec: transcripts without sockets, replayed with the input cut at every byte."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.http1 import ServerCodec
from meshproxy.http.http1.server import TURN
from meshproxy.http.http1.settings import Http1Settings
from tests.support.fake_wire import FakeWire, RecordedRequest, RecordingManager, cuts

GET = b"GET /a HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\n"


def respond(body: bytes = b"ok", fields: tuple[tuple[bytes, bytes], ...] = ()):
    def answer(request: RecordedRequest) -> None:
        headers = HeaderMap([(b":status", b"200"), *fields])
        request.encoder.encode_headers(headers, not body)
        if body:
            request.encoder.encode_data(body, True)

    return answer


def run(pieces, answer=None, settings=None):
    wire, manager = FakeWire(), RecordingManager(answer)
    codec = ServerCodec(wire, manager, settings or Http1Settings())
    for piece in pieces:
        if wire.closed is None:
            codec.dispatch(piece)
    return wire, manager.requests, codec


@pytest.mark.parametrize("pieces", cuts(GET))
def test_a_request_without_body_is_one_headers_event_however_it_is_cut(pieces):
    wire, [request], codec = run(pieces, respond())
    assert request.headers == [
        (b":authority", b"h"), (b":path", b"/a"), (b":method", b"GET"), (b":scheme", b"http"),
        (b"x-a", b"1"),
    ]  # fmt: skip
    assert request.ended
    assert wire.sent == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    assert wire.closed is None
    assert codec.idle


PIPELINED = (
    b"POST /1 HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nabcde"
    b"POST /2 HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nfgh\r\n0\r\n\r\n"
    b"GET /3 HTTP/1.1\r\nhost: h\r\n\r\n"
)


@pytest.mark.parametrize("pieces", cuts(PIPELINED))
def test_pipelined_requests_come_one_after_another_however_they_are_cut(pieces):
    wire, requests, _ = run(pieces, respond(b"", ((b"content-length", b"0"),)))
    assert [(dict(r.headers)[b":path"], r.body) for r in requests] == [
        (b"/1", b"abcde"), (b"/2", b"fgh"), (b"/3", b""),
    ]  # fmt: skip
    assert wire.sent == b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" * 3


def test_a_next_request_waits_and_reading_stops_until_the_response_is_written():
    wire, requests, codec = run([GET + GET])
    assert len(requests) == 1
    assert wire.disabled == 1
    respond()(requests[0])
    assert wire.disabled == 0
    assert len(requests) == 2
    respond()(requests[1])
    assert codec.idle


NO_BODY = respond(b"", ((b"content-length", b"0"),))


def test_of_many_requests_that_come_together_only_some_have_the_same_turn():
    wire, requests, codec = run([GET * (2 * TURN + 1)], NO_BODY)
    assert len(requests) == TURN
    assert wire.disabled == 1
    assert not codec.idle
    assert wire.take_turns() == 2
    assert len(requests) == 2 * TURN + 1
    assert wire.disabled == 0
    assert codec.idle


def test_as_many_requests_as_one_turn_has_need_no_other():
    wire, requests, codec = run([GET * TURN], NO_BODY)
    assert (len(requests), wire.put_off, wire.disabled) == (TURN, [], 0)
    assert codec.idle


def test_bytes_that_come_while_requests_wait_for_their_turn_are_behind_them():
    wire, requests, codec = run([GET * TURN + GET + GET[:10]], NO_BODY)
    codec.dispatch(GET[10:])
    assert len(requests) == TURN
    wire.take_turns()
    assert len(requests) == TURN + 2
    assert codec.idle


def test_a_request_that_is_not_answered_at_once_holds_back_the_rest_after_a_turn_as_well():
    answers = iter([NO_BODY] * TURN + [lambda request: None, NO_BODY])
    wire, requests, _ = run([GET * (TURN + 2)], lambda request: next(answers)(request))
    wire.take_turns()
    assert len(requests) == TURN + 1
    assert wire.disabled == 1
    NO_BODY(requests[-1])
    assert len(requests) == TURN + 2
    assert wire.disabled == 0


def test_what_waits_for_a_turn_is_served_before_the_end_of_the_connection():
    wire, requests, codec = run([GET * (3 * TURN)], NO_BODY)
    assert codec.on_eof() is False
    assert len(requests) == 3 * TURN
    assert wire.disabled == 0
    wire.take_turns()
    assert len(requests) == 3 * TURN


def test_trailers_are_dropped_unless_enabled():
    data = (
        b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
        b"1\r\na\r\n0\r\nX-T: 1\r\nContent-Length: 9\r\n\r\n"
    )
    _, [request], _ = run([data])
    assert (request.trailers, request.ended) == (None, True)
    for pieces in cuts(data):
        _, [request], _ = run(pieces, settings=Http1Settings(enable_trailers=True))
        assert request.trailers == [(b"x-t", b"1")]
        assert request.body == b"a"


@pytest.mark.parametrize(
    ("head", "status", "details"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "http.invalid_authority"),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "http.invalid_authority"),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n\r\n", 400, "http1.codec_error"),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "http1.codec_error"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", 400, "http1.codec_error"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400, "http1.codec_error"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400, "http1.codec_error"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400, "http1.invalid_characters"),
        (b"GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400, None),
        (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", 426, "low_version"),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 426, "low_version"),
        (b"GET /\r\nHost: a\r\n\r\n", 426, "low_version"),
        (b"M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "http1.codec_error"),
        (b"CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "http1.invalid_url"),
        (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "http1.invalid_scheme"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: :path\r\n\r\n", 400,
         "http1.connection_header_rejected"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Forwarded-For\r\n\r\n", 400,
         "http1.connection_header_rejected"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: a,b,c,d,e,f,g,h,i,j\r\n\r\n", 400,
         "http1.connection_header_rejected"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: te\r\nTE: " + b"a" * 256 + b"\r\n\r\n", 400,
         "http1.connection_header_rejected"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400, None),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 400,
        None), (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,5\r\n\r\n", 400, None),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
         400, "http1.content_length_and_chunked_not_allowed"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
         b"Transfer-Encoding: chunked\r\n\r\n", 501, "http1.invalid_transfer_encoding"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501,
         "http1.invalid_transfer_encoding"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501,
         "http1.invalid_transfer_encoding"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431,
         "http1.too_many_headers"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", 431,
         "http1.headers_too_large"),
    ],
)  # fmt: skip
def test_a_bad_head_is_answered_and_ends_the_connection(head, status, details):
    wire, [request], _ = run([head, GET])
    assert request.error is not None
    assert request.error.status == status
    assert details is None or request.error.details == details
    assert b"connection: close\r\n" in wire.sent
    assert wire.closed == "linger"


@pytest.mark.parametrize(
    "coding", [b"x\r\n", b"-1\r\n", b"0x1\r\n", b"1_0\r\n", b"1\n", b"1 ;a\r\n", b"1\r\nab\r\n"]
)
def test_a_bad_chunk_is_a_codec_error(coding):
    head = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
    wire, [request], _ = run([head + coding + b"\r\n0\r\n\r\n"])
    assert request.error is not None
    assert request.error.status == 400
    assert wire.closed is not None


def test_content_length_is_passed_on_as_the_number_that_was_understood():
    _, [request], _ = run(
        [b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 010\r\n\r\n" + b"x" * 10]
    )
    assert (b"content-length", b"10") in request.headers
    assert request.body == b"x" * 10
    assert request.ended


def test_hop_by_hop_and_nominated_fields_stay_here():
    _, [request], _ = run(
        [
            b"GET / HTTP/1.1\r\nhost: h\r\nconnection: x-secret, te, close\r\nx-secret: 1\r\n"
            b"te: gzip, trailers\r\nkeep-alive: 5\r\nproxy-connection: a\r\nx-kept: 2\r\n\r\n"
        ]
    )
    assert request.headers[4:] == [(b"x-kept", b"2"), (b"te", b"trailers")]
    assert request.headers[0] == (b":authority", b"h")


def test_an_absolute_target_overrules_the_host_field():
    _, [request], _ = run([b"GET http://other:8/p?q HTTP/1.1\r\nhost: h\r\n\r\n"])
    assert request.headers[:2] == [(b":authority", b"other:8"), (b":path", b"/p?q")]


def test_http_10_is_served_where_accepted_and_closed_after():
    settings = Http1Settings(accept_http_10=True)
    wire, _, _ = run([b"GET / HTTP/1.0\r\nhost: h\r\n\r\n"], respond(), settings)
    assert wire.sent == b"HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nok"
    assert wire.closed == "flush"


def test_connection_close_is_honoured_and_said():
    wire, _, _ = run([b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"], respond())
    assert b"connection: close\r\n" in wire.sent
    assert wire.closed == "flush"


def test_head_gets_headers_only():
    wire, _, _ = run(
        [b"HEAD / HTTP/1.1\r\nhost: h\r\n\r\n" + GET],
        respond(b"abc", ((b"content-length", b"3"),)),
    )
    assert wire.sent.count(b"abc") == 1


def test_an_answer_before_the_request_has_ended_closes_with_time_to_read_it():
    wire, [request], _ = run([b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nabc"])
    respond()(request)
    assert wire.closed == "linger"


def test_a_value_with_line_breaks_cannot_split_the_response():
    wire, [request], _ = run([GET])
    headers = HeaderMap([(b":status", b"200"), (b"x", b"a\r\nset-cookie: b"), (b"y", b"1")])
    request.encoder.encode_headers(headers, True)
    assert b"\r\nset-cookie" not in wire.sent
    assert b"y: 1\r\n" in wire.sent


def test_a_peer_that_goes_away_in_a_body_resets_the_stream():
    _, [request], codec = run([b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nabc"])
    assert codec.on_eof() is False
    assert request.reset == "downstream_remote_disconnect"


def test_a_peer_that_closes_before_its_answer_resets_the_stream():
    wire, [request], codec = run([GET])
    assert codec.on_eof() is False
    assert request.reset == "downstream_remote_disconnect"
    assert wire.sent == b""


def test_a_peer_that_goes_away_in_a_head_was_a_request_all_the_same():
    _, requests, codec = run([GET[:20]])
    assert not requests
    codec.on_closed(False)
    [request] = codec.callbacks.requests
    assert request.reset == "downstream_remote_disconnect"


def test_a_head_that_we_cut_off_ourselves_was_no_request():
    _, _, codec = run([GET[:20]])
    codec.on_closed(True)
    assert not codec.callbacks.requests


def test_a_request_that_names_no_host_has_no_authority():
    for head in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: host\r\n\r\n",
    ):
        _, [request], _ = run([head])
        assert request.headers == [(b":path", b"/"), (b":method", b"GET"), (b":scheme", b"http")]


def test_a_nominated_length_stays_here_and_the_body_is_still_framed_by_it():
    _, [request], _ = run(
        [
            b"POST / HTTP/1.1\r\nhost: h\r\nconnection: content-length\r\n"
            b"content-length: 3\r\n\r\nabc"
        ]
    )
    assert request.headers[4:] == []
    assert request.body == b"abc"


def test_fields_that_may_come_once_are_joined_in_the_place_of_the_first():
    _, [request], _ = run(
        [b"GET / HTTP/1.1\r\nhost: h\r\nVia: a\r\nCookie: c\r\nvia: b\r\ncookie: d\r\nvia:\r\n\r\n"]
    )
    assert request.headers[4:] == [(b"via", b"a,b"), (b"cookie", b"c"), (b"cookie", b"d")]


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: x\r\n"
        b"content-length: 2\r\n\r\n",
    ],
)
def test_what_follows_a_request_for_another_protocol_is_no_next_request(head):
    wire, [request], codec = run([head + GET])
    assert not request.ended
    respond()(request)
    assert b"connection: close\r\n" in wire.sent
    assert wire.closed == "linger"
    codec.dispatch(GET)
    assert len(codec.callbacks.requests) == 1


def test_an_answer_before_the_request_has_ended_says_that_it_is_the_last():
    wire, [request], _ = run([b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nabc"])
    request.encoder.encode_headers(HeaderMap([(b":status", b"200")]), False)
    assert b"connection: close\r\n" in wire.sent


def test_a_head_may_be_as_long_as_the_limit_and_no_longer():
    head = b"GET / HTTP/1.1\r\nhost: h\r\nx: %b\r\n\r\n"
    room = 100 - len(head % b"")
    for pieces in cuts(head % (b"a" * room)):
        _, [request], _ = run(pieces, settings=Http1Settings(max_headers_bytes=100))
        assert request.ended
    for pieces in cuts(head % (b"a" * (room + 1))):
        _, [request], _ = run(pieces, settings=Http1Settings(max_headers_bytes=100))
        assert request.error is not None
        assert request.error.status == 431


TOKEN = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).map(
    lambda text: "x-" + text
)
VALUE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)


@given(
    st.lists(st.tuples(TOKEN, VALUE), max_size=8),
    st.lists(st.binary(max_size=40), max_size=5),
    st.booleans(),
    st.integers(1, 50),
)
def test_what_h11_sends_is_what_the_codec_reads(fields, body, chunked, size):
    peer = h11.Connection(h11.CLIENT)
    framing = (
        ("transfer-encoding", "chunked")
        if chunked
        else ("content-length", str(len(b"".join(body))))
    )
    sent = peer.send(
        h11.Request(method="POST", target="/x", headers=[("host", "h"), *fields, framing])
    )
    assert sent is not None
    for piece in body:
        sent += peer.send(h11.Data(data=piece)) or b""
    sent += peer.send(h11.EndOfMessage()) or b""
    pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
    wire, [request], _ = run(pieces, respond(b"fine", ((b"content-length", b"4"),)))
    expected = [(name.encode(), value.encode()) for name, value in fields]
    assert [pair for pair in request.headers if pair[0].startswith(b"x-")] == expected
    assert request.body == b"".join(body)
    peer.receive_data(wire.sent)
    response = peer.next_event()
    assert isinstance(response, h11.Response)
    assert peer.next_event() == h11.Data(data=bytearray(b"fine"))
