"""`pubsub.kafka` and its client on a real broker: logins, codecs, groups that change, kills."""

import asyncio
import uuid
from collections import defaultdict

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from meshproxy.dapr.component import ComponentContext, ComponentError, Identity, Metadata
from meshproxy.dapr.pubsub.broker import PublishRequest
from meshproxy.dapr.pubsub.kafka import KafkaPubSub
from meshproxy.network.tasks import TaskOwner, spawn
from tests.dapr.pubsub.support import Inbox, until
from tests.dapr.support import run
from tests.support import token_server
from tests.support.certificates import make
from tests.support.kafka_server import PARTITIONS, PASSWORD, USER, KafkaServer
from tests.support.token_server import CLIENT, SECRET, TokenServer
from tests.support.toolchains import without

pytestmark = [
    pytest.mark.long,
    # asyncio lets go of a socket without closing it where a handshake fails.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
KILLS = 3
PATIENCE = 120


@pytest.fixture
def topic() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def opened(kafka_server):
    """A function that makes one more component on the broker, for one app."""
    app = uuid.uuid4().hex

    async def make_one(**metadata):
        return await connected(kafka_server.address, app, **metadata)

    return make_one


async def connected(address, app, **metadata):
    broker = KafkaPubSub(ComponentContext("bus", identity=Identity(app)))
    await broker.init(
        Metadata(
            {
                "brokers": address,
                "authType": "none",
                "backOffDuration": "10ms",
                "consumeRetryInterval": "50ms",
                **metadata,
            }
        )
    )
    return broker


def message(topic, data, **metadata):
    return PublishRequest(topic, data, metadata=metadata)


# -- what is kept ------------------------------------------------------------------------------


def test_a_key_has_one_partition_and_headers_come_back(opened, topic):
    async def main():
        broker, inbox = await opened(), Inbox()
        await broker.subscribe(topic, {}, inbox.take)
        for _ in range(3):
            await broker.publish(message(topic, b"x", partitionKey="k", note="é"))
        await broker.publish(message(topic, b"y", partitionNumber=str(PARTITIONS - 1)))
        with pytest.raises(ComponentError, match="kafka: "):
            await broker.publish(message(topic, b"z", partitionNumber=str(PARTITIONS)))
        by_data = defaultdict(list)
        for _ in range(4):
            found = await inbox.next()
            by_data[found.data].append(found.metadata)
        await broker.close()
        assert len({each["__partition"] for each in by_data[b"x"]}) == 1
        assert [each["__offset"] for each in by_data[b"x"]] == ["0", "1", "2"]
        assert {each["__key"] for each in by_data[b"x"]} == {"k"}
        assert {each["note"] for each in by_data[b"x"]} == {"é"}
        (numbered,) = by_data[b"y"]
        assert numbered["__partition"] == str(PARTITIONS - 1)
        assert "__key" not in numbered

    run(main())


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_what_is_compressed_comes_as_it_was(opened, topic, compression):
    async def main():
        broker, inbox = await opened(compression=compression), Inbox()
        await broker.subscribe(topic, {}, inbox.take)
        await broker.publish(message(topic, b"x" * 100_000))
        assert (await inbox.next()).data == b"x" * 100_000
        await broker.close()

    run(main())


def test_a_record_without_a_value_is_jsons_null(kafka_server, opened, topic):
    async def main():
        broker, inbox = await opened(), Inbox()
        await broker.subscribe(topic, {}, inbox.take)
        async with AIOKafkaProducer(bootstrap_servers=kafka_server.address) as other:
            await other.send_and_wait(topic, None, key=b"k")
        assert (await inbox.next()).data == b"null"
        await broker.close()

    run(main())


@pytest.mark.parametrize(("offset", "expected"), [("oldest", [b"0", b"1"]), ("newest", [b"1"])])
def test_a_new_group_begins_where_the_metadata_say(opened, topic, offset, expected):
    async def main():
        broker, inbox = await opened(initialOffset=offset), Inbox()
        await broker.publish(message(topic, b"0", partitionKey="k"))
        await broker.subscribe(topic, {}, inbox.take)
        await broker.publish(message(topic, b"1", partitionKey="k"))
        assert [(await inbox.next()).data for _ in expected] == expected
        await broker.close()

    run(main())


def test_a_message_above_the_limit_is_refused_and_others_go(opened, topic):
    async def main():
        broker = await opened(maxMessageBytes="1000")
        bulk = [message(topic, b"x" * 10), message(topic, b"x" * 2000), message(topic, b"y")]
        outcomes = await broker.bulk_publish(bulk)
        assert [outcome is None for outcome in outcomes] == [True, False, True]
        await broker.close()

    run(main())


# -- groups ------------------------------------------------------------------------------------


class Ledger:
    """Who has taken which number of which key, in their order."""

    def __init__(self, total: int) -> None:
        self.taken: dict[str, list[int]] = defaultdict(list)
        self.by: dict[str, int] = defaultdict(int)
        self._total = total
        self.complete = asyncio.Event()

    def of(self, name: str):
        async def take(found) -> None:
            key, _, number = found.data.decode().partition(":")
            self.taken[key].append(int(number))
            self.by[name] += 1
            if sum(len(set(each)) for each in self.taken.values()) == self._total:
                self.complete.set()

        return take


def test_members_that_come_and_go_lose_no_record_and_keep_the_order_of_keys(opened, topic):
    keys, numbers = [f"k{number}" for number in range(8)], 40

    async def main():
        ledger = Ledger(len(keys) * numbers)
        first = await opened()
        await first.subscribe(topic, {}, ledger.of("first"))
        others = []
        for number in range(numbers):
            bulk = [message(topic, f"{key}:{number}".encode(), partitionKey=key) for key in keys]
            assert await first.bulk_publish(bulk) == [None] * len(keys)
            if number in (10, 20):
                others.append(await opened())
                await others[-1].subscribe(topic, {}, ledger.of(f"other {number}"))
            if number == 30:
                await others.pop(0).close()
        async with asyncio.timeout(PATIENCE):
            await ledger.complete.wait()
        for each in (*others, first):
            await each.close()
        for taken in ledger.taken.values():
            assert list(dict.fromkeys(taken)) == list(range(numbers))
        # What was begun is ended and committed before a partition moves.
        assert all(len(each) == numbers for each in ledger.taken.values())
        assert len(ledger.by) > 1

    run(main())


def test_a_bulk_subscriber_gets_many_and_what_is_refused_comes_again_in_order(opened, topic):
    async def main():
        broker, seen, refused = await opened(), [], []
        complete = asyncio.Event()

        async def take(found) -> None:
            if found.data == b"7" and len(refused) < 2:
                refused.append(found.data)
                raise ComponentError("not now")
            seen.append(found.data)
            if len(set(seen)) == 20:
                complete.set()

        await broker.subscribe(topic, {"maxBulkSubCount": "10"}, take)
        bulk = [message(topic, b"%d" % number, partitionKey="k") for number in range(20)]
        assert await broker.bulk_publish(bulk) == [None] * 20
        async with asyncio.timeout(PATIENCE):
            await complete.wait()
        await broker.close()
        assert len(refused) == 2
        assert set(seen) == {b"%d" % number for number in range(20)}

    run(main())


# -- logins ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secured():
    """A broker that knows the keys of a token server, and that server."""
    if not KafkaServer.available():
        without("no Kafka: it needs java and mvn, and what Maven then fetches")
    with TokenServer() as tokens, KafkaServer(f"http://127.0.0.1:{tokens.port}/keys") as broker:
        yield broker, tokens


def delivered(address, **metadata):
    """What a subscription gets of what was published."""

    async def main():
        async with asyncio.timeout(PATIENCE):
            broker, inbox = await connected(address, uuid.uuid4().hex, **metadata), Inbox()
            try:
                name = uuid.uuid4().hex
                await broker.subscribe(name, {}, inbox.take)
                await broker.publish(message(name, b"x"))
                return (await inbox.next()).data
            finally:
                await broker.close()

    return run(main())


def refused(address, **metadata):
    with pytest.raises(ComponentError, match=r"kafka: |oauth2"):
        delivered(address, **metadata)


@pytest.mark.parametrize("mechanism", ["PLAINTEXT", "SHA-256", "SHA-512"])
def test_a_password(secured, mechanism):
    address = f"127.0.0.1:{secured[0].sasl_port}"
    good = {
        "authType": "password",
        "saslMechanism": mechanism,
        "saslUsername": USER,
        "saslPassword": PASSWORD,
        "disableTls": "true",
    }
    assert delivered(address, **good) == b"x"
    refused(address, **{**good, "saslPassword": "wrong"})


def test_tls_and_certificates(secured):
    broker, _ = secured
    authority = broker.authority
    known = {"authType": "certificate", "caCert": authority.pem.decode()}
    address = f"127.0.0.1:{broker.ssl_port}"
    assert delivered(address, **known) == b"x"
    refused(address, **{**known, "caCert": make("other").pem.decode()})
    both = {**known, "authType": "mtls"}
    for client, expected in ((make("me", authority), True), (make("me", make("other")), False)):
        pair = {"clientCert": client.pem.decode(), "clientKey": client.key.decode()}
        at = f"127.0.0.1:{broker.mtls_port}"
        if expected:
            assert delivered(at, **both, **pair) == b"x"
        else:
            refused(at, **both, **pair)


def test_tokens_of_a_provider(secured):
    broker, tokens = secured
    address = f"127.0.0.1:{broker.sasl_port}"
    common = {
        "oidcTokenEndpoint": tokens.url,
        "oidcClientID": CLIENT,
        "oidcExtensions": '{"logicalCluster": "one"}',
        "disableTls": "true",
    }
    secret = {**common, "authType": "oidc", "oidcClientSecret": SECRET}
    assert delivered(address, **secret) == b"x"
    refused(address, **{**secret, "oidcClientSecret": "wrong"})
    key = tokens.client_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    signed = {"oidcClientAssertionCert": "x", "oidcClientAssertionKey": key.decode()}
    assert delivered(address, **common, **signed, authType="oidc_private_key_jwt") == b"x"
    stranger = token_server.make_key()
    tokens.key, kept = stranger, tokens.key
    refused(address, **secret)  # the broker does not know whose token it is
    tokens.key = kept


# -- kills -------------------------------------------------------------------------------------


def test_a_broker_that_is_killed_loses_nothing_that_was_acknowledged(topic):
    if not KafkaServer.available():
        without("no Kafka: it needs java and mvn, and what Maven then fetches")
    with KafkaServer() as server:
        run(published_through_kills(server, topic))


async def published_through_kills(server, topic):
    broker = await connected(server.address, "app")
    seen, acknowledged = set(), set()
    changed = asyncio.Event()

    async def take(found) -> None:
        seen.add(int(found.data))
        changed.set()

    await broker.subscribe(topic, {}, take)
    ending = False

    async def publish_on(first) -> None:
        number = first
        while not ending:
            try:
                await broker.publish(message(topic, b"%d" % number))
                acknowledged.add(number)
            except ComponentError:
                pass  # nobody was told that it is there
            number += 4

    async def are_enough():
        return len(acknowledged) >= enough

    owner = TaskOwner()
    publishers = [spawn(owner, publish_on(each), f"publisher {each}") for each in range(4)]
    for _ in range(KILLS):
        enough = len(acknowledged) + 200
        await until(are_enough)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
    ending = True
    await asyncio.gather(*publishers)
    async with asyncio.timeout(PATIENCE):
        while acknowledged - seen:
            changed.clear()
            await changed.wait()
    await broker.close()
    await stored(server.address, topic, acknowledged)


async def stored(address, topic, acknowledged):
    """And the broker itself has all of them."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=address, auto_offset_reset="earliest")
    found = set()
    async with consumer, asyncio.timeout(PATIENCE):
        while acknowledged - found:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found |= {int(record.value) for record in records}
