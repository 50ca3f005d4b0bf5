"""What an app is asked over gRPC, by streams and by bindings: each message as it arrives."""

import queue
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from dapr.proto import api_v1 as pb
from dapr.proto import appcallback_service_v1 as service
from dapr.proto import appcallback_v1 as callback
from dapr.proto.common.v1 import common_pb2 as common
from google.protobuf import empty_pb2

from tests.parity_daprd.blocks import PUBSUB, component
from tests.parity_daprd.harness import DAPR, TIMEOUT_S, Pair, Setup, as_dict, failure
from tests.parity_daprd.observed import read_headers

CRON = component("tick", "bindings.cron", schedule="@every 1s", route="/ticked")
DECLARED = """
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: declared}
spec:
  pubsubname: bus
  topic: declared
  routes: {default: /declared}
  metadata: {own: value}
"""


class App(service.AppCallbackServicer):
    """Keeps what it was asked; subscribes to `asked` and, in bulks of one, to `bulk`."""

    def __init__(self):
        self.seen = queue.Queue()

    def note(self, call, request, context):
        headers = read_headers((each.key, each.value) for each in context.invocation_metadata())
        kept = {
            k: v
            for k, v in headers.items()
            if k
            not in (
                "user-agent",
                "grpc-accept-encoding",
                ":authority",
                "accept-encoding",
                "grpc-trace-bin",
                "grpc-timeout",
            )
        }
        self.seen.put({"call": call, "request": as_dict(request), "metadata": kept})

    def ListTopicSubscriptions(self, request, context):
        self.note("ListTopicSubscriptions", request, context)
        bulk = callback.TopicSubscription(
            pubsub_name="bus",
            topic="bulk",
            bulk_subscribe=callback.BulkSubscribeConfig(
                enabled=True, max_messages_count=1, max_await_duration_ms=500
            ),
        )
        return callback.ListTopicSubscriptionsResponse(subscriptions=[
            callback.TopicSubscription(pubsub_name="bus", topic="asked"), bulk,
            callback.TopicSubscription(pubsub_name="bus", topic="raw", metadata={"rawPayload": "true"}),
            callback.TopicSubscription(pubsub_name="bus", topic="ruled", routes=callback.TopicRoutes(rules=[callback.TopicRule(match='event.type == "a"', path="/a")], default="/b")),
        ])  # fmt: skip

    def ListInputBindings(self, request, context):
        self.note("ListInputBindings", request, context)
        return callback.ListInputBindingsResponse(bindings=["tick"])

    def OnTopicEvent(self, request, context):
        self.note("OnTopicEvent", request, context)
        return callback.TopicEventResponse()

    def OnBulkTopicEvent(self, request, context):
        self.note("OnBulkTopicEvent", request, context)
        return callback.TopicEventBulkResponse(
            statuses=[
                callback.TopicEventBulkResponseEntry(entry_id=each.entry_id)
                for each in request.entries
            ]
        )

    def OnBindingEvent(self, request, context):
        self.note("OnBindingEvent", request, context)
        return callback.BindingEventResponse()

    def OnInvoke(self, request, context):
        self.note("OnInvoke", request, context)
        return common.InvokeResponse()

    def next(self, call):
        while True:
            seen = self.seen.get(timeout=TIMEOUT_S)
            if seen["call"] == call:
                return seen


@pytest.fixture(scope="module")
def apps():
    found, servers = {}, []
    for kind in ("daprd", "meshproxy"):
        server = grpc.server(ThreadPoolExecutor(8))
        found[kind] = App()
        service.add_AppCallbackServicer_to_server(found[kind], server)
        found[kind].port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
    yield found
    for server in servers:
        server.stop(None).wait(TIMEOUT_S)


@pytest.fixture(scope="module")
def running(apps):
    ports = {kind: app.port for kind, app in apps.items()}
    setup = Setup(
        resources={"pubsub.yaml": PUBSUB, "cron.yaml": CRON, "subscription.yaml": DECLARED},
        app_port=ports,
        arguments=["--app-protocol", "grpc"],
    )
    with Pair(setup) as pair:
        yield pair


def publish(side, topic, data=b"x", kind="", metadata=None):
    request = pb.PublishEventRequest(
        pubsub_name="bus", topic=topic, data=data, data_content_type=kind, metadata=metadata or {}
    )
    return side.grpc("PublishEvent", request, empty_pb2.Empty)


