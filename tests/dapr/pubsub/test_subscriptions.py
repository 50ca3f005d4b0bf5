"""From publish to the app: verdicts, retries, dead letters, scopes, health; the app is scripted."""

import asyncio
import base64
import json

import pytest

from meshproxy.config.dapr.subscription import compile_rule
from meshproxy.dapr.app_channel import DROP, RETRY, SUCCESS, AppAnswer
from meshproxy.dapr.app_settings import AppSettings
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.http_app_channel import HttpAppChannel, verdict_of
from meshproxy.dapr.pubsub.broker import PublishRequest
from meshproxy.dapr.pubsub.programmatic import make_rule
from meshproxy.dapr.pubsub.subscription import Kind, Subscription
from meshproxy.dapr.resiliency import (
    INITIALIZATION_RETRIES,
    Means,
    Resiliency,
    ResiliencySpec,
    RetryPolicy,
)
from meshproxy.dapr.sidecar import Sidecar
from meshproxy.dapr.subscriptions import Subscriptions
from tests.dapr.support import APP, component, no_time, retrying, run, runtime


class App(HttpAppChannel):
    """Answers by path, one answer after the other; the last one stays."""

    def __init__(self, **answers) -> None:
        super().__init__(AppSettings(port=1), "app", None)
        self.answers = {f"/{path}": list(given) for path, given in answers.items()}
        self.calls: asyncio.Queue = asyncio.Queue()
        self.asked = 0

    async def send(self, method, path, body=b"", headers=None) -> AppAnswer:
        if path == "/dapr/subscribe":
            self.asked += 1
        else:
            await self.calls.put((path, body, headers))
        given = self.answers.get(path, [AppAnswer(404, b"")])
        answer = given.pop(0) if len(given) > 1 else given[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def next(self):
        return await asyncio.wait_for(self.calls.get(), 20)


OK = AppAnswer(200, b"")
QUICK = Resiliency(means=Means(sleep=no_time))


def declared(*rules, topic="orders", **more):
    made = tuple(make_rule(match, path, compile_rule) for match, path in rules)
    return Subscription("bus", topic, made, Kind.DECLARATIVE, **more)


def with_subscriptions(work, app, *subscriptions, metadata=None, resiliency=None):
    async def main():
        life = runtime([component("bus", "pubsub.in-memory", metadata or {})])
        await life.start()
        broker = life.find("pubsub", "bus")

        broker._sleep = no_time
        sidecar = Sidecar(APP, life, channel=app, resiliency=resiliency or QUICK)
        manager = Subscriptions(sidecar, subscriptions, compile_rule, no_time)
        await manager.begin()

        async def publish(topic="orders", data=None, **event):
            event = {"id": "1", "type": "t", **event}
            sent = json.dumps(event).encode() if data is None else data
            await broker.publish(PublishRequest(topic, sent, metadata={"key": "v"}))
            return sent

        try:
            await work(publish, manager)
        finally:
            await manager.end()
            await life.close()

    run(main())


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, b"", SUCCESS),
        (204, b"", SUCCESS),
        (200, b"no json", SUCCESS),
        (200, b"[1]", SUCCESS),
        (200, b'{"status":""}', SUCCESS),
        (200, b'{"status":"SUCCESS"}', SUCCESS),
        (200, b'{"status":"RETRY"}', RETRY),
        (200, b'{"status":"DROP"}', DROP),
        (200, b'{"status":"LATER"}', RETRY),
        (200, b'{"status":5}', RETRY),
        (404, b"", DROP),
        (500, b'{"status":"SUCCESS"}', RETRY),
        (302, b"", RETRY),
    ],
)
def test_what_an_answer_means(status, body, verdict):
    assert verdict_of(AppAnswer(status, body)) == verdict


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_an_event_goes_to_its_route_as_it_was_published():
    app = App(a=[OK], rest=[OK])
    subscription = declared(("event.type == 'a'", "/a"), ("", "rest"))

    async def work(publish, manager):
        sent = await publish(type="a", traceparent=TRACE, pubsubname="bus")
        path, body, headers = await app.next()
        assert (path, body) == ("/a", sent)
        assert headers == {
            "content-type": "application/cloudevents+json",
            "pubsubName": "bus",
            "key": "v",
            "traceparent": TRACE,
        }
        await publish(type="b")
        assert (await app.next())[0] == "/rest"

    with_subscriptions(work, app, subscription)


@pytest.mark.parametrize(
    "refusal", [AppAnswer(500, b""), AppAnswer(200, b'{"status":"RETRY"}'), ComponentError("gone")]
)
def test_what_the_app_refuses_comes_again(refusal):
    app = App(a=[refusal, refusal, OK])

    async def work(publish, manager):
        sent = await publish()
        assert [(await app.next())[1] for _ in range(3)] == [sent] * 3
        await publish(id="2")
        assert json.loads((await app.next())[1])["id"] == "2"

    with_subscriptions(work, app, declared(("", "/a")))


