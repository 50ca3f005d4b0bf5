"""Secrets, locks, configuration, bindings over HTTP: answers, and errors of wrong requests."""

import json

import pytest

from tests.parity_daprd.blocks import BINDINGS, REDIS, SECRETS, SECRETS_FILE
from tests.parity_daprd.harness import NAMES, Setup

SETUP = Setup(
    resources={
        "secrets.yaml": SECRETS,
        "secrets.json": SECRETS_FILE,
        "bindings.yaml": BINDINGS,
        "redis.yaml": REDIS,
    },
    config=NAMES
    + """
  secrets:
    scopes:
    - {storeName: secrets, defaultAccess: allow, deniedSecrets: [hidden]}
    - {storeName: environment, defaultAccess: deny, allowedSecrets: [KNOWN]}
""",
    env={"KNOWN": "value", "UNKNOWN": "x"},
    app={},
)


def test_secrets(pair):
    for path in [
        "secrets/plain", "secrets/deep:er:key", "secrets/deep", "secrets/none", "secrets/hidden",
        "secrets/", "secrets", "none/plain", "none/bulk", "environment/KNOWN", "environment/UNKNOWN",
        "environment/bulk", "secrets/a%2Fb", "secrets/a/b",
    ]:  # fmt: skip
        pair.same_http(f"secret {path}", "GET", f"/v1.0/secrets/{path}")
    for path in ("n", "bulk", "bulk?metadata.x=y"):
        pair.same_http("a number as secret", "GET", f"/v1.0/secrets/secrets/{path}")
    pair.same_http("post", "POST", "/v1.0/secrets/secrets/plain", b"{}")


LOCKS = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"x",
    {"resourceId": "r", "lockOwner": "o", "expiryInSeconds": 60},
    {"resource_id": "r", "lock_owner": "o", "expiry_in_seconds": 60},
    {"resourceId": "r", "lockOwner": "p", "expiryInSeconds": 60},
    {"resourceId": "s", "lockOwner": "o", "expiryInSeconds": "60"},
    {"resourceId": "t", "lockOwner": "o", "expiryInSeconds": 60.0},
    {"resourceId": "t", "lockOwner": "o", "expiryInSeconds": 60.5},
    {"resourceId": "t", "lockOwner": "o", "expiryInSeconds": "x"},
    {"resourceId": "t", "lockOwner": "o", "expiryInSeconds": 5000000000},
    {"resourceId": "t", "lockOwner": "o", "expiryInSeconds": True},
    {"resourceId": "t", "lockOwner": "o", "expiryInSeconds": None},
    {"resourceId": "t", "lockOwner": "o", "expiryInSeconds": 0},
    {"resourceId": "t", "lockOwner": "o", "expiryInSeconds": -1},
    {"resourceId": "", "lockOwner": "o", "expiryInSeconds": 1},
    {"resourceId": "t", "lockOwner": "", "expiryInSeconds": 1},
    {"resourceId": 5, "lockOwner": "o", "expiryInSeconds": 1},
    {"resourceId": "a||b", "lockOwner": "o", "expiryInSeconds": 1},
    {"RESOURCEID": "u", "lockOwner": "o", "expiryInSeconds": 1},
    {"resourceId": "v", "lockOwner": "o", "expiryInSeconds": 60, "unknown": [1]},
    {"resourceId": "w", "resource_id": "w", "lockOwner": "o", "expiryInSeconds": 60},
    {"resourceId": "x", "lockOwner": "o", "expiryInSeconds": 60, "storeName": "other"},
]


@pytest.mark.parametrize("store", ["locks", "none"])
def test_locks(pair, store):
    for body in LOCKS:
        pair.same_http(f"lock {body!r}", "POST", f"/v1.0-alpha1/lock/{store}", body)
    for body in [*LOCKS, LOCKS[5], {"resourceId": "nobody", "lockOwner": "o"}]:
        pair.same_http(f"unlock {body!r}", "POST", f"/v1.0-alpha1/unlock/{store}", body)
    pair.same_http("put", "PUT", f"/v1.0-alpha1/lock/{store}", LOCKS[5])


def test_configuration(pair, request):
    redis = request.getfixturevalue("_redis")
    for database in ("1", "2"):
        redis.client.execute_command("SELECT", database)
        redis.client.execute_command("SET", "a", "value||1")
        redis.client.execute_command("SET", "b", "plain")
        redis.client.execute_command("SET", "c", "a||b||c")
        redis.client.execute_command("SET", "e", "")
    for version in ("v1.0", "v1.0-alpha1"):
        for path in [
            "settings?key=a",
            "settings?key=a&key=b",
            "settings",
            "settings?key=none",
            "settings?key=",
            "settings?key=c&key=e",
            "settings?key=a&metadata.x=y",
            "none?key=a",
            "none/subscribe",
            "none/x/unsubscribe",
            "settings/x/unsubscribe",
            "settings/",
        ]:
            pair.same_http(f"configuration {path}", "GET", f"/{version}/configuration/{path}")


def test_configuration_is_watched(pair, request):
    redis = request.getfixturevalue("_redis")
    path = "/v1.0/configuration/settings"
    ids = {}

    def subscribe(side):
        answer = side.http("GET", f"{path}/subscribe?key=watched")
        ids[side.kind] = answer.body["id"]
        return answer

    def change(side, value):
        redis.client.execute_command("SELECT", "2" if side.kind == "meshproxy" else "1")
        redis.client.execute_command("SET", "watched", value)
        return side.app.take("/configuration/settings/watched")

    pair.same("subscribe", subscribe)
    pair.same("change", lambda side: change(side, "v||2"))
    pair.same("again", lambda side: change(side, "w"))
    pair.same("unsubscribe", lambda side: side.http("GET", f"{path}/{ids[side.kind]}/unsubscribe"))
    pair.same("twice", lambda side: side.http("GET", f"{path}/{ids[side.kind]}/unsubscribe"))


OUTPUTS = [
    b"", b"{}", b"[]", b"null", b"x", {"operation": "odd"}, {"operation": ""}, {"operation": 5},
    {"operation": "create", "data": {"a": 1}, "metadata": {"fileName": "g"}},
    {"operation": "get", "metadata": {"fileName": "g"}}, {"operation": "get", "metadata": 5},
    {"operation": "get", "metadata": {"fileName": 5}}, {"Operation": "list", "unknown": 1},
]  # fmt: skip


@pytest.mark.parametrize("name", ["disk", "tick", "none"])
def test_output_bindings(pair, name):
    for body in OUTPUTS:

        def act(side, body=body):
            answer = side.http("POST", f"/v1.0/bindings/{name}", body)
            text = json.dumps(answer.body).replace(str(side.folder), "{folder}")
            return answer._replace(body=json.loads(text))

        pair.same(f"binding {body!r}", act)
    pair.same_http("put", "PUT", f"/v1.0/bindings/{name}", {"operation": "odd"})
    pair.same_http("get", "GET", f"/v1.0/bindings/{name}")


def test_what_the_app_was_asked_at_the_start(pair):
    pair.same("not asked for actors", lambda side: sorted(side.app.paths()))
