"""Publishing over HTTP. Knows the paths and forms; the meaning is `api/pubsub.py`'s."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from meshproxy.dapr.api.pubsub import Entry
from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.cloud_event import is_json, media_type
from meshproxy.dapr.http_api.messages import (
    JSON,
    NO_CONTENT,
    HttpRequest,
    HttpResponse,
    json_response,
)
from meshproxy.dapr.http_api.table import endpoint

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api

_WRITE: Final = "POST PUT"
_FAILED: Final = "ERR_PUBSUB_PUBLISH_MESSAGE"


async def _publish(api: Api, request: HttpRequest) -> HttpResponse:
    params = request.params
    entry = Entry(request.body, request.header(b"content-type") or "", request.metadata)
    await api.pubsub.publish(params["pubsub"], params["topic"], entry, request.trace)
    return NO_CONTENT


async def _bulk_publish(api: Api, request: HttpRequest) -> HttpResponse:
    pubsub, topic = request.params["pubsub"], request.params["topic"]
    try:
        document = orjson.loads(request.body)
        if not isinstance(document, list):
            raise ValueError("expected a list of entries")
        shared = request.metadata
        entries = [_entry(each, shared) for each in document]
    except ValueError as error:
        text = f"error when unmarshaling the request for topic {topic} pubsub {pubsub}: {error}"
        raise ApiError("ERR_PUBSUB_EVENTS_SER", text, 400, Grpc.INVALID_ARGUMENT) from None
    failed = await api.pubsub.bulk_publish(pubsub, topic, entries, request.trace)
    if not failed:
        return NO_CONTENT
    listed = [{"entryId": name, "error": reason} for name, reason in failed]
    answer = json_response({"failedEntries": listed, "errorCode": _FAILED}, 500)
    return HttpResponse(answer.status, answer.body, ((b"content-type", JSON),))


def _entry(document: Any, shared: Mapping[str, str]) -> Entry:
    """One entry; its own metadata win. Raises ValueError.

    Names count in any case, as daprd reads JSON: the SDK for JavaScript writes `entryID`.
    """
    if not isinstance(document, dict):
        raise ValueError("an entry is not an object")
    document = {name.lower(): value for name, value in document.items()}
    name, kind = document.get("entryid", ""), document.get("contenttype", "")
    metadata = document.get("metadata") or {}
    if not isinstance(name, str) or not isinstance(kind, str):
        raise ValueError("entryId and contentType are not texts")
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("metadata is not an object of texts")
    return Entry(_data(document.get("event"), kind), kind, {**shared, **metadata}, name)


def _data(event: Any, kind: str) -> bytes:
    """The bytes of an event: JSON as it stands, bytes as base64, anything else as text."""
    if is_json(kind):
        return orjson.dumps(event)
    if not isinstance(event, str):
        raise ValueError(f"contentType {kind or 'text/plain'} needs an event that is a text")
    if media_type(kind) == "application/octet-stream":
        try:
            return base64.b64decode(event, validate=True)
        except binascii.Error as error:
            raise ValueError(f"the event is no base64: {error}") from None
    return event.encode()


ENDPOINTS: Final = (
    endpoint(_WRITE, "/v1.0/publish/{pubsub}/{topic*}", _publish),
    endpoint(_WRITE, "/v1.0/publish/bulk/{pubsub}/{topic*}", _bulk_publish),
    endpoint(_WRITE, "/v1.0-alpha1/publish/bulk/{pubsub}/{topic*}", _bulk_publish),
)
