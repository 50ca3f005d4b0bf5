"""`secretstores.hashicorp.vault` against a server that speaks Vault's HTTP."""

from collections.abc import Iterator

import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.secretstores.secret_store import SecretNotFound
from meshproxy.dapr.secretstores.vault import VaultSecretStore
from tests.dapr.support import run
from tests.support.secret_servers import Vault


@pytest.fixture
def vault() -> Iterator[Vault]:
    with Vault() as server:
        server.secrets = {
            "dapr/db": [{"user": "old"}, {"user": "alice", "port": 5432}],
            "dapr/team/a/key": [{"k": "v"}],
            "bare": [{"x": "y"}],
        }
        yield server


def ask(vault, work, **metadata):
    """`{address}`, `{folder}` and `{ca}` in values are the server's."""
    given = {"vaultAddr": vault.address, "caPem": vault.ca_pem, "vaultToken": "root", **metadata}

    async def main():
        store = VaultSecretStore(ComponentContext("vault"))
        try:
            await store.init(Metadata({name: text for name, text in given.items() if text}))
            return await work(store)
        finally:
            await store.close()

    return run(main())


def get(name, **metadata):
    return lambda store: store.get_secret(name, metadata)


async def everything(store):
    return dict(await store.bulk_get_secret({}))


def test_a_secret_is_found_below_the_prefix_with_the_token(vault):
    assert ask(vault, get("db")) == {"user": "alice", "port": "5432"}
    (call,) = vault.calls
    assert call.path == "/v1/secret/data/dapr/db"
    assert call.headers["x-vault-request"] == "true"
    assert "x-vault-namespace" not in call.headers


def test_a_version_can_be_asked_for(vault):
    assert ask(vault, get("db", version_id="1")) == {"user": "old"}
    with pytest.raises(SecretNotFound, match="secret key or version not exist"):
        ask(vault, get("db", version_id="9"))


def test_all_secrets_are_found_in_folders_of_any_depth(vault):
    assert ask(vault, everything) == {
        "db": {"user": "alice", "port": "5432"},
        "team/a/key": {"k": "v"},
    }


def test_prefix_and_engine_can_be_others(vault):
    assert ask(vault, get("bare"), vaultKVUsePrefix="false") == {"x": "y"}
    assert ask(vault, get("key"), vaultKVPrefix="dapr/team/a") == {"k": "v"}
    assert len(ask(vault, everything, vaultKVUsePrefix="false")) == 3
    vault.engine = "kv/own"
    assert ask(vault, get("db"), enginePath="kv/own")["user"] == "alice"


def test_a_secret_can_be_one_text(vault):
    async def work(store):
        return store.features, await store.get_secret("db", {})

    features, secret = ask(vault, work, vaultValueType="text")
    assert (features, secret) == (frozenset(), {"db": '{"user":"alice","port":5432}'})


def test_a_token_in_a_file_is_read_again_when_it_is_refused(vault):
    path = vault.folder / "token"
    path.write_text("root\n")

    async def work(store):
        first = await store.get_secret("db", {})
        vault.token = "renewed"
        path.write_text("renewed")
        return first == await store.get_secret("db", {})

    assert ask(vault, work, vaultToken="", vaultTokenMountPath=str(path))


def test_a_refused_token_is_an_error_in_vaults_words(vault):
    with pytest.raises(ComponentError, match="status code 403: permission denied"):
        ask(vault, get("db"), vaultToken="wrong")


@pytest.mark.parametrize("name", ["../sys/policy", "a/../../b", ".."])
def test_a_name_does_not_lead_out_of_its_folder(vault, name):
    with pytest.raises(ComponentError, match=r"has a part that is '\.' or '\.\.'"):
        ask(vault, get(name))
    assert vault.calls == []


def test_a_name_is_no_query(vault):
    with pytest.raises(SecretNotFound):
        ask(vault, get("db?version=1"))
    assert vault.calls[0].path == "/v1/secret/data/dapr/db?version=1"


def test_the_namespace_goes_along(vault):
    ask(vault, get("db"), vaultNamespace="team")
    assert vault.calls[0].headers["x-vault-namespace"] == "team"


def test_a_redirect_is_not_followed_with_the_token(vault):
    vault.answer = lambda call: (307, {})
    with pytest.raises(ComponentError, match="status code 307"):
        ask(vault, get("db"))


@pytest.mark.parametrize("body", [b"no json", b"[]", b'{"data": null}', b'{"data": {"data": 3}}'])
def test_an_answer_of_another_form_is_an_error(vault, body):
    vault.answer = lambda call: (200, body)
    with pytest.raises(ComponentError, match="has no data"):
        ask(vault, get("db"))


@pytest.mark.parametrize(
    "trust",
    [
        lambda vault: {"caPath": str(vault.ca.parent)},
        lambda vault: {"caCert": str(vault.ca)},
        lambda vault: {"skipVerify": "true"},
        lambda vault: {"caPem": vault.ca_pem, "tlsServerName": "secrets.test"},
    ],
)
def test_the_server_is_trusted_by_what_the_metadata_say(vault, trust):
    assert ask(vault, get("db"), **{"caPem": "", **trust(vault)})["user"] == "alice"


@pytest.mark.parametrize("trust", [{"caPem": ""}, {"tlsServerName": "other.test"}])
def test_a_server_that_is_not_trusted_gets_no_token(vault, trust):
    with pytest.raises(ComponentError, match="GET https://127"):
        ask(vault, get("db"), **trust)
    assert vault.calls == []


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"vaultToken": ""}, "token mount path and token not set"),
        ({"vaultTokenMountPath": "/x"}, "token mount path and token both set"),
        ({"vaultToken": "", "vaultTokenMountPath": "/none"}, "'/none' cannot be read"),
        ({"vaultAddr": "ftp://x"}, "vaultAddr is 'ftp://x'; expected https://"),
        ({"vaultValueType": "list"}, "vaultValueType is 'list'; expected map or text"),
        ({"vaultKVUsePrefix": "maybe"}, "vaultKVUsePrefix is 'maybe'; expected true or false"),
        ({"vaultKubernetesRole": "r"}, "'vaultKubernetesRole' is not supported"),
        ({"enginePath": "../sys"}, "has a part that is"),
        ({"caPem": "no pem"}, "couldn't read the CA certificates in the PEM given"),
        ({"caPem": "", "caCert": "/none"}, "couldn't read the CA certificates in /none"),
        ({"caPem": "", "caPath": "/none"}, "caPath is '/none', where there is no file"),
    ],
)
def test_bad_metadata_are_refused_by_name(vault, metadata, expected):
    with pytest.raises(ComponentError, match=expected):
        ask(vault, get("db"), **metadata)
