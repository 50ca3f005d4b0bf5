"""`pubsub.rabbitmq`: daprd's exchanges and queues, what is acknowledged when, a node that is away.

A queue or exchange that is declared again with other arguments is refused by RabbitMQ: that is how
these tests look at them.
"""

import uuid
from contextlib import asynccontextmanager

import aio_pika
import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError, Identity, Metadata
from meshproxy.dapr.pubsub.broker import PublishRequest
from meshproxy.dapr.pubsub.rabbitmq import RabbitPubSub
from meshproxy.dapr.pubsub.rabbitmq_settings import RabbitSettings
from tests.dapr.pubsub.support import Gate, Inbox
from tests.dapr.support import run

KEPT = {"durable": "true", "deletedWhenUnused": "false", "deliveryMode": "2"}
CLASSIC = {"x-queue-type": "classic"}


@pytest.fixture
def topic() -> str:
    return f"orders-{uuid.uuid4().hex}"


async def opened(server, **metadata):
    broker = RabbitPubSub(ComponentContext("bus", identity=Identity("app")))
    await broker.init(Metadata({"connectionString": server.url, **metadata}))
    return broker


@asynccontextmanager
async def looking(server):
    """A channel beside the component, to look at what is on the server."""
    connection = await aio_pika.connect(server.url)
    async with connection:
        yield await connection.channel()


def test_exchange_queue_and_message_are_as_daprd_makes_them(rabbitmq_server, topic):
    async def main():
        broker = await opened(rabbitmq_server, **KEPT)
        end = await broker.subscribe(topic, {}, Inbox().take)
        await end()
        metadata = {"ttlInSeconds": "600", "priority": "3", "contentType": "a/b", "messageId": "7"}
        await broker.publish(PublishRequest(topic, b"x", metadata=metadata))
        async with looking(rabbitmq_server) as channel:
            await channel.declare_exchange(topic, "fanout", durable=True)
            queue = await channel.declare_queue(f"app-{topic}", durable=True, arguments=CLASSIC)
            message = await queue.get()
            assert (message.body, message.delivery_mode, message.priority) == (b"x", 2, 3)
            assert (message.content_type, message.message_id) == ("a/b", "7")
            assert message.expiration == 600
        await broker.close()

    run(main())


def test_dead_letters_lengths_and_kinds_are_as_the_metadata_say(rabbitmq_server, topic):
    async def main():
        more = {
            "enableDeadLetter": "true",
            "maxLen": "5",
            "exchangeKind": "topic",
            "consumerID": "c",
        }
        broker = await opened(rabbitmq_server, **KEPT, **more)
        inbox = Inbox()
        inbox.fail = True
        metadata = {"routingKey": "a.*,b", "maxPriority": "300", "singleActiveConsumer": "true"}
        end = await broker.subscribe(topic, metadata, inbox.take)
        for key in ("a.1", "b", "other"):
            await broker.publish(PublishRequest(topic, key.encode(), metadata={"routingKey": key}))
        assert {(await inbox.next()).data for _ in range(2)} == {b"a.1", b"b"}
        await end()
        async with looking(rabbitmq_server) as channel:
            name = f"c-{topic}"
            await channel.declare_exchange(topic, "topic", durable=True)
            await channel.declare_exchange(f"dlx-{name}", "fanout", durable=True)
            lengths = {"x-max-length": 5}
            arguments = {
                **CLASSIC, **lengths, "x-dead-letter-exchange": f"dlx-{name}",
                "x-max-priority": 255, "x-single-active-consumer": True,
            }  # fmt: skip
            await channel.declare_queue(name, durable=True, arguments=arguments)
            dead = await channel.declare_queue(
                f"dlq-{name}", durable=True, arguments={**lengths, "x-queue-mode": "lazy"}
            )
            buried = {(await dead.get()).body for _ in range(2)}
            assert buried == {b"a.1", b"b"}
        await broker.close()
        assert inbox.queue.empty()

    run(main())