@pytest.mark.parametrize(
    ("answer", "event"),
    [
        (AppAnswer(500, b""), {}),
        (AppAnswer(200, b'{"status":"DROP"}'), {}),
        (AppAnswer(404, b""), {}),
        (OK, {"expiration": "2001-01-01T00:00:00Z"}),
        (OK, {"type": "no route"}),
        (OK, {"data": b"no json"}),
    ],
)
def test_what_cannot_be_delivered_goes_to_the_dead_letter_topic_as_it_was(answer, event):
    app = App(a=[answer], dead=[OK])
    subscriptions = (
        declared(("event.type == 't'", "/a"), dead_letter_topic="dead"),
        declared(("", "/dead"), topic="dead", metadata={"rawPayload": "true"}),
    )

    async def work(publish, manager):
        sent = await publish(**event)
        path, body, headers = await app.next()
        if path == "/a":
            path, body, headers = await app.next()
        event_of_bytes = json.loads(body)
        assert path == "/dead"
        assert base64.b64decode(event_of_bytes["data_base64"]) == sent
        assert headers["key"] == "v"
        assert app.calls.empty()

    with_subscriptions(work, app, *subscriptions)


def test_an_event_in_the_binary_mode_goes_to_the_app_as_an_envelope():
    app = App(a=[OK])
    attributes = {"id": "7", "source": "s", "type": "x", "specversion": "1.0", "subject": "u"}
    headers = {f"ce_{name}": value for name, value in attributes.items()}

    async def work(publish, manager):
        broker = manager._brokers.find("bus").component
        metadata = {**headers, "content-type": "application/json"}
        await broker.publish(PublishRequest("orders", b'{"n": 1}', metadata=metadata))
        _, body, _ = await app.next()
        assert json.loads(body) == {
            **attributes, "topic": "orders", "pubsubname": "bus",
            "datacontenttype": "application/json", "data": {"n": 1},
        }  # fmt: skip

    with_subscriptions(work, app, declared(("event.data.n == 1", "/a")))


@pytest.mark.parametrize("event", [{"type": "no route"}, {"data": b"no json"}])
def test_without_a_dead_letter_topic_it_is_dropped(event):
    app = App(a=[OK])

    async def work(publish, manager):
        await publish(**event)
        await publish(id="after")
        assert json.loads((await app.next())[1])["id"] == "after"
        assert app.calls.empty()

    with_subscriptions(work, app, declared(("event.type == 't'", "/a")))


def test_what_the_app_asks_for_replaces_what_is_declared_and_the_first_of_two_counts():
    asked = b'[{"pubsubname":"bus","topic":"orders","route":"/asked"}]'
    app = App(asked=[OK], one=[OK], **{"dapr/subscribe": [AppAnswer(200, asked)]})
    subscriptions = (
        declared(("", "/declared")),
        declared(("", "/one"), topic="t"),
        declared(("", "/two"), topic="t"),
        declared(("", "/other"), topic="u", scopes=("another app",)),
    )

    async def work(publish, manager):
        for topic in ("orders", "t", "u"):
            await publish(topic)
        assert {(await app.next())[0] for _ in range(2)} == {"/asked", "/one"}
        assert app.calls.empty()
        assert {(each.topic, each.kind.value) for each in manager.active} == {
            ("orders", "PROGRAMMATIC"),
            ("t", "DECLARATIVE"),
        }

    with_subscriptions(work, app, *subscriptions)


def test_a_topic_that_cannot_be_had_keeps_no_other_one_waiting():
    async def main():
        life = runtime([component("bus", "pubsub.in-memory", {})])
        await life.start()
        broker = life.find("pubsub", "bus")
        subscribe, tried = broker.subscribe, []

        async def refuse(topic, metadata, handler):
            tried.append(topic)
            if topic.startswith("bad"):
                raise ComponentError("no")
            return await subscribe(topic, metadata, handler)

        broker.subscribe = refuse
        topics = ["bad one", "bad two", "good"]
        listed = [declared(("", "/a"), topic=topic) for topic in topics]
        sidecar = Sidecar(APP, life, channel=App(a=[OK]), resiliency=QUICK)
        manager = Subscriptions(sidecar, listed, compile_rule, no_time)
        await manager.begin()
        assert tried[:5] == [*topics, "bad one", "bad two"]
        assert tried.count("bad one") == tried.count("bad two") > 2
        assert [each.topic for each in manager.active] == ["good"]
        await manager.end()
        await life.close()

    run(main())


def test_a_topic_that_the_app_may_not_have_is_left_out():
    app = App(a=[OK])

    async def work(publish, manager):
        assert [each.topic for each in manager.active] == ["mine"]

    with_subscriptions(
        work,
        app,
        declared(("", "/a"), topic="mine"),
        declared(("", "/a"), topic="other"),
        metadata={"subscriptionScopes": "app=mine"},
    )


