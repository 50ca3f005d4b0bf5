"""The pieces of a call between daprds, however they are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.dapr.call_local.messages import Request, RequestStream
from meshproxy.dapr.call_local.stream import PIECE, CallError, Receiver, Sender
from meshproxy.http.grpc import encode_message

HEAD = Request(message={"method": b"x"}, metadata=[{"key": b"a"}])


def sent(*pieces: bytes) -> bytes:
    sender = Sender(RequestStream, "request", HEAD)
    return b"".join(sender.send(piece) for piece in pieces)


@given(st.lists(st.binary(max_size=40), min_size=1), st.lists(st.integers(1, 9), min_size=1))
def test_what_is_sent_in_pieces_is_received_in_others(pieces, sizes):
    data = sent(*pieces)
    receiver = Receiver(RequestStream, "request", 100)
    body, at = b"", 0
    while at < len(data):
        size = sizes[at % len(sizes)]
        body += receiver.feed(data[at : at + size])
        at += size
    assert body == b"".join(pieces)
    assert receiver.head == HEAD
    assert not receiver.partial


def test_a_long_piece_is_several_messages():
    receiver = Receiver(RequestStream, "request", PIECE)
    assert receiver.feed(sent(b"x" * (3 * PIECE + 1))) == b"x" * (3 * PIECE + 1)


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([RequestStream(payload={"data": b"a"})], "required fields in the leading chunk"),
        ([RequestStream(request=HEAD), RequestStream(request=HEAD)], "non-leading chunk"),
        ([RequestStream(request=HEAD, payload={"seq": 1})], r"received: 1 \(expected: 0\)"),
    ],
)
def test_what_is_no_call_is_refused(messages, text):
    receiver = Receiver(RequestStream, "request", 100)
    with pytest.raises(CallError, match=text):
        receiver.feed(b"".join(encode_message(each.SerializeToString()) for each in messages))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\0\0\0\0\2\xff\xff", 13),
        (b"\1\0\0\0\0", 13),
        (b"\0\x7f\0\0\0", 8),
    ],
)
def test_what_is_no_message_is_refused(data, code):
    with pytest.raises(CallError) as raised:
        Receiver(RequestStream, "request", 100).feed(data)
    assert raised.value.code == code
