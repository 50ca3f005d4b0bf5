"""Calls to an app that speaks gRPC; the app is a server of grpcio with Dapr's own services."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("dapr")
import grpc
from dapr.proto import appcallback_service_v1 as services
from dapr.proto import appcallback_v1 as pb
from dapr.proto.common.v1 import common_pb2

from meshproxy.config.dapr.subscription import compile_rule
from meshproxy.dapr.app_channel import (
    DROP,
    SUCCESS,
    AppRefusal,
    BindingEvent,
    BulkEntry,
    BulkTopicEvent,
    TopicEvent,
)
from meshproxy.dapr.app_settings import AppSettings
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.grpc_api.app_channel import GrpcAppChannel, Invocation
from meshproxy.router.grpc_client import GrpcClient
from meshproxy.upstream.cluster import UpstreamProtocol
from tests.dapr.support import client_to_app, run
from tests.support.processes import STOP_TIMEOUT_S

STATUS = pb.TopicEventResponse.TopicEventResponseStatus
EVENT = {
    "id": "7",
    "source": "shop",
    "type": "order",
    "specversion": "1.0",
    "datacontenttype": "application/json",
    "data": {"n": 1},
    "topic": "orders",
    "traceparent": "00-t-s-01",
}


class App(
    services.AppCallbackServicer,
    services.AppCallbackHealthCheckServicer,
    services.AppCallbackAlphaServicer,
):
    """Keeps what it was told; answers as the attributes say. None: it does not have the call."""

    def __init__(self) -> None:
        self.told: list = []
        self.verdict: int | None = STATUS.SUCCESS
        self.has_bulk = True
        self.is_well = True

    def _hear(self, request, context):
        metadata = {each.key: each.value for each in context.invocation_metadata()}
        self.told.append((request, metadata))

    def OnInvoke(self, request, context):
        self._hear(request, context)
        if request.method == "fail":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        answer = common_pb2.InvokeResponse(content_type="text/plain")
        answer.data.value = request.data.value[::-1]
        return answer

    def ListTopicSubscriptions(self, request, context):
        rules = pb.TopicRoutes(rules=[pb.TopicRule(match="event.type == 'a'", path="a")])
        return pb.ListTopicSubscriptionsResponse(
            subscriptions=[
                pb.TopicSubscription(pubsub_name="bus", topic="plain", metadata={"m": "1"}),
                pb.TopicSubscription(
                    pubsub_name="bus", topic="routed", routes=rules, dead_letter_topic="dead"
                ),
                pb.TopicSubscription(topic="nowhere"),
            ]
        )

    def OnTopicEvent(self, request, context):
        self._hear(request, context)
        if self.verdict is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no")
        return pb.TopicEventResponse(status=self.verdict)

    def OnBulkTopicEvent(self, request, context):
        if not self.has_bulk:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no")
        return self.OnBulkTopicEventAlpha1(request, context)

    def OnBulkTopicEventAlpha1(self, request, context):
        self._hear(request, context)
        entry = pb.TopicEventBulkResponseEntry
        statuses = [entry(entry_id="a"), entry(entry_id="b", status=STATUS.DROP)]
        return pb.TopicEventBulkResponse(statuses=statuses)

    def ListInputBindings(self, request, context):
        self._hear(request, context)
        return pb.ListInputBindingsResponse(bindings=["cron"])

    def OnBindingEvent(self, request, context):
        self._hear(request, context)
        return pb.BindingEventResponse(
            store_name="s",
            states=[common_pb2.StateItem(key="k", value=b"v")],
            to=["out"],
            data=b"d",
            concurrency=pb.BindingEventResponse.PARALLEL,
        )

    def HealthCheck(self, request, context):
        if not self.is_well:
            context.abort(grpc.StatusCode.UNAVAILABLE, "ill")
        return pb.HealthCheckResponse()


@pytest.fixture(scope="module")
def server():
    """A server and the app in it, which each test makes new."""
    running = grpc.server(ThreadPoolExecutor(2))
    app = App()
    for add in (
        services.add_AppCallbackServicer_to_server,
        services.add_AppCallbackHealthCheckServicer_to_server,
        services.add_AppCallbackAlphaServicer_to_server,
    ):
        add(app, running)
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    yield port, app
    running.stop(None).wait(STOP_TIMEOUT_S)


@pytest.fixture
def app(server):
    server[1].__init__()
    return server[1]


@pytest.fixture
def ask(server):
    def ask(work, **settings):
        async def main():
            port = server[0]
            async with client_to_app(port, upstream_protocol=UpstreamProtocol.HTTP2) as client:
                given = AppSettings(port=port, protocol="grpc", **settings)
                return await work(GrpcAppChannel(given, GrpcClient(client)))

        return run(main())

    return ask


def event(**more):
    return TopicEvent("bus", "orders", "/path", {**EVENT, **more}, b"", {"Key": "v", "te": "x"})


def test_an_event_is_told_with_its_attributes_and_the_trace(app, ask):
    assert ask(lambda channel: channel.on_topic_event(event()), token="secret") == SUCCESS
    request, metadata = app.told[0]
    assert (request.id, request.source, request.type) == ("7", "shop", "order")
    assert (request.spec_version, request.data_content_type) == ("1.0", "application/json")
    assert (request.topic, request.pubsub_name, request.path) == ("orders", "bus", "/path")
    assert request.data == b'{"n":1}'
    assert dict(request.extensions) == {"topic": "orders", "traceparent": "00-t-s-01"}
    assert metadata["traceparent"] == "00-t-s-01"
    assert (metadata["dapr-api-token"], metadata["key"]) == ("secret", "v")
    assert metadata["pubsubname"] == "bus"


@pytest.mark.parametrize(
    ("more", "data"),
    [
        ({"data": "text", "datacontenttype": "text/plain"}, b"text"),
        ({"data": "text"}, b'"text"'),
        ({"data_base64": "/w=="}, b"\xff"),
        ({"data": None}, b""),
        ({"data": [1], "datacontenttype": ""}, b"[1]"),
    ],
)
def test_the_data_of_an_event_are_bytes(app, ask, more, data):
    ask(lambda channel: channel.on_topic_event(event(**more)))
    assert app.told[0][0].data == data


def test_data_that_are_no_base64_are_not_told(app, ask):
    with pytest.raises(ComponentError, match="no base64"):
        ask(lambda channel: channel.on_topic_event(event(data_base64="!")))
    assert not app.told


def test_the_app_says_what_becomes_of_an_event(app, ask):
    app.verdict = STATUS.DROP
    assert ask(lambda channel: channel.on_topic_event(event())) == DROP
    app.verdict = STATUS.RETRY
    with pytest.raises(ComponentError, match="retry the event 7"):
        ask(lambda channel: channel.on_topic_event(event()))
    app.verdict = None
    assert ask(lambda channel: channel.on_topic_event(event())) == DROP


@pytest.mark.parametrize("has_bulk", [True, False])
def test_several_events_are_told_at_once_to_old_apps_too(app, ask, has_bulk):
    app.has_bulk = has_bulk
    entries = [BulkEntry("a", EVENT, metadata={"k": "v"}), BulkEntry("b", None, b"\xff", "raw")]
    bulk = BulkTopicEvent("1", "bus", "orders", "/all", entries)
    assert ask(lambda channel: channel.on_bulk_topic_event(bulk)) == {"a": SUCCESS, "b": DROP}
    request, metadata = app.told[0]
    assert (request.id, request.path, request.pubsub_name) == ("1", "/all", "bus")
    assert (dict(request.metadata), metadata["pubsubname"]) == ({"pubsubName": "bus"}, "bus")
    first, second = request.entries
    assert (first.entry_id, first.cloud_event.data) == ("a", b'{"n":1}')
    assert first.content_type == ""
    assert (second.bytes, second.content_type) == (b"\xff", "raw")


def test_the_app_lists_its_subscriptions_and_bindings(app, ask):
    found = ask(lambda channel: channel.list_topic_subscriptions(compile_rule))
    plain, routed = found
    assert (plain.topic, plain.metadata, plain.path_of({})) == ("plain", {"m": "1"}, "")
    assert routed.path_of({"type": "a"}) == "a"
    assert (routed.path_of({"type": "b"}), routed.dead_letter_topic) == (None, "dead")

    async def bindings(channel):
        return [await channel.has_input_binding(name, name) for name in ("cron", "other")]

    assert ask(bindings) == [True, False]
    assert len(app.told) == 1


def test_a_binding_is_told_and_its_answer_read(app, ask):
    told = BindingEvent("cron", "/cron", b"x", {"m": "1"})
    answer = ask(lambda channel: channel.on_binding_event(told))
    assert app.told[0][0].metadata == {"m": "1"}
    assert (answer.data, answer.store, answer.to, answer.parallel) == (b"d", "s", ("out",), True)
    assert [(each.key, each.value) for each in answer.states] == [("k", b"v")]


def test_a_path_is_a_method_that_is_invoked(app, ask):
    headers = {"content-type": "text/x", "x-own": "1"}
    answer = ask(lambda channel: channel.send("PUT", "/a/b?c=d", b"xyz", headers))
    assert (answer.status, answer.body) == (200, b"zyx")
    request, metadata = app.told[0]
    assert (request.method, request.content_type) == ("a/b", "text/x")
    assert (request.http_extension.verb, request.http_extension.querystring) == (4, "c=d")
    assert metadata["x-own"] == "1"
    answer = ask(lambda channel: channel.send("GET", "/fail"))
    assert (answer.status, answer.body) == (404, b"no such thing")
    with pytest.raises(AppRefusal) as raised:
        ask(lambda channel: channel.on_invoke(Invocation("fail")))
    assert (raised.value.status, raised.value.is_grpc) == (5, True)


def test_health_is_a_call_too(app, ask):
    assert ask(lambda channel: channel.is_well("/")) is True
    app.is_well = False
    assert ask(lambda channel: channel.is_well("/")) is False


def test_a_call_that_is_cancelled_leaves_its_place(ask):
    async def work(channel):
        assert channel.slots.take(lambda: None)
        waiting = asyncio.get_running_loop().create_task(channel.send("GET", "/x"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        channel.slots.give_back()
        assert (await channel.send("GET", "/x")).status == 200

    ask(work, max_concurrency=1)


def test_an_app_that_wants_nothing_has_none_of_the_calls():
    running = grpc.server(ThreadPoolExecutor(1))
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()

    async def main():
        async with client_to_app(port, upstream_protocol=UpstreamProtocol.HTTP2) as client:
            channel = GrpcAppChannel(AppSettings(port=port, protocol="grpc"), GrpcClient(client))
            assert await channel.list_topic_subscriptions(compile_rule) == []
            assert await channel.has_input_binding("a", "a") is False
            assert await channel.is_well("/") is False
            entries = [BulkEntry("a", EVENT)]
            bulk = BulkTopicEvent("1", "bus", "orders", "/all", entries)
            assert await channel.on_bulk_topic_event(bulk) == {"a": DROP}
            with pytest.raises(AppRefusal):
                await channel.on_binding_event(BindingEvent("a", "a", b""))

    try:
        run(main())
    finally:
        running.stop(None).wait(STOP_TIMEOUT_S)
