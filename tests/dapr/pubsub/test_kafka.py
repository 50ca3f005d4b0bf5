"""`pubsub.kafka` and its client, against a fake of aiokafka (`tests/support/fake_kafka.py`)."""

import asyncio

import pytest
from aiokafka.structs import TopicPartition

from meshproxy.dapr import kafka_settings
from meshproxy.dapr.component import ComponentContext, ComponentError, Identity, Metadata
from meshproxy.dapr.kafka_settings import KafkaSettings
from meshproxy.dapr.pubsub.broker import PublishRequest
from meshproxy.dapr.pubsub.kafka import KafkaPubSub
from meshproxy.dapr.resiliency.retry import RetryPolicy
from tests.dapr.pubsub.support import Gate, Inbox, until
from tests.dapr.support import run
from tests.support.fake_kafka import Cluster, library

METADATA = {
    "brokers": "a:1, b:2",
    "authType": "none",
    "backOffDuration": "1",
    "consumeRetryInterval": "1",
}
EVEN, ODD = b"\x00", b"\x01"  # keys of the two partitions


@pytest.fixture
def cluster(monkeypatch):
    made = Cluster()
    monkeypatch.setattr("meshproxy.dapr.kafka_client.aiokafka", library(made))
    return made


async def opened(app="app", **metadata):
    broker = KafkaPubSub(ComponentContext("bus", identity=Identity(app)))
    await broker.init(Metadata({**METADATA, **metadata}))
    return broker


def publish(broker, data, key=EVEN):
    return broker.publish(PublishRequest("orders", data, metadata={"partitionKey": key.decode()}))


def test_a_record_is_as_daprd_writes_it_and_comes_with_its_place(cluster):
    async def main():
        broker = await opened()
        inbox = Inbox()
        await broker.subscribe("orders", {}, inbox.take)
        metadata = {"partitionKey": "k", "h": "v"}
        await broker.publish(PublishRequest("orders", b"x", metadata=metadata))
        (record,) = next(log for log in cluster.logs.values() if log)
        assert (record.key, record.value) == (b"k", b"x")
        assert record.headers == (("partitionKey", b"k"), ("h", b"v"))
        message = await inbox.next()
        assert (message.topic, message.data) == ("orders", b"x")
        assert message.metadata == {
            "__offset": "0", "__topic": "orders", "__timestamp": "1000",
            "__partition": str(record.partition), "__key": "k", "partitionKey": "k", "h": "v",
        }  # fmt: skip
        await broker.close()

    run(main())


def test_the_group_is_the_app_and_begins_where_the_metadata_say(cluster):
    async def main():
        before = await opened()
        await publish(before, b"old")
        for app, metadata, expected in (
            ("newest", {}, [b"new"]),
            ("oldest", {"initialOffset": "oldest"}, [b"old", b"new"]),
        ):
            broker = await opened(app, **metadata)
            inbox = Inbox()
            await broker.subscribe("orders", {}, inbox.take)
            assert cluster.options[-1]["group_id"] == app
            if app == "newest":
                await publish(before, b"new")
            assert [(await inbox.next()).data for _ in expected] == expected
            await broker.close()
        await before.close()

    run(main())


def test_an_offset_is_committed_only_after_its_handler(cluster):
    async def main():
        broker = await opened()
        gate = Gate()
        await broker.subscribe("orders", {}, gate.take)
        await publish(broker, b"0")
        await publish(broker, b"1")
        await gate.next()
        assert cluster.committed[("app", TopicPartition("orders", 0))] == 0
        ending = asyncio.get_running_loop().create_task(broker.close())
        await asyncio.sleep(0)
        gate.opened.set()
        await ending
        assert cluster.committed[("app", TopicPartition("orders", 0))] == 1
        again = await opened()
        inbox = Inbox()
        await again.subscribe("orders", {}, inbox.take)
        assert (await inbox.next()).data == b"1"
        await again.close()

    run(main())


def test_a_refused_record_holds_up_its_partition_and_no_other(cluster):
    async def main():
        broker = await opened()
        seen, release = [], asyncio.Event()

        async def handler(message):
            seen.append(message.data)
            if message.data == b"bad" and not release.is_set():
                raise ComponentError("no")

        await broker.subscribe("orders", {}, handler)
        await publish(broker, b"bad")
        await publish(broker, b"behind")
        await publish(broker, b"other", ODD)

        async def it_has_come_often():
            return seen.count(b"bad") > 3 and b"other" in seen

        await until(it_has_come_often)
        assert b"behind" not in seen
        release.set()

        async def all_came():
            return b"behind" in seen

        await until(all_came)
        await broker.close()

    run(main())


