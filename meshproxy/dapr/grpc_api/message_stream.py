"""The messages of a call that has many, between an operation and whoever carries them.

Owns the wait for the next message and the bound on those that wait. Knows no HTTP and no call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from meshproxy.dapr.api_error import ApiError, Grpc

if TYPE_CHECKING:
    from meshproxy.dapr.grpc_api.method import Method

MAX_WAITING: Final = 1024
"""Messages that a client may send before the operation takes them."""


class MessageStream:
    """One call. `write` sends a message's bytes to the client.

    `full`: the client does not keep up; `on_room` is called when it does again.
    """

    def __init__(self, method: Method, write: Callable[[bytes], None]) -> None:
        self._method = method
        self._write = write
        self._waiting: deque[Any] = deque()
        self._ended = False
        self.full = False
        self.on_room: Callable[[], None] = lambda: None
        self._room: asyncio.Future[None] | None = None
        self._wake: asyncio.Future[None] | None = None

    # -- the carrier's side ----------------------------------------------------------------------

    def feed(self, message: bytes) -> None:
        """The client has sent a message. Raises ApiError."""
        if len(self._waiting) >= MAX_WAITING:
            text = f"more than {MAX_WAITING} messages wait"
            raise ApiError("ERR_BAD_REQUEST", text, 429, Grpc.RESOURCE_EXHAUSTED)
        try:
            self._waiting.append(self._method.request.FromString(message))
        except DecodeError as error:
            raise unreadable(self._method, error) from None
        self._awake()

    def set_full(self, full: bool) -> None:
        """The client cannot take what it is sent, or can again."""
        self.full = full
        if not full:
            if self._room is not None and not self._room.done():
                self._room.set_result(None)
            self.on_room()

    def finish(self) -> None:
        """The client sends no more."""
        self._ended = True
        self._awake()

    # -- the operation's side --------------------------------------------------------------------

    async def receive(self) -> Any:
        """The next message, None after the last. One operation waits at a time."""
        while not self._waiting:
            if self._ended:
                return None
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        return self._waiting.popleft()

    async def room(self) -> None:
        """Return when the client takes messages: at once, where it keeps up."""
        while self.full:
            if self._room is None or self._room.done():
                self._room = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._room)

    def send(self, **fields: Any) -> None:
        """One message to the client."""
        self._write(self._method.response(**fields).SerializeToString())

    def _awake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


def unreadable(method: Method, error: DecodeError) -> ApiError:
    """The bytes are no message of this call."""
    text = f"the message is no {method.request.DESCRIPTOR.name}: {error}"
    return ApiError("ERR_MALFORMED_REQUEST", text, 400, Grpc.INTERNAL)
