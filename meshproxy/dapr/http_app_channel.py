"""Calls from the sidecar to an app that speaks HTTP: messages, events, questions.

Owns what every such call carries (the app's token), and the paths and forms of Dapr's app
callbacks. Refuses to know what follows from an answer.

Source: https://docs.dapr.io/reference/api/pubsub_api/ and bindings_api/.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.app_channel import (
    DROP,
    MAX_ANSWER,
    RETRY,
    SUCCESS,
    AppAnswer,
    AppRefusal,
    BindingAnswer,
    BindingEvent,
    BulkEntry,
    BulkTopicEvent,
    TopicEvent,
)
from meshproxy.dapr.app_settings import APP_CLUSTER, AppSettings
from meshproxy.dapr.cloud_event import CLOUD_EVENT
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.concurrency import place, slots_of
from meshproxy.dapr.exchange import exchange
from meshproxy.dapr.http_api.state import save_item
from meshproxy.dapr.invocation import API_TOKEN
from meshproxy.dapr.pubsub.programmatic import parse_subscriptions
from meshproxy.dapr.tracing.context import from_parent
from meshproxy.http.header_map import HeaderMap
from meshproxy.router.async_client import AsyncClient

if TYPE_CHECKING:
    from meshproxy.dapr.pubsub.subscription import Match, Subscription

BULK: Final = "com.dapr.event.sent.bulk"
_JSON: Final = {"content-type": "application/json"}
_OURS: Final = frozenset(
    (
        "connection",
        "content-length",
        "content-type",
        "dapr-api-token",
        "dapr-app-id",
        "expect",
        "host",
        "pubsubname",
        "traceparent",
        "tracestate",
        "transfer-encoding",
        "upgrade",
    )
)
"""Headers that no message may bring along."""


class HttpAppChannel:
    """The app of this sidecar. No timeout is set, as in daprd. Implements `AppChannel`."""

    def __init__(self, settings: AppSettings, app_id: str, client: AsyncClient) -> None:
        self._client = client
        self._app_id: Final = app_id
        self._authority: Final = f"{settings.channel_address}:{settings.port}".encode()
        self._own: Final = ((API_TOKEN, settings.token.encode()),) if settings.token else ()
        self.slots: Final = slots_of(settings)

    async def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> AppAnswer:
        """One call; `path` begins with a slash. Raises ComponentError without an answer."""
        async with place(self.slots):
            return await self._send(method, path, body, headers or {})

    async def _send(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> AppAnswer:
        pairs = [
            (b":method", method.encode()),
            (b":path", path.encode()),
            (b":scheme", b"http"),
            (b":authority", self._authority),
        ]
        if body or method == "POST":
            pairs.append((b"content-length", b"%d" % len(body)))
        for text, value in headers.items():
            name = text.lower().encode()
            if not self._own or name != API_TOKEN:
                pairs.append((name, value.encode()))
        sent = HeaderMap([*pairs, *self._own])
        try:
            answer = await exchange(self._client, APP_CLUSTER, sent, body, MAX_ANSWER)
        except ComponentError as error:
            raise ComponentError(f"the app did not answer {method} {path}: {error}") from error
        return AppAnswer(answer.status, answer.body)

    # -- what the app is asked and told ----------------------------------------------------------

    async def list_topic_subscriptions(
        self, compile_rule: Callable[[str], Match]
    ) -> list[Subscription]:
        """`GET /dapr/subscribe`; an app that has no such path wants none."""
        headers = {**_JSON, "dapr-app-id": self._app_id}
        answer = await self.send("GET", "/dapr/subscribe", headers=headers)
        if answer.status == 404:
            return []
        if answer.status != 200:
            text = f"app returned http status code {answer.status} from subscription endpoint"
            raise AppRefusal(text, answer.status)
        try:
            return parse_subscriptions(answer.body, compile_rule)
        except ValueError as error:
            raise ComponentError(f"the list cannot be read: {error}") from error

    async def on_topic_event(self, event: TopicEvent) -> str:
        """`POST` of the CloudEvent to its path."""
        headers = {
            **_headers(event.metadata),
            "content-type": CLOUD_EVENT,
            "pubsubName": event.pubsub,
        }
        headers |= _trace(event.event)
        answer = await self.send("POST", _path(event.path), event.body, headers)
        verdict = verdict_of(answer)
        if verdict == RETRY:
            text = f"the app answered {answer.status} to the event {event.event.get('id')}: retry"
            raise AppRefusal(text, answer.status)
        return verdict

    async def on_bulk_topic_event(self, event: BulkTopicEvent) -> dict[str, str]:
        """`POST` of the bulk envelope; the answer has a status for each entry."""
        document = {
            "id": event.id,
            "type": BULK,
            "topic": event.topic,
            "pubsubname": event.pubsub,
            "metadata": {"pubsubName": event.pubsub, **event.metadata},
            "entries": [_bulk_entry(each) for each in event.entries],
        }
        headers = {**_headers(event.metadata), **_JSON, "pubsubName": event.pubsub}
        answer = await self.send("POST", _path(event.path), orjson.dumps(document), headers)
        if answer.status == 404:
            return {entry.id: DROP for entry in event.entries}
        if not 200 <= answer.status < 300:
            text = f"the app answered {answer.status} to the events {event.id}: retry"
            raise AppRefusal(text, answer.status)
        return _statuses(answer.body)

    async def has_input_binding(self, name: str, path: str) -> bool:
        """`OPTIONS` of the path: an app that has it, if for other methods, takes events."""
        answer = await self.send("OPTIONS", _path(path))
        return 200 <= answer.status < 300 or answer.status == 405

    async def on_binding_event(self, event: BindingEvent) -> BindingAnswer:
        """`POST` of the data; nothing but 200 means that the app has taken it."""
        headers = {**_headers(event.metadata), **_JSON, **_trace(event.metadata)}
        answer = await self.send("POST", _path(event.path), event.data, headers)
        if answer.status != 200:
            text = f"the app answered {answer.status} to the event of binding {event.name}"
            raise AppRefusal(text, answer.status)
        return _binding_answer(answer.body)

    async def is_well(self, path: str) -> bool:
        """`GET` of the path of its health."""
        answer = await self._send("GET", _path(path), b"", {})
        return 200 <= answer.status < 300

    async def close(self) -> None:
        """Its connections are the cluster's."""


