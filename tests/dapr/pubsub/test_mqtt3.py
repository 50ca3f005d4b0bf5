"""`pubsub.mqtt3`: sessions that collect, what is acknowledged when, and a server that is away."""

import asyncio
import uuid

import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError, Identity, Metadata
from meshproxy.dapr.mqtt_client import MqttSettings
from meshproxy.dapr.pubsub.broker import PublishRequest
from meshproxy.dapr.pubsub.mqtt3 import MqttPubSub
from tests.dapr.pubsub.support import Gate, Inbox, until
from tests.dapr.support import run
from tests.support.mosquitto_server import MosquittoServer
from tests.support.toolchains import without


@pytest.fixture
def app() -> str:
    return uuid.uuid4().hex


async def opened(server, app, **metadata):
    broker = MqttPubSub(ComponentContext("bus", identity=Identity(app)))
    await broker.init(Metadata({"url": server.url, **metadata}))
    return broker


def test_a_session_collects_while_its_app_is_away_also_for_a_second_topic(mosquitto_server, app):
    async def main():
        broker = await opened(mosquitto_server, app)
        for topic in ("a", "b"):
            await broker.subscribe(f"{app}/{topic}", {}, Inbox().take)
        await broker.close()
        other = await opened(mosquitto_server, f"{app}-other")
        for topic in ("a", "b"):
            await other.publish(PublishRequest(f"{app}/{topic}", topic.encode()))
        await other.close()
        broker = await opened(mosquitto_server, app)
        for topic in ("a", "b"):
            inbox = Inbox()
            await broker.subscribe(f"{app}/{topic}", {}, inbox.take)
            message = await inbox.next()
            assert (message.topic, message.data) == (f"{app}/{topic}", topic.encode())
            assert message.metadata == {"retained": "false"}
        await broker.close()

    run(main())


@pytest.mark.parametrize(
    ("metadata", "subscription"),
    [({"cleanSession": "true"}, {}), ({}, {"unsubscribeOnClose": "true"})],
)
def test_a_session_may_collect_nothing(mosquitto_server, app, metadata, subscription):
    async def main():
        broker = await opened(mosquitto_server, app, **metadata)
        end = await broker.subscribe(f"{app}/t", subscription, Inbox().take)
        await end()
        await broker.publish(PublishRequest(f"{app}/t", b"lost"))
        inbox = Inbox()
        await broker.subscribe(f"{app}/t", subscription, inbox.take)
        await broker.publish(PublishRequest(f"{app}/t", b"seen"))
        assert (await inbox.next()).data == b"seen"
        await broker.close()

    run(main())


def test_wildcards_and_shared_subscriptions_take_what_is_theirs(mosquitto_server, app):
    async def main():
        broker = await opened(mosquitto_server, app)
        plus, hashed, shared = Inbox(), Inbox(), Inbox()
        await broker.subscribe(f"{app}/p/+/x", {}, plus.take)
        await broker.subscribe(f"{app}/h/#", {}, hashed.take)
        await broker.subscribe(f"$share/g/{app}/s", {}, shared.take)
        for topic in ("p/1/x", "p/1/y", "h/1/2", "s"):
            await broker.publish(PublishRequest(f"{app}/{topic}", topic.encode()))
        assert (await plus.next()).topic == f"{app}/p/1/x"
        assert (await hashed.next()).data == b"h/1/2"
        assert (await shared.next()).data == b"s"
        with pytest.raises(ComponentError, match="has a subscription of this session"):
            await broker.subscribe(f"{app}/h/#", {}, hashed.take)
        await broker.close()
        assert plus.queue.empty()

    run(main())


def test_what_was_begun_is_acknowledged_and_what_was_not_is_for_the_next(mosquitto_server, app):
    async def main():
        broker = await opened(mosquitto_server, app)
        gate = Gate()
        end = await broker.subscribe(f"{app}/t", {}, gate.take)
        for number in range(3):
            await broker.publish(PublishRequest(f"{app}/t", b"%d" % number))
        assert (await gate.next()).data == b"0"
        ending = asyncio.get_running_loop().create_task(end())
        await asyncio.sleep(0)
        gate.opened.set()
        await ending
        inbox = Inbox()
        await broker.subscribe(f"{app}/t", {}, inbox.take)
        assert [(await inbox.next()).data for _ in range(2)] == [b"1", b"2"]
        await broker.close()
        # And so it stands at the server: a new connection gets nothing.
        broker = await opened(mosquitto_server, app)
        await broker.subscribe(f"{app}/t", {}, inbox.take)
        await broker.publish(PublishRequest(f"{app}/t", b"new"))
        assert (await inbox.next()).data == b"new"
        await broker.close()

    run(main())