EVENT = b'{"specversion":"1.0","id":"own","source":"s","type":"a","datacontenttype":"application/json","data":{"n":1},"extra":"yes","number":5}'
EVENTS = {
    "text": ("asked", b"hello", ""), "JSON": ("asked", b'{"a":[1,null]}', "application/json"),
    "bytes": ("asked", b"\x00\xff", "application/octet-stream"), "event": ("asked", EVENT, "application/cloudevents+json"),
    "declared": ("declared", b"x", ""), "rule": ("ruled", EVENT, "application/cloudevents+json"), "default": ("ruled", b"x", ""),
    "raw": ("raw", b"\x00\xff", "", {"rawPayload": "true"}), "metadata": ("asked", b"x", "", {"own": "1", "cloudevent.subject": "su"}),
    "expiring": ("asked", b"x", "", {"ttlInSeconds": "1000"}), "JSON text": ("asked", b'"x"', "application/json"),
    "number": ("asked", b"5", "application/json"), "empty": ("asked", b"", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", EVENTS)
def test_what_a_grpc_app_gets(pair, apps, name):
    def act(side):
        return [publish(side, *EVENTS[name]), apps[side.kind].next("OnTopicEvent")]

    pair.same(name, act)


def test_bulk_events_of_a_grpc_app(pair, apps):
    for name in ("text", "JSON", "bytes", "event"):
        _, data, kind = EVENTS[name]
        pair.same(
            "bytes in a bulk" if name == "bytes" else f"bulk {name}",
            lambda side, data=data, kind=kind: [
                publish(side, "bulk", data, kind),
                apps[side.kind].next("OnBulkTopicEvent"),
            ],
        )
    pair.same(
        "bulk metadata",
        lambda side: [
            publish(side, "bulk", b"x", "", {"own": "1"}),
            apps[side.kind].next("OnBulkTopicEvent"),
        ],
    )


def test_what_else_a_grpc_app_is_asked(pair, apps):
    def binding(side):
        event = apps[side.kind].next("OnBindingEvent")
        event["request"]["metadata"].pop("readTimeUTC", None)
        event["request"]["metadata"].pop("timeZone", None)
        return event

    pair.same("binding", binding)


STREAMS = {
    "text": ("t", b"hello", ""), "JSON": ("t", b'{"a":1}', "application/json"), "event": ("t", EVENT, "application/cloudevents+json"),
    "metadata": ("t", b"x", "", {"own": "1"}),
}  # fmt: skip


class Stream:
    """A streaming subscription of one side."""

    def __init__(self, side, *messages):
        self.out = queue.Queue()
        for each in messages:
            self.out.put(each)
        call = side.channel.stream_stream(
            DAPR + "SubscribeTopicEventsAlpha1",
            lambda m: m.SerializeToString(),
            pb.SubscribeTopicEventsResponseAlpha1.FromString,
        )
        self.call = call(iter(self.out.get, None), timeout=TIMEOUT_S)

    def next(self):
        try:
            return as_dict(next(self.call))
        except grpc.RpcError as error:
            return failure(error)
        except StopIteration:
            return "the end"


def initial(pubsub="bus", topic="t", **more):
    return pb.SubscribeTopicEventsRequestAlpha1(
        initial_request=pb.SubscribeTopicEventsRequestInitialAlpha1(
            pubsub_name=pubsub, topic=topic, **more
        )
    )


def processed(name, status=0):
    answer = callback.TopicEventResponse(status=status)
    return pb.SubscribeTopicEventsRequestAlpha1(
        event_processed=pb.SubscribeTopicEventsRequestProcessedAlpha1(id=name, status=answer)
    )


@pytest.mark.parametrize("name", STREAMS)
def test_what_a_stream_gets(pair, name):
    def act(side):
        stream = Stream(side, initial(metadata={"of": "mine"}))
        seen = [stream.next(), publish(side, *STREAMS[name]), stream.next()]
        stream.out.put(processed(seen[-1]["event_message"]["id"]))
        seen.append(side.http("GET", "/v1.0/metadata").body["subscriptions"][-1])
        stream.out.put(None)
        ends[side.kind] = stream.next()
        return seen

    ends = {}
    pair.same(f"stream {name}", act)
    pair.same("end of a stream", lambda side: [ends[side.kind]])


BAD = {
    "unknown pubsub": [initial("none")], "no pubsub": [initial("")], "no topic": [initial(topic="")], "not allowed": [initial("scoped", "d")],
    "no initial": [processed("x")], "twice": [initial(), initial()], "answer without id": [initial(), processed("")], "unknown id": [initial(), processed("x"), None],
}  # fmt: skip


WRONG = {
    "unknown pubsub": "stream, unknown pubsub",
    "unknown id": "end of a stream",
    "answer without id": "answer to no event",
}


def test_wrong_streams(pair):
    for name, messages in BAD.items():

        def act(side, messages=messages):
            stream = Stream(side, *messages)
            seen = [stream.next()]
            if "initial_response" in seen[0]:
                seen.append(stream.next())
            stream.call.cancel()
            return seen

        pair.same(WRONG.get(name, "wrong stream"), act)
