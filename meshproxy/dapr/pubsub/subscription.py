"""A subscription as a value: which topic, where its messages go, and what becomes of the rest.

Knows no broker, no app and no resource: it is made of a file (`config/dapr/subscription.py`) or of
the app's own answer (`programmatic.py`). Expressions were compiled by whoever makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from meshproxy.dapr.component import ComponentError

Match = Callable[[Mapping[str, Any]], Any]
"""A compiled CEL expression over `{"event": envelope}`. Raises ValueError without a value."""


class Kind(Enum):
    """Where a subscription comes from, in the words of the metadata API."""

    DECLARATIVE = "DECLARATIVE"
    PROGRAMMATIC = "PROGRAMMATIC"
    STREAMING = "STREAMING"


@dataclass(frozen=True, slots=True)
class Rule:
    """One way for messages. `match` None takes all; it is the `expression`, compiled."""

    path: str
    expression: str = ""
    match: Match | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class BulkSubscribe:
    """How many messages go to the app in one call, and for how many seconds they are waited for."""

    max_messages_count: int = 100
    max_await_duration: float = 1.0

    @staticmethod
    def of(count: int, await_ms: int) -> BulkSubscribe:
        """0 is the default. Raises ValueError."""
        if count < 0 or await_ms < 0:
            raise ValueError("maxMessagesCount and maxAwaitDurationMs are not below 0")
        return BulkSubscribe(count or 100, await_ms / 1000 or 1.0)


@dataclass(frozen=True, slots=True)
class Subscription:
    """One topic of one pub/sub component. `scopes` empty: for every app."""

    pubsub: str
    topic: str
    rules: tuple[Rule, ...]
    kind: Kind
    dead_letter_topic: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    bulk: BulkSubscribe | None = None

    def path_of(self, event: Mapping[str, Any]) -> str | None:
        """Where the app takes this event, None where no rule is for it. Raises ComponentError."""
        for rule in self.rules:
            if rule.match is None:
                return rule.path
            try:
                answer = rule.match({"event": event})
            except ValueError as error:
                raise ComponentError(f"error matching '{rule.expression}': {error}") from None
            if not isinstance(answer, bool):
                raise ComponentError(f"the result of '{rule.expression}' is no truth value")
            if answer:
                return rule.path
        return None

    def shown(self) -> dict[str, Any]:
        """As `GET /v1.0/metadata` has it."""
        shown: dict[str, Any] = {
            "pubsubname": self.pubsub,
            "topic": self.topic,
            "rules": [
                {"match": rule.expression, "path": rule.path}
                if rule.expression
                else {"path": rule.path}
                for rule in self.rules
            ],
            "deadLetterTopic": self.dead_letter_topic,
            "type": self.kind.value,
        }
        if self.metadata:
            shown["metadata"] = dict(self.metadata)
        return shown
