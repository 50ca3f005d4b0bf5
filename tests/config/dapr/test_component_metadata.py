"""Metadata that a component would refuse are found without starting it."""

from pathlib import Path

import pytest

from meshproxy.config.dapr.check import check_resources
from meshproxy.dapr.components import COMPONENTS

HEAD = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: it}}
{more}spec:
  type: {kind}
  version: {version}
  metadata:
"""
SECRET_STORE = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: secrets}
spec: {type: secretstores.local.env}
"""


def errors(folder: Path, kind: str, *items: str, version="v1", more="") -> list[str]:
    """What is wrong, each with its line; the first item is on line 8, or later with `more`."""
    lines = [f"  - {item}\n" for item in items]
    text = HEAD.format(kind=kind, version=version, more=more)
    text = text + "".join(lines) if items else text.replace("  metadata:\n", "")
    (folder / "it.yaml").write_text(text)
    (folder / "secrets.yaml").write_text(SECRET_STORE)
    found, _ = check_resources([str(folder)], [])
    return [f"{error.place.line}: {error.path}: {error.message}" for error in found]


def item(name: str, value: str) -> str:
    return f'{{name: {name}, value: "{value}"}}'


REDIS = item("redisHost", "localhost:6379")
POSTGRES = item("connectionString", "host=localhost")


@pytest.mark.parametrize(
    ("kind", "items", "line", "expected"),
    [
        (
            "state.redis",
            [REDIS, item("readTimeout", "soon")],
            9,
            "readTimeout: 'soon' is not a duration; expected one such as 500ms",
        ),
        (
            "state.redis",
            [REDIS, item("redisDB", "x")],
            9,
            "redisDB is 'x'; expected a whole number",
        ),
        (
            "state.redis",
            [REDIS, item("keyPrefix", "a||b")],
            9,
            "keyPrefix 'a||b' can't contain '||'",
        ),
        (
            "state.redis",
            [REDIS, item("outboxPublishTopic", "t")],
            9,
            "outboxPublishPubsub and outboxPublishTopic are needed together",
        ),
        (
            "state.redis",
            [REDIS, item("primaryEncryptionKey", "00")],
            9,
            "primaryEncryptionKey: failed to extract encryption key: no secretKeyRef",
        ),
        ("state.redis", [item("redisDB", "1")], 8, "missing redisHost"),
        (
            "state.redis",
            [item("x", "1"), item("redisHots", "a")],
            9,
            "missing redisHost; found 'redisHots'",
        ),
        ("state.redis", [], 1, "missing redisHost"),
        (
            "lock.redis",
            [REDIS, item("enableTLS", "maybe")],
            9,
            "enableTLS is 'maybe'; expected true or false",
        ),
        (
            "configuration.redis",
            [REDIS, item("redisType", "x")],
            9,
            "redisType is 'x'; expected node or cluster",
        ),
        (
            "bindings.redis",
            [item("redisHost", "a,b")],
            8,
            "redisHost is 'a,b'; expected one host:port",
        ),
        (
            "pubsub.redis",
            [REDIS, item("concurrency", "0")],
            9,
            "concurrency is 0; expected at least 1",
        ),
        ("state.sqlite", [item("cleanupInterval", "1h")], 8, "missing connection string"),
        (
            "state.sqlite",
            [item("connectionString", "x.db"), item("busyTimeout", "2 s")],
            9,
            "busyTimeout: '2 s' is not a duration",
        ),
        (
            "state.sqlite",
            [item("connectionString", "x.db"), item("tableName", "a b")],
            9,
            "invalid table name 'a b'",
        ),
        (
            "state.postgresql",
            [POSTGRES, item("cleanupInterval", "x")],
            9,
            "cleanupInterval: 'x' is not a duration",
        ),
        ("state.postgresql", [], 1, "missing connection string"),
        ("configuration.postgresql", [POSTGRES], 8, "missing postgreSQL configuration table name"),
        (
            "bindings.postgresql",
            [POSTGRES, item("timeout", "1ms")],
            9,
            "timeout is 0.001s; expected at least 1s",
        ),
        ("bindings.http", [item("url", "ftp://x")], 8, "url is 'ftp://x'; expected http://"),
        ("bindings.cron", [], 1, "missing schedule"),
        ("bindings.cron", [item("schedule", "often")], 8, "invalid schedule format 'often'"),
        ("bindings.localstorage", [], 1, "missing rootPath"),
        ("secretstores.local.file", [], 1, "missing local secrets file in metadata"),
        ("secretstores.hashicorp.vault", [], 1, "token mount path and token not set"),
        (
            "secretstores.hashicorp.vault",
            [item("vaultToken", "t"), item("vaultValueType", "x")],
            9,
            "vaultValueType is 'x'; expected map or text",
        ),
        ("pubsub.kafka", [], 1, "missing brokers"),
        ("pubsub.mqtt3", [], 1, "missing url"),
        (
            "pubsub.jetstream",
            [item("natsURL", "nats://h"), item("ackWait", "x")],
            9,
            "ackWait: 'x' is not a duration",
        ),
        (
            "pubsub.rabbitmq",
            [item("host", "amqp://h"), item("prefetchCount", "x")],
            9,
            "prefetchCount is 'x'; expected a whole number",
        ),
    ],
)
def test_what_a_component_would_refuse_has_its_line(tmp_path, kind, items, line, expected):
    (found,) = errors(tmp_path, kind, *items)
    assert found.startswith(f"{line}: spec.metadata")
    assert expected in found


def test_every_entry_that_is_wrong_is_told(tmp_path):
    wrong = [REDIS, item("redisDB", "x"), item("readTimeout", "y"), item("enableTLS", "z")]
    found = errors(tmp_path, "state.redis", *wrong)
    assert sorted(each.partition(":")[0] for each in found) == ["10", "11", "9"]


@pytest.mark.parametrize(
    "items",
    [
        [REDIS, "{name: redisDB, envRef: WHICH}"],
        ["{name: redisHost, envRef: WHERE}", item("redisDB", "1")],
        [REDIS, "{name: primaryEncryptionKey, secretKeyRef: {name: k}}"],
        [REDIS, item("consumerID", "{uuid}")],
    ],
)
def test_what_is_known_at_the_start_only_is_not_judged(tmp_path, items):
    more = "auth: {secretStore: secrets}\n"
    assert errors(tmp_path, "state.redis", *items, more=more) == []


@pytest.mark.parametrize("name", list(COMPONENTS))
def test_a_component_of_any_type_can_be_judged(tmp_path, name):
    kind, _, version = name.partition("/")
    if kind.startswith("nameresolution."):
        return  # is no resource: its Configuration is checked as it is read
    found = errors(tmp_path, kind, item("keyPrefix", "name"), version=version)
    assert all("it: " in each for each in found)
