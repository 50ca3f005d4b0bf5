"""Publishing: one message, or many of one topic. Knows no protocol; receiving is elsewhere.

Owns the envelope's part in it, the topics an app may publish to, and which error is whose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from meshproxy.dapr.api_error import ApiError, Grpc, error_info, resource_info
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

    async def publish(self, pubsub: str, topic: str, entry: Entry, trace: Trace) -> None:
        """Hand one message over; when this returns, the broker has it."""
        broker = self._find(pubsub, topic)
        request = self._request(broker, topic, entry, trace)
        try:
            policy = self._sidecar.resiliency.outbound(pubsub, PUBSUB)
            await policy.run(lambda: broker.component.publish(request))
        except ComponentError as error:
            text = f"error when publish to topic {topic} in pubsub {pubsub}: {error}"
            raise self._error("PUBLISH_MESSAGE", text, 500, Grpc.INTERNAL, pubsub) from error

    async def bulk_publish(
        self, pubsub: str, topic: str, entries: Sequence[Entry], trace: Trace
    ) -> list[tuple[str, str]]:
        """Hand over several; returns the id and the reason of each that failed."""
        broker = self._find(pubsub, topic)
        names = [entry.id for entry in entries]
        if not all(names) or len(set(names)) != len(names):
            text = f"error when unmarshaling the request for topic {topic} pubsub {pubsub}: "
            text += "entryId is duplicated or not present for an entry"
            raise self._error("EVENTS_SER", text, 400, Grpc.INVALID_ARGUMENT, pubsub)
        requests = [self._request(broker, topic, entry, trace) for entry in entries]
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

    def _request(self, broker: Broker, topic: str, entry: Entry, trace: Trace) -> PublishRequest:
        metadata = entry.metadata
        wire_topic = broker.topic(topic)
        raw = self._is_raw(broker.name, metadata)
        ttl = self._ttl(broker.name, metadata)
        if raw:
            return PublishRequest(wire_topic, entry.data, entry.content_type, metadata)
        sidecar = self._sidecar
        now = sidecar.runtime.clock()
        source = sidecar.identity.app_id
        origin = Origin(source, broker.name, topic, now, trace.parent, trace.state, metadata)
        try:
            event = envelope(entry.data, entry.content_type, origin)
        except NotAnEvent as error:
            text = f"cannot create cloudevent: {error}"
            name = broker.name
            raise self._error("CLOUD_EVENTS_SER", text, 500, Grpc.INVALID_ARGUMENT, name) from None
        if ttl is not None and MESSAGE_TTL not in broker.component.features:
            event[EXPIRATION] = rfc3339(now + ttl)
        return PublishRequest(wire_topic, orjson.dumps(event), CLOUD_EVENT, metadata)

    def _is_raw(self, pubsub: str, metadata: Mapping[str, str]) -> bool:
        text = metadata.get(RAW_PAYLOAD, "")
        if not text or text in _FALSE:
            return False
        if text in _TRUE:
            return True
        reason = f"failed deserializing metadata: {RAW_PAYLOAD} is '{text}'; expected true or false"
        raise self._error("REQUEST_METADATA", reason, 400, Grpc.INVALID_ARGUMENT, pubsub)

    def _ttl(self, pubsub: str, metadata: Mapping[str, str]) -> float | None:
        try:
            return message_ttl(metadata)
        except ComponentError as error:
            text = f"failed deserializing metadata: {error}"
            raise self._error(
                "REQUEST_METADATA", text, 400, Grpc.INVALID_ARGUMENT, pubsub
            ) from None

    def _find(self, pubsub: str, topic: str) -> Broker:
        broker = self._brokers.find(pubsub)
        if broker is None:
            if not self._brokers.any():
                text = f"pubsub {pubsub} is not configured"
                raise self._error("NOT_CONFIGURED", text, 400, Grpc.FAILED_PRECONDITION)
            text = f"pubsub {pubsub} is not found"
            raise self._error("NOT_FOUND", text, 404, Grpc.INVALID_ARGUMENT)
        if not topic:
            text = f"topic is empty in pubsub {pubsub}"
            raise ApiError("ERR_TOPIC_NAME_EMPTY", text, 404, Grpc.INVALID_ARGUMENT)
        if not broker.scopes.may_publish(topic):
            app = self._sidecar.identity.app_id
            text = f"topic {topic} is not allowed for app id {app}"
            raise self._error("FORBIDDEN", text, 403, Grpc.PERMISSION_DENIED, pubsub)
        return broker

    def _error(self, reason: str, text: str, status: int, grpc: Grpc, pubsub: str = "") -> ApiError:
        """`pubsub` names the component where there is one: then the details do, too."""
        info = error_info(f"DAPR_PUBSUB_{reason}", {"appID": self._sidecar.identity.app_id})
        details = (info, resource_info("pubsub", pubsub)) if pubsub else (info,)
        return ApiError(f"ERR_PUBSUB_{reason}", text, status, grpc, details)
