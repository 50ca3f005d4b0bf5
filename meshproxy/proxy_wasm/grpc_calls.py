"""The gRPC calls and streams of one root: tokens, and which callback follows what.

Owns Envoy's rules: a unary call ends with exactly one `proxy_on_grpc_receive` or
`proxy_on_grpc_close`, a stream with `proxy_on_grpc_close`; nothing is said about a token that was
not returned with OK. Refuses to know how calls travel (`grpc_client.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from meshproxy.http.buffer import Buffer
from meshproxy.http.header_map import HeaderMap
from meshproxy.proxy_wasm.abi import (
    BAD_ARGUMENT,
    GRPC_RECEIVE_INITIAL_METADATA,
    GRPC_RECEIVE_TRAILING_METADATA,
    INTERNAL_FAILURE,
    NOT_FOUND,
    OK,
    PARSE_FAILURE,
)
from meshproxy.proxy_wasm.grpc_client import (
    GRPC_INTERNAL,
    GRPC_OK,
    GrpcRequest,
    GrpcStream,
    read_target,
)
from meshproxy.proxy_wasm.header_names import NO_PSEUDO, clean
from meshproxy.proxy_wasm.pairs import Pair

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.root_context import RootContext

MAX_WAITING: Final = 16 << 20
"""Bytes that one stream holds for a peer that takes nothing."""
MAX_CALLS: Final = 1024
"""Calls and streams of one root that are open at the same time."""

# The two lowest bits of a token are the kind of call.
KIND: Final = 3
GRPC_CALL: Final = 1
GRPC_STREAM: Final = 2


class GrpcCalls:
    """All of one root's. Every method that answers a hostcall returns a status."""

    __slots__ = ("_open", "_root", "message")

    def __init__(self, root: RootContext) -> None:
        self._root = root
        self._open: dict[int, Call | Stream] = {}
        self.message: Buffer | None = None  # GRPC_RECEIVE_BUFFER, during its callback

    def call(self, service: bytes, path: str, metadata: list[Pair], message: bytes,
             timeout: int) -> tuple[int, int]:  # fmt: skip
        """Start a unary call; (status, token). `timeout` in milliseconds, 0 for none."""
        status, token = self._start(Call, service, path, metadata, timeout)
        if status == OK:
            self._open[token].stream.send(message, True)
        return status, token

    def open(self, service: bytes, path: str, metadata: list[Pair]) -> tuple[int, int]:
        """Open a stream; (status, token)."""
        return self._start(Stream, service, path, metadata, 0)

    def send(self, token: int, message: bytes, end_stream: bool) -> int:
        """A message on a stream."""
        if token & KIND != GRPC_STREAM:
            return BAD_ARGUMENT
        stream = self._open.get(token)
        if stream is None:
            return NOT_FOUND
        if stream.local_closed or not stream.has_room(len(message)):
            return BAD_ARGUMENT
        stream.local_closed = end_stream
        stream.stream.send(message, end_stream)
        return OK

    def cancel(self, token: int) -> int:
        """Give a call or a stream up: no callback follows."""
        if token & KIND not in (GRPC_CALL, GRPC_STREAM):
            return BAD_ARGUMENT
        found = self._open.pop(token, None)
        if found is None:
            return NOT_FOUND
        found.stream.reset()
        return OK

    def close(self, token: int) -> int:
        """Half-close a stream; a call is given up."""
        if token & KIND != GRPC_STREAM:
            return self.cancel(token)
        stream = self._open.get(token)
        if stream is None:
            return NOT_FOUND
        if not stream.local_closed:
            stream.local_closed = True
            stream.stream.close()
        return OK

    def close_all(self) -> None:
        """The root ends, and all of its calls with it."""
        calls, self._open = self._open, {}
        for each in calls.values():
            each.stream.reset()

    def _start(self, kind: type[Call] | type[Stream], service: bytes, path: str,
               metadata: list[Pair], timeout: int) -> tuple[int, int]:  # fmt: skip
        root = self._root
        client = root.vm.services.grpc_client
        target = read_target(service)
        if client is None or target is None or not client.knows(target.cluster):
            return PARSE_FAILURE, 0
        if len(self._open) >= MAX_CALLS:
            return INTERNAL_FAILURE, 0
        own, _ = clean(metadata, NO_PSEUDO)
        seconds = timeout / 1000 or target.timeout
        token = root.vm.new_token(kind.kind)
        made = kind(self, token)
        stream = client.open(GrpcRequest(target, path, [*target.metadata, *own], seconds), made)
        if stream is None:
            return INTERNAL_FAILURE, 0
        made.stream = stream
        self._open[token] = made
        return OK, token

    def warn(self, text: str) -> None:
        """Say once that something was not done."""
        self._root.warn(text)

    # -- callbacks ----------------------------------------------------------------------------

    def forget(self, token: int) -> None:
        """A call or stream has ended."""
        self._open.pop(token, None)

    def tell_metadata(self, map_type: int, token: int, metadata: list[Pair]) -> None:
        """Initial or trailing metadata of a stream have come."""
        root = self._root
        exports = root.vm.exports
        callback = (
            exports.proxy_on_grpc_receive_initial_metadata
            if map_type == GRPC_RECEIVE_INITIAL_METADATA
            else exports.proxy_on_grpc_receive_trailing_metadata
        )
        if callback is None or token not in self._open:
            return
        root.call_maps = {map_type: HeaderMap(metadata)}
        callback(root, token, len(metadata))
        root.call_maps = {}
        root.encoded = None

    def tell_message(self, token: int, message: bytes) -> None:
        """A message has come."""
        callback = self._root.vm.exports.proxy_on_grpc_receive
        if callback is None or token not in self._open:
            return
        self.message = Buffer(message)
        callback(self._root, token, len(message))
        self.message = None

    def tell_close(self, token: int, status: int, text: str) -> None:
        """A stream has ended, or a call has failed."""
        root = self._root
        callback = root.vm.exports.proxy_on_grpc_close
        if callback is None or token not in self._open:
            return
        root.call_status = (status, text.encode("utf-8", "surrogateescape"))
        callback(root, token, status)
        root.call_status = (0, b"")


