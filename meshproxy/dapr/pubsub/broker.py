"""The contract of a pub/sub component. Knows no broker, no CloudEvents and no API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from meshproxy.dapr.component import Component, ComponentError

MESSAGE_TTL: Final = "MESSAGE_TTL"
SUBSCRIBE_WILDCARDS: Final = "SUBSCRIBE_WILDCARDS"
BULK_PUBSUB: Final = "BULK_PUBSUB"


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """One message for a topic; `data` is what goes on the wire, mostly a CloudEvent in JSON."""

    topic: str
    data: bytes
    content_type: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a topic, as the broker delivers it."""

    topic: str
    data: bytes
    content_type: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Message], Awaitable[None]]
"""Takes a message. Returning is success; raising means that the broker shall deliver it again."""

Unsubscribe = Callable[[], Awaitable[None]]
"""Ends a subscription: no message is taken any more; returns when its handlers have ended."""


class PubSub(Component, Protocol):
    """A message broker. Every method raises ComponentError."""

    features: frozenset[str]

    async def publish(self, request: PublishRequest) -> None:
        """Hand a message over; when this returns, the broker has it."""

    async def bulk_publish(self, requests: Sequence[PublishRequest]) -> list[ComponentError | None]:
        """Hand over several of one topic; says for each what became of it."""

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: Handler
    ) -> Unsubscribe:
        """Deliver the messages of a topic to `handler`, until it is ended."""