@pytest.mark.parametrize("qos", ["1", "2"])
def test_what_is_refused_stays_at_the_server_over_the_end_of_the_sidecar(
    mosquitto_server, app, qos
):
    async def main():
        broker = await opened(mosquitto_server, app, qos=qos)
        inbox = Inbox()
        inbox.fail = True
        await broker.subscribe(f"{app}/t", {}, inbox.take)
        await broker.publish(PublishRequest(f"{app}/t", b"x"))
        assert [(await inbox.next()).data for _ in range(2)] == [b"x", b"x"]
        await broker.close()
        inbox.fail = False
        broker = await opened(mosquitto_server, app, qos=qos)
        await broker.subscribe(f"{app}/t", {}, inbox.take)
        assert (await inbox.next()).data == b"x"
        await broker.close()

    run(main())


def test_parallel_handlers_run_side_by_side(mosquitto_server, app):
    async def main():
        broker = await opened(mosquitto_server, app, concurrency="parallel")
        gate = Gate()
        await broker.subscribe(f"{app}/t", {}, gate.take)
        for number in range(5):
            await broker.publish(PublishRequest(f"{app}/t", b"%d" % number))
        assert {(await gate.next()).data for _ in range(5)} == {b"0", b"1", b"2", b"3", b"4"}
        gate.opened.set()
        await broker.close()

    run(main())


def test_what_is_published_while_the_connection_is_lost_waits_for_the_next(mosquitto_server, app):
    async def main():
        broker = await opened(mosquitto_server, app)
        inbox, client = Inbox(), broker._client
        await broker.subscribe(f"{app}/t", {}, inbox.take)
        thief = await opened(mosquitto_server, app)  # a session has one connection

        async def lost():
            return client._client is None

        await until(lost)
        await broker.publish(PublishRequest(f"{app}/t", b"x"))
        await thief.close()
        assert (await inbox.next()).data == b"x"
        await broker.close()

    run(main())


def test_a_slow_app_bounds_what_waits_that_needs_no_acknowledgement(
    mosquitto_server, app, monkeypatch
):
    monkeypatch.setattr("meshproxy.dapr.mqtt_subscription.MOST_LOOSE", 3)

    async def main():
        broker = await opened(mosquitto_server, app)
        other = await opened(mosquitto_server, f"{app}-other", qos="0")
        gate, last = Gate(), Inbox()
        await broker.subscribe(f"{app}/t", {}, gate.take)
        await broker.subscribe(f"{app}/last", {}, last.take)
        for number in range(6):
            await other.publish(PublishRequest(f"{app}/t", b"%d" % number))
        await other.publish(PublishRequest(f"{app}/last", b"here"))
        await last.next()  # so all of them have come
        await broker.publish(PublishRequest(f"{app}/t", b"with an acknowledgement"))
        gate.opened.set()
        taken = [(await gate.next()).data for _ in range(4)]
        assert taken == [b"0", b"1", b"2", b"with an acknowledgement"]
        await other.publish(PublishRequest(f"{app}/t", b"there is room again"))
        assert (await gate.next()).data == b"there is room again"
        await other.close()
        await broker.close()

    run(main())


def test_a_bulk_is_on_its_way_in_its_order_before_its_first_message_is_confirmed(
    mosquitto_server, app
):
    async def main():
        broker, taken, begun = await opened(mosquitto_server, app), [], []

        async def take(message):
            taken.append(message.data)

        await broker.subscribe(app, {}, take)
        publish, all_begun = broker._client.publish, asyncio.Event()

        async def counted(topic, data, *, retain):
            begun.append(data)
            if len(begun) == 50:
                all_begun.set()
            await publish(topic, data, retain=retain)
            await all_begun.wait()  # for ever, where the next waits for this one

        broker._client.publish = counted
        data = [str(number).encode() for number in range(50)]
        async with asyncio.timeout(20):
            outcomes = await broker.bulk_publish([PublishRequest(app, each) for each in data])
        assert outcomes == [None] * 50

        async def all_taken():
            return len(taken) >= 50

        await until(all_taken)
        assert taken == data
        await broker.close()

    run(main())


