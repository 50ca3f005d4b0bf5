"""Calls of many messages without sockets: streaming subscriptions and watched configuration."""

import asyncio
import json

import pytest

pytest.importorskip("dapr")

from dapr.proto import api_v1 as pb

from meshproxy.dapr.api import Api
from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.component import Component, Identity
from meshproxy.dapr.configuration.configuration_store import ConfigurationItem
from meshproxy.dapr.grpc_api import GRPC_API, perform, perform_stream
from meshproxy.dapr.grpc_api.message_stream import MAX_WAITING, MessageStream
from meshproxy.dapr.pubsub.broker import PublishRequest
from meshproxy.dapr.registry import Registry
from meshproxy.dapr.sidecar import Sidecar
from meshproxy.http.header_map import HeaderMap
from tests.dapr.support import component, run, runtime

SUBSCRIBE = GRPC_API["/dapr.proto.runtime.v1.Dapr/SubscribeTopicEventsAlpha1"]
WATCH = GRPC_API["/dapr.proto.runtime.v1.Dapr/SubscribeConfiguration"]
UNWATCH = GRPC_API["/dapr.proto.runtime.v1.Dapr/UnsubscribeConfiguration"]
Request = pb.SubscribeTopicEventsRequestAlpha1
Status = pb.TopicEventResponse.TopicEventResponseStatus


class Call:
    """A client of one call."""

    def __init__(self, api: Api, method) -> None:
        self.received: asyncio.Queue = asyncio.Queue()
        self.stream = MessageStream(method, self._receive)
        self._response = method.response
        self.task = asyncio.get_running_loop().create_task(perform_stream(api, method, self.stream))

    def _receive(self, message: bytes) -> None:
        self.received.put_nowait(self._response.FromString(message))

    def send(self, message) -> None:
        self.stream.feed(message.SerializeToString())

    async def next(self):
        return await asyncio.wait_for(self.received.get(), 20)

    async def error(self) -> ApiError:
        with pytest.raises(ApiError) as raised:
            await asyncio.wait_for(self.task, 20)
        return raised.value

    async def cancel(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def initial(topic="orders", pubsub="bus", **more):
    request = pb.SubscribeTopicEventsRequestInitialAlpha1(pubsub_name=pubsub, topic=topic, **more)
    return Request(initial_request=request)


def processed(name, status=Status.SUCCESS):
    answer = pb.TopicEventResponse(status=status)
    request = pb.SubscribeTopicEventsRequestProcessedAlpha1(id=name, status=answer)
    return Request(event_processed=request)


def with_bus(work, metadata=None, **settings):
    async def main():
        specs = [component("bus", "pubsub.in-memory", metadata or {})]
        life = runtime(specs, **settings)
        await life.start()

        async def no_time(seconds):
            await asyncio.sleep(0)

        broker = life.find("pubsub", "bus")
        broker._sleep = no_time
        api = Api(Sidecar(Identity("app"), life))

        async def publish(name, topic="orders"):
            event = {"id": name, "type": "t", "data": 1, "datacontenttype": "application/json"}
            await broker.publish(PublishRequest(topic, json.dumps(event).encode()))

        try:
            await work(api, publish)
        finally:
            await life.close()

    run(main())


async def subscribed(api, **more):
    call = Call(api, SUBSCRIBE)
    call.send(initial(**more))
    assert (await call.next()).HasField("initial_response")
    return call


def test_events_come_after_the_first_answer_and_are_retried_until_they_are_taken():
    async def work(api, publish):
        call = await subscribed(api)
        assert [(each["topic"], each["type"]) for each in api.streaming.shown()] == [
            ("orders", "STREAMING")
        ]
        await publish("1")
        event = (await call.next()).event_message
        assert (event.id, event.topic, event.pubsub_name, event.data, event.path) == (
            "1",
            "orders",
            "bus",
            b"1",
            "/",
        )
        call.send(processed("1", Status.RETRY))
        assert (await call.next()).event_message.id == "1"
        call.send(processed("1"))
        await publish("2")
        assert (await call.next()).event_message.id == "2"
        call.send(processed("2"))
        call.stream.finish()
        await asyncio.wait_for(call.task, 20)
        assert api.streaming.shown() == []

    with_bus(work)


def test_an_event_waits_until_the_client_keeps_up():
    async def work(api, publish):
        call = await subscribed(api)
        call.stream.set_full(True)
        await publish("1")
        for _ in range(20):
            await asyncio.sleep(0)
        assert call.received.empty()
        call.stream.set_full(False)
        assert (await call.next()).event_message.id == "1"
        call.send(processed("1"))
        call.stream.finish()
        await asyncio.wait_for(call.task, 20)

    with_bus(work)


def test_what_is_dropped_goes_to_the_dead_letter_topic():
    async def work(api, publish):
        call = await subscribed(api, dead_letter_topic="dead")
        dead = await subscribed(api, topic="dead")
        await publish("1")
        await call.next()
        call.send(processed("1", Status.DROP))
        assert (await dead.next()).event_message.id == "1"
        await call.cancel()
        await dead.cancel()

    with_bus(work)


def test_an_event_that_a_client_has_not_answered_before_it_went_is_for_the_next():
    async def work(api, publish):
        call = await subscribed(api)
        await publish("1")
        await call.next()
        await call.cancel()
        assert api.streaming.shown() == []

    with_bus(work)


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([processed("1")], "initial request is required"),
        ([initial(pubsub="")], "pubsubName is required"),
        ([initial(topic="")], "topic is required"),
        ([initial(), initial()], "duplicate initial request"),
        ([initial(), processed("")], "event id of the answer is missing"),
        ([initial(pubsub="none")], "pubsub none is not found"),
    ],
)
def test_a_client_that_says_the_wrong_thing_is_told(messages, text):
    async def work(api, publish):
        call = Call(api, SUBSCRIBE)
        for message in messages:
            call.send(message)
        error = await call.error()
        assert error.grpc is Grpc.INVALID_ARGUMENT
        assert text in error.message
        assert api.streaming.shown() == []

    with_bus(work)


