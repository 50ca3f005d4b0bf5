"""Calls from the sidecar to an app that speaks gRPC: Dapr's `AppCallback` services.

Owns which call says what, and what every call carries: the app's token. Refuses to know what
follows from an answer. Calls go over the proxy's own HTTP/2.

Source: https://docs.dapr.io/reference/api/ and dapr/proto/runtime/v1/appcallback.proto.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from meshproxy.dapr.app_channel import (
    DROP,
    MAX_ANSWER,
    RETRY,
    AppAnswer,
    AppRefusal,
    BindingAnswer,
    BindingEvent,
    BulkTopicEvent,
    TopicEvent,
)
from meshproxy.dapr.app_settings import APP_CLUSTER, AppSettings
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.concurrency import place, slots_of
from meshproxy.dapr.grpc_api.protos import VERBS, classes
from meshproxy.dapr.grpc_api.state import save_item
from meshproxy.dapr.grpc_api.topic_event import bulk_topic_event, topic_event, verdict
from meshproxy.dapr.grpc_exchange import unary
from meshproxy.dapr.http_status import http_status
from meshproxy.dapr.pubsub.programmatic import topic_subscription
from meshproxy.router.grpc_client import GrpcCall, GrpcClient, Pairs

if TYPE_CHECKING:
    from meshproxy.dapr.pubsub.subscription import Match, Subscription

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

UNIMPLEMENTED: Final = 12
_PACKAGE: Final = "dapr.proto.runtime.v1"
_CALLBACK: Final = "AppCallback"
_PARALLEL: Final = 1  # BindingEventResponse.BindingEventConcurrency
_RESERVED: Final = frozenset(
    ("content-length", "content-type", "connection", "dapr-api-token", "host", "te", "user-agent")
)


@dataclass(frozen=True, slots=True)
class Invocation:
    """A call of `OnInvoke`: `method` has no slash before it, `verb` is HTTP's."""

    method: str
    data: bytes = b""
    content_type: str = ""
    verb: str = "NONE"
    query: str = ""
    metadata: Pairs = ()


class GrpcAppChannel:
    """The app of this sidecar. No timeout is set, as in daprd. Implements `AppChannel`."""

    def __init__(self, settings: AppSettings, client: GrpcClient) -> None:
        self._client = client
        self._authority: Final = f"{settings.channel_address}:{settings.port}"
        token = settings.token
        self._own: Final = ((b"dapr-api-token", token.encode()),) if token else ()
        self._bindings: frozenset[str] | None = None
        self._bulk: Final = ["AppCallback/OnBulkTopicEvent"]
        self.slots: Final = slots_of(settings)

    # -- what the app is asked and told ----------------------------------------------------------

    async def on_invoke(self, call: Invocation, *, has_place: bool = False) -> tuple[bytes, str]:
        """Invoke a method: its data and their content type. Raises AppRefusal for any status.

        `has_place`: the caller has taken one of the places at the app.
        """
        request_type, _ = classes("OnInvoke", _CALLBACK)
        request = request_type(method=call.method, content_type=call.content_type)
        request.data.value = call.data
        if call.verb in VERBS:
            request.http_extension.verb = VERBS.index(call.verb)
        request.http_extension.querystring = call.query
        async with place(None if has_place else self.slots):
            message = request.SerializeToString()
            answer = await self._unary(_CALLBACK, "OnInvoke", message, call.metadata)
        response = _read("OnInvoke", _CALLBACK, answer)
        return response.data.value, response.content_type

    async def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> AppAnswer:
        """As daprd does it for an app of gRPC: the path is the method that is invoked."""
        name, _, query = path.lstrip("/").partition("?")
        kind = "" if headers is None else headers.get("content-type", "")
        metadata = _metadata(headers or {})
        try:
            data, _ = await self.on_invoke(Invocation(name, body, kind, method, query, metadata))
        except AppRefusal as refusal:
            return AppAnswer(http_status(refusal.status), str(refusal).encode())
        return AppAnswer(200, data)

    async def list_topic_subscriptions(
        self, compile_rule: Callable[[str], Match]
    ) -> list[Subscription]:
        """`ListTopicSubscriptions`; an app that does not have the call wants none."""
        try:
            answer = await self._call("ListTopicSubscriptions", None)
        except AppRefusal as refusal:
            if refusal.status == UNIMPLEMENTED:
                return []
            raise
        found = []
        for each in answer.subscriptions:
            try:
                found.append(topic_subscription(_subscription(each), compile_rule, pathless=True))
            except ValueError as error:
                text = "a subscription of the app is passed over: %s: %s on %s"
                logger.warning(text, error, each.topic, each.pubsub_name)
        return found

    async def on_topic_event(self, event: TopicEvent) -> str:
        """`OnTopicEvent`; an app that does not have the call drops everything."""
        told = _told(event.pubsub, event.metadata)
        try:
            answer = await self._call(
                "OnTopicEvent", topic_event(event), metadata=(*told, *_trace(event.event))
            )
        except AppRefusal as refusal:
            if refusal.status == UNIMPLEMENTED:
                return DROP
            raise
        found = verdict(answer.status)
        if found == RETRY:
            raise ComponentError(f"the app asks to retry the event {event.event.get('id')}")
        return found

    async def on_bulk_topic_event(self, event: BulkTopicEvent) -> dict[str, str]:
        """`OnBulkTopicEvent`, in an older app `OnBulkTopicEventAlpha1`."""
        request = bulk_topic_event(event)
        told = _told(event.pubsub, event.metadata)
        try:
            answer = await self._call("OnBulkTopicEvent", request, metadata=told)
        except AppRefusal as refusal:
            if refusal.status != UNIMPLEMENTED:
                raise
            try:
                answer = await self._call(
                    "OnBulkTopicEventAlpha1", request, service="AppCallbackAlpha", metadata=told
                )
            except AppRefusal as older:
                if older.status != UNIMPLEMENTED:
                    raise
                return {entry.id: DROP for entry in event.entries}
        return {each.entry_id: verdict(each.status) for each in answer.statuses}

    async def has_input_binding(self, name: str, path: str) -> bool:
        """`ListInputBindings`, once."""
        if self._bindings is None:
            try:
                answer = await self._call("ListInputBindings", None)
            except AppRefusal as refusal:
                if refusal.status != UNIMPLEMENTED:
                    raise
                self._bindings = frozenset()
            else:
                self._bindings = frozenset(answer.bindings)
        return name in self._bindings

    async def on_binding_event(self, event: BindingEvent) -> BindingAnswer:
        """`OnBindingEvent`."""
        request_type, _ = classes("OnBindingEvent", _CALLBACK)
        request = request_type(name=event.name, data=event.data, metadata=event.metadata)
        answer = await self._call("OnBindingEvent", request)
        return BindingAnswer(
            answer.data,
            answer.store_name,
            tuple(save_item(each, {}) for each in answer.states),
            tuple(answer.to),
            answer.concurrency == _PARALLEL,
        )

    async def is_well(self, path: str) -> bool:
        """`HealthCheck`; an app that does not have the call cannot be well, as in daprd."""
        try:
            await self._unary("AppCallbackHealthCheck", "HealthCheck", b"", ())
        except AppRefusal:
            return False
        return True

    async def close(self) -> None:
        """Its connections are the cluster's."""

    # -- the call --------------------------------------------------------------------------------

    async def _call(
        self, name: str, request: Any, *, service: str = _CALLBACK, metadata: Pairs = ()
    ) -> Any:
        """One call; `request` None is an empty message. Raises ComponentError."""
        message = b"" if request is None else request.SerializeToString()
        async with place(self.slots):
            answer = await self._unary(service, name, message, metadata)
        return _read(name, service, answer)

    async def _unary(self, service: str, name: str, message: bytes, metadata: Pairs) -> bytes:
        call = GrpcCall(
            APP_CLUSTER,
            f"/{_PACKAGE}.{service}/{name}",
            self._authority,
            (*metadata, *self._own),
            max_message=MAX_ANSWER,
        )
        answer = await unary(self._client, call, message)
        if answer.status:
            text = answer.text or f"status {answer.status}"
            raise AppRefusal(text, answer.status, is_grpc=True)
        return answer.message


