"""CloudEvents as Dapr sends and reads them: envelopes made, completed, read. Knows no broker.

Source: CloudEvents 1.0 (JSON format); daprd v1.18, `pkg/runtime/pubsub` and components-contrib,
`pubsub/envelope.go`.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson

CLOUD_EVENT: Final = "application/cloudevents+json"
OCTET_STREAM: Final = "application/octet-stream"
SPEC_VERSION: Final = "1.0"
SENT: Final = "com.dapr.event.sent"
SOURCE: Final = "Dapr"
EXPIRATION: Final = "expiration"
OVERRIDES: Final = "cloudevent."
BINARY: Final = "ce_"
_REQUIRED: Final = frozenset({"id", "source", "specversion", "type"})
_BINARY_TYPES: Final = frozenset(
    {OCTET_STREAM, "application/x-protobuf", "application/cloudevents+protobuf"}
)
_DEFAULTS: Final = {"source": SOURCE, "type": SENT, "specversion": SPEC_VERSION}

_TRACE: Final = ("traceid", "traceparent", "tracestate")
_NOTHING: Final[Mapping[str, str]] = {}

Envelope = dict[str, Any]


class NotAnEvent(ValueError):
    """The data says that it is a CloudEvent, or JSON, and is not."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace that a call belongs to: the headers `traceparent` and `tracestate`."""

    parent: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a message comes from and goes to; `now` is seconds since 1970."""

    source: str
    pubsub: str
    topic: str
    now: float
    traceparent: str = ""
    tracestate: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


def media_type(content_type: str) -> str:
    """The type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def is_json(content_type: str) -> bool:
    """`application/json` alone: what ends in `+json` is a text for Dapr."""
    return media_type(content_type) == "application/json"


def is_cloud_event(content_type: str) -> bool:
    """Whether the data is an envelope already."""
    return media_type(content_type) == CLOUD_EVENT


def envelope(data: bytes, content_type: str, origin: Origin) -> Envelope:
    """The CloudEvent for what an app publishes. Raises NotAnEvent."""
    if is_cloud_event(content_type):
        return _given(data, origin)
    return _new(data, content_type, origin)


def _given(data: bytes, origin: Origin) -> Envelope:
    """An envelope of the app's own; only what it has not is filled in, and never its id."""
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise NotAnEvent(f"the data is no CloudEvent: {error}") from None
    if not isinstance(event, dict):
        raise NotAnEvent("the data is no CloudEvent: expected an object")
    event.setdefault("time", rfc3339(origin.now))
    if "traceid" not in event:
        event["traceid"] = event["traceparent"] = origin.traceparent
    event.setdefault("tracestate", origin.tracestate)
    event["topic"], event["pubsubname"] = origin.topic, origin.pubsub
    for name, value in _DEFAULTS.items():
        if event.get(name) is None:
            event[name] = value
    return event


def _new(data: bytes, content_type: str, origin: Origin) -> Envelope:
    given = {
        name[len(OVERRIDES) :].lower(): value
        for name, value in origin.metadata.items()
        if value and name[: len(OVERRIDES)].lower() == OVERRIDES
    }
    kind = content_type or "text/plain"
    parent = given.get("traceparent") or given.get("traceid") or origin.traceparent
    event: Envelope = {
        "id": given.get("id") or str(uuid.uuid4()),
        "source": given.get("source") or origin.source,
        "type": given.get("type") or SENT,
        "specversion": SPEC_VERSION,
        "time": rfc3339(origin.now),
        "datacontenttype": kind,
        "topic": origin.topic,
        "pubsubname": origin.pubsub,
        "traceid": parent,
        "traceparent": parent,
        "tracestate": given.get("tracestate") or origin.tracestate,
    }
    if "subject" in given:
        event["subject"] = given["subject"]
    if media_type(kind) in _BINARY_TYPES:
        event["data_base64"] = base64.b64encode(data).decode()
    elif is_json(kind) and _is_document(data):
        event["data"] = orjson.Fragment(data)  # as it was sent: no number loses a digit
    else:
        event["data"] = data.decode("utf-8", "replace")
    return event


def _is_document(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def rfc3339(seconds: float) -> str:
    """A time in whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def expired(event: Mapping[str, Any], now: float) -> bool:
    """Whether its attribute `expiration` lies in the past."""
    text = event.get(EXPIRATION)
    if not isinstance(text, str) or not text:
        return False
    try:
        end = datetime.fromisoformat(text)
    except ValueError:
        return False
    if end.tzinfo is None:
        end = end.replace(tzinfo=UTC)
    return end.timestamp() <= now


def from_raw(
    data: bytes, pubsub: str, topic: str, metadata: Mapping[str, str] = _NOTHING
) -> Envelope:
    """The envelope in which an app gets what was published without one.

    Its trace is what the broker's metadata say of it, where they do.
    """
    trace = {name: metadata[name] for name in _TRACE if name in metadata}
    if "traceparent" in trace:
        trace["traceid"] = trace["traceparent"]
    return {
        **trace,
        "id": str(uuid.uuid4()),
        "specversion": SPEC_VERSION,
        "source": SOURCE,
        "type": SENT,
        "datacontenttype": OCTET_STREAM,
        "topic": topic,
        "pubsubname": pubsub,
        "data_base64": base64.b64encode(data).decode(),
    }


def from_binary(data: bytes, metadata: Mapping[str, str]) -> Envelope | None:
    """The envelope of a message in the binary mode, whose attributes are headers such as `ce_id`.

    None where it is none. Source: CloudEvents 1.0, Kafka protocol binding.
    """
    given = {name.lower(): value for name, value in metadata.items()}
    event: Envelope = {
        name.removeprefix(BINARY): value for name, value in given.items() if name.startswith(BINARY)
    }
    if not event.keys() >= _REQUIRED:
        return None
    kind = given.get("content-type", "") or event.get("datacontenttype", "") or OCTET_STREAM
    event["datacontenttype"] = kind
    if is_json(kind):
        try:
            event["data"] = orjson.loads(data)
            return event
        except orjson.JSONDecodeError as error:
            raise NotAnEvent(f"the data is no JSON: {error}") from None
    if media_type(kind).startswith("text/"):
        event["data"] = data.decode("utf-8", "replace")
    else:
        event["data_base64"] = base64.b64encode(data).decode()
    return event


def read(data: bytes) -> Envelope:
    """The envelope that a broker has delivered. Raises NotAnEvent."""
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise NotAnEvent(f"error deserializing the cloud event: {error}") from None
    if not isinstance(event, dict):
        raise NotAnEvent("error deserializing the cloud event: expected an object")
    return event
