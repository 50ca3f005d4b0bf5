"""The app beside the sidecar, as building blocks see it: what it is asked and told. Knows no wire.

Owns the contract, which `http_app_channel.py` and `grpc_api/app_channel.py` fulfil.
Invoked services do not go this way: the router streams them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from meshproxy.dapr.resiliency import CodeError

if TYPE_CHECKING:
    from meshproxy.dapr.concurrency import Slots
    from meshproxy.dapr.pubsub.subscription import Match, Subscription
    from meshproxy.dapr.state.items import SaveItem

SUCCESS: Final = "SUCCESS"
RETRY: Final = "RETRY"
DROP: Final = "DROP"

MAX_ANSWER: Final = 4 * 1024 * 1024
"""Bytes of an answer; a longer one is an error."""


@dataclass(frozen=True, slots=True)
class AppAnswer:
    """What the app has answered; `status` is HTTP's."""

    status: int
    body: bytes


class AppRefusal(CodeError):
    """The app has answered, and not as it should: `status` is HTTP's, or gRPC's with `is_grpc`."""

    def __init__(self, text: str, status: int, *, is_grpc: bool = False) -> None:
        super().__init__(text, status)
        self.status: Final = status
        self.is_grpc: Final = is_grpc


@dataclass(frozen=True, slots=True)
class TopicEvent:
    """One message for the app: `event` is the CloudEvent, `body` the same as JSON text.

    `path` is that of the rule it has matched, `metadata` the broker's.
    """

    pubsub: str
    topic: str
    path: str
    event: Mapping[str, Any]
    body: bytes
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BulkEntry:
    """One message of several: `event` is its CloudEvent; None where it is the raw `data`."""

    id: str
    event: Mapping[str, Any] | None
    data: bytes = b""
    content_type: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BulkTopicEvent:
    """Several messages of one topic, for one path; `id` names the delivery."""

    id: str
    pubsub: str
    topic: str
    path: str
    entries: Sequence[BulkEntry]
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BindingEvent:
    """What an input binding has read. `path` is its route at an HTTP app, mostly its name."""

    name: str
    path: str
    data: bytes
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BindingAnswer:
    """What the app wants done after a binding's event, and what it answers to the binding.

    `states` are for `store`, `to` names output bindings that shall get `data`.
    """

    data: bytes = b""
    store: str = ""
    states: tuple[SaveItem, ...] = ()
    to: tuple[str, ...] = ()
    parallel: bool = False


class AppChannel(Protocol):
    """The app. Every method raises ComponentError, AppRefusal among them. No timeout is set."""

    @property
    def slots(self) -> Slots | None:
        """The places at the app, which invoked services share; None for any number."""

    async def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> AppAnswer:
        """One call of a path, which begins with a slash."""

    async def list_topic_subscriptions(
        self, compile_rule: Callable[[str], Match]
    ) -> list[Subscription]:
        """What the app wants to hear; each that is not usable is logged and left out."""

    async def on_topic_event(self, event: TopicEvent) -> str:
        """Tell of one message: SUCCESS or DROP. Raises where it shall come again."""

    async def on_bulk_topic_event(self, event: BulkTopicEvent) -> dict[str, str]:
        """Tell of several: SUCCESS, RETRY or DROP by the ids; one that is not there is to RETRY."""

    async def has_input_binding(self, name: str, path: str) -> bool:
        """Whether the app takes the events of a binding."""

    async def on_binding_event(self, event: BindingEvent) -> BindingAnswer:
        """Tell of what a binding has read. Raises where the app has not taken it."""

    async def is_well(self, path: str) -> bool:
        """One look at its health; `path` is for an HTTP app."""

    async def close(self) -> None:
        """Let go of the connections."""