def _read(name: str, service: str, answer: bytes) -> Any:
    _, response_type = classes(name, service)
    try:
        return response_type.FromString(answer)
    except DecodeError as error:
        raise ComponentError(f"the app's answer to {name} cannot be read: {error}") from error


def _subscription(message: Any) -> dict[str, Any]:
    """A `TopicSubscription` in the words of the list over HTTP; no route is the empty path."""
    rules = [{"match": each.match, "path": each.path} for each in message.routes.rules]
    bulk = message.bulk_subscribe
    return {
        "pubsubname": message.pubsub_name,
        "topic": message.topic,
        "metadata": dict(message.metadata),
        "deadLetterTopic": message.dead_letter_topic,
        "routes": {"rules": rules, "default": message.routes.default},
        "bulkSubscribe": {
            "enabled": bulk.enabled,
            "maxMessagesCount": bulk.max_messages_count,
            "maxAwaitDurationMs": bulk.max_await_duration_ms,
        },
    }


_PUBSUB_NAME: Final = b"pubsubname"


def _told(pubsub: str, metadata: Mapping[str, str]) -> Pairs:
    """What is said beside a message: the broker's metadata, and whose it is."""
    pairs = [pair for pair in _metadata(metadata) if pair[0] != _PUBSUB_NAME]
    return (*pairs, (_PUBSUB_NAME, pubsub.encode()))


def _metadata(metadata: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """A component's metadata, as far as gRPC has room for them."""
    return [
        (name.lower().encode(), value.encode())
        for name, value in metadata.items()
        if name.lower() not in _RESERVED
        and not name.lower().startswith(("grpc-", ":"))
        and not name.lower().endswith("-bin")
        and name.replace("-", "").replace("_", "").replace(".", "").isalnum()
        and name.isascii()
        and value.isascii()
        and value.isprintable()
    ]


def _trace(event: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """The trace that the event belongs to."""
    found = []
    for name in ("traceparent", "tracestate"):
        value = event.get(name)
        if isinstance(value, str) and value and value.isascii() and value.isprintable():
            found.append((name.encode(), value.encode()))
    return found
