"""One call of the gRPC API: its name, its messages, its operation. Knows no call in particular."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.grpc_api.protos import classes
from meshproxy.http.header_map import HeaderMap

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api
    from meshproxy.dapr.grpc_api.message_stream import MessageStream

Fields = dict[str, Any]
"""The fields of a response's message."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response with metadata of its own: names in lower case."""

    fields: Fields = field(default_factory=dict)
    metadata: tuple[tuple[bytes, bytes], ...] = ()


Operation = Callable[["Api", Any], Awaitable[Fields | None]]
"""From the request's message to the fields of the response's; None: an empty one."""

InformedOperation = Callable[["Api", Any, HeaderMap], Awaitable[Reply]]
"""The same with the request's metadata."""

StreamOperation = Callable[["Api", "MessageStream"], Awaitable[None]]
"""A call of many messages; the call is over when it returns."""


@dataclass(frozen=True, slots=True)
class Method:
    """A call: `operation` of one message, or `stream` of many.

    `foreign`: not Dapr's own, and so an app's where the metadata name one. `public`: no token.
    """

    name: str
    request: type[Any]
    response: type[Any]
    operation: InformedOperation | None = None
    stream: StreamOperation | None = None
    foreign: bool = False
    public: bool = False
    refusal: ApiError | None = None

    def refused_by(self, error: ApiError) -> Method:
        """A call of this name that is always answered with an error, token or not."""
        return replace(self, refusal=error)


def method(name: str, operation: Operation) -> Method:
    """An entry; the messages are those that Dapr's own descriptor has for the name."""

    async def informed(api: Api, request: Any, metadata: HeaderMap) -> Reply:
        return Reply(await operation(api, request) or {})

    return Method(name, *classes(name), informed)


def informed_method(name: str, operation: InformedOperation) -> Method:
    """An entry whose operation wants to know the metadata, too."""
    return Method(name, *classes(name), operation)


def stream_method(name: str, operation: StreamOperation) -> Method:
    """An entry with many messages, in one direction or both."""
    return Method(name, *classes(name), stream=operation)
