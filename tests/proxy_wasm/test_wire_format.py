"""Small protobuf messages, read and written without generated classes."""

import pytest
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.proxy_wasm import wire_format as wire


def test_the_fields_of_a_real_message_come_in_their_order():
    service = GrpcService()
    service.envoy_grpc.cluster_name = "up"
    service.timeout.FromMilliseconds(1500)
    found = list(wire.fields(service.SerializeToString()))
    assert found == [(1, b"\x0a\x02up"), (3, b"\x08\x01\x10\x80\xca\xb5\xee\x01")]


@given(st.lists(st.tuples(st.integers(1, 1 << 20), st.integers(0, (1 << 64) - 1) | st.binary())))
def test_what_is_written_is_read_again(values):
    parts = [
        wire.int_field(number, value) if isinstance(value, int) else wire.bytes_field(number, value)
        for number, value in values
    ]
    assert list(wire.fields(b"".join(parts))) == values


def test_fixed_numbers_are_bytes():
    assert list(wire.fields(b"\x09abcdefgh\x0dijkl")) == [(1, b"abcdefgh"), (1, b"ijkl")]


@pytest.mark.parametrize(
    "data",
    [b"\x08", b"\x0a\x05abc", b"\x0a", b"\x0b", b"\x00\x00", b"\x09abc", b"\x80" * 11, b"\x0f"],
)
def test_bytes_that_are_no_message_are_refused(data):
    with pytest.raises(wire.WireError):
        wire.message(data)


@given(st.binary(max_size=64))
def test_no_bytes_do_anything_else(data):
    try:
        wire.message(data)
    except wire.WireError:
        pass


def test_the_last_value_of_a_singular_field_counts():
    found = wire.message(b"\x0a\x01a\x0a\x01b\x10\x01\x10\x02")
    assert (wire.last_bytes(found, 1), wire.last_int(found, 2)) == (b"b", 2)
    assert (wire.last_bytes(found, 9), wire.last_int(found, 9)) == (b"", 0)
