"""METADATA in both codecs, without sockets: what is read and written, cut at every octet."""

from __future__ import annotations

import hpack
import pytest

from meshproxy.http.http2.settings import Http2Settings
from tests.http.http2.test_client import OK, Client
from tests.support.fake_wire import cuts
from tests.support.http2_frames import (
    END_HEADERS,
    GOAWAY,
    START,
    Server,
    block,
    data,
    frame,
    headers,
    post,
)
from tests.support.raw_http2 import METADATA, metadata

ALLOWED = Http2Settings(allow_metadata=True)
PART = block((("a", "1"), ("b", "2"), ("a", "3")))
REQUEST = (
    post(1) + metadata(1, [("a", "1")]) + data(1, b"x", 0) + frame(METADATA, 0, 1, PART[:4])
    + frame(METADATA, 4, 1, PART[4:]) + metadata(0, [("z", "0")]) + data(1, b"")
    + metadata(1, [("late", "1")])
)  # fmt: skip


def test_metadata_arrives_the_same_however_it_is_cut():
    for pieces in cuts(REQUEST):
        server = Server(options=ALLOWED)
        server.start(*pieces)
        [request] = server.requests
        assert request.metadata == [{b"a": b"1"}, {b"a": b"1", b"b": b"2"}]
        assert request.body == b"x"
        assert request.ended


def test_metadata_of_a_response_arrives_the_same_however_it_is_cut():
    answer = (
        START[24:] + metadata(1, [("early", "1")]) + headers(1, OK, END_HEADERS)
        + metadata(1, [("m", "v" * 40)], 16) + data(1, b"") + metadata(1, [("late", "1")])
    )  # fmt: skip
    for pieces in cuts(answer):
        client = Client(ALLOWED)
        _, response = client.request()
        client.send(*pieces)
        assert response.metadata == [{b"early": b"1"}, {b"m": b"v" * 40}]
        assert response.ended


def test_metadata_that_is_not_allowed_is_a_frame_of_an_unknown_type():
    server = Server()
    server.start(REQUEST)
    [request] = server.requests
    assert request.metadata == []
    assert request.ended
    server.requests[0].encoder.encode_metadata({b"a": b"1"})
    assert server.wire.take() == b""


@pytest.mark.parametrize("size", [1, 16000, 16384, 50000])
def test_metadata_is_written_in_frames_that_any_peer_takes(size):
    server = Server(options=ALLOWED)
    server.start(post(1))
    given = {b"name": b"v" * size, b"": b""}
    assert server.requests[0].encoder.encode_metadata(given)
    frames = server.send()
    assert {each.kind for each in frames} == {METADATA}
    assert [each.flags for each in frames] == [0] * (len(frames) - 1) + [4]
    assert max(len(each.payload) for each in frames) <= 16384
    decoder = hpack.Decoder(max_header_list_size=1 << 20)
    decoder.header_table_size = 0
    octets = b"".join(each.payload for each in frames)
    assert dict(decoder.decode(octets, raw=True)) == given


def test_metadata_overtakes_a_body_that_waits_for_its_window():
    client = Client(ALLOWED)
    client.send(START[24:])
    client.wire.take()
    stream, _ = client.request(end=False)
    stream.encode_data(b"x" * 70000, False)
    client.wire.take()
    stream.encode_metadata({b"a": b"1"})
    assert client.wire.take() == metadata(1, [("a", "1")])


def test_no_metadata_is_written_behind_the_end():
    server = Server(options=ALLOWED)
    server.start(post(1))
    request = server.requests[0]
    request.encoder.encode_data(b"", True)
    server.send()
    request.encoder.encode_metadata({b"a": b"1"})
    assert server.send() == []


def test_empty_maps_are_counted_and_go_nowhere():
    server = Server(options=ALLOWED)
    server.start(post(1), metadata(1, []) * 5)
    assert server.requests[0].metadata == []
    assert server.stats.metadata_empty_frames.value == 5


BAD = {
    "no HPACK": frame(METADATA, 4, 1, b"\xff" * 8),
    "cut off": frame(METADATA, 4, 1, PART[:8]),
    "an index of another map":
        frame(METADATA, 4, 1, b"\x40\x01a\x011") + frame(METADATA, 4, 1, b"\xbe"),
    "a bomb":
        frame(METADATA, 0, 1, b"\x40\x01a\x7f\x81\x1e" + b"v" * 3968)
        + frame(METADATA, 4, 1, b"\xbe" * 9000),
    "too many fields": frame(METADATA, 4, 1, b"\x82" * 10_001),
}  # fmt: skip


@pytest.mark.parametrize("octets", BAD.values(), ids=BAD)
def test_what_is_no_map_ends_the_connection(octets):
    server = Server(options=ALLOWED)
    frames = server.start(post(1), octets)
    assert [each.code for each in frames if each.kind == GOAWAY] == ["INTERNAL_ERROR"]
    assert server.requests[0].reset == "codec_error:The_user_callback_function_failed"
    assert server.manager.protocol_errors == 1


def test_the_limit_counts_all_maps_of_a_stream_and_not_those_of_another():
    server = Server(options=Http2Settings(allow_metadata=True, max_metadata_size=100))
    large = [("a", "1" * 50)]
    assert not server.start(post(1), post(3), metadata(1, large), metadata(3, large))
    frames = server.send(metadata(1, large))
    assert [each.code for each in frames if each.kind == GOAWAY] == ["INTERNAL_ERROR"]


def test_the_beginning_of_a_map_is_forgotten_with_its_stream():
    server = Server(options=ALLOWED)
    server.start(post(1), frame(METADATA, 0, 1, b"x" * 1000))
    server.send(frame(3, 0, 1, b"\0\0\0\x08"))  # RST_STREAM
    server.send(post(3), metadata(3, [("a", "1")]))
    assert list(server.codec._metadata._arriving) == [3]


def test_metadata_within_a_header_block_is_an_error():
    server = Server(options=ALLOWED)
    head = block()
    frames = server.start(frame(1, 0, 1, head[:5]), metadata(1, [("a", "1")]))
    assert [each.code for each in frames if each.kind == GOAWAY] == ["PROTOCOL_ERROR"]


def test_a_connection_that_floods_with_maps_does_not_have_a_turn_for_itself():
    server = Server(options=ALLOWED)
    server.start(post(1))
    server.codec.dispatch(metadata(1, [("a", "1")]) * 1000)
    assert 0 < len(server.requests[0].metadata) < 50
    assert server.wire.take_turns() > 20
    assert len(server.requests[0].metadata) == 1000