def test_without_retries_a_refused_record_is_passed_over(cluster):
    async def main():
        broker = await opened(consumeRetryEnabled="false")
        inbox = Inbox()
        inbox.fail = True
        await broker.subscribe("orders", {}, inbox.take)
        for data in (b"0", b"1"):
            await publish(broker, data)
        assert [(await inbox.next()).data for _ in range(2)] == [b"0", b"1"]
        await broker.close()
        assert cluster.committed[("app", TopicPartition("orders", 0))] == 2

    run(main())


def test_a_refused_record_comes_again_as_often_as_the_metadata_say(cluster):
    async def main():
        broker = await opened(backOffMaxRetries="2")
        inbox = Inbox()
        inbox.fail = True
        await broker.subscribe("orders", {}, inbox.take)
        for data in (b"0", b"1"):
            await publish(broker, data)
        assert [(await inbox.next()).data for _ in range(6)] == [b"0"] * 3 + [b"1"] * 3
        await broker.close()

    run(main())


def test_when_a_refused_record_comes_again_is_as_in_daprd():
    settings = KafkaSettings(Metadata({**METADATA, "backOffDuration": ""}), "app", retries=True)
    assert settings.backoff == RetryPolicy()  # each 5 seconds, for ever
    more = {
        "backOffPolicy": "exponential",
        "backOffInitialInterval": "10ms",
        "backOffMultiplier": "3",
        "backOffRandomizationFactor": "0",
        "backOffMaxInterval": "2s",
        "backOffMaxElapsedTime": "1m",
    }
    settings = KafkaSettings(Metadata({**METADATA, **more}), "app", retries=True)
    expected = RetryPolicy(True, 0.001, 0.01, 3.0, 0.0, 2.0, 60.0)
    assert settings.backoff == expected


def test_a_record_without_a_value_is_jsons_null(cluster):
    async def main():
        broker = await opened()
        inbox = Inbox()
        await broker.subscribe("orders", {}, inbox.take)
        cluster.append("orders", None, EVEN, (), 0)
        await publish(broker, b"")
        assert [(await inbox.next()).data for _ in range(2)] == [b"null", b""]
        await broker.close()

    run(main())


def test_a_compression_without_its_library_is_refused(monkeypatch):
    monkeypatch.setitem(kafka_settings._LIBRARIES, "zstd", lambda: False)
    with pytest.raises(ComponentError, match="compression 'zstd' needs the package cramjam"):
        KafkaSettings(Metadata({**METADATA, "compression": "zstd"}), "app", retries=True)


def test_a_second_sidecar_takes_over_what_the_first_has_not_begun(cluster):
    async def main():
        first, second = await opened(), await opened()
        gate, inbox = Gate(), Inbox()
        await first.subscribe("orders", {}, gate.take)
        for number in range(3):
            await publish(first, b"%d" % number, ODD)
        await gate.next()
        joining = asyncio.get_running_loop().create_task(second.subscribe("orders", {}, inbox.take))
        await asyncio.sleep(0)
        gate.opened.set()
        await joining
        assert [(await inbox.next()).data for _ in range(2)] == [b"1", b"2"]
        await first.close()
        await second.close()

    run(main())


def test_a_partition_that_leaves_while_its_member_joins_fails_no_subscription(cluster):
    async def main():
        broker = await opened()
        cluster.failures["position"] = 1
        inbox = Inbox()
        await broker.subscribe("orders", {}, inbox.take)
        assert cluster.failures["position"] == 0
        for key in (EVEN, ODD):
            await publish(broker, b"x", key)
        for _ in range(2):
            await inbox.next()
        await broker.close()

    run(main())


def test_a_group_that_is_lost_is_joined_again_without_losing_a_record(cluster):
    async def main():
        broker = await opened()
        inbox = Inbox()
        await broker.subscribe("orders", {}, inbox.take)
        seen = set()
        for number in range(30):
            if number % 10 == 0:
                cluster.failures |= {"fetch": 2, "join": 1, "commit": 1}
            await publish(broker, b"%d" % number)
        while len(seen) < 30:
            seen.add((await inbox.next()).data)
        await broker.close()

    run(main())


def test_what_cannot_be_sent_is_an_error_and_in_bulk_each_by_itself(cluster):
    async def main():
        broker = await opened()
        cluster.failures["send"] = 1
        with pytest.raises(ComponentError, match=r"kafka: .*send is to fail"):
            await publish(broker, b"x")
        cluster.failures["send"] = 1
        requests = [PublishRequest("orders", b"0"), PublishRequest("orders", b"1")]
        (bad, good) = await broker.bulk_publish(requests)
        assert isinstance(bad, ComponentError)
        assert good is None
        await broker.close()
        with pytest.raises(ComponentError, match="bus is closed"):
            await publish(broker, b"x")

    run(main())


