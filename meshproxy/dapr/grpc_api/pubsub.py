"""Publishing and streaming subscriptions over gRPC. Knows the messages; the meaning is `api/`'s."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from meshproxy.dapr.api.pubsub import Entry
from meshproxy.dapr.api.pubsub_errors import not_published
from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.app_channel import RETRY, TopicEvent
from meshproxy.dapr.cloud_event import Trace
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.grpc_api.message_stream import MessageStream
from meshproxy.dapr.grpc_api.method import Reply, informed_method, stream_method
from meshproxy.dapr.grpc_api.topic_event import topic_event, verdict
from meshproxy.dapr.pubsub.subscription import Kind, Rule, Subscription
from meshproxy.http.header_map import HeaderMap

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api


async def _publish(api: Api, request: Any, metadata: HeaderMap) -> Reply:
    entry = Entry(request.data, request.data_content_type, dict(request.metadata))
    trace = _trace(metadata)
    # What is raw has no place for its trace but there.
    raw = {"traceid": trace.parent, "tracestate": trace.state}
    await api.pubsub.publish(request.pubsub_name, request.topic, entry, trace, raw)
    return Reply()


async def _bulk_publish(api: Api, request: Any, metadata: HeaderMap) -> Reply:
    entries = [
        Entry(each.event, each.content_type, dict(each.metadata), each.entry_id)
        for each in request.entries
    ]
    failed = await api.pubsub.bulk_publish(
        request.pubsub_name, request.topic, entries, _trace(metadata), dict(request.metadata)
    )
    if failed:  # which of them it was has no place beside an error of gRPC, as in daprd
        raise not_published(request.pubsub_name, request.topic, failed[0][1])
    return Reply()


def _trace(metadata: HeaderMap) -> Trace:
    parent = metadata.get(b"traceparent") or b""
    state = metadata.get(b"tracestate") or b""
    return Trace(parent.decode("latin-1"), state.decode("latin-1"))


# ---- SubscribeTopicEventsAlpha1 ----------------------------------------------------------------


async def _subscribe(api: Api, stream: MessageStream) -> None:
    first = await stream.receive()
    if first is None or not first.HasField("initial_request"):
        raise _invalid("initial request is required")
    initial = first.initial_request
    if not initial.pubsub_name:
        raise _invalid("pubsubName is required")
    if not initial.topic:
        raise _invalid("topic is required")
    subscription = Subscription(
        initial.pubsub_name,
        initial.topic,
        (Rule("/"),),
        Kind.STREAMING,
        initial.dead_letter_topic,
        dict(initial.metadata),
    )
    subscriber = Subscriber(stream)
    end = await api.streaming.subscribe(subscription, subscriber)
    try:
        subscriber.begin()
        await subscriber.serve()
    finally:
        subscriber.close()
        await end()


class Subscriber:
    """The client of one streaming subscription, as a delivery tells it of events."""

    def __init__(self, stream: MessageStream) -> None:
        self._stream = stream
        self._begun = asyncio.Event()
        self._asked: dict[str, deque[asyncio.Future[int]]] = {}
        self._refusal = ""

    def begin(self) -> None:
        """The client may know now that it is subscribed: events come after that."""
        self._stream.send(initial_response={})
        self._begun.set()

    async def serve(self) -> None:
        """Take the client's answers until it has no more. Raises ApiError."""
        while (message := await self._stream.receive()) is not None:
            if message.HasField("initial_request"):
                raise _invalid("duplicate initial request received")
            answer = message.event_processed
            if not answer.id:
                raise _invalid("the event id of the answer is missing")
            waiting = self._asked.get(answer.id)
            if waiting:
                _give(waiting.popleft(), answer.status.status)
        if self._refusal:
            raise ApiError("ERR_PUBSUB_CLOSING", self._refusal, 503, Grpc.UNAVAILABLE)

    def refuse(self, reason: str) -> None:
        """End the call from here."""
        self._refusal = reason
        self._stream.finish()

    async def on_topic_event(self, event: TopicEvent) -> str:
        """Send one event and wait for what the client makes of it. See `AppChannel`."""
        await self._begun.wait()
        await self._stream.room()
        if self._closed:
            raise ComponentError("the client has gone")
        name = str(event.event.get("id", ""))
        answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._asked.setdefault(name, deque()).append(answered)
        try:
            self._stream.send(event_message=topic_event(event))
            found = verdict(await answered)
        finally:
            self._forget(name, answered)
        if found == RETRY:
            raise ComponentError(f"the client asks to retry the event {name}")
        return found

    def close(self) -> None:
        """The call is over: what it has not answered is for others."""
        self._closed = True
        self._begun.set()
        for waiting in self._asked.values():
            for each in waiting:
                if not each.done():
                    each.set_exception(ComponentError("the client has gone"))

    _closed = False

    def _forget(self, name: str, answered: asyncio.Future[int]) -> None:
        waiting = self._asked.get(name)
        if waiting is not None:
            if answered in waiting:
                waiting.remove(answered)
            if not waiting:
                del self._asked[name]


def _give(answered: asyncio.Future[int], status: int) -> None:
    if not answered.done():
        answered.set_result(status)


def _invalid(text: str) -> ApiError:
    return ApiError("ERR_BAD_REQUEST", text, 400, Grpc.INVALID_ARGUMENT)


METHODS: Final = (
    informed_method("PublishEvent", _publish),
    informed_method("BulkPublishEvent", _bulk_publish),
    informed_method("BulkPublishEventAlpha1", _bulk_publish),
    stream_method("SubscribeTopicEventsAlpha1", _subscribe),
)
