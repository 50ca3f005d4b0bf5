"""Publishing: one message, or many of one topic. Knows no protocol; receiving is elsewhere.

Owns the envelope's part in it, the topics an app may publish to, and which error is whose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import orjson

from meshproxy.dapr.api import pubsub_errors
from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.cloud_event import (
    CLOUD_EVENT,
    EXPIRATION,
    NotAnEvent,
    Origin,
    Trace,
    envelope,
    rfc3339,
)
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.message_ttl import message_ttl
from meshproxy.dapr.pubsub.broker import MESSAGE_TTL, PublishRequest
from meshproxy.dapr.pubsub.brokers import Broker, Brokers
from meshproxy.dapr.resiliency import PUBSUB
from meshproxy.dapr.sidecar import Sidecar

RAW_PAYLOAD: Final = "rawPayload"
_NOTHING: Final[Mapping[str, str]] = {}
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One message; `id` is the caller's own name for it in a bulk call."""

    data: bytes
    content_type: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    id: str = ""


class PubSubApi:
    """PublishEvent and BulkPublishEvent."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        self._brokers = Brokers(sidecar.runtime)

    def require(self, pubsub: str, topic: str, metadata: Mapping[str, str]) -> Broker:
        """The component. Raises ApiError where there is none, no topic, or unreadable metadata.

        Whether the app may publish there is looked at only when the messages can be read.
        """
        if not pubsub:
            raise pubsub_errors.name_empty(metadata)
        broker = self._brokers.find(pubsub)
        if broker is None:
            raise pubsub_errors.not_found(pubsub, metadata)
        if not topic:
            raise pubsub_errors.topic_empty(pubsub, metadata)
        self._is_raw(pubsub, metadata)
        return broker

    def unreadable(self, pubsub: str, topic: str, reason: str) -> ApiError:
        """The error for a body that is no list of entries."""
        return pubsub_errors.unreadable(pubsub, topic, self._app_id, reason)

    def bad_entry(self, pubsub: str, topic: str, reason: str) -> ApiError:
        """The error for an entry whose event is not what its content type says."""
        return pubsub_errors.bad_entry(pubsub, topic, self._app_id, reason)

    async def publish(
        self,
        pubsub: str,
        topic: str,
        entry: Entry,
        trace: Trace,
        of_raw: Mapping[str, str] = _NOTHING,
    ) -> None:
        """Hand one message over; when this returns, the broker has it.

        `of_raw`: metadata that a message without an envelope has besides.
        """
        broker = self.require(pubsub, topic, entry.metadata)
        raw = self._is_raw(pubsub, entry.metadata)
        if raw and of_raw:
            entry = replace(entry, metadata={**entry.metadata, **of_raw})
        request = self._request(broker, topic, entry, trace, raw=raw)
        self._check_scope(broker, topic)
        try:
            policy = self._sidecar.resiliency.outbound(pubsub, PUBSUB)
            await policy.run(lambda: broker.component.publish(request))
        except ComponentError as error:
            raise pubsub_errors.not_published(pubsub, topic, str(error)) from error

    async def bulk_publish(
        self,
        pubsub: str,
        topic: str,
        entries: Sequence[Entry],
        trace: Trace,
        metadata: Mapping[str, str],
    ) -> list[tuple[str, str]]:
        """Hand over several; returns the id and the reason of each that failed.

        `metadata` are the request's: they say whether all are raw, and an entry that has metadata
        of its own has them besides. One that has none has none at all, as in daprd.
        """
        broker = self.require(pubsub, topic, metadata)
        raw = self._is_raw(pubsub, metadata)
        names = [entry.id for entry in entries]
        if not all(names) or len(set(names)) != len(names):
            raise pubsub_errors.bad_ids(pubsub, topic, self._app_id)
        requests = [
            self._request(broker, topic, _sharing(entry, metadata), trace, raw=raw)
            for entry in entries
        ]
        self._check_scope(broker, topic)
        if not requests:
            return []
        try:
            policy = self._sidecar.resiliency.outbound(pubsub, PUBSUB)
            outcomes = await policy.run(lambda: broker.component.bulk_publish(requests))
        except ComponentError as error:
            return [(name, str(error)) for name in names]
        return [
            (name, str(outcome))
            for name, outcome in zip(names, outcomes, strict=True)
            if outcome is not None
        ]

    # -- parts -------------------------------------------------------------------------------

    @property
    def _app_id(self) -> str:
        return self._sidecar.identity.app_id

    def _request(
        self, broker: Broker, topic: str, entry: Entry, trace: Trace, *, raw: bool
    ) -> PublishRequest:
        metadata = entry.metadata
        wire_topic = broker.topic(topic)
        if raw:
            return PublishRequest(wire_topic, entry.data, entry.content_type, metadata)
        now = self._sidecar.runtime.clock()
        origin = Origin(self._app_id, broker.name, topic, now, trace.parent, trace.state, metadata)
        try:
            event = envelope(entry.data, entry.content_type, origin)
        except NotAnEvent as error:
            raise pubsub_errors.no_event(broker.name, self._app_id, str(error)) from None
        ttl = _ttl(metadata)
        if ttl is not None and MESSAGE_TTL not in broker.component.features:
            event[EXPIRATION] = rfc3339(now + ttl)
        return PublishRequest(wire_topic, orjson.dumps(event), CLOUD_EVENT, metadata)

    def _is_raw(self, pubsub: str, metadata: Mapping[str, str]) -> bool:
        text = metadata.get(RAW_PAYLOAD, "")
        if not text or text in _FALSE:
            return False
        if text in _TRUE:
            return True
        reason = f"{RAW_PAYLOAD} value must be a valid boolean: actual is '{text}'"
        raise pubsub_errors.bad_metadata(pubsub, reason, metadata)

    def _check_scope(self, broker: Broker, topic: str) -> None:
        if not broker.scopes.may_publish(topic):
            raise pubsub_errors.forbidden(broker.name, topic, self._app_id)


def _sharing(entry: Entry, metadata: Mapping[str, str]) -> Entry:
    return replace(entry, metadata={**metadata, **entry.metadata}) if entry.metadata else entry


def _ttl(metadata: Mapping[str, str]) -> float | None:
    """Seconds; what is no number of them counts as none, as in daprd."""
    try:
        return message_ttl(metadata)
    except ComponentError:
        return None