def test_a_record_may_name_its_partition_and_a_group_the_strategy_of_daprds(cluster):
    async def main():
        broker = await opened()
        await broker.subscribe("orders", {}, Inbox().take)
        numbered = PublishRequest("orders", b"x", metadata={"partitionNumber": "1"})
        await broker.publish(numbered)
        await broker.close()
        other = await opened(consumerGroupRebalanceStrategy="sticky")
        await other.subscribe("orders", {}, Inbox().take)
        with pytest.raises(ComponentError, match="Unrecognized partition"):
            await other.publish(PublishRequest("orders", b"x", metadata={"partitionNumber": "999"}))
        await other.close()

    run(main())
    (record,) = next(log for log in cluster.logs.values() if log)
    assert record.partition == 1
    strategies = [each.get("partition_assignment_strategy") for each in cluster.options]
    assert [each[0].name for each in strategies if each] == ["range", "sticky"]


@pytest.mark.parametrize("call", ["connect", "join"])
def test_a_cluster_that_is_not_there_is_said(cluster, call):
    async def main():
        cluster.failures[call] = 1
        with pytest.raises(ComponentError, match=f"kafka: .*{call} is to fail"):
            await (await opened()).subscribe("orders", {}, Inbox().take)

    run(main())


def test_headers_may_be_escaped_or_left_out():
    more = {"escapeHeaders": "true", "excludeHeaderMetaRegex": "^x-"}
    settings = KafkaSettings(Metadata({**METADATA, **more}), "app", retries=True)
    assert settings.shown("h", b"a b&") == "a+b%26"
    assert settings.shown("x-h", b"a") is None


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"authType": "none"}, {"security_protocol": "PLAINTEXT"}),
        ({"authType": "", "authRequired": "false"}, {"security_protocol": "PLAINTEXT"}),
        ({"authType": "mtls"}, {"security_protocol": "SSL"}),
        (
            {"authType": "password", "saslMechanism": "SHA-512", "disableTls": "true"},
            {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-512"},
        ),
        (
            {"authType": "", "authRequired": "true"},
            {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"},
        ),
    ],
)
def test_how_one_logs_in(metadata, expected):
    login = {"saslUsername": "u", "saslPassword": "p"}
    settings = KafkaSettings(Metadata({**METADATA, **login, **metadata}), "app", retries=True)
    for options in (settings.producer, settings.consumer):
        assert {name: options[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"brokers": ""}, "missing brokers"),
        ({"authType": ""}, "'authType' attribute was missing or empty"),
        ({"authType": "awsiam"}, "authType is 'awsiam'; expected one of none, password"),
        ({"authType": "certificate"}, "missing caCert"),
        ({"authType": "password"}, "missing saslUsername"),
        ({"authType": "password", "saslMechanism": "x"}, "saslMechanism is 'X'; expected one of"),
        ({"initialOffset": "x"}, "initialOffset is 'x'; expected one of newest, oldest"),
        ({"consumerGroupRebalanceStrategy": "x"}, "expected one of range, sticky, roundrobin"),
        ({"compression": "x"}, "compression is 'x'; expected one of none, gzip"),
        ({"schemaRegistryURL": "http://x"}, "the metadata 'schemaRegistryURL' is not supported"),
        ({"excludeHeaderMetaRegex": "("}, "excludeHeaderMetaRegex: "),
        ({"authType": "mtls", "disableTls": "true"}, "authType 'mtls' needs TLS"),
        ({"backOffPolicy": "x"}, "backOffPolicy is 'x'; expected one of constant, exponential"),
        ({"backOffMultiplier": "x"}, "backOffMultiplier is 'x'; expected a number, 0 or more"),
        ({"backOffMultiplier": "-1"}, "backOffMultiplier is '-1'; expected a number"),
        ({"backOffDuration": "x"}, "backOffDuration: 'x' is not a duration"),
        ({"backOffMaxRetries": "x"}, "backOffMaxRetries is 'x'; expected a whole number"),
        ({"sessionTimeout": "x"}, "sessionTimeout: 'x' is not a duration"),
    ],
)
def test_bad_metadata_is_refused_by_name(metadata, reason):
    with pytest.raises(ComponentError, match=reason):
        KafkaSettings(Metadata({**METADATA, **metadata}), "app", retries=True)
