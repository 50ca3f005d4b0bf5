import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.proxy_wasm.pairs import MAX_PAIRS, decode, encode

PAIRS = st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=40)), max_size=200)


def plain_encode(pairs):
    """The encoding as its definition says it, field by field."""
    sizes = b"".join(struct.pack("<II", len(key), len(value)) for key, value in pairs)
    body = b"".join(key + b"\0" + value + b"\0" for key, value in pairs)
    return struct.pack("<I", len(pairs)) + sizes + body


@given(PAIRS)
def test_encoding_is_the_plain_one(pairs):
    assert encode(pairs) == plain_encode(pairs)


@given(PAIRS)
def test_decoding_gives_back_what_was_encoded(pairs):
    assert decode(encode(pairs)) == pairs


@given(PAIRS.filter(bool), st.data())
def test_every_truncation_is_refused(pairs, data):
    encoded = encode(pairs)
    end = data.draw(st.integers(1, len(encoded) - 1))
    assert decode(encoded[:end]) is None


@given(PAIRS, st.binary(min_size=1, max_size=8))
def test_anything_behind_the_last_pair_is_refused(pairs, more):
    assert decode(encode(pairs) + more) is None


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_is_a_map(data):
    found = decode(data)
    assert found is None or not data or encode(found) == data


def test_a_nul_that_is_missing_is_refused():
    encoded = bytearray(encode([(b"a", b"b")]))
    encoded[-1] = 1
    assert decode(bytes(encoded)) is None


def test_no_bytes_are_an_empty_map():
    assert decode(b"") == []
    assert decode(b"\0\0\0\0") == []


@pytest.mark.parametrize(("count", "accepted"), [(MAX_PAIRS, True), (MAX_PAIRS + 1, False)])
def test_1024_pairs_are_the_most(count, accepted):
    assert (decode(encode([(b"k", b"v")] * count)) is not None) is accepted


def test_a_map_of_more_than_one_mebibyte_is_refused():
    assert decode(encode([(b"k", b"v" * (1 << 20))])) is None
