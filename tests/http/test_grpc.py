"""gRPC's own formats: messages however they are cut, timeouts, statuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.http import grpc
from meshproxy.http.header_map import HeaderMap


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    found, at = [], 0
    for size in sizes:
        found.append(data[at : at + size])
        at += size
    return [*found, data[at:]]


@given(st.lists(st.binary(max_size=300), max_size=5), st.lists(st.integers(0, 50), max_size=30))
def test_messages_are_found_however_they_are_cut(messages, sizes):
    body = b"".join(map(grpc.encode_message, messages))
    reader, counter = grpc.MessageReader(1000), grpc.MessageCounter()
    found = [each for piece in pieces(body, sizes) for each in reader.feed(piece)]
    assert found == messages
    assert not reader.partial
    assert sum(counter.feed(piece) for piece in pieces(body, sizes)) == len(messages)


def test_a_message_that_is_not_complete_is_kept_and_told():
    reader = grpc.MessageReader(10)
    assert reader.feed(b"\0\0\0\0\3ab") == []
    assert reader.partial
    assert reader.feed(b"c") == [b"abc"]


@pytest.mark.parametrize(
    ("data", "status"), [(b"\1\0\0\0\0", 13), (b"\0\0\0\0\x0b", 8), (b"\0\xff\xff\xff\xff", 8)]
)
def test_what_is_compressed_or_too_large_is_an_error(data, status):
    with pytest.raises(grpc.MessageError) as error:
        grpc.MessageReader(10).feed(data)
    assert error.value.status == status


def test_a_counter_sees_what_is_no_message():
    counter = grpc.MessageCounter()
    assert counter.feed(b"\7garbage") == 0
    assert not counter.is_valid


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"4m", 0.004), (b"5u", 5e-6), (b"6n", 6e-9),
     (b"99999999S", 99999999), (b"0S", 0)],
)  # fmt: skip
def test_a_timeout_is_read(value, seconds):
    assert grpc.parse_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [b"", b"1", b"S", b"1s", b"-1S", b"123456789S", b"1.5S", b"1 S"])
def test_what_is_no_timeout_is_none(value):
    assert grpc.parse_timeout(value) is None


@given(st.floats(0.001, 1e9))
def test_a_written_timeout_reads_as_what_it_was(seconds):
    assert grpc.parse_timeout(grpc.format_timeout(seconds)) == pytest.approx(
        seconds, rel=0.01, abs=0.001
    )


def test_a_message_text_is_decoded():
    assert grpc.decode_text(b"a%20b%C3%A9 %zz") == "a bé %zz"
    assert grpc.decode_text(b"%ff") == "�"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(b":status", b"200")], None),
        ([(b":status", b"200"), (b"grpc-status", b"5")], 5),
        ([(b":status", b"200"), (b"grpc-status", b"x")], 2),
        ([(b":status", b"503")], 14),
        ([(b":status", b"404")], 12),
        ([(b":status", b"302")], 2),
    ],
)
def test_headers_may_decide_the_status(fields, status):
    assert grpc.status_of_response(HeaderMap(fields)) == status
