"""Publishing and receiving: what a publisher is answered, and what the app gets, byte for byte."""

import base64
import json

import pytest

from tests.parity_daprd.blocks import PUBSUB
from tests.parity_daprd.harness import Setup
from tests.parity_daprd.recorder import Reply

PROGRAMMATIC = [
    {"pubsubname": "bus", "topic": "plain", "route": "/plain"},
    {"pubsubname": "bus", "topic": "raw", "route": "/raw", "metadata": {"rawPayload": "true"}},
    {
        "pubsubname": "bus", "topic": "ruled",
        "routes": {
            "rules": [
                {"match": 'event.type == "big"', "path": "/big"},
                {"match": "event.data.n > 5", "path": "/more"},
            ],
            "default": "/default",
        },
    },
    {"pubsubname": "bus", "topic": "strict", "routes": {"rules": [{"match": 'event.type == "a"', "path": "/a"}]}},
    {"pubsubname": "bus", "topic": "failing", "route": "/failing", "deadLetterTopic": "dead"},
    {"pubsubname": "bus", "topic": "dead", "route": "/dead"},
    {"pubsubname": "bus", "topic": "dropped", "route": "/dropped", "deadLetterTopic": "dead"},
    {"pubsubname": "bus", "topic": "gone", "route": "/gone", "deadLetterTopic": "dead"},
    {"pubsubname": "bus", "topic": "bulk", "route": "/bulk", "bulkSubscribe": {"enabled": True, "maxMessagesCount": 1, "maxAwaitDurationMs": 500}},
    {"pubsubname": "bus", "topic": "bulkraw", "route": "/bulkraw", "metadata": {"rawPayload": "true"}, "bulkSubscribe": {"enabled": True, "maxMessagesCount": 1, "maxAwaitDurationMs": 500}},
    {"pubsubname": "bus", "topic": "a/b", "route": "/slashed", "metadata": {"x": "y"}},
    {"pubsubname": "bus", "topic": "wild*", "route": "/wild"},
    {"pubsubname": "bus", "topic": "rawest*", "route": "/rawest", "metadata": {"rawPayload": "true"}},
    {"pubsubname": "none", "topic": "t", "route": "/none"},
    {"pubsubname": "bus", "topic": "unrouted"},
    {"pubsubname": "scoped", "topic": "a", "route": "/scoped-a"},
    {"pubsubname": "scoped", "topic": "b", "route": "/scoped-b"},
]  # fmt: skip
DECLARED = """
apiVersion: dapr.io/v1alpha1
kind: Subscription
metadata: {name: one}
spec: {pubsubname: bus, topic: declared, route: /declared}
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: two}
spec:
  pubsubname: bus
  topic: declared2
  routes:
    rules:
    - {match: event.type == "x", path: /declared-x}
    default: /declared-default
  metadata: {k: v}
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: elsewhere}
spec: {pubsubname: bus, topic: elsewhere, routes: {default: /elsewhere}}
scopes: [other]
"""
JSON = (("content-type", "application/json"),)


def taken(request):
    """The app's answer to a bulk of events."""
    entries = [
        {"entryId": each["entryId"], "status": "SUCCESS"} for each in request["body"]["entries"]
    ]
    return Reply(200, json.dumps({"statuses": entries}).encode(), JSON)


SETUP = Setup(
    resources={"pubsub.yaml": PUBSUB, "subscriptions.yaml": DECLARED},
    app={
        "GET /dapr/subscribe": Reply(200, json.dumps(PROGRAMMATIC).encode(), JSON),
        "POST /failing": Reply(500, b"no"),
        "POST /dropped": Reply(200, b'{"status":"DROP"}', JSON),
        "POST /gone": Reply(404),
        "POST /bulk": taken,
        "POST /bulkraw": taken,
    },
)


