"""ChunkedDecoder: any body in any chunks comes out whole, however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.http.http1.chunked import BROKEN, DONE, ChunkedDecoder, parse_chunk_size
from tests.support.fake_wire import cuts

BODY = b"3;a=b\r\nabc\r\n0A\r\n0123456789\r\n0\r\nx-t: 1\r\n\r\n"


def decode(pieces):
    decoder = ChunkedDecoder(1024)
    payload = b""
    for at, piece in enumerate(pieces):
        payload += decoder.feed(piece)
        if decoder.state >= DONE:
            return decoder, payload, decoder.rest + b"".join(pieces[at + 1 :])
    return decoder, payload, b""


@pytest.mark.parametrize("pieces", cuts(BODY + b"GET"))
def test_a_body_ends_at_its_last_byte_however_it_is_cut(pieces):
    decoder, payload, rest = decode(pieces)
    assert decoder.state == DONE
    assert payload == b"abc0123456789"
    assert decoder.trailers == b"x-t: 1\r\n\r\n"
    assert rest == b"GET"


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.integers(1, 30),
    st.integers(0, 3),
    st.booleans(),
)
def test_any_body_in_any_chunks_comes_out_whole(chunks, size, zeros, upper):
    spelling = b"%X" if upper else b"%x"
    sent = b"".join(
        b"0" * zeros + spelling % len(chunk) + b"\r\n" + chunk + b"\r\n" for chunk in chunks
    )
    sent += b"0\r\n\r\nrest"
    decoder, payload, rest = decode([sent[at : at + size] for at in range(0, len(sent), size)])
    assert decoder.state == DONE
    assert payload == b"".join(chunks)
    assert rest == b"rest"


@pytest.mark.parametrize(
    "body",
    [
        b"1\r\nab\r\n", b"1\r\na\n", b"\r\n", b"1\n", b"1\rx", b"0\r\nx: 1\n\r\n",
        b"0\r\nx: \0\r\n",
        b"0\r\n" + b"x: 1\r\n" * 200, b"1;" + b"x" * 20_000,
    ],
)  # fmt: skip
def test_what_cannot_become_a_body_is_refused_before_more_comes(body):
    for pieces in ([body], [body[at : at + 1] for at in range(len(body))]):
        decoder, _, _ = decode(pieces)
        assert decoder.state == BROKEN


@given(st.binary(max_size=20))
def test_a_size_is_hexadecimal_digits_or_nothing(line):
    size = parse_chunk_size(line)
    digits = line.split(b";")[0]
    plain = bool(digits) and all(byte in b"0123456789abcdefABCDEF" for byte in digits)
    assert size == int(digits, 16) if plain and size >= 0 else size == -1
