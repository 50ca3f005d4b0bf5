"""The messages are what their numbers say on the wire."""

import pytest

from meshproxy.dapr.pluggable.messages import REFLECTION, message


@pytest.mark.parametrize(
    ("made", "wire"),
    [
        (
            message("SetRequest")(
                key="k", value=b"v", etag=message("Etag")(value="1"), content_type="c"
            ),
            b"\x0a\x01k\x12\x01v\x1a\x03\x0a\x011\x32\x01c",
        ),
        (message("MetadataRequest")(properties={"a": "b"}), b"\x0a\x06\x0a\x01a\x12\x01b"),
        (message("MultiMaxSizeResponse")(max_size=300), b"\x08\xac\x02"),
        (
            message("ServerReflectionRequest", REFLECTION)(list_services="*"),
            b"\x3a\x01*",
        ),
    ],
)
def test_a_message_has_the_bytes_of_its_numbers(made, wire):
    assert made.SerializeToString() == wire
    assert type(made).FromString(wire) == made


def test_a_message_that_is_not_described_is_an_error():
    with pytest.raises(KeyError):
        message("Nothing")
