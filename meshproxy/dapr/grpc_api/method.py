"""One call of the gRPC API: its name, its messages, its operation. Knows no call in particular."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshproxy.dapr.grpc_api.protos import classes

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api

Operation = Callable[["Api", Any], Awaitable[dict[str, Any] | None]]
"""From the request's message to the fields of the response's; None: an empty one."""


@dataclass(frozen=True, slots=True)
class Method:
    """A unary call."""

    name: str
    operation: Operation
    request: type[Any]
    response: type[Any]


def method(name: str, operation: Operation) -> Method:
    """An entry; the messages are those that Dapr's own descriptor has for the name."""
    return Method(name, operation, *classes(name))
