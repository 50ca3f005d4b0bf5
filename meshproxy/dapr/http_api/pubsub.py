"""Publishing over HTTP. Knows the paths and forms; the meaning is `api/pubsub.py`'s."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

import orjson

from meshproxy.dapr.api.pubsub import Entry
from meshproxy.dapr.api.pubsub_errors import not_published
from meshproxy.dapr.api_error import MALFORMED, ApiError
from meshproxy.dapr.bindings.binding import metadata_headers
from meshproxy.dapr.cloud_event import OCTET_STREAM, is_cloud_event, is_json, media_type
from meshproxy.dapr.http_api.document import Document, items
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
    api.pubsub.require(pubsub, topic, request.metadata)
    try:
        listed = items(request.json(), "expected a list of entries")
        forms = [_Form(each) for each in listed]
    except ApiError as error:
        reason = error.message.removeprefix(MALFORMED)
        raise api.pubsub.unreadable(pubsub, topic, reason) from None
    try:
        entries = [form.entry() for form in forms]
    except ValueError as error:
        raise api.pubsub.bad_entry(pubsub, topic, str(error)) from None
    failed = await api.pubsub.bulk_publish(pubsub, topic, entries, request.trace, request.metadata)
    if not failed:
        return NO_CONTENT
    listed = [{"entryId": name, "error": reason} for name, reason in failed]
    answer = json_response({"failedEntries": listed, "errorCode": _FAILED}, 500)
    reason = f"api error: code = Internal desc = {not_published(pubsub, topic, failed[0][1])}"
    told = metadata_headers({"responseData": answer.body.decode(), "error": reason})
    return HttpResponse(answer.status, answer.body, ((b"content-type", JSON), *told))


class _Form:
    """One entry as it stands in the body. Raises ApiError where a field has another type."""

    __slots__ = ("event", "kind", "metadata", "name")

    def __init__(self, value: Any) -> None:
        document = Document(value)
        self.name = document.text("entryId")
        self.event = document.value("event")
        self.kind = document.text("contentType")
        self.metadata = document.texts("metadata")

    def entry(self) -> Entry:
        """The message. Raises ValueError."""
        return Entry(_data(self.event, self.kind), self.kind, self.metadata, self.name)


def _data(event: Any, kind: str) -> bytes:
    """The bytes of an event: JSON as it stands, bytes as base64, anything else as text."""
    if is_json(kind) or is_cloud_event(kind):
        return orjson.dumps(event)
    if not isinstance(event, str) or not kind:
        raise ValueError("error: mismatch between contentType and event")
    if media_type(kind) != OCTET_STREAM:
        return event.encode()
    try:
        return base64.b64decode(event, validate=True)
    except binascii.Error as error:
        raise ValueError(f"error: unable to decode base64 {OCTET_STREAM} data: {error}") from None


ENDPOINTS: Final = (
    endpoint(_WRITE, "/v1.0/publish/{pubsub}/{topic*}", _publish, "PublishEvent"),
    endpoint(_WRITE, "/v1.0/publish/bulk/{pubsub}/{topic*}", _bulk_publish, "BulkPublishEvent"),
    endpoint(
        _WRITE, "/v1.0-alpha1/publish/bulk/{pubsub}/{topic*}", _bulk_publish, "BulkPublishEvent"
    ),
)
