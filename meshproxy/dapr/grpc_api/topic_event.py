"""A message of a topic as gRPC apps get it: `TopicEventRequest` and its twins of bulk deliveries.

Owns the way from a CloudEvent to these messages and from their statuses. Refuses to know who sends
them where.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import orjson

from meshproxy.dapr.app_channel import DROP, RETRY, SUCCESS, BulkTopicEvent, TopicEvent
from meshproxy.dapr.cloud_event import is_json
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.grpc_api.protos import classes

_STATUSES: Final = (SUCCESS, RETRY, DROP)  # TopicEventResponse.TopicEventResponseStatus
_ATTRIBUTES: Final = frozenset(
    ("id", "source", "type", "specversion", "datacontenttype", "data", "data_base64")
)
"""What has a field of its own; the rest are extensions."""
_REQUEST: Final = classes("OnTopicEvent", "AppCallback")[0]
_BULK: Final = classes("OnBulkTopicEvent", "AppCallback")[0]


def topic_event(event: TopicEvent) -> Any:
    """A `TopicEventRequest`. Raises ComponentError where the data cannot be told."""
    return _REQUEST(
        topic=event.topic, pubsub_name=event.pubsub, path=event.path, **_attributes(event.event)
    )


def bulk_topic_event(event: BulkTopicEvent) -> Any:
    """A `TopicEventBulkRequest`."""
    request = _BULK(
        id=event.id,
        topic=event.topic,
        pubsub_name=event.pubsub,
        path=event.path,
        type="com.dapr.event.sent.bulk",
        metadata={"pubsubName": event.pubsub, **event.metadata},
    )
    for each in event.entries:
        entry = request.entries.add(entry_id=each.id, metadata=each.metadata)
        if each.event is None:
            entry.bytes = each.data
            entry.content_type = each.content_type
        else:
            entry.cloud_event.MergeFrom(type(entry.cloud_event)(**_attributes(each.event)))
    return request


def verdict(status: int) -> str:
    """SUCCESS, RETRY or DROP; what a later Dapr may add counts as RETRY."""
    return _STATUSES[status] if 0 <= status < len(_STATUSES) else RETRY


def _attributes(event: Mapping[str, Any]) -> dict[str, Any]:
    kind = _text(event, "datacontenttype")
    return {
        "id": _text(event, "id"),
        "source": _text(event, "source"),
        "type": _text(event, "type"),
        "spec_version": _text(event, "specversion"),
        "data_content_type": kind,
        "data": _data(event, kind),
        "extensions": {name: each for name, each in event.items() if name not in _ATTRIBUTES},
    }


def _data(event: Mapping[str, Any], kind: str) -> bytes:
    encoded = event.get("data_base64")
    if isinstance(encoded, str):
        try:
            return base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise ComponentError(f"data_base64 is no base64: {error}") from None
    data = event.get("data")
    if data is None:
        return b""
    if isinstance(data, str) and not is_json(kind):
        return data.encode()
    return orjson.dumps(data)


def _text(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    return value if isinstance(value, str) else ""