@pytest.mark.parametrize("metadata", [{"queueName": "own"}, {"queueType": "quorum"}])
def test_a_subscription_may_choose_its_queue(rabbitmq_server, topic, metadata):
    async def main():
        broker = await opened(rabbitmq_server, **KEPT)
        inbox = Inbox()
        metadata_of_its_own = {
            name: f"{value}-{topic}" if name == "queueName" else value
            for name, value in metadata.items()
        }
        await broker.subscribe(topic, metadata_of_its_own, inbox.take)
        await broker.publish(PublishRequest(topic, b"x"))
        assert (await inbox.next()).data == b"x"
        await broker.close()
        async with looking(rabbitmq_server) as channel:
            name = metadata_of_its_own.get("queueName", f"app-{topic}")
            kind = {"x-queue-type": metadata.get("queueType", "classic")}
            await channel.declare_queue(name, durable=True, arguments=kind)

    run(main())


def test_the_app_is_shown_the_properties_where_that_is_asked_for(rabbitmq_server, topic):
    async def main():
        for more, expected in (
            ({}, {}),
            (
                {"publishMessagePropertiesToMetadata": "true"},
                {
                    "metadata.messageid": "7",
                    "metadata.contenttype": "text/plain",
                    "metadata.type": "t",
                    "metadata.correlationid": "c",
                },
            ),
        ):
            broker = await opened(rabbitmq_server, **more)
            inbox = Inbox()
            await broker.subscribe(topic, {}, inbox.take)
            metadata = {"messageId": "7", "type": "t", "correlationId": "c"}
            await broker.publish(PublishRequest(topic, b"x", metadata=metadata))
            assert (await inbox.next()).metadata == expected
            await broker.close()

    run(main())


def test_a_message_is_acknowledged_only_after_its_handler(rabbitmq_server, topic):
    async def main():
        broker = await opened(rabbitmq_server, **KEPT, prefetchCount="2")
        gate = Gate()
        await broker.subscribe(topic, {}, gate.take)
        for number in range(3):
            await broker.publish(PublishRequest(topic, b"%d" % number))
        assert {(await gate.next()).data for _ in range(2)} == {b"0", b"1"}
        async with looking(rabbitmq_server) as channel:
            queue = await channel.get_queue(f"app-{topic}")
            assert queue.declaration_result.message_count == 1  # the third is not taken yet
        # The sidecar dies with them: they are there again.
        await broker._client._connection.close()
        gate.opened.set()
        broker_two = await opened(rabbitmq_server, **KEPT)
        inbox = Inbox()
        await broker_two.subscribe(topic, {}, inbox.take)
        await broker.close()
        assert {(await inbox.next()).data for _ in range(3)} == {b"0", b"1", b"2"}
        await broker_two.close()

    run(main())


def test_a_slow_app_bounds_what_is_sent_also_without_acknowledgements(rabbitmq_server, topic):
    async def main():
        broker = await opened(rabbitmq_server, **KEPT, prefetchCount="2", autoAck="true")
        gate = Gate()
        await broker.subscribe(topic, {}, gate.take)
        for number in range(5):
            await broker.publish(PublishRequest(topic, b"%d" % number))
        assert {(await gate.next()).data for _ in range(2)} == {b"0", b"1"}
        async with looking(rabbitmq_server) as channel:
            queue = await channel.get_queue(f"app-{topic}")
            assert queue.declaration_result.message_count == 3
        gate.opened.set()
        assert {(await gate.next()).data for _ in range(3)} == {b"2", b"3", b"4"}
        await broker.close()

    run(main())


def test_with_automatic_acknowledgements_nothing_comes_again(rabbitmq_server, topic):
    async def main():
        broker = await opened(rabbitmq_server, **KEPT, autoAck="true", requeueInFailure="true")
        inbox = Inbox()
        inbox.fail = True
        await broker.subscribe(topic, {}, inbox.take)
        await broker.publish(PublishRequest(topic, b"x"))
        assert (await inbox.next()).data == b"x"
        await broker.close()
        async with looking(rabbitmq_server) as channel:
            queue = await channel.get_queue(f"app-{topic}")
            assert queue.declaration_result.message_count == 0

    run(main())


