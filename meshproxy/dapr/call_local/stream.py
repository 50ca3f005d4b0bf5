"""The pieces of a call: numbered on one end, checked and put together on the other."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.message import DecodeError

from meshproxy.dapr.api_error import Grpc
from meshproxy.dapr.call_local.messages import Message
from meshproxy.http.grpc import MessageError, MessageReader, encode_message

PIECE: Final = 256 * 1024
"""Bytes of a body in one message: well below the least limit that a peer has."""
_ROOM: Final = 1024 * 1024  # for headers, beside a body at its limit


class CallError(Exception):
    """The peer does not keep to the protocol, or says too much: a code of gRPC, and why."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code: Final = code


class Sender:
    """Makes the messages of one direction. `kind` is the message, `head` the name of its first
    field.
    """

    __slots__ = ("_first", "_head", "_kind", "_seq")

    def __init__(self, kind: type[Message], head: str, first: Message) -> None:
        self._kind = kind
        self._head = head
        self._first: Message | None = first
        self._seq = 0

    def send(self, data: bytes) -> bytes:
        """A piece of the body, empty or not; the head goes before it, once."""
        out = b""
        first, self._first = self._first, None
        if first is not None and not data:
            return encode_message(self._kind(**{self._head: first}).SerializeToString())
        for start in range(0, len(data), PIECE):
            piece = {"data": data[start : start + PIECE], "seq": self._seq}
            message = self._kind(payload=piece)
            if first is not None:
                getattr(message, self._head).CopyFrom(first)
                first = None
            self._seq += 1
            out += encode_message(message.SerializeToString())
        return out

    @property
    def is_due(self) -> bool:
        """Whether the head has still to go."""
        return self._first is not None


class Receiver:
    """Reads the messages of one direction: `head` is there from the first one on.

    A message may have `most` bytes and a little more, as in daprd.
    """

    __slots__ = ("_expected", "_kind", "_name", "_reader", "head")

    def __init__(self, kind: type[Message], name: str, most: int) -> None:
        self._kind = kind
        self._name = name
        self._reader = MessageReader(most + _ROOM)
        self._expected = 0
        self.head: Any = None

    def feed(self, data: bytes) -> bytes:
        """The body that these bytes have. Raises CallError."""
        pieces = []
        for message in self.messages(data):
            if self.head is None:
                if not message.HasField(self._name):
                    text = f"{self._name} does not contain the required fields in the leading chunk"
                    raise CallError(Grpc.INVALID_ARGUMENT, text)
                self.head = getattr(message, self._name)
            elif message.HasField(self._name) and getattr(message, self._name).ByteSize():
                text = f"{self._name} metadata found in non-leading chunk"
                raise CallError(Grpc.INTERNAL, text)
            if message.HasField("payload"):
                pieces.append(self._piece(message.payload))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def messages(self, data: bytes) -> list[Message]:
        """The messages that are complete now. Raises CallError."""
        try:
            return [self._kind.FromString(each) for each in self._reader.feed(data)]
        except MessageError as error:
            raise CallError(error.status, error.text) from None
        except DecodeError as error:
            raise CallError(Grpc.INTERNAL, f"a message cannot be read: {error}") from None

    def _piece(self, payload: Message) -> bytes:
        if payload.seq != self._expected:
            text = f"invalid sequence number received: {payload.seq} (expected: {self._expected})"
            raise CallError(Grpc.INTERNAL, text)
        self._expected += 1
        data: bytes = payload.data
        return data

    @property
    def partial(self) -> bool:
        """Whether a message has begun that is not complete."""
        return self._reader.partial