class _Receiver:
    """One open token; the receiver of its stream."""

    __slots__ = ("_calls", "_waiting", "local_closed", "stream", "token")

    kind: int
    stream: GrpcStream

    def __init__(self, calls: GrpcCalls, token: int) -> None:
        self._calls = calls
        self.token = token
        self.local_closed = False
        self._waiting = 0

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes may wait for a peer that takes nothing."""
        waiting = self._waiting + size if self.stream.paused else size
        if waiting > MAX_WAITING:
            self._calls.warn(f"{MAX_WAITING} bytes wait on a gRPC stream: no more are taken")
            return False
        self._waiting = waiting
        return True


class Call(_Receiver):
    """A unary call: one message, or a failure."""

    __slots__ = ("_answer",)

    kind = GRPC_CALL

    def __init__(self, calls: GrpcCalls, token: int) -> None:
        super().__init__(calls, token)
        self.local_closed = True
        self._answer: bytes | None = None

    def on_initial_metadata(self, metadata: list[Pair]) -> None:
        """Of no interest to a unary call."""

    def on_message(self, message: bytes) -> None:
        """The answer, if the call succeeds."""
        self._answer = message

    def on_trailing_metadata(self, metadata: list[Pair]) -> None:
        """Of no interest to a unary call."""

    def on_close(self, status: int, message: str) -> None:
        """Tell the answer, or why there is none; a success without one is an internal error."""
        calls, token = self._calls, self.token
        if status == GRPC_OK and self._answer is not None:
            calls.tell_message(token, self._answer)
        else:
            calls.tell_close(token, status or GRPC_INTERNAL, message)
        calls.forget(token)


class Stream(_Receiver):
    """A stream: everything is told as it comes."""

    __slots__ = ()

    kind = GRPC_STREAM

    def on_initial_metadata(self, metadata: list[Pair]) -> None:
        """`proxy_on_grpc_receive_initial_metadata`."""
        self._calls.tell_metadata(GRPC_RECEIVE_INITIAL_METADATA, self.token, metadata)

    def on_message(self, message: bytes) -> None:
        """`proxy_on_grpc_receive`."""
        self._calls.tell_message(self.token, message)

    def on_trailing_metadata(self, metadata: list[Pair]) -> None:
        """`proxy_on_grpc_receive_trailing_metadata`."""
        self._calls.tell_metadata(GRPC_RECEIVE_TRAILING_METADATA, self.token, metadata)

    def on_close(self, status: int, message: str) -> None:
        """`proxy_on_grpc_close`."""
        self._calls.tell_close(self.token, status, message)
        self._calls.forget(self.token)