def test_a_retained_message_says_so(mosquitto_server, app):
    async def main():
        broker = await opened(mosquitto_server, app)
        await broker.publish(PublishRequest(f"{app}/t", b"x", metadata={"retain": "true"}))
        inbox = Inbox()
        await broker.subscribe(f"{app}/t", {}, inbox.take)
        assert (await inbox.next()).metadata == {"retained": "true"}
        await broker.publish(PublishRequest(f"{app}/t", b"", metadata={"retain": "true"}))
        with pytest.raises(ComponentError, match="retain is 'x'"):
            await broker.publish(PublishRequest("t", b"x", metadata={"retain": "x"}))
        bad = [PublishRequest(f"{app}/t", b"x"), PublishRequest("a/#", b"x")]
        (good, refused) = await broker.bulk_publish(bad)
        assert good is None
        assert "mqtt: " in str(refused)
        await broker.close()

    run(main())


def test_no_acknowledged_message_is_lost_when_the_server_is_killed(monkeypatch):
    if not MosquittoServer.available():
        without("no Mosquitto: apt-get install mosquitto")
    monkeypatch.setattr("meshproxy.dapr.mqtt_client._FIRST_WAIT", 0.01)
    monkeypatch.setattr("meshproxy.dapr.mqtt_client._LONGEST_WAIT", 0.05)

    async def main():
        with MosquittoServer() as server:
            broker = await opened(server, "app")
            inbox, sent, seen = Inbox(), set(), set()
            await broker.subscribe("orders", {}, inbox.take)
            for crash in range(3):
                for number in range(40):
                    data = b"%d-%d" % (crash, number)
                    while data not in sent:
                        try:
                            await broker.publish(PublishRequest("orders", data))
                            sent.add(data)
                        except ComponentError:
                            assert number == 0  # it has not found the server again yet
                            await asyncio.sleep(0.01)
                while not sent <= seen:
                    seen.add((await inbox.next()).data)
                server.kill()
                await asyncio.to_thread(server.start)
            await broker.close()

    run(main())


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, "missing url"),
        ({"url": "http://h"}, "url is to begin with one of mqtt, mqtts"),
        ({"url": "mqtt://"}, "and to name a host"),
        ({"url": "mqtt://h:x"}, "url has no port that is a number"),
        ({"url": "mqtt://h", "qos": "3"}, "qos is 3; expected 0, 1 or 2"),
        ({"url": "mqtt://h", "retain": "x"}, "retain is 'x'; expected true or false"),
        ({"url": "mqtts://h", "caCert": "x"}, "caCert: "),
    ],
)
def test_bad_metadata_is_refused_by_name(metadata, reason):
    with pytest.raises(ComponentError, match=reason):
        MqttSettings(Metadata(metadata))


@pytest.mark.parametrize(
    ("url", "address", "login"),
    [
        ("mqtt://h", ("h", 1883), (None, None)),
        ("tcp://u:p%40@h:7", ("h", 7), ("u", "p@")),
        ("ssl://h", ("h", 8883), (None, None)),
    ],
)
def test_the_address_is_read_from_the_url(url, address, login):
    settings = MqttSettings(Metadata({"url": url}))
    assert (settings.host, settings.port) == address
    assert (settings.options["username"], settings.options["password"]) == login


@pytest.mark.parametrize(
    ("metadata", "app", "reason"),
    [
        ({"url": "mqtt://127.0.0.1:1"}, "app", r"mqtt 127\.0\.0\.1:1: "),
        ({"url": "mqtt://h"}, "", "missing consumerID"),
        ({"url": "mqtt://h", "concurrency": "x"}, "app", "concurrency is 'x'"),
    ],
)
def test_a_component_that_cannot_be_is_said(metadata, app, reason):
    broker = MqttPubSub(ComponentContext("bus", identity=Identity(app)))
    with pytest.raises(ComponentError, match=reason):
        run(broker.init(Metadata(metadata)))