def test_a_topic_that_is_not_allowed_is_refused():
    async def work(api, publish):
        call = Call(api, SUBSCRIBE)
        call.send(initial())
        assert (await call.error()).grpc is Grpc.PERMISSION_DENIED

    with_bus(work, {"subscriptionScopes": "app=others"})


def test_a_client_that_sends_without_end_is_bounded():
    async def work(api, publish):
        stream = MessageStream(SUBSCRIBE, lambda message: None)
        for _ in range(MAX_WAITING):
            stream.feed(b"")
        with pytest.raises(ApiError) as raised:
            stream.feed(b"")
        assert raised.value.grpc is Grpc.RESOURCE_EXHAUSTED
        with pytest.raises(ApiError, match="is no SubscribeTopicEventsRequestAlpha1"):
            MessageStream(SUBSCRIBE, lambda message: None).feed(b"\xff")

    with_bus(work)


@pytest.mark.parametrize("by", ["component", "sidecar"])
def test_a_call_ends_with_its_component_and_with_the_sidecar(by):
    async def work(api, publish):
        call = await subscribed(api)
        if by == "sidecar":
            api.close()
            late = Call(api, SUBSCRIBE)
            late.send(initial())
            assert (await late.error()).grpc is Grpc.UNAVAILABLE
        else:
            loaded = api.streaming._sidecar.runtime.components["bus"]
            await api.streaming.component_closing(loaded)
        error = await call.error()
        assert error.grpc is Grpc.UNAVAILABLE
        assert api.streaming.shown() == []

    with_bus(work)


class Store(Component):
    """Tells of changes when the test does."""

    def __init__(self, context) -> None:
        self.handlers: list = []

    async def init(self, metadata) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def subscribe(self, keys, metadata, handler):
        self.keys = keys
        self.handlers.append(handler)

        async def end() -> None:
            self.handlers.remove(handler)

        return end


class Stores(Registry):
    """Knows one class under every type."""

    def constructor(self, type_name, version):
        return Store


def with_store(work):
    async def main():
        life = runtime([component("conf", "configuration.fake")], registry=Stores())
        await life.start()
        await work(Api(Sidecar(Identity("app"), life)), life.find("configuration", "conf"))
        await life.close()

    run(main())


async def watched(api, store="conf"):
    call = Call(api, WATCH)
    call.send(pb.SubscribeConfigurationRequest(store_name=store, keys=["a"]))
    call.stream.finish()
    return call


def test_configuration_is_watched_until_it_is_unsubscribed():
    async def work(api, store):
        call = await watched(api)
        name = (await call.next()).id
        assert name
        assert store.keys == ["a"]
        await store.handlers[0]({"a": ConfigurationItem("1", "v1", {})})
        told = await call.next()
        assert (told.id, told.items["a"].value, told.items["a"].version) == (name, "1", "v1")
        request = pb.UnsubscribeConfigurationRequest(store_name="conf", id=name)
        for ok in (True, False):
            answer, _ = await perform(api, UNWATCH, request.SerializeToString(), HeaderMap())
            assert UNWATCH.response.FromString(answer).ok is ok
        await asyncio.wait_for(call.task, 20)
        assert store.handlers == []

    with_store(work)


def test_of_what_a_client_cannot_take_only_the_newest_waits():
    async def work(api, store):
        call = await watched(api)
        await call.next()
        call.stream.set_full(True)
        for number in range(100):
            await store.handlers[0]({"a": ConfigurationItem(str(number), "", {})})
        await store.handlers[0]({"b": ConfigurationItem("x", "", {})})
        assert call.received.empty()
        call.stream.set_full(False)
        told = (await call.next()).items
        assert {key: item.value for key, item in told.items()} == {"a": "99", "b": "x"}
        await store.handlers[0]({"a": ConfigurationItem("100", "", {})})
        assert (await call.next()).items["a"].value == "100"
        await call.cancel()

    with_store(work)


@pytest.mark.parametrize("by", ["client", "sidecar"])
def test_a_watch_ends_with_its_call_and_with_the_sidecar(by):
    async def work(api, store):
        call = await watched(api)
        await call.next()
        if by == "sidecar":
            api.close()
            await asyncio.wait_for(call.task, 20)
        else:
            await call.cancel()
        assert store.handlers == []

    with_store(work)


def test_a_store_that_is_not_there_cannot_be_watched():
    async def work(api, store):
        assert (await (await watched(api, "none")).error()).grpc is Grpc.INVALID_ARGUMENT

    with_store(work)
