"""What the metadata of a state store say of its outbox (`dapr/outbox.py`). Knows no message."""

from __future__ import annotations

from dataclasses import dataclass

from meshproxy.dapr.component import ComponentError, Metadata


@dataclass(frozen=True, slots=True)
class OutboxSettings:
    """Where messages go, by way of which broker, and whether those without state are dropped."""

    publish_pubsub: str
    publish_topic: str
    pubsub: str
    discard: bool


def outbox_of(metadata: Metadata) -> OutboxSettings | None:
    """The settings, None where there is no outbox. Raises ComponentError for a half of them."""
    pubsub, topic = metadata.get("outboxPublishPubsub", ""), metadata.get("outboxPublishTopic", "")
    between = metadata.get("outboxPubsub", "")
    discard = metadata.boolean("outboxDiscardWhenMissingState")
    if bool(pubsub) != bool(topic):
        raise ComponentError("outboxPublishPubsub and outboxPublishTopic are needed together")
    if not pubsub:
        if between or discard:
            raise ComponentError("an outbox needs outboxPublishPubsub and outboxPublishTopic")
        return None
    return OutboxSettings(pubsub, topic, between or pubsub, discard)