def test_a_ttl_or_priority_that_cannot_be_is_passed_over(rabbitmq_server, topic):
    async def main():
        broker = await opened(rabbitmq_server, **KEPT)
        inbox = Inbox()
        await broker.subscribe(topic, {}, inbox.take)
        metadata = {"ttlInSeconds": "soon", "priority": "high"}
        await broker.publish(PublishRequest(topic, b"x", metadata=metadata))
        assert (await inbox.next()).data == b"x"
        await broker.close()

    run(main())


def test_a_refused_message_comes_again_or_is_gone_as_the_metadata_say(rabbitmq_server, topic):
    async def main():
        for requeue, number in (("true", 3), ("false", 1)):
            broker = await opened(rabbitmq_server, requeueInFailure=requeue)
            inbox = Inbox()
            inbox.fail = True
            await broker.subscribe(topic, {}, inbox.take)
            await broker.publish(PublishRequest(topic, b"x"))
            for _ in range(number):
                assert (await inbox.next()).data == b"x"
            inbox.fail = False
            await broker.publish(PublishRequest(topic, b"y"))
            while (await inbox.next()).data != b"y":
                assert requeue == "true"
            await broker.close()

    run(main())


def test_one_subscription_ends_and_begins_again_without_the_other(rabbitmq_server, topic):
    async def main():
        broker = await opened(rabbitmq_server)
        a, b = Inbox(), Inbox()
        await broker.subscribe(f"{topic}-a", {}, a.take)
        for number in range(3):
            end = await broker.subscribe(f"{topic}-b", {}, b.take)
            await broker.publish(PublishRequest(f"{topic}-a", b"%d" % number))
            await broker.publish(PublishRequest(f"{topic}-b", b"%d" % number))
            assert (await a.next()).data == b"%d" % number
            assert (await b.next()).data == b"%d" % number
            await end()
        await broker.close()

    run(main())


def test_what_the_server_refuses_is_said_at_subscribing(rabbitmq_server, topic):
    async def main():
        async with looking(rabbitmq_server) as channel:
            await channel.declare_exchange(topic, "direct", durable=True)
        broker = await opened(rabbitmq_server)
        with pytest.raises(ComponentError, match="PRECONDITION_FAILED"):
            await broker.subscribe(topic, {}, Inbox().take)
        broker._client.wait = 0.0
        with pytest.raises(ComponentError, match="PRECONDITION_FAILED"):
            await broker.publish(PublishRequest(topic, b"x"))
        (good, bad) = await broker.bulk_publish(
            [PublishRequest(f"{topic}-other", b"x"), PublishRequest(topic, b"x")]
        )
        assert good is None
        assert isinstance(bad, ComponentError)
        await broker.close()

    run(main())


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"deliveryMode": "3"}, "deliveryMode is 3; expected 0, 1 or 2"),
        ({"exchangeKind": "x"}, "exchangeKind is 'x'; expected one of fanout"),
        ({"exchangeDeclareMode": "x"}, "exchangeDeclareMode is 'x'; expected declare or passive"),
        ({"concurrency": "x"}, "concurrency is 'x'; expected single or parallel"),
        ({"prefetchCount": "-1"}, "prefetchCount is -1; expected at least 0"),
        ({"ttlInSeconds": "x"}, "ttl value must be a valid integer"),
        ({"publisherConfirm": "x"}, "publisherConfirm is 'x'; expected true or false"),
    ],
)
def test_bad_metadata_is_refused_by_name(metadata, reason):
    with pytest.raises(ComponentError, match=reason):
        RabbitSettings(Metadata(metadata), "app")


@pytest.mark.parametrize(
    ("app", "metadata", "reason"),
    [
        ("", {}, "consumerID is missing, and the subscription has no queueName"),
        ("app", {"queueType": "x"}, "queueType is 'x'; expected classic or quorum"),
        ("app", {"maxPriority": "x"}, "maxPriority is 'x'; expected a whole number"),
        ("app", {"maxLen": "x"}, "maxLen is 'x'; expected a whole number"),
    ],
)
def test_a_subscription_that_cannot_be_is_refused_by_name(app, metadata, reason):
    with pytest.raises(ComponentError, match=reason):
        RabbitSettings(Metadata({}), app).queue("t", Metadata(metadata))