def publish(topic, body=b"x", path="", method="POST", bus="bus", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return (method, f"/v1.0/publish/{bus}/{topic}{path}", body, named)


def bulk_publish(topic, body, path="", version="v1.0", bus="bus"):
    return (
        "POST",
        f"/{version}/publish/bulk/{bus}/{topic}{path}",
        body,
        {"content-type": "application/json"},
    )


EVENT = {
    "specversion": "1.0", "id": "own", "source": "s", "type": "big", "datacontenttype": "application/json",
    "data": {"n": 1}, "extra": "yes", "number": 5,
}  # fmt: skip
PLAIN = {
    "text": publish("plain", b"hello", content_type="text/plain"),
    "no type": publish("plain", b"hello"),
    "empty": publish("plain", b""),
    "JSON": publish("plain", {"a": [1, 2.5, None], "b": "\u00fc<>&"}, content_type="application/json"),
    "big number": publish("plain", b'{"n":12345678901234567890123}', content_type="application/json"),
    "JSON with charset": publish("plain", b'{"a":1}', content_type="application/json; charset=utf-8"),
    "JSON of a kind": publish("plain", b'{"a":1}', content_type="application/vnd.x+json"),
    "bad JSON": publish("plain", b"{", content_type="application/json"),
    "JSON text": publish("plain", b'"x"', content_type="application/json"),
    "bytes": publish("plain", b"\x00\xff", content_type="application/octet-stream"),
    "bytes as text": publish("plain", b"\x00\xff", content_type="text/plain"),
    "protobuf": publish("plain", b"\x00\xff", content_type="application/x-protobuf"),
    "xml": publish("plain", b"<a/>", content_type="application/xml"),
    "upper case": publish("plain", b'{"a":1}', content_type="Application/JSON"),
    "cloud event": publish("plain", EVENT, content_type="application/cloudevents+json"),
    "cloud event, charset": publish("plain", EVENT, content_type="application/cloudevents+json; charset=utf-8"),
    "bare cloud event": publish("plain", {"data": 1}, content_type="application/cloudevents+json"),
    "put": publish("plain", b"hello", method="PUT"),
    "overridden": publish("plain", b"x", "?metadata.cloudevent.id=i&metadata.cloudevent.type=t&metadata.cloudevent.source=so&metadata.cloudevent.subject=su"),
    "overridden cloud event": publish("plain", EVENT, "?metadata.cloudevent.id=i&metadata.cloudevent.subject=su&metadata.cloudevent.traceid=tr", content_type="application/cloudevents+json"),
    "trace overridden": publish("plain", b"x", "?metadata.cloudevent.traceid=tr&metadata.cloudevent.traceparent=tp&metadata.cloudevent.tracestate=ts"),
    "odd override": publish("plain", b"x", "?metadata.cloudevent.other=o&metadata.any=1"),
    "traced": publish("plain", b"x", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", tracestate="a=b"),
    "time to live": publish("plain", b"x", "?metadata.ttlInSeconds=1000"),
    "not raw": publish("plain", b"x", "?metadata.rawPayload=false"),
    "raw to plain": publish("plain", json.dumps(EVENT).encode(), "?metadata.rawPayload=true", content_type="application/json"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_what_the_app_gets(pair, name):
    request = PLAIN[name]

    def act(side):
        answer = side.http(*request)
        return {**answer._asdict(), "app": side.app.take("/plain")}

    pair.same(name, act)


ROUTED = {
    "rule by type": (publish("ruled", EVENT, content_type="application/cloudevents+json"), ["/big"]),
    "rule by data": (publish("ruled", {"n": 9}, content_type="application/json"), ["/more"]),
    "no rule": (publish("ruled", {"n": 1}, content_type="application/json"), ["/default"]),
    "declared": (publish("declared"), ["/declared"]),
    "declared twice": (publish("declared2"), ["/declared-default"]),
    "declared rule": (publish("declared2", b"x", "?metadata.cloudevent.type=x"), ["/declared-x"]),
    "topic with a slash": (publish("a/b"), ["/slashed"]),
    "topic with an escaped slash": (publish("a%2Fb"), ["/slashed"]),
    "raw": (publish("raw", b"\x00\xff", "?metadata.rawPayload=true&metadata.own=1"), ["/raw"]),
    "raw of an event": (publish("raw", b"text", content_type="text/plain"), ["/raw"]),
    "dropped": (publish("dropped", {"a": 1}, content_type="application/json"), ["/dropped", "/dead"]),
    "failing": (publish("failing", b"x", "?metadata.own=1"), ["/failing", "/dead"]),
    "not found": (publish("gone"), ["/gone", "/dead"]),
    "scoped": (publish("a", bus="scoped"), ["/scoped-a"]),
}  # fmt: skip


@pytest.mark.parametrize("name", ROUTED)
def test_where_it_goes(pair, name):
    request, paths = ROUTED[name]

    def act(side):
        answer = side.http(*request)
        taken = [side.app.take(path) for path in paths]
        if name == "raw of an event":
            body = taken[0][0]["body"]
            body["data_base64"] = json.loads(base64.b64decode(body["data_base64"]))
        return {**answer._asdict(), "app": taken}

    pair.same(name, act)


ENTRIES = [
    {"entryId": "1", "event": "one", "contentType": "text/plain"},
    {"entryId": "2", "event": {"a": 1}, "contentType": "application/json", "metadata": {"own": "1"}},
]  # fmt: skip


def test_bulk_publish_and_bulk_subscribe(pair):
    def act(side, topic, entries=ENTRIES, path="", version="v1.0"):
        answer = side.http(*bulk_publish(topic, entries, path, version))
        return {**answer._asdict(), "app": side.app.take(f"/{topic}", 2)}

    def by_data(side):
        seen = act(side, "plain")
        seen["app"].sort(key=lambda each: str(each["body"]["data"]))
        return seen

    def first_event(request):
        event = request["body"]["entries"][0]["event"]
        return event if isinstance(event, str) else str(event.get("data"))

    def in_order(side, topic, *more):
        seen = act(side, topic, *more)
        seen["app"].sort(key=first_event)
        return seen

    pair.same("bulk to single", by_data)
    pair.same("bulk to bulk", lambda side: in_order(side, "bulk"))
    pair.same(
        "bulk alpha", lambda side: in_order(side, "bulk", ENTRIES, "?metadata.all=1", "v1.0-alpha1")
    )
    pair.same(
        "bulk raw", lambda side: in_order(side, "bulkraw", ENTRIES, "?metadata.rawPayload=true")
    )
    octets = [
        {"entryId": str(n), "event": "AP8=", "contentType": "application/octet-stream"}
        for n in "12"
    ]
    pair.same("bulk bytes", lambda side: in_order(side, "bulk", octets))
    events = [
        {"entryId": str(n), "event": EVENT, "contentType": "application/cloudevents+json"}
        for n in "12"
    ]
    pair.same("bulk events", lambda side: in_order(side, "bulk", events))


BAD = {
    "unknown pubsub": publish("t", bus="none"),
    "forbidden topic": publish("d", bus="scoped"),
    "topic of another": publish("c", bus="scoped"),
    "topic that nobody may": publish("e", bus="scoped"),
    "no topic": ("POST", "/v1.0/publish/bus", b"x", {}),
    "no topic, slash": ("POST", "/v1.0/publish/bus/", b"x", {}),
    "blank topic": ("POST", "/v1.0/publish/bus/%20", b"x", {}),
    "no pubsub": ("POST", "/v1.0/publish//t", b"x", {}),
    "alpha": ("POST", "/v1.0-alpha1/publish/bus/t", b"x", {}),
    "odd raw": publish("t", b"x", "?metadata.rawPayload=maybe"),
    "odd time to live": publish("t", b"x", "?metadata.ttlInSeconds=maybe"),
    "zero time to live": publish("t", b"x", "?metadata.ttlInSeconds=0"),
    "no cloud event": publish("t", b"x", content_type="application/cloudevents+json"),
    "list as cloud event": publish("t", b"[]", content_type="application/cloudevents+json"),
    "get": ("GET", "/v1.0/publish/bus/t"),
    "delete": ("DELETE", "/v1.0/publish/bus/t"),
    "bulk, no body": bulk_publish("t", b""),
    "bulk, object": bulk_publish("t", {}),
    "bulk, null": bulk_publish("t", b"null"),
    "bulk, empty": bulk_publish("t", []),
    "bulk, no id": bulk_publish("t", [{"event": "x", "contentType": "text/plain"}]),
    "bulk, id twice": bulk_publish("t", [ENTRIES[0], ENTRIES[0]]),
    "bulk, no event": bulk_publish("t", [{"entryId": "1", "contentType": "text/plain"}]),
    "bulk, no type": bulk_publish("t", [{"entryId": "1", "event": "x"}]),
    "bulk, object as text": bulk_publish("t", [{"entryId": "1", "event": {}, "contentType": "text/plain"}]),
    "bulk, text as JSON": bulk_publish("t", [{"entryId": "1", "event": "x", "contentType": "application/json"}]),
    "bulk, no base64": bulk_publish("t", [{"entryId": "1", "event": "?", "contentType": "application/octet-stream"}]),
    "bulk, odd metadata": bulk_publish("t", [{**ENTRIES[0], "metadata": {"a": 5}}]),
    "bulk, bad event": bulk_publish("t", [{"entryId": "1", "event": "x", "contentType": "application/cloudevents+json"}]),
    "bulk, odd raw": bulk_publish("t", ENTRIES, "?metadata.rawPayload=maybe"),
    "bulk, unknown pubsub": bulk_publish("t", ENTRIES, bus="none"),
    "bulk, unknown pubsub, no body": bulk_publish("t", b"", bus="none"),
    "bulk, forbidden": bulk_publish("c", ENTRIES, bus="scoped"),
    "bulk, no topic": bulk_publish("", ENTRIES),
    "bulk, odd time to live": bulk_publish("t", [{**ENTRIES[0], "metadata": {"ttlInSeconds": "x"}}]),
}  # fmt: skip


def test_bad_requests(pair):
    for name, request in BAD.items():
        pair.same_http(name, *request)


def test_what_the_app_was_asked_at_the_start(pair):
    pair.same("subscribe", lambda side: side.app.take("/dapr/subscribe"))
    pair.same("subscriptions", lambda side: sorted(
        side.http("GET", "/v1.0/metadata").body["subscriptions"], key=lambda one: one["topic"]
    ))  # fmt: skip


def test_a_star_takes_topics_that_go_on(pair):
    for topic in ("wild", "wild1", "wildest/of", "awild1"):
        pair.same_http("wild", "POST", f"/v1.0/publish/bus/{topic}", {"t": topic}, dict(JSON))

    def alike(side):
        found = side.app.take("/wild", 2)
        return sorted(found, key=lambda each: each["body"]["topic"])

    pair.same("wild events", alike)
    path = "/v1.0/publish/bus/rawest1?metadata.rawPayload=true"
    pair.same_http("rawest", "POST", path, {"n": 1}, dict(JSON))
    pair.same("rawest event", lambda side: side.app.take("/rawest"))
