"""Header blocks against the coders of the library `hpack`, which are the oracle here."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.http.http2.hpack import (
    TOO_LARGE,
    TOO_MANY,
    BlockError,
    BombError,
    HeaderDecoder,
    HeaderEncoder,
)

names = st.sampled_from(
    [b":path", b":method", b"content-type", b"x-a", b"x-b", b"cookie", b"date", b"authorization"]
)
values = st.one_of(st.sampled_from([b"", b"GET", b"1", b"2"]), st.binary(max_size=300))
blocks = st.lists(st.lists(st.tuples(names, values), max_size=8), max_size=12)


def decoder(count: int = 100, size: int = 60 * 1024) -> HeaderDecoder:
    return HeaderDecoder(4096, size, count)


@given(blocks, st.booleans())
def test_what_the_library_encodes_is_decoded(messages, huffman):
    theirs, ours = hpack.Encoder(), decoder()
    for fields in messages:
        assert ours.decode(theirs.encode(fields, huffman=huffman)) == fields


@given(blocks, st.lists(st.sampled_from([0, 64, 100, 4096]), max_size=12))
def test_what_is_encoded_the_library_decodes_also_when_the_table_changes_its_size(messages, sizes):
    ours, theirs = HeaderEncoder(), hpack.Decoder()
    for at, fields in enumerate(messages):
        if at < len(sizes):
            ours.resize(sizes[at])
        assert [tuple(pair) for pair in theirs.decode(ours.encode(fields), raw=True)] == fields


@given(st.binary(max_size=60))
def test_any_octets_are_fields_or_an_error_and_the_library_agrees(octets):
    try:
        expected = [tuple(pair) for pair in hpack.Decoder().decode(octets, raw=True)]
    except (hpack.HPACKError, IndexError):
        expected = None
    try:
        found = decoder().decode(octets)
    except BlockError:
        found = None
    # The library takes a table size update in the middle, which RFC 7541, 4.2 forbids.
    if found != expected:
        assert found is None
        assert any(byte & 0xE0 == 0x20 for byte in octets)


def test_a_repeated_block_gives_a_list_of_its_own_each_time():
    ours, block = decoder(), hpack.Encoder().encode([(b":method", b"GET")])
    first = ours.decode(block)
    first.append((b"x", b"y"))
    assert ours.decode(block) == [(b":method", b"GET")]


def test_what_was_remembered_is_forgotten_when_the_table_moves():
    ours, theirs = decoder(), hpack.Encoder()
    theirs.encode([(b"a", b"1")])
    ours.decode(b"\x40\x01a\x011")
    block = b"\xbe"  # the newest entry
    assert ours.decode(block) == [(b"a", b"1")]
    ours.decode(b"\x40\x01b\x012")
    assert ours.decode(block) == [(b"b", b"2")]


def test_more_fields_than_allowed_are_no_fields_but_the_table_goes_on():
    ours = decoder(count=2)
    assert ours.decode(b"\x40\x01a\x011" + b"\x82\x84") == TOO_MANY
    assert ours.decode(b"\xbe") == [(b"a", b"1")]


@given(st.lists(st.tuples(names, values), max_size=40), st.booleans())
def test_what_is_passed_over_leaves_the_table_as_the_library_has_it(fields, huffman):
    theirs, ours = hpack.Encoder(), decoder(count=3)
    found = ours.decode(theirs.encode(fields, huffman=huffman))
    assert found == (fields if len(fields) <= 3 else TOO_MANY)
    after = [(b"x-a", b"after"), fields[-1] if fields else (b"x-b", b"1")]
    assert ours.decode(theirs.encode(after)) == after


_SMALL = b"\x82\x84\x86\x87"


@pytest.mark.parametrize(
    "rest",
    [
        b"\x80", b"\xff\xff\x01", b"\x20", b"\x0f\xff\x01\x01a", b"\x00\x01", b"\x00\x05a\x01b",
        b"\x40\x01", b"\x00\x7f", b"\x00\x7f\xff\xff\xff\xff\xff\x01",
    ],
)  # fmt: skip
def test_what_is_passed_over_has_to_be_a_block_all_the_same(rest):
    with pytest.raises(BlockError):
        decoder(count=3).decode(_SMALL + rest)
    assert decoder(count=3).decode(_SMALL + b"\x00\x01a\x01b" + b"\x82") == TOO_MANY


def test_far_more_fields_than_allowed_are_a_bomb():
    assert decoder().decode(b"\x82" * 4000) == TOO_MANY
    with pytest.raises(BombError):
        decoder().decode(b"\x82" * 5000)
    with pytest.raises(BombError):
        decoder().decode(b"\x00\x01a\x01b" * 5000)


def test_more_octets_than_allowed_are_no_fields():
    ours = decoder(size=1000)
    assert ours.decode(hpack.Encoder().encode([(b"a", b"x" * 1001)])) == TOO_LARGE
    assert ours.decode(hpack.Encoder().encode([(b"b", b"x" * 999)])) == [(b"b", b"x" * 999)]


def test_a_bomb_stops_before_it_has_unpacked():
    ours = decoder()
    ours.decode(b"\x40\x01a" + b"\x7f\xa1\x1e" + b"x" * 4000)  # one entry of 4000 bytes
    with pytest.raises(BombError):
        ours.decode(b"\xbe" * 16000)


@pytest.mark.parametrize("block", [b"\x80", b"\xff\xff\xff\xff\xff\x7f", b"\xc6", b"\x00\x05ab",
                                   b"\x3f\xe2\x1f", b"\x82\x20"])  # fmt: skip
def test_what_rfc_7541_forbids_is_an_error(block):
    with pytest.raises(BlockError):
        decoder().decode(block)


def test_secrets_are_never_indexed_and_volatile_fields_leave_the_table_alone():
    ours = HeaderEncoder()
    assert ours.encode([(b"authorization", b"x")])[0] & 0xF0 == 0x10
    assert ours.encode([(b":path", b"/long")])[0] & 0xF0 == 0
    assert ours.encode([(b"authorization", b"x")]) == ours.encode([(b"authorization", b"x")])


def test_fields_of_a_connection_are_left_out():
    assert HeaderEncoder().encode([(b"connection", b"close"), (b"upgrade", b"x")]) == b""