def verdict_of(answer: AppAnswer) -> str:
    """What an answer of the app to an event means."""
    if answer.status == 404:
        return DROP
    if not 200 <= answer.status < 300:
        return RETRY
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return SUCCESS
    return _verdict(document.get("status", "") if isinstance(document, dict) else "")


def _verdict(status: Any) -> str:
    if status in ("", SUCCESS):
        return SUCCESS
    return DROP if status == DROP else RETRY


def _statuses(body: bytes) -> dict[str, str]:
    """The statuses of a bulk answer; an answer that says nothing means that all is well."""
    try:
        listed = orjson.loads(body)["statuses"]
        return {str(each["entryId"]): _verdict(each.get("status", "")) for each in listed}
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ComponentError(f"the app's answer to bulk events cannot be read: {error}") from error


def _bulk_entry(entry: BulkEntry) -> dict[str, Any]:
    """An entry as JSON: an envelope as it is, bytes in base64."""
    event: Any = entry.event
    if event is None:
        event = base64.b64encode(entry.data).decode()
    return {
        "entryId": entry.id,
        "event": event,
        "contentType": entry.content_type,
        "metadata": dict(entry.metadata) or None,
    }


def _binding_answer(body: bytes) -> BindingAnswer:
    if not body.strip():
        return BindingAnswer()
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return BindingAnswer(data=body)
    if not isinstance(document, dict):
        return BindingAnswer(data=body)
    to, states = document.get("to") or (), document.get("state") or ()
    data = document.get("data")
    try:
        return BindingAnswer(
            b"" if data is None else orjson.dumps(data),
            str(document.get("storeName") or ""),
            tuple(save_item(each, {}) for each in states),
            tuple(str(each) for each in to),
            document.get("concurrency") == "parallel",
        )
    except (ApiError, TypeError) as error:
        raise ComponentError(f"the app's answer to a binding cannot be read: {error}") from error


def _path(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def _trace(carrier: Mapping[str, Any]) -> dict[str, str]:
    """The trace that an event is in, as a header. `tracestate` stays in the event, as in daprd."""
    parent = carrier.get("traceparent")
    if not isinstance(parent, str) or not parent.isascii():
        return {}
    return {} if from_parent(parent.encode()) is None else {"traceparent": parent}


def _headers(metadata: Mapping[str, str]) -> dict[str, str]:
    """A component's metadata, as far as they can be headers; none replaces one of ours."""
    return {
        name: value
        for name, value in metadata.items()
        if name.lower() not in _OURS
        and name.isascii()
        and name.isprintable()
        and " " not in name
        and ":" not in name
        and value.isascii()
        and value.isprintable()
    }
