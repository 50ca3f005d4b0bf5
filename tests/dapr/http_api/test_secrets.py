"""Secrets over HTTP: values, scopes, and the odd status codes."""

import json

import pytest

from meshproxy.dapr.component import Identity
from meshproxy.dapr.secretstores.scopes import SecretScope, SecretScopes
from meshproxy.dapr.sidecar import Sidecar
from tests.dapr.http_api.support import Client, error
from tests.dapr.support import component, run, runtime


@pytest.fixture
def client(tmp_path) -> Client:
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps({"db": {"user": "alice", "pass": "p"}, "key": "k"}))
    life = runtime([component("vault", "secretstores.local.file", {"secretsFile": str(path)})])
    run(life.start())
    return Client(Sidecar(Identity("app"), life))


def scoped(client: Client, **rules) -> Client:
    client.sidecar.secret_scopes = SecretScopes([SecretScope("vault", **rules)])
    return client


def test_a_secret_and_all_secrets(client):
    assert run(client.call("GET", "/v1.0/secrets/vault/db:user")).body == b'{"db:user":"alice"}'
    assert json.loads(run(client.call("GET", "/v1.0/secrets/vault/bulk")).body) == {
        "db:user": {"db:user": "alice"},
        "db:pass": {"db:pass": "p"},
        "key": {"key": "k"},
    }


def test_what_is_not_there_has_its_own_codes(client):
    assert error(run(client.call("GET", "/v1.0/secrets/none/x"))) == (
        401,
        "ERR_SECRET_STORE_NOT_FOUND",
        "failed finding secret store with key none",
    )
    assert error(run(client.call("GET", "/v1.0/secrets/vault/x"))) == (
        500,
        "ERR_SECRET_GET",
        "failed getting secret with key x from secret store vault: secret x not found",
    )
    empty = Client(Sidecar(Identity("app"), runtime([])))
    assert error(run(empty.call("GET", "/v1.0/secrets/vault/x"))) == (
        500,
        "ERR_SECRET_STORES_NOT_CONFIGURED",
        "secret store is not configured",
    )


@pytest.mark.parametrize(
    ("rules", "visible"),
    [
        ({"allowed": frozenset({"key"})}, {"key"}),
        ({"allowed": frozenset({"key"}), "denied": frozenset({"key"})}, {"key"}),
        ({"denied": frozenset({"key"})}, {"db:user", "db:pass"}),
        ({"allowed_by_default": False}, set()),
        ({"allowed_by_default": False, "allowed": frozenset({"db:user"})}, {"db:user"}),
        ({}, {"key", "db:user", "db:pass"}),
    ],
)
def test_scopes_decide_what_is_seen(client, rules, visible):
    caller = scoped(client, **rules)
    assert set(json.loads(run(caller.call("GET", "/v1.0/secrets/vault/bulk")).body)) == visible
    for name in ("key", "db:user", "db:pass"):
        answer = run(caller.call("GET", f"/v1.0/secrets/vault/{name}"))
        assert answer.status == (200 if name in visible else 403)
        if name not in visible:
            assert error(answer)[1:] == (
                "ERR_PERMISSION_DENIED",
                f'access denied by policy to get "{name}" from "vault"',
            )