@pytest.mark.parametrize(("retries", "asked"), [(None, 4), (6, 7)])
def test_the_app_is_asked_as_often_as_the_built_in_retries_say(retries, asked):
    app = App(**{"dapr/subscribe": [ComponentError("no")]})
    spec = ResiliencySpec("r")
    if retries is not None:
        spec = ResiliencySpec(
            "r", retries={INITIALIZATION_RETRIES: RetryPolicy(max_retries=retries)}
        )

    async def work(publish, manager):
        assert (app.asked, manager.active) == (asked, [])

    resiliency = Resiliency([spec], APP, Means(sleep=no_time))
    with_subscriptions(work, app, resiliency=resiliency)


def test_the_list_of_the_app_is_asked_for_again_where_it_fails_and_then_kept():
    failing = [ComponentError("no"), AppAnswer(500, b""), AppAnswer(200, b"[]")]
    app = App(a=[OK], **{"dapr/subscribe": failing})

    async def work(publish, manager):
        assert app.asked == 3
        await manager.end()
        await publish(id="lost while the app was ill")
        await manager.begin()
        await manager.begin()
        assert app.asked == 3
        await publish(id="2")
        assert json.loads((await app.next())[1])["id"] == "2"
        assert app.calls.empty()

    with_subscriptions(work, app, declared(("", "/a")))


def topics(manager):
    return [each.topic for each in manager.active]


def test_with_other_resources_the_same_runs_on_and_the_rest_ends_or_begins():
    app = App(a=[OK], b=[OK])
    stays = declared(("event.type == 't'", "/a"), topic="stays")

    async def work(publish, manager):
        [first] = [each for each in manager._active.values() if each.subscription == stays]
        again = declared(("event.type == 't'", "/a"), topic="stays")
        await manager.declare([again, declared(("", "/b"), topic="moves"), declared(("", "/b"))])
        assert topics(manager) == ["stays", "moves", "orders"]
        assert first in manager._active.values()
        await publish("moves")
        assert (await app.next())[0] == "/b"
        await manager.declare([])
        await publish("stays")
        assert topics(manager) == []
        assert app.calls.empty()

    gone = declared(("", "/a"), topic="gone")
    with_subscriptions(work, app, stays, declared(("", "/a"), topic="moves"), gone)


def test_resources_that_change_while_the_app_is_ill_wait_until_it_is_well():
    app = App(a=[OK])

    async def work(publish, manager):
        await manager.end()
        await manager.declare([declared(("", "/a"), topic="new")])
        assert topics(manager) == []
        await manager.begin()
        assert topics(manager) == ["new"]

    with_subscriptions(work, app, declared(("", "/a")))


def test_a_component_that_changes_or_comes_late_is_subscribed_at():
    app = App(a=[OK])
    bus = component("bus", "pubsub.in-memory")

    async def main():
        life = runtime([])
        manager = Subscriptions(
            Sidecar(APP, life, channel=app), [declared(("", "/a"))], compile_rule
        )
        await manager.begin()
        assert (topics(manager), app.asked) == ([], 0)
        await life.change([bus])
        assert (topics(manager), app.asked) == (["orders"], 1)
        await life.change([component("bus", "pubsub.in-memory", {"k": "v"})])
        await life.find("pubsub", "bus").publish(PublishRequest("orders", b'{"id":"1"}'))
        assert (await app.next())[0] == "/a"
        await life.change([])
        assert topics(manager) == []
        await life.close()

    run(main())


@pytest.mark.parametrize(
    ("answers", "calls", "buried"),
    [
        ([AppAnswer(500, b""), AppAnswer(503, b""), OK], 3, False),
        ([ComponentError("gone"), OK], 2, False),
        ([AppAnswer(500, b"")], 3, True),
        ([AppAnswer(429, b"")], 1, True),  # of a status that the policy does not match
        ([AppAnswer(404, b"")], 1, True),  # dropped
    ],
)
def test_a_dead_letter_is_what_the_inbound_policy_has_given_up(answers, calls, buried):
    app = App(a=answers, dead=[OK])
    subscriptions = (
        declared(("", "/a"), dead_letter_topic="dead"),
        declared(("", "/dead"), topic="dead"),
    )

    async def work(publish, manager):
        await publish()
        assert [(await app.next())[0] for _ in range(calls)] == ["/a"] * calls
        if buried:
            assert (await app.next())[0] == "/dead"
        await publish("dead", id="last")
        assert json.loads((await app.next())[1])["id"] == "last"

    policy = retrying("bus", 3, http_codes=((500, 599),))
    with_subscriptions(work, app, *subscriptions, resiliency=policy)
